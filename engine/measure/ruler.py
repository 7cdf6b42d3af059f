"""What every ruler is and can do (:class:`Ruler`), and a ruler on disk, checked when it is read.

A ruler measures scans of one region of the body. Which one is whose: :mod:`engine.measure.shipped`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from engine.anatomy.region import Region
from engine.checkpoints.card import write_card
from engine.checkpoints.files import RULER, CheckpointError, checkpoint_directory, directory
from engine.imaging.volume import Volume
from engine.measure.reference import CohortBand
from engine.measure.segmenter import Segmenter, SegmenterConfig
from engine.storage import strict_json
from engine.storage.whole import file_sha256
from engine.vocabulary.units import written_unit

VERSION = 1
#: the type that a method belongs to; checked calls know typing.Self in dataclasses only
Own = TypeVar("Own")
#: the settings of a ruler
Settings = TypeVar("Settings", bound="RulerSettings")
AnyLearned = TypeVar("AnyLearned", bound="LearnedRuler[Any]")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What was read: ``values`` by measure (NaN where it cannot be seen), ``notes`` are sentences."""

    values: dict[str, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StatedError:
    """The SD of what a ruler reads against its truth on test persons: a share of the value where ``relative``, else in the
    measure's unit."""

    sd: float
    relative: bool

    def of(self, value: float) -> float:
        """The error of a value, in its unit.

        >>> StatedError(sd=0.1, relative=True).of(-30.0)
        3.0
        """
        return self.sd * abs(value) if self.relative else self.sd


@dataclass(frozen=True, kw_only=True, eq=False)
class Classes:
    """What a ruler tells apart in a volume.

    ``framed`` is the volume as the ruler laid it, ``probabilities`` (k, x, y, z) are those of the classes ``names`` on voxels
    of their own with their ``affine``. ``placed``: whether these lie where the volume does, which was not turned first.
    Of a cine they are those of the first phase, and ``later`` those of the phases after it; :meth:`at` chooses one.
    """

    framed: Volume
    probabilities: Float[np.ndarray, "k x y z"]
    affine: Float[np.ndarray, "4 4"]
    names: tuple[str, ...]
    placed: bool
    later: tuple[Float[np.ndarray, "k x y z"], ...] = ()

    @property
    def phases(self) -> int:
        """Phases of a cine; 1 of a still scan."""
        return 1 + len(self.later)

    def at(self, phase: int) -> Classes:
        """What is told apart in one phase, counted from 0."""
        return replace(self, probabilities=(self.probabilities, *self.later)[phase], later=())

    def of(self, chosen: Collection[str]) -> Float[np.ndarray, "x y z"]:
        """The probability of the ``chosen`` classes together, on the voxels of their own."""
        return self.probabilities[[self.names.index(name) for name in chosen]].sum(0)

    def on(self, volume: Volume, chosen: Collection[str]) -> Bool[np.ndarray, "x y z"]:
        """Where the chosen classes together are the likeliest, on the voxels of ``volume``."""
        return Volume(self.of(chosen), self.affine).resampled(volume.grid, volume.affine).data > 0.5

    def labels(self, volume: Volume, groups: Sequence[Collection[str]]) -> UInt8[np.ndarray, "x y z"]:
        """The group (from 1) that the likeliest class of each voxel of ``volume`` belongs to, else 0."""
        group_of = np.zeros(len(self.names), np.uint8)
        for label, group in enumerate(groups, 1):
            group_of[[self.names.index(name) for name in group]] = label
        field = Volume(group_of[self.probabilities.argmax(0)], self.affine)
        return field.resampled(volume.grid, volume.affine, order=0).data


@runtime_checkable
class Ruler(Protocol):
    """Measures scans of one ``region``: load it once, then :meth:`measure` any number of them.

    By measure: ``measures`` its name in words, ``units``, ``definitions`` a sentence, ``errors`` what is stated of how far it
    errs (a measure that is not in it has no stated error). ``cohort`` holds regressions of persons measured with this same
    ruler (aggregates only), ``digest`` the start of the SHA-256 of its weights ("" before it is saved).
    """

    @property
    def region(self) -> Region: ...
    @property
    def measures(self) -> Mapping[str, str]: ...
    @property
    def units(self) -> Mapping[str, str]: ...
    @property
    def definitions(self) -> Mapping[str, str]: ...
    @property
    def errors(self) -> Mapping[str, StatedError]: ...
    @property
    def cohort(self) -> CohortBand: ...
    @property
    def card(self) -> Mapping[str, Any]: ...
    @property
    def digest(self) -> str: ...

    @classmethod
    def load(cls: type[Own], path: str | Path | None = None) -> Own:
        """The shipped ruler, or that in the folder ``path``; raises :class:`CheckpointError` where it cannot be used."""
        ...

    def save(self, path: Path, provenance: Mapping[str, Any]) -> None:
        """Write the ruler, whole or not at all; ``provenance`` says where it comes from and what its figures are."""
        ...

    def examine(self, volume: Volume) -> Reading:
        """Read a scan of any orientation, voxel size and intensity scale.

        Raises :class:`engine.imaging.volume.VolumeError` for a scan of another region, or one that cannot be read.
        """
        ...

    def measure(self, volume: Volume) -> dict[str, float]:
        """The values of :meth:`examine`."""
        ...

    def classes_on(self, volume: Volume) -> Classes:
        """Tell apart what is in a volume; raises as :meth:`examine` does."""
        ...

    def values_of(self, found: Classes) -> dict[str, float]:
        """The values by measure from what was told apart; raises as :meth:`examine` does."""
        ...


@runtime_checkable
class Measured(Protocol):
    """What has ``measures``, each with its name in words, and their ``units``."""

    @property
    def measures(self) -> Mapping[str, str]: ...
    @property
    def units(self) -> Mapping[str, str]: ...


def titles(ruler: Measured) -> dict[str, str]:
    """Each measure in words, with its unit."""
    return {name: f"{words}, {written_unit(ruler.units[name])}" for name, words in ruler.measures.items()}


@runtime_checkable
class Stated(Protocol):
    """What has the stated ``errors`` of its measures."""

    @property
    def errors(self) -> Mapping[str, StatedError]: ...


def stated_error(ruler: Stated, measure: str, value: float) -> float:
    """The stated error of a value in its own unit; NaN where none is stated."""
    error = ruler.errors.get(measure)
    return math.nan if error is None else error.of(value)


@dataclass(frozen=True, eq=False)
class StoredRuler:
    """What :func:`read_ruler` found: the ``config``, the ``weights`` by name, the ``card``, the ``digest`` of the weights."""

    path: Path
    config: dict[str, Any]
    weights: dict[str, Tensor]
    card: dict[str, Any]
    digest: str

    @contextmanager
    def readable(self) -> Iterator[None]:
        """Whatever the block cannot make of the contents becomes a :class:`CheckpointError`."""
        with _sentence(self.path):
            yield


def read_ruler(path: Path, name: str) -> StoredRuler:
    """Read the ruler ``name`` from the folder ``path`` and check that its weights are those it was saved with.

    Raises :class:`CheckpointError` when it is missing, of another kind, or was changed.
    """
    if not (path / "config.json").is_file():
        raise CheckpointError(f"there is no {name} at {path}; restore the folder {name} beside the other checkpoints")
    with _sentence(path):
        stored = strict_json.read(path / "config.json")
        if not isinstance(stored, dict) or stored.get("format") != RULER or stored.get("version") != VERSION:
            raise CheckpointError(f"{path} is not a Somatwin measure of version {VERSION}; restore or replace it")
        if stored.get("name") != name:
            raise CheckpointError(f"{path} holds {stored.get('name')}, not {name}; restore or replace it")
        digest = file_sha256(path / "weights.safetensors")
        if digest != stored["weights_sha256"]:
            raise CheckpointError(f"the weights in {path} are not those it was saved with; restore or replace it")
        weights = load_file(path / "weights.safetensors")
        card = strict_json.read(path / "model_card.json")
    return StoredRuler(path, stored, weights, card, digest[:12])


def write_ruler(path: Path, name: str, about: Mapping[str, Any], net: nn.Module, card: Mapping[str, Any]) -> None:
    """Write a ruler, weights as bfloat16, whole or not at all; ``about`` are its settings and where it comes from.

    Raises :class:`CheckpointError` when the disk refuses.
    """
    with checkpoint_directory(path) as part:
        tensors = {k: v.detach().cpu().bfloat16().contiguous() for k, v in net.named_parameters()}
        save_file(tensors, part / "weights.safetensors")
        digest = file_sha256(part / "weights.safetensors")
        config = {"format": RULER, "version": VERSION, "name": name, **about, "weights_sha256": digest}
        (part / "config.json").write_text(strict_json.text_of(config), "utf-8")
        write_card(part, card)


def fields(part: Mapping[str, Any]) -> dict[str, Any]:
    """Stored settings as a dataclass takes them: JSON's lists are tuples.

    >>> fields({"window": [80, 112], "spacing": 2.0})
    {'window': (80, 112), 'spacing': 2.0}
    """
    return {key: tuple(value) if isinstance(value, list) else value for key, value in part.items()}


@runtime_checkable
class RulerSettings(Protocol):
    """Settings of a ruler, a dataclass, among them its network's sizes."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def segmenter(self) -> SegmenterConfig: ...


@dataclass(frozen=True, kw_only=True)
class RulerKind(Generic[Settings]):
    """What all rulers of a ``region`` have in common: ``classes`` that the network tells apart, by measure a name in words, a unit and
    a sentence, how stored settings become ``settings``, and what the figures of the test persons say of the ``errors``."""

    region: Region
    classes: tuple[str, ...]
    measures: Mapping[str, str]
    units: Mapping[str, str]
    definitions: Mapping[str, str]
    settings: Callable[[Mapping[str, Any]], Settings]
    errors: Callable[[Mapping[str, Any]], dict[str, StatedError]]


@dataclass(frozen=True, eq=False)
class LearnedRuler(Generic[Settings]):
    """A ruler that reads what a network tells apart: load it once with :meth:`load`, then measure any number of scans.

    ``cohort`` holds the regressions of persons measured with this same ruler (aggregates only).
    """

    kind: ClassVar[RulerKind[Any]]

    config: Settings
    segmenter: Segmenter
    cohort: CohortBand
    card: dict[str, Any]
    digest: str = ""
    errors: Mapping[str, StatedError] = field(default_factory=dict)

    @property
    def region(self) -> Region:
        """What it measures."""
        return self.kind.region

    @property
    def measures(self) -> Mapping[str, str]:
        """The measures' names in words."""
        return self.kind.measures

    @property
    def units(self) -> Mapping[str, str]:
        """The unit of each measure."""
        return self.kind.units

    @property
    def definitions(self) -> Mapping[str, str]:
        """A sentence for each measure."""
        return self.kind.definitions

    @classmethod
    def load(cls: type[AnyLearned], path: str | Path | None = None) -> AnyLearned:
        """Read and check a ruler: the shipped one, or the directory ``path``.

        Raises :class:`CheckpointError` when it is missing, of another kind, or was changed.
        """
        kind = cls.kind
        name = kind.region.ruler
        stored = read_ruler(directory() / name if path is None else Path(path), name)
        with stored.readable():
            config = kind.settings(stored.config["measure"])
            if config.segmenter.classes != kind.classes:
                raise CheckpointError(f"{stored.path} tells other classes apart; restore or replace it")
            segmenter = Segmenter(config.segmenter)
            segmenter.load_weights(stored.weights)
            cohort = CohortBand.from_json(stored.config["cohort"])
            errors = kind.errors(stored.config.get("provenance", {}).get("figures", {}))
        return cls(config, segmenter.requires_grad_(False).eval(), cohort, stored.card, stored.digest, errors)

    def save(self, path: Path, provenance: Mapping[str, Any]) -> None:
        """Write the ruler, weights as bfloat16, whole or not at all."""
        about = {"measure": asdict(self.config), "provenance": dict(provenance), "cohort": self.cohort.to_json()}
        write_ruler(path, self.region.ruler, about, self.segmenter, self.card)

    def measure(self, volume: Volume) -> dict[str, float]:
        """The values of :meth:`examine`; raises as it does."""
        return self.examine(volume).values

    def examine(self, volume: Volume) -> Reading:
        """What is read off a scan; each ruler has its own."""
        raise NotImplementedError


@contextmanager
def _sentence(path: Path) -> Iterator[None]:
    try:
        yield
    except CheckpointError:
        raise
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, AttributeError, SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise CheckpointError(f"{path} cannot be read as a measure ({reason}); restore or replace it") from None
