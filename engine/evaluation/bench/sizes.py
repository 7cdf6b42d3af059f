"""How seconds and memory of a sample grow with its voxels and with the persons: models of each grid, one process a grid.

The models are untrained, which costs the same: their networks and steps are those of the checkpoint named, only the grid is other.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.checkpoints.checkpoint import Checkpoint, load_checkpoint
from engine.evaluation.bench.cost import child_lines, flop_of
from engine.evaluation.bench.sampling import machine, one_request
from engine.inference.generate import DETAIL_STEPS, Model, choose_device
from engine.model.config import FACTOR
from engine.model.flow import Joint, Levels
from engine.model.joint import JointModel
from engine.model.nn import large
from engine.model.nn.mask_detail import CELL, CODE
from engine.vocabulary.refusal import RequestError

Grid = tuple[int, int, int]
Progress = Callable[[str, int, int], None]
#: what is asked for unless something else is
GRIDS: tuple[Grid, ...] = (*((n, n, n) for n in (96, 128, 192, 256, 384)), (512, 512, 256))
#: the grid whose process has what every process has: interpreter, libraries, weights; and persons whose time is fitted
FIXED, PERSONS = (32, 32, 32), (1, 2, 4)
#: voxels below which one sample is too short a time
SHORT = 2**22


@dataclass(frozen=True, kw_only=True)
class Size:
    """Of one sample on a ``grid``: ``seconds`` on the clock and of all threads' CPU time, which what else runs hardly
    lengthens; ``flop`` by part; ``peak_mib`` of the process."""

    grid: Grid
    voxels: int
    tokens: int
    seconds: float
    cpu_seconds: float
    sampling_seconds: float
    decoding_seconds: float
    peak_mib: int
    flop: dict[str, int]
    flop_per_voxel: float


def grids_of(text: str) -> tuple[Grid, ...]:
    """Grids as they are typed, all of :data:`GRIDS` for nothing. Raises :class:`RequestError`.

    >>> grids_of("96x96x96,512x512x256")
    ((96, 96, 96), (512, 512, 256))
    """
    grids = []
    for part in filter(None, text.split(",")):
        sides = part.lower().split("x")
        if len(sides) != 3 or not all(side.strip().isdigit() for side in sides):
            raise RequestError(f"{part!r} is no grid; give voxels along three axes, such as 96x112x112")
        x, y, z = map(int, sides)
        if min(x, y, z) < FACTOR or any(side % FACTOR for side in (x, y, z)):
            raise RequestError(f"grid {part} is not of multiples of {FACTOR}; choose the nearest that is")
        grids.append((x, y, z))
    return tuple(grids) or GRIDS


def benchmark_sizes(
    checkpoint: str, grids: Sequence[Grid] = GRIDS, *, device: str = "auto", progress: Progress | None = None
) -> dict[str, Any]:
    """Measure a sample with detail on each grid, and one to four persons on the first; the result is ready for JSON.

    ``slopes`` are of straight lines through logarithms: of CPU seconds, and of memory over that of a process which draws 32^3
    voxels, against voxels (None for one grid); of CPU seconds against persons.
    """
    report, total = progress or (lambda _what, _done, _total: None), len(grids) + 2
    place = choose_device(device)
    report("the smallest process", 0, total)
    fixed = json.loads(child_lines(_draw, checkpoint, list(FIXED), place)[-1])[0]
    sizes = []
    for done, grid in enumerate(grids, 1):
        report(" x ".join(map(str, grid)), done, total)
        *_, said, peak = child_lines(_draw, checkpoint, list(grid), place)
        flop = sample_flop(checkpoint, grid)
        voxels = math.prod(grid)
        sizes.append(
            Size(
                grid=grid,
                voxels=voxels,
                tokens=voxels // FACTOR**3,
                **json.loads(said),
                peak_mib=json.loads(peak)[0],
                flop=flop,
                flop_per_voxel=round(sum(flop.values()) / voxels, 1),
            )
        )
    report("persons", total - 1, total)
    persons = json.loads(child_lines(_several, checkpoint, list(grids[0]), place)[-2])
    report("done", total, total)
    return {
        "checkpoint": {"name": checkpoint, "weights": "untrained"},
        "machine": machine(place),
        "fixed_mib": fixed,
        "sizes": [asdict(size) for size in sizes],
        "persons": {"grid": grids[0], "cpu_seconds": persons},
        "slopes": {
            "seconds_on_voxels": _slope([s.voxels for s in sizes], [s.cpu_seconds for s in sizes]),
            "flop_on_voxels": _slope([s.voxels for s in sizes], [sum(s.flop.values()) for s in sizes]),
            "memory_over_fixed_on_voxels": _slope([s.voxels for s in sizes], [s.peak_mib - fixed for s in sizes]),
            "seconds_on_persons": _slope(list(map(int, persons)), list(persons.values())),
        },
    }


def _slope(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Of the straight line through the logarithms; None where a line has no slope."""
    if len(set(x)) < 2 or min(y) <= 0:
        return None
    return round(float(np.polyfit(np.log(x), np.log(y), 1)[0]), 3)


