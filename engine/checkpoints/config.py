"""What ``config.json`` of a joint model says: typed, checked once where it is read, one reader for each version.

No network is imported to read it. A file of another version is read by the reader registered for it, or refused with the
reason; a key that nobody knows is refused, for it may change what the weights mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from engine.checkpoints.files import ANATOMY, JOINT, RULER, CheckpointError, sizes_of
from engine.imaging.grid import in_words
from engine.model.config import AutoencoderConfig, DetailConfig, MaskConfig, ModelConfig, TransformerConfig
from engine.vocabulary.schema import AttributeSchema

if TYPE_CHECKING:
    from engine.cohort.preprocess.preprocess import PreprocessConfig

VERSION = 1
#: how far the last row of an affine may be from 0, 0, 0, 1
ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """Everything about a joint model but its weights.

    ``affine`` is the grid's ``ijk_to_ras`` in mm (4 rows of 4), ``channels`` are none for a model of tables, ``preprocess``
    are the settings of :class:`engine.cohort.preprocess.preprocess.PreprocessConfig` by name (none: its cohort was not
    preprocessed), ``provenance`` is whatever the training noted, ``guidance`` the weight that generation uses by default.
    Raises :class:`CheckpointError` for what cannot be true.
    """

    name: str
    title: str
    model: ModelConfig
    schema: AttributeSchema
    affine: tuple[tuple[float, ...], ...]
    channels: tuple[str, ...]
    preprocess: Mapping[str, Any]
    provenance: Mapping[str, Any]
    guidance: float
    weights_sha256: str

    def __post_init__(self) -> None:
        if not self.name or not self.title:
            raise CheckpointError("a checkpoint without name or title cannot be told from others; give it both")
        matrix = np.array(self.affine, float)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < ROUNDING:
            raise CheckpointError(f"affine {self.affine} is no matrix from voxels to mm; give 4 rows of 4 numbers")
        if np.abs(matrix[3] - [0, 0, 0, 1]).max() > ROUNDING:
            raise CheckpointError(f"affine ends in {self.affine[3]}; its last row is 0, 0, 0, 1")
        if len(self.channels) != self.model.image.channels:
            raise CheckpointError(
                f"channels {in_words(self.channels)} are not the {self.model.image.channels} of the networks"
            )
        if not 0 <= self.guidance <= 10:
            raise CheckpointError(f"guidance {self.guidance} is outside 0 to 10; 1 means none")

    @property
    def ijk_to_ras(self) -> Float[np.ndarray, "4 4"]:
        return np.array(self.affine, dtype=np.float64)

    @property
    def preprocessing(self) -> PreprocessConfig | None:
        """How a scan comes onto the model's grid; None where it is resampled where it lies. Raises TypeError or ValueError
        for settings that there are none of."""
        from engine.cohort.preprocess.preprocess import PreprocessConfig  # needs scipy's optimisers: seconds

        settings = _frozen(self.preprocess)
        return PreprocessConfig(**settings) if settings else None

    def to_json(self) -> dict[str, Any]:
        """As ``config.json`` has it; :func:`config_from` is the inverse."""
        return {
            "format": JOINT,
            "version": VERSION,
            "name": self.name,
            "title": self.title,
            "model": sizes_of(self.model),
            "schema": self.schema.to_json(),
            "affine": [list(row) for row in self.affine],
            "channels": list(self.channels),
            "preprocess": dict(self.preprocess),
            "provenance": dict(self.provenance),
            "guidance": self.guidance,
            "weights_sha256": self.weights_sha256,
        }


def config_from(stored: Any, where: str) -> CheckpointConfig:
    """The config in the parsed ``config.json`` of the checkpoint at ``where``.

    Raises :class:`CheckpointError` for another kind or version, for an unknown or missing key, and for an impossible value.
    """
    kind = stored.get("format") if isinstance(stored, dict) else None
    if kind == RULER:
        raise CheckpointError(
            f"{where} is Somatwin's ruler, which measures scans and draws nobody; its card is {where}/model_card.md"
        )
    if kind == ANATOMY:
        raise CheckpointError(
            f"{where} is the torso's learned anatomy, which draws nobody by itself; its card is {where}/model_card.md"
        )
    if kind != JOINT:
        raise CheckpointError(f"{where} is not a Somatwin checkpoint; choose another")
    version = stored.get("version")
    reader = READERS.get((JOINT, version)) if isinstance(version, int) else None
    if reader is None:
        known = ", ".join(str(number) for _, number in READERS)
        raise CheckpointError(f"{where} has checkpoint version {version}, this program reads {known}; update Somatwin")
    try:
        return reader(stored)
    except (CheckpointError, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise CheckpointError(f"{where} cannot be read as a checkpoint ({reason}); restore or replace it") from None


def _version_1(stored: Mapping[str, Any]) -> CheckpointConfig:
    """Of the first version; older files of it have no ``rows``, ``table_rank``, ``mask`` and ``detail`` in ``model``."""
    given = {key: value for key, value in stored.items() if key not in ("format", "version")}
    _check_keys(CheckpointConfig, given, "config.json")
    for key in ("name", "title", "weights_sha256"):
        _check_type(given[key], str, key)
    for key in ("preprocess", "provenance", "schema", "model"):
        _check_type(given[key], dict, key)
    guidance = given["guidance"]
    if isinstance(guidance, bool) or not isinstance(guidance, int | float) or not math.isfinite(guidance):
        raise CheckpointError(f"guidance is {guidance!r}; it is a number")
    return CheckpointConfig(
        **{
            **given,
            "model": _sizes(given["model"]),
            "schema": AttributeSchema.from_json(given["schema"]),
            "affine": tuple(tuple(float(cell) for cell in row) for row in given["affine"]),
            "channels": tuple(str(channel) for channel in given["channels"]),
        }
    )


#: what reads each kind and version of ``config.json``
READERS: dict[tuple[str, int], Callable[[Mapping[str, Any]], CheckpointConfig]] = {(JOINT, 1): _version_1}


def _sizes(stored: Mapping[str, Any]) -> ModelConfig:
    _check_keys(ModelConfig, stored, "model")
    image = _frozen(stored["image"])
    _check_keys(AutoencoderConfig, image, "model.image")
    flow = stored["flow"]
    rows = stored.get("rows")
    for key, part in (("model.flow", flow), ("model.rows", rows or {})):
        _check_keys(TransformerConfig, part, key)
    made = {
        "image": AutoencoderConfig(**image),
        "flow": TransformerConfig(**flow),
        "mask": _mask(stored.get("mask")),
        "detail": _detail(stored.get("detail")),
        "calibrated": tuple(stored.get("calibrated", ())),
    }
    return ModelConfig(**{**stored, **made, "rows": TransformerConfig(**rows) if rows else None})


def _mask(stored: Mapping[str, Any] | None) -> MaskConfig | None:
    if stored is None:
        return None
    _check_keys(MaskConfig, stored, "model.mask")
    return MaskConfig(**{**_frozen(stored), "codes": _codes(stored["codes"])})


def _detail(stored: Mapping[str, Any] | None) -> DetailConfig | None:
    if stored is None:
        return None
    _check_keys(DetailConfig, stored, "model.detail")
    walls = tuple(tuple(str(name) for name in names) for names in stored.get("walls", ()))
    return DetailConfig(**{**_frozen(stored), "codes": _codes(stored.get("codes", ())), "walls": walls})


def _codes(stored: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(code) for code in codes) for codes in stored)


def _frozen(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Stored settings as a dataclass takes them, which checks what they are: JSON's lists are tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}


def _check_keys(kind: type, given: Mapping[str, Any], where: str) -> None:
    """Raises :class:`CheckpointError` unless the keys are fields of the dataclass ``kind``, all that it needs among them."""
    known = {field.name: field.default is MISSING and field.default_factory is MISSING for field in fields(kind)}
    if lacking := [name for name, needed in known.items() if needed and name not in given]:
        raise CheckpointError(f"{where} lacks {', '.join(lacking)}")
    if unknown := [key for key in given if key not in known]:
        raise CheckpointError(f"{where} has the unknown key {', '.join(unknown)}")


def _check_type(value: Any, kind: type, key: str) -> None:
    if not isinstance(value, kind):
        raise CheckpointError(f"{key} is {value!r}, not {'a text' if kind is str else 'an object'}"[:100])
