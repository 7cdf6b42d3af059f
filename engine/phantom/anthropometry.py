"""Who the persons of the in-silico torso cohort are: size, composition, organs and surface, from a seed each.

A person is a fixed number of standard normals drawn by a generator of the person's own seed, and the structural model
of :mod:`engine.phantom.composition`. Nothing depends on the batch. The same seed with another BMI is the same person
with the same residuals: the truth for what-ifs.

>>> people = sample_people([1, 2], {"sex": "F", "bmi": 31.0})
>>> people.sex, people.bmi.tolist()
(('F', 'F'), [31.0, 31.0])
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from engine.phantom.composition import RESIDUALS, Values, score, trunk_fat
from engine.phantom.dimensions import dimensions
from engine.phantom.given.conditioning import PUBLIC, PhantomError, condition, refuse_contradictions, solve
from engine.phantom.organ_sizes import organ_sizes
from engine.phantom.regressions import BMIS, ETHNICITIES, LEVELS, SEXES, SMOKING

#: standard normals that only the image shows; a name's place is its place in the seed's draw, so append only
TRAITS = (
    *("diaphragm", "liver_shape", "liver_tilt", "liver_drop", "spleen_place", "spleen_shape", "kidney_drop_r"),
    *("kidney_drop_l", "kidney_tilt", "stomach_fill", "stomach_place", "bladder_fill", "uterus_tilt", "bowel_volume"),
    *("bowel_gas", "colon_loop", "gynoid", "fat_front", "breast_size", "breast_density", "scoliosis", "lordosis"),
    *("kyphosis", "scapula", "arm_spread", "arm_bend", "arm_height", "heart_axis", "heart_place", "aorta_course"),
    *("pelvis_breadth", "ribcage_depth", "ribcage_breadth", "thigh_gap", "head_tilt", "wall_thickness"),
    *("subcut_unevenness", "spare_1", "spare_2", "spare_3", "spare_4"),
)
#: length of a seed's draw: traits from 0 on, residuals from RESIDUAL_START on, room between and behind
SLOTS, RESIDUAL_START = 192, 80
SEED_LIMIT = 2**32

Ranges = Mapping[str, tuple[float, float, str]]
#: what may be given: possible range and unit
RANGES: dict[str, tuple[float, float, str]] = {
    "age": (18, 90, "years"),
    "height": (140, 210, "cm"),
    "bmi": (*BMIS, "kg/m2"),
    "weight": (35, 170, "kg"),
    "waist": (52, 155, "cm"),
    "body_fat": (8, 56, "%"),
    "vat": (0.15, 13, "L"),
    "sat": (0.95, 38, "L"),
    "muscle": (9, 60, "kg"),
    "liver_volume": (600, 4000, "mL"),
    "liver_pdff": (0.2, 42, "%"),
}
#: what is counted in the field of view has other ranges
COUNTED_RANGES: dict[str, tuple[float, float, str]] = {
    "waist": (48, 155, "cm"),
    "vat": (0.05, 14, "L"),
    "sat": (1.5, 60, "L"),
    "muscle": (6, 40, "L"),
    "liver_volume": (500, 4000, "mL"),
}
#: relative disagreement at which height, weight and BMI contradict each other
INCONSISTENT = 0.01

Given = Mapping[str, float | str]


@dataclass(frozen=True, kw_only=True)
class People:
    """A batch of n persons; every tensor float32, shape (n,), on one device.

    ``trunk_fat`` is kg as DXA counts it, ``vat`` and ``trunk_sat`` litres of adipose tissue, ``muscle`` kg of skeletal
    muscle of the whole body (Lee 2000) and ``muscle_residual`` its standard normal score, what the table does not tell.
    Organs are mL (``lungs`` both, breathed out; ``heart`` with blood), ``*_pdff`` and ``body_fat`` %, ``imat`` the
    fraction of the muscle compartment that is fat between muscles. ``dims`` are ANSUR II dimensions in mm
    (:data:`engine.phantom.dimensions.DIMENSIONS`), ``traits`` standard normals (:data:`TRAITS`).
    """

    seeds: tuple[int, ...]
    sex: tuple[str, ...]
    ethnicity: tuple[str, ...]
    smoking: tuple[str, ...]
    age: Float[Tensor, " n"]
    height: Float[Tensor, " n"]
    bmi: Float[Tensor, " n"]
    body_fat: Float[Tensor, " n"]
    trunk_fat: Float[Tensor, " n"]
    vat: Float[Tensor, " n"]
    trunk_sat: Float[Tensor, " n"]
    muscle: Float[Tensor, " n"]
    muscle_residual: Float[Tensor, " n"]
    liver: Float[Tensor, " n"]
    spleen: Float[Tensor, " n"]
    kidney_right: Float[Tensor, " n"]
    kidney_left: Float[Tensor, " n"]
    heart: Float[Tensor, " n"]
    pancreas: Float[Tensor, " n"]
    lungs: Float[Tensor, " n"]
    liver_pdff: Float[Tensor, " n"]
    marrow_pdff: Float[Tensor, " n"]
    muscle_pdff: Float[Tensor, " n"]
    psoas_pdff: Float[Tensor, " n"]
    pancreas_pdff: Float[Tensor, " n"]
    imat: Float[Tensor, " n"]
    waist: Float[Tensor, " n"]
    dims: Mapping[str, Float[Tensor, " n"]]
    traits: Mapping[str, Float[Tensor, " n"]]

    def __len__(self) -> int:
        return len(self.seeds)

    @property
    def male(self) -> Float[Tensor, " n"]:
        """1 where male, else 0."""
        return torch.tensor([float(sex == "M") for sex in self.sex], device=self.age.device)

    @property
    def weight(self) -> Float[Tensor, " n"]:
        """Body mass, kg."""
        return self.bmi * (self.height / 100) ** 2

    def to(self, device: torch.device | str) -> People:
        """The same persons on another device."""
        return self._each(lambda tensor: tensor.to(device), lambda names: names)

    def __getitem__(self, index: slice | list[int]) -> People:
        """Some of the persons."""
        if isinstance(index, slice):
            index = list(range(len(self)))[index]
        return self._each(lambda tensor: tensor[index], lambda names: tuple(names[i] for i in index))

    def _each(self, on_tensor: Any, on_tuple: Any) -> People:
        changed: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                changed[field.name] = on_tensor(value)
            elif isinstance(value, Mapping):
                changed[field.name] = {name: on_tensor(tensor) for name, tensor in value.items()}
            else:
                changed[field.name] = on_tuple(value)
        return replace(self, **changed)


def sample_people(seeds: Sequence[int], given: Given | Sequence[Given] | None = None) -> People:
    """Persons of the population, one for each seed, with what is ``given`` (for all, or one mapping for each).

    Keys: sex, ethnicity, smoking, age (years), height (cm), bmi, weight (kg), waist (cm), body_fat (%), vat (L), sat (L
    of the trunk), muscle (kg of the whole body), liver_volume (mL), liver_pdff (%). They come out exactly; what is
    unknown upstream of them follows the population given them. These are the model's quantities: what a table shall
    show, counted on the label map, is given to :func:`engine.phantom.torsos.make`. Raises :class:`PhantomError` for
    what cannot be.
    """
    drawn = draw(seeds, given)
    values, residuals, _ = solve(drawn.residuals, drawn.fixed)
    for i, one in enumerate(drawn.given):
        refuse_contradictions(one, residuals, values, i)
    return people_of(drawn.seeds, values, residuals, drawn.traits)


@dataclass(frozen=True, eq=False)
class Draw:
    """Persons before the structural model is solved: what is given of each, by the model's names (``fixed`` the same as
    arrays, NaN where free), their residuals conditioned on it, and their traits; arrays of shape (n,)."""

    seeds: tuple[int, ...]
    given: tuple[Mapping[str, float], ...]
    fixed: Values
    residuals: Values
    traits: Values


def draw(seeds: Sequence[int], given: Given | Sequence[Given] | None = None, *, counted: bool = False) -> Draw:
    """Persons of these seeds from the population, given what is ``given`` (as in :func:`sample_people`).

    Where ``counted``, the columns of :data:`engine.phantom.given.counted.COUNTED` are given as the table counts them.
    """
    seeds = tuple(_checked_seed(seed) for seed in seeds)
    if not seeds:
        raise PhantomError("no seeds were given: name one person at least, such as seeds=[0]")
    each = [given or {}] * len(seeds) if given is None or isinstance(given, Mapping) else list(given)
    if len(each) != len(seeds):
        raise PhantomError(f"{len(each)} mappings are given for {len(seeds)} seeds: give one for each, or one for all")
    ranges = RANGES | COUNTED_RANGES if counted else RANGES
    inner = tuple(_checked(one, ranges) for one in each)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    draws = torch.stack(
        [torch.randn(SLOTS, generator=generator, dtype=torch.float64) for generator in generators]
    ).numpy()
    own = {name: draws[:, RESIDUAL_START + j] for j, name in enumerate(RESIDUALS)}
    residuals = condition(own, inner, generators, counted=counted)
    keys = {key for one in inner for key in one}
    fixed = {key: np.array([one.get(key, math.nan) for one in inner]) for key in keys}
    traits = {name: draws[:, j] for j, name in enumerate(TRAITS)}
    return Draw(seeds, inner, fixed, residuals, traits)


def people_of(seeds: tuple[int, ...], values: Values, residuals: Values, traits: Values) -> People:
    """The public face of solved values."""

    def tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        return {name: torch.from_numpy(np.ascontiguousarray(array, np.float32)) for name, array in arrays.items()}

    def names(levels: tuple[str, ...], indices: np.ndarray) -> tuple[str, ...]:
        return tuple(levels[int(i)] for i in indices)

    scalars = {name: values[name] for name in ("age", "height", "bmi", "body_fat", "vat", "trunk_sat", "waist")}
    scalars |= {name: values[name] for name in ("muscle", "liver", "liver_pdff")}
    scalars["trunk_fat"] = trunk_fat(values, score("trunk_sat", values, residuals))
    scalars["muscle_residual"] = score("muscle", values, residuals)
    return People(
        seeds=seeds,
        sex=names(SEXES, values["male"]),
        ethnicity=names(ETHNICITIES, values["ethnicity"]),
        smoking=names(SMOKING, values["smoking"]),
        **tensors(scalars | organ_sizes(values, residuals)),
        dims=tensors(dimensions(values, residuals)),
        traits=tensors(traits),
    )


def _checked_seed(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < SEED_LIMIT:
        raise PhantomError(f"seed {seed!r} is not possible: give a whole number from 0 to {SEED_LIMIT - 1}")
    return int(seed)


def _checked(given: Given, ranges: Ranges) -> dict[str, float]:
    """What is given under the names of the structural model, categories as indices; height, weight, BMI reconciled."""
    found: dict[str, float] = {}
    inner = {public: name for name, public in PUBLIC.items()}
    for key, value in given.items():
        if key in LEVELS:
            if value not in LEVELS[key]:
                raise PhantomError(f"{key} {value!r} is unknown: choose one of {', '.join(LEVELS[key])}")
            found[key] = float(LEVELS[key].index(str(value)))
        elif key in ranges:
            found[inner.get(key, key)] = _number(key, value, ranges)
        else:
            raise PhantomError(f"{key!r} cannot be given: choose among {', '.join((*LEVELS, *ranges))}")
    if "weight" in found and ("height" in found or "bmi" in found):
        weight = found.pop("weight")
        if "height" not in found:
            found["height"] = _number("height", 100 * math.sqrt(weight / found["bmi"]), ranges, f"weight {weight:g}")
        implied = weight / (found["height"] / 100) ** 2
        if abs(implied / found.get("bmi", implied) - 1) > INCONSISTENT:
            parts = f"bmi {found['bmi']:g} contradicts weight {weight:g} at height {found['height']:g}"
            raise PhantomError(f"{parts}: leave one of the three out, or give bmi {implied:.1f}")
        found.setdefault("bmi", _number("bmi", implied, ranges, f"weight {weight:g} at height {found['height']:g}"))
    return found


def _number(key: str, value: Any, ranges: Ranges, cause: str = "") -> float:
    """The value as a float within the key's range."""
    low, high, unit = ranges[key]
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not low <= number <= high:
        why = f" (from {cause})" if cause else ""
        shown = f"{number:.1f}" if cause else repr(value)
        raise PhantomError(f"{key} {shown}{why} is not possible here: give a number from {low:g} to {high:g} {unit}")
    return number
