"""Contrastive training of the feature encoder: two views of a person lie close, views of different persons far apart."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from engine.anatomy.head import HEAD
from engine.anatomy.heart import HEART
from engine.anatomy.torso import TORSO
from engine.cohort.store import CohortStore
from engine.imaging.grid import in_words
from engine.measure.features import FOLDS, FeatureConfig, FeatureEncoder, fold_of, new_folds
from engine.phantom.heart.raster import RASTER as CINE
from engine.phantom.shape.frame import GRID
from engine.training.augment import Augmentation, augment
from engine.training.loop import Limits, Loss, Objective, optimise
from engine.training.run import Progress, RunError, Schedule, Stage, bfloat16_is_fast, step_generator
from engine.training.stages.feature_figures import figures, model_card
from engine.training.stages.segmenter import window_of


@dataclass(frozen=True, kw_only=True)
class Views:
    """How two views of a person differ. Both show a part of ``window`` of each side, in about the same place: cheaper than
    the whole. One is deformed (``augmentation``), the other moved by up to ``shift`` whole voxels and given noise of SD up
    to ``noise``; both vary in gain and gamma. Neither is blurred: blur must be seen."""

    window: float = 0.75
    shift: int = 4
    noise: float = 0.01
    augmentation: Augmentation = field(
        default_factory=lambda: Augmentation(
            mirror=0.0,
            rotation=2.29,
            scale=0.015,
            shift=(3.6, 3.0, 6.48),
            elastic=(0.54, 0.45, 0.97),
        )
    )


@dataclass(frozen=True, kw_only=True)
class FeatureRecipe(Schedule):
    """All that makes an encoder besides the cohort. A step trains one fold on ``batch`` persons, the folds taking turns;
    ``head`` is the width of the projection that is trained along and thrown away. ``bfloat16`` as in the autoencoder's
    training."""

    name: str
    title: str
    encoder: FeatureConfig
    views: Views = field(default_factory=Views)
    steps: int = 1500
    batch: int = 12
    rate: float = 2e-3
    warmup: int = 20
    constant: int = 150
    temperature: float = 0.2
    head: int = 64
    bfloat16: bool = True
    judged: int = 100
    seed: int = 0


def head_features() -> FeatureRecipe:
    """The encoder of T1-weighted heads, for which left and right are the same."""
    views = Views(
        augmentation=Augmentation(rotation=2.86, scale=0.015, shift=(1.44, 1.68, 1.68), elastic=(0.29, 0.34, 0.34))
    )
    config = FeatureConfig(grid=(96, 112, 112), channels=HEAD.channels)
    return FeatureRecipe(name=HEAD.features, title="Features of a head", encoder=config, views=views)


def torso_features() -> FeatureRecipe:
    """The encoder of in-silico torsos, which have a left and a right."""
    config = FeatureConfig(grid=GRID, channels=TORSO.channels)
    return FeatureRecipe(name=TORSO.features, title="Features of a torso", encoder=config)


def heart_features() -> FeatureRecipe:
    """The encoder of in-silico hearts: the phases of a cycle side by side, slices few and thick."""
    views = Views(
        shift=1, augmentation=Augmentation(mirror=0.0, rotation=1.5, scale=0.015, shift=(1.5, 1.5, 1.0), elastic=0.4)
    )
    config = FeatureConfig(grid=CINE.grid, channels=HEART.frames)
    # maps of few slices get wrong bfloat16 gradients on CPUs, as small autoencoders do
    return FeatureRecipe(name=HEART.features, title="Features of a heart", encoder=config, views=views, bfloat16=False)


def two_views(
    volumes: Float[Tensor, "b c i j k"],
    config: Views,
    generator: torch.Generator,
    *,
    spacing: tuple[float, float, float],
) -> tuple[Float[Tensor, "b c x y z"], Float[Tensor, "b c x y z"]]:
    """The deformed and the moved view of each person, every value 0 to 1; x, y, z are those of the window."""
    grid = volumes.shape[2:]
    size = (round(grid[0] * config.window), round(grid[1] * config.window), round(grid[2] * config.window))
    deformed, moved = [], []
    for volume in volumes:
        corner = [int(torch.randint(n - w + 1, (1,), generator=generator)) for n, w in zip(grid, size, strict=True)]
        move = torch.randint(-config.shift, config.shift + 1, (3,), generator=generator).tolist()
        deformed.append(window_of(volume[None], size, (corner[0], corner[1], corner[2])))
        i, j, k = (c + m for c, m in zip(corner, move, strict=True))
        moved.append(window_of(volume[None], size, (i, j, k)))
    first = augment(torch.cat(deformed), config.augmentation, generator, volumes.shape[1], spacing=spacing)
    gain = 1 + torch.randn(len(moved), 1, 1, 1, 1, generator=generator) * config.augmentation.gain
    gamma = torch.exp(torch.randn(len(moved), 1, 1, 1, 1, generator=generator) * config.augmentation.gamma)
    second = torch.cat(moved) ** gamma * gain
    level = torch.rand(len(moved), 1, 1, 1, 1, generator=generator) * config.noise
    return first, (second + torch.randn(second.shape, generator=generator) * level).clamp(0, 1)


def load_scans(store: CohortStore, rows: Int[np.ndarray, " b"]) -> Float[Tensor, "b c x y z"]:
    """Volumes in 0..1."""
    return torch.from_numpy(np.asarray(store.volumes[rows])).float() / 255


def rows_of_folds(store: CohortStore, batch: int) -> list[Int[np.ndarray, " _"]]:
    """The training persons of each fold; raises :class:`RunError` where they are fewer than a batch."""
    train = store.split()["train"]
    fold = np.array([fold_of(str(store.rows[i]["participant_id"])) for i in train])
    rows = [train[fold == f] for f in range(FOLDS)]
    if min(map(len, rows)) < max(2, batch):
        found = " and ".join(str(len(r)) for r in rows)
        raise RunError(f"the folds have {found} training persons, a batch {batch}; lower the batch or add persons")
    return rows


def train_features(
    recipe: FeatureRecipe, store: CohortStore, run_dir: Path, *, minutes: float | None = None, save_every: float = 120.0
) -> Iterator[Progress]:
    """Train on the store's training persons; yields progress and leaves ``run_dir/checkpoint``.

    The loss is NT-Xent (Chen et al. 2020, arXiv 2002.05709, equation 1). The same call again resumes; ``minutes`` limits
    the training of this call. Raises :class:`RunError` for a store of another grid or other channels, or of too few persons.
    """
    if store.grid != recipe.encoder.grid or store.channels != recipe.encoder.channels:
        found = f"{store.grid} of {in_words(store.channels)}"
        wanted = f"{recipe.encoder.grid} of {in_words(recipe.encoder.channels)}"
        raise RunError(f"the store's grid is {found}, the encoder's {wanted}; choose the recipe of its anatomy")
    rows = rows_of_folds(store, recipe.batch)
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    torch.manual_seed(recipe.seed)
    folds = new_folds(recipe.encoder)
    yield from _optimise(recipe, store, rows, folds, run_dir, deadline, save_every)
    # judged and shipped as it is stored: in bfloat16
    folds.load_state_dict({k: v.detach().bfloat16() for k, v in folds.named_parameters()})
    encoder = FeatureEncoder(recipe.name, recipe.encoder, folds.requires_grad_(False).eval(), {})
    whole = replace(recipe.views, window=1.0)
    found = figures(
        encoder, store, lambda v, g: two_views(v, whole, g, spacing=store.spacing), recipe.judged, recipe.seed
    )
    persons = [len(r) for r in rows]
    encoder.card.update(model_card(recipe.name, recipe.title, store, persons, found))
    encoder.save(
        run_dir / "checkpoint", {"recipe": asdict(recipe), "training_persons_by_fold": persons, "figures": found}
    )


def _optimise(
    recipe: FeatureRecipe,
    store: CohortStore,
    rows: list[Int[np.ndarray, " _"]],
    folds: nn.ModuleList,
    run_dir: Path,
    deadline: float | None,
    save_every: float,
) -> Iterator[Progress]:
    """Train the folds, each with a head that is thrown away; ends with the averaged weights in ``folds``."""
    run_dir.mkdir(parents=True, exist_ok=True)
    size = recipe.encoder.size
    heads = nn.ModuleList(
        nn.Sequential(nn.Linear(size, recipe.head), nn.ReLU(), nn.Linear(recipe.head, size)) for _ in folds
    )
    stage = Stage("features", run_dir, nn.ModuleList([folds, heads]))
    stage.load()
    limits = Limits(steps=recipe.steps, deadline=deadline, save_every=save_every, report_every=10)
    yield from optimise(stage, _contrast(recipe, store, rows, folds, heads), recipe.learning_rate, limits)


def _contrast(
    recipe: FeatureRecipe,
    store: CohortStore,
    rows: list[Int[np.ndarray, " _"]],
    folds: nn.ModuleList,
    heads: nn.ModuleList,
) -> Objective:
    """NT-Xent of two views of a batch (arXiv 2002.05709, equation 1), the folds taking turns."""
    from monai.losses.contrastive import ContrastiveLoss

    contrast = ContrastiveLoss(recipe.temperature)
    fast = recipe.bfloat16 and bfloat16_is_fast(torch.device("cpu"))

    def loss(step: int) -> Loss:
        generator, fold = step_generator(recipe.seed, step), step % FOLDS
        pick = torch.randperm(len(rows[fold]), generator=generator)[: recipe.batch].numpy()
        scans = load_scans(store, np.sort(rows[fold][pick]))
        views = two_views(scans, recipe.views, generator, spacing=store.spacing)
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            features = [folds[fold](view) for view in views]
        first, second = (heads[fold](f) for f in features)
        with torch.no_grad():
            # of each moved view, whether its own person's deformed view is the nearest
            found = (features[1] @ features[0].T).argmax(1) == torch.arange(recipe.batch)
        total = contrast(first, second)
        return Loss(total, {"contrast": total, "found": found.float().mean()})

    return loss
