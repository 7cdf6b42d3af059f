"""What-ifs of in-silico persons against the truth: the same person of the phantom, computed with the other BMI."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import binary_dilation

from engine.anatomy.torso import TORSO
from engine.evaluation.bench.sampling import machine
from engine.evaluation.metrics.interval import bootstrap
from engine.imaging.volume import Volume, centred_affine
from engine.inference.counterfactual import counterfactual
from engine.inference.generate import load
from engine.measure.shipped import load_ruler
from engine.phantom.anthropometry import sample_people
from engine.phantom.cohort import person_seeds
from engine.phantom.shape.frame import SPACING
from engine.phantom.tissue import codes
from engine.phantom.torsos import PhantomPerson, make
from engine.vocabulary.refusal import RequestError

#: the cohort's seed of the persons judged; a model trained on it would have seen them
COHORT = 3999
#: what is known of a person when the BMI is changed, and held; everything else follows
HELD = ("age", "sex", "height", "ethnicity", "smoking")
#: change of BMI, in kg/m2: at least and at most, either way; and where it may lead
CHANGE, POSSIBLE = (4.0, 10.0), (18.0, 45.0)
#: measures that a BMI moves, and those compared
MEASURED = ("sat", "vat", "muscle", "liver_volume")
#: groups of labels whose place is compared
BONES = {"spine": "vertebrae", "ribs": "ribs_and_sternum", "pelvis": "pelvis"}
#: voxels either way in which a bone is sought
REACH = 2


def benchmark_whatif(
    checkpoint: str | Path,
    *,
    persons: int = 100,
    steps: int = 32,
    seed: int = 0,
    device: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Measure the counterfactuals of ``persons`` unseen in-silico torsos; the result is ready for JSON.

    Each is asked for a BMI that is 4 to 10 higher or lower. Truth: the phantom of the same seed, age, sex, height,
    ethnicity and smoking with that BMI. ``moved``: how much of the truth's change the counterfactual shows. Relative errors
    of the counterfactual's measures against the truth's, both by measure-torso, beside those of leaving the scan as it is;
    how far each bone lies off the truth, in voxels; and the PSNR of a null intervention beside the autoencoder's. Raises
    :class:`RequestError` for a model of another anatomy.
    """
    model, ruler = load(checkpoint, device), load_ruler(TORSO)
    if model.checkpoint.config.channels != TORSO.channels:
        raise RequestError(f"{model.name} makes no torsos; give a model of in-silico torsos")
    if persons < 4:
        raise RequestError(f"{persons} persons tell nothing; give 4 or more")
    rng, rows, moves = np.random.default_rng(seed), [], []
    for done, one in enumerate(person_seeds(COHORT, persons), 1):
        before, after, bmi = pair(one, rng)
        scan = volume_of(before)
        factual = {name: before.row[name] for name in (*HELD, "bmi") if name in model.schema.names}
        found = counterfactual(model, scan, factual=factual, intervention={"bmi": bmi}, steps=steps)
        goal = volume_of(after)
        there, truth, same, start = (ruler.measure(v) for v in (found.volume, goal, found.null, scan))
        moves.append([(there[m] - same[m], truth[m] - start[m]) for m in MEASURED])
        rows.append(
            {
                **{f"{m}": abs(there[m] / truth[m] - 1) for m in MEASURED},
                **{f"{m} unchanged": abs(same[m] / truth[m] - 1) for m in MEASURED},
                **{
                    f"{name} off": bone_offset(found.volume, goal, np.isin(after.labels, codes(group)))
                    for name, group in BONES.items()
                },
                "psnr_autoencoder": found.autoencoder_psnr,
                "psnr_null": found.null_psnr,
            }
        )
        if progress:
            progress("what-ifs", done, persons)
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    everyone = np.arange(persons)
    pairs = dict(zip(MEASURED, np.array(moves).transpose(1, 2, 0), strict=True))
    return {
        "checkpoint": {"name": model.name, "digest": model.digest},
        "machine": machine(model.device),
        "persons": persons,
        "steps": steps,
        "moved": {
            m: asdict(
                bootstrap(lambda i, both=both: _share(both[0][i], both[1][i]), everyone, np.random.default_rng(0))
            )
            for m, both in pairs.items()
        },
        "median": {
            name: asdict(bootstrap(lambda i, v=values: float(np.median(v[i])), everyone, np.random.default_rng(0)))
            for name, values in columns.items()
        },
        "p95": {name: round(float(np.quantile(values, 0.95)), 4) for name, values in columns.items()},
    }


def _share(moved: Float[np.ndarray, " n"], wanted: Float[np.ndarray, " n"]) -> float:
    """How much of what was wanted moved, over all persons; the other way counts against it."""
    return float((moved * np.sign(wanted)).sum() / np.abs(wanted).sum())


def pair(seed: int, rng: np.random.Generator) -> tuple[PhantomPerson, PhantomPerson, float]:
    """A person and the same one of another BMI, and that BMI."""
    people = sample_people([seed])
    roots = {
        "age": float(people.age[0]),
        "sex": people.sex[0],
        "height": float(people.height[0]),
        "ethnicity": people.ethnicity[0],
        "smoking": people.smoking[0],
    }
    here = float(np.clip(float(people.bmi[0]), POSSIBLE[0], POSSIBLE[1]))
    change = rng.uniform(*CHANGE) * rng.choice((-1, 1))
    bmi = here + change if POSSIBLE[0] <= here + change <= POSSIBLE[1] else here - change
    bmi = round(float(np.clip(bmi, *POSSIBLE)), 2)
    (before,), (after,) = make([seed], {**roots, "bmi": here}), make([seed], {**roots, "bmi": bmi})
    return before, after, bmi


def volume_of(person: PhantomPerson) -> Volume:
    """The scan, intensities 0 to 1."""
    return Volume(person.images.astype(np.float32) / 255, centred_affine(person.labels.shape, SPACING), TORSO.channels)


def bone_offset(one: Volume, other: Volume, bone: Bool[np.ndarray, "x y z"]) -> float:
    """How many voxels ``one`` has to be moved for its voxels about the ``bone`` of ``other`` to fit those best.

    The least mean squared difference over whole moves of up to :data:`REACH` along each axis, refined along each by a
    parabola. 0 where there is no bone.
    """
    near = binary_dilation(bone, iterations=2)
    for axis in range(3):  # what would come in from outside the grid is not compared
        edge = np.moveaxis(near, axis, 0)
        edge[:REACH] = edge[-REACH:] = False
    x, y, z = np.nonzero(near)
    if not len(x):
        return 0.0
    wanted, moves = other.data[:, x, y, z], range(-REACH, REACH + 1)
    found = [np.square(one.data[:, x + i, y + j, z + k] - wanted).mean() for i, j, k in product(moves, repeat=3)]
    cost = np.array(found).reshape((len(moves),) * 3)
    best = np.unravel_index(int(cost.argmin()), cost.shape)
    return float(np.linalg.norm([best[axis] - REACH + _refined(cost, best, axis) for axis in range(3)]))


def _refined(cost: Float[np.ndarray, "m m m"], best: tuple[Any, ...], axis: int) -> float:
    """Where between its neighbours the parabola through the least cost has its bottom, in voxels."""
    line = np.moveaxis(cost, axis, 0)[(slice(None), *(b for i, b in enumerate(best) if i != axis))]
    at = best[axis]
    if not 0 < at < len(line) - 1:
        return 0.0
    left, middle, right = line[at - 1 : at + 2]
    bend = left - 2 * middle + right
    return float(0.5 * (left - right) / bend) if bend > 0 else 0.0