def untrained(checkpoint: str, grid: Grid, device: str = "cpu") -> Model:
    """A model of a checkpoint's sizes on another grid, fresh from its random start."""
    with _seeded():
        shipped = load_checkpoint(checkpoint, "cpu")
        config = replace(shipped.config.model, image=replace(shipped.config.model.image, grid=grid))
        net = JointModel(config, shipped.model.schema).to(device).eval().requires_grad_(False)
    made = replace(shipped.config, model=config)
    about = (shipped.card, shipped.card_markdown, shipped.digest)
    return Model(Checkpoint(shipped.path, net, made, *about), device)


def _mask(net: JointModel, mask: Tensor, base: Tensor) -> Tensor:
    """A mask, drawn in detail where the model does so: of a volume in one piece, whole, where a person fills about half of it; of an
    atlas its field alone, through which classes are only looked up."""
    config = net.config.detail
    if net.atlas is not None:
        return large.field(net.atlas, mask)
    if config is None or not net.draws_masks or large.pays(base.shape[2:]):
        return net.drawn_mask(mask, base, [0])[0]
    noise = torch.zeros(1, CODE, 1, *(n // CELL for n in base.shape[2:]))
    return net.mask_detail.draw(base, net.mask_scores(mask)[:, :, None], noise, config.mask_steps)


def sample_flop(checkpoint: str, grid: Grid) -> dict[str, int]:
    """FLOP of the networks in a sample's parts, the tiles' halo counted, its row left out; nothing is computed."""
    shipped = load_checkpoint(checkpoint, "cpu")
    config = replace(shipped.config.model, image=replace(shipped.config.model.image, grid=grid))
    with torch.device("meta"):
        net = JointModel(config, shipped.model.schema).eval()
    with torch.device("meta"), torch.inference_mode():
        tokens = config.image.tokens
        state = Joint(
            torch.zeros(1, tokens, config.image.latent),
            torch.zeros(1, *net.codes.shape),
            torch.zeros(1, tokens, net.mask_latent),
        )
        levels = Levels(torch.ones(1), torch.ones(1, net.codes.shape[0]), torch.ones(1))
        steps = Model(shipped).steps
        found = {"sampling": steps * flop_of(lambda: net.velocity_net(state, state, levels))}
        found["decoding"] = flop_of(lambda: net.decode(state.image))
        base = torch.zeros(1, config.image.channels, *grid)
        if config.mask:
            found["mask"] = flop_of(lambda: _mask(net, state.mask, base))
        if config.detail:
            found["detail"] = flop_of(lambda: net.detailed(base, None, [0], DETAIL_STEPS))
    return found


@contextmanager
def _seeded() -> Iterator[None]:
    """Random weights that are the same every time, the caller's generator left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def _draw(checkpoint: str, grid: list[int], device: str) -> None:
    """One sample, or for a short one the least of some, and on stdout what it took."""
    x, y, z = grid
    model = untrained(checkpoint, (x, y, z), device)
    short = math.prod(grid) < SHORT
    found = []
    for run in range(4 if short else 1):
        began = time.process_time()
        request = one_request(model, {}, seed=run, steps=model.steps)
        found.append((time.process_time() - began, request))
    busy, least = min(found[short:], key=lambda pair: pair[0])
    times = {"seconds": least.seconds, "cpu_seconds": busy}
    times |= {"sampling_seconds": least.sampling, "decoding_seconds": least.decoding}
    print(json.dumps({name: round(value, 3) for name, value in times.items()}))


def _several(checkpoint: str, grid: list[int], device: str) -> None:
    """CPU seconds of some persons in one request, on stdout."""
    x, y, z = grid
    model, found = untrained(checkpoint, (x, y, z), device), {}
    model.generate(n=1, seed=0)
    for n in PERSONS:
        least = []
        for _ in range(2):
            began = time.process_time()
            for _person in model.stream(n=n, seed=1):
                pass
            least.append(time.process_time() - began)
        found[str(n)] = round(min(least), 3)
    print(json.dumps(found))
