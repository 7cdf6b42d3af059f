"""A segmentation: the class of each voxel; a user's label maps, BIDS NIfTI or DICOM-SEG, on a model's grid.

A label map is codes, and what they mean stands beside it, in a BIDS table (``_dseg.tsv``, index and name), or in the
SEG. Codes become classes by their names, so a file may number them as it likes. What cannot be told is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from scipy.ndimage import label

from engine.imaging.dicom_seg import read_dicom_seg
from engine.imaging.nifti import LABELS, load_volume
from engine.imaging.volume import Volume, VolumeError
from engine.storage.strict_json import text_of
from engine.storage.whole import refusing, write_text

#: ends of the files that :func:`write_segmentation` writes
SUFFIX = "_dseg.nii.gz"
#: what a stored number may be off a whole one, after a file's scale
WHOLE = 1e-3
#: codes a label map may have: float32 holds no greater whole numbers exactly
MOST_CODES = 2**24
#: share of the model's field of view from which on a file covers it
COVERS = 0.8
#: share of a class's volume from which on a piece is another organ, and no islet
PIECE = 0.15
#: folders in which a label map's table is looked for: its own up to a data set's, above ``sub-01/ses-1/anat``
ABOVE = 4
#: classes in a label map of bytes
MOST_CLASSES = 256
#: voxels of a source by which samples are moved, so that the middle between two is always the same one of them
NUDGE = 1e-4


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The class of each voxel.

    Shape: ``labels`` is uint8 (x, y, z), indices into ``classes``, of which the first is the background; ``affine`` is
    (4, 4), voxel index to RAS+ mm. Raises :class:`VolumeError` for any other shape or type, an index beyond the
    classes, and classes that are fewer than two, more than 256, or named twice.
    """

    labels: np.ndarray
    affine: np.ndarray
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.labels.ndim != 3 or self.labels.dtype != np.uint8:
            raise VolumeError(
                f"a segmentation is uint8 with 3 axes, not {self.labels.dtype} of shape {self.labels.shape}; convert it"
            )
        object.__setattr__(self, "affine", Volume(self.labels, self.affine).affine)
        if not 2 <= len(self.classes) <= MOST_CLASSES:
            raise VolumeError(f"{len(self.classes)} classes; a segmentation has the background and 1 to 255 others")
        if len({_plain(name) for name in self.classes}) < len(self.classes):
            raise VolumeError(f"two of the classes {', '.join(self.classes)} have the same name; rename one")
        if (top := int(self.labels.max())) >= len(self.classes):
            raise VolumeError(
                f"a voxel is of class {top}, the last is {len(self.classes) - 1}; give a name for each class"
            )

    def mask(self, name: str) -> Bool[np.ndarray, "x y z"]:
        """Where a class is. Raises :class:`VolumeError` for a name that is no class."""
        if name not in self.classes:
            raise VolumeError(f"{name} is no class of the segmentation; its classes are {', '.join(self.classes)}")
        return self.labels == self.classes.index(name)

    def volumes_ml(self) -> dict[str, float]:
        """Millilitres of each class but the background, 0 where it is nowhere."""
        voxel = abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000
        counts = np.bincount(self.labels.ravel(), minlength=len(self.classes))
        return {name: float(count) * voxel for name, count in zip(self.classes[1:], counts[1:], strict=True)}


def read_segmentation(
    path: str | Path,
    *,
    classes: tuple[str, ...],
    grid: tuple[int, int, int],
    affine: np.ndarray,
    single: Sequence[str] = (),
    aligned: bool = False,
) -> tuple[Segmentation, list[str]]:
    """A label map (NIfTI or DICOM-SEG) as a model's ``classes`` on its ``grid``, and notes on what was done.

    Names are those of a SEG's segments, or of the table beside a NIfTI: ``X_dseg.tsv``, ``X.tsv``, or the one that it
    inherits in BIDS, such as ``dseg.tsv`` up to three folders above; without one, codes are indices into ``classes``.
    Labels come onto the grid by the nearest neighbour. ``single`` are the classes that a person has one of; ``aligned``
    asks for voxels that are the grid's own. Raises :class:`VolumeError` for a file that cannot be read, is not 3D, or
    holds no whole numbers; a label that means no class of the model's; nothing but background, or all else outside the
    grid; and a ``single`` class in two large pieces.
    """
    path = Path(path)
    source, names, table, dicom = _read(path)
    present = _present(source.data, path.name)
    index, notes = _meaning(path.name, present, names, table, classes)
    whole = Volume(index[source.data], source.affine, ("dseg",))
    if not whole.data.any():
        raise VolumeError(f"{path.name} holds nothing but background (0); save the labels of its structures in it")
    if aligned and not _aligned(whole, grid, affine):
        raise VolumeError(
            f"{path.name} does not lie on the model's grid, onto which the scan is moved; edit the mask that the command "
            "segment finds in the scan"
        )
    labels, moved = _on_grid(whole, grid, affine, path.name)
    if not labels.any():
        raise VolumeError(
            f"no labelled voxel of {path.name} lies within the model's field of view; "
            "save it with the affine matrix of the scan that it was drawn on"
        )
    share = _covered(whole, grid, affine, 2 if dicom else 3)
    if share < COVERS:
        notes.append(f"{path.name} covers {share:.0%} of the model's field of view; the rest is taken as background.")
    notes = [*moved, *notes, *_absent(path.name, whole.data, labels, classes)]
    segmentation = Segmentation(labels, np.asarray(affine, np.float64), classes)
    for name in single:
        _refuse_two(segmentation, name, path.name)
    return segmentation, notes


def write_segmentation(segmentation: Segmentation, path: str | Path, *, description: str) -> None:
    """Write ``X_dseg.nii.gz``, and beside it its table ``X_dseg.tsv`` and ``X_dseg.json``, as BIDS has it.

    ``description`` says what it is: "SYNTHETIC - not for diagnosis", say. Each file is whole or not at all, the label
    map last. Raises :class:`VolumeError` for another ending, or a disk that refuses.
    """
    path = Path(path)
    if not path.name.endswith(SUFFIX):
        raise VolumeError(f"{path.name} is no name of a label map; let it end in {SUFFIX}")
    stem = path.name.removesuffix(".nii.gz")
    rows = [f"{index}\t{' '.join(name.split())}" for index, name in enumerate(segmentation.classes)]
    with refusing(path, VolumeError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path.with_name(f"{stem}.tsv"), "\n".join(["index\tname", *rows]) + "\n")
        write_text(path.with_name(f"{stem}.json"), text_of({"Description": description}, indent=2) + "\n")
        Volume(segmentation.labels, segmentation.affine, ("dseg",)).save(path, description)


def _read(path: Path) -> tuple[Volume, Mapping[int, str] | None, str, bool]:
    """Codes, int32; their names where there are some; where the names are from; whether it is a SEG."""
    if _is_dicom(path):
        labels, affine, names = read_dicom_seg(path)
        return Volume(labels.astype(np.int32), affine, ("dseg",)), names, path.name, True
    volume = load_volume(path, LABELS)
    codes = np.rint(volume.data)
    off = np.abs(volume.data - codes) > WHOLE
    if off.any():
        value = float(volume.data[off][0])
        raise VolumeError(f"{path.name} has values such as {value:g}, which are no labels; save it as whole numbers")
    if (low := float(codes.min())) < 0:
        raise VolumeError(f"{path.name} has the value {low:g}, labels are 0 or more; number them from 1")
    if (high := float(codes.max())) >= MOST_CODES:
        raise VolumeError(f"{path.name} has the value {high:.0f}, which is too great for a label; number them from 1")
    table = _table_of(path)
    names = None if table is None else _names(table)
    return Volume(codes.astype(np.int32), volume.affine, ("dseg",)), names, table.name if table else "", False


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False  # the reader of NIfTI says what is wrong


def _table_of(path: Path) -> Path | None:
    """The BIDS table of a label map's codes: its own, else by the inheritance principle the nearest one whose name has no
    entity that the map's does not have, of several in a folder the one with the most. Raises where two have as many."""
    stem = path.name.removesuffix(".gz").rpartition(".")[0]
    beside = [path.with_name(f"{stem}_dseg.tsv"), path.with_name(f"{stem}.tsv")]
    if own := next((table for table in beside if table.is_file()), None):
        return own
    for folder in path.absolute().parents[:ABOVE]:
        tables = [(table.stem.split("_"), table) for table in sorted(folder.glob("*dseg.tsv")) if table.is_file()]
        fits = [(len(words), t) for words, t in tables if words[-1] == "dseg" and {*words[:-1]} <= {*stem.split("_")}]
        most = [table for count, table in fits if count == max(fits)[0]]
        if len(most) > 1:
            raise VolumeError(f"{most[0].name} and {most[1].name} both name the labels of {path.name}; keep one")
        if most:
            return most[0]
    return None


def _names(table: Path) -> dict[int, str]:
    """Name by code. Raises :class:`VolumeError` for what is no table of labels."""
    try:
        lines = [line.split("\t") for line in table.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise VolumeError(f"{table.name} cannot be read as a table ({error}); save it as UTF-8 with tabs") from None
    columns = [column.strip().lower() for column in lines[0]] if lines else []
    if not {"index", "name"} <= set(columns):
        has = ", ".join(columns) or "none"
        raise VolumeError(f"{table.name} has the columns {has}; a table of labels has index and name, parted by tabs")
    if twice := [column for column in ("index", "name") if columns.count(column) > 1]:
        raise VolumeError(f"{table.name} has two columns {twice[0]}; keep one")
    names: dict[int, str] = {}
    for line in lines[1:]:
        cells = dict(zip(columns, line, strict=False))
        text, name = cells.get("index", ""), cells.get("name", "")
        code = text.strip().removesuffix(".0")
        if not code.isdecimal():
            raise VolumeError(f"{table.name} has the index {text!r}, which is no whole number; write 0, 1, 2 and so on")
        if names.setdefault(int(code), name.strip()) != name.strip():
            raise VolumeError(f"{table.name} has two names for the index {code}; keep one")
    return names


def _present(codes: np.ndarray, name: str) -> list[int]:
    """The codes in the map but 0."""
    present = [int(code) for code in np.flatnonzero(np.bincount(codes.ravel())) if code]
    if not present:
        raise VolumeError(f"{name} holds nothing but background (0); save the labels of its structures in it")
    return present


def _meaning(
    name: str, present: Sequence[int], names: Mapping[int, str] | None, table: str, classes: tuple[str, ...]
) -> tuple[UInt8[np.ndarray, " codes"], list[str]]:
    """For each code up to the last present one the index of its class, and notes. Raises for a code that means none."""
    known, notes = ", ".join(classes[1:]), []
    if names is None:
        names = dict(enumerate(classes))
        notes = [f"{name} has no table of names beside it: its labels 1 to {len(classes) - 1} are taken as {known}."]
        if max(present) >= len(classes):
            raise VolumeError(
                f"{name} has the label {max(present)}, the model's classes are 1 to {len(classes) - 1} ({known}); "
                "put a table dseg.tsv with the columns index and name beside it"
            )
    places = {_plain(known_name): index for index, known_name in enumerate(classes)}
    index = np.zeros(max(present) + 1, np.uint8)
    for code in present:
        if code not in names:
            raise VolumeError(f"{name} has the label {code}, which {table} does not list; add its name there")
        if _plain(names[code]) not in places:
            raise VolumeError(
                f"{name} has the label {code} ({names[code]}), which is no class of the model's ({known}); "
                "rename it, or set its voxels to 0"
            )
        index[code] = places[_plain(names[code])]
    if places.get(_plain(names.get(0, "")), 0):
        raise VolumeError(f"{table} names the label 0 {names[0]}, but 0 is the background; number the labels from 1")
    strange = [text for code, text in names.items() if code and _plain(text) not in places]
    if strange:
        some = ", ".join(strange[:3]) + (" ..." if len(strange) > 3 else "")
        notes.append(
            f"{len(strange)} names in {table} are no class of the model's ({some}); none of them is in the map."
        )
    return index, notes


def _plain(name: str) -> str:
    """A name without what people write differently: case, and what parts its words."""
    return " ".join(name.replace("_", " ").replace("-", " ").split()).casefold()


def _on_grid(
    source: Volume, grid: tuple[int, int, int], affine: np.ndarray, name: str
) -> tuple[UInt8[np.ndarray, "x y z"], list[str]]:
    """Labels on another grid by the nearest neighbour; what was done. The same voxels, turned, stay as they are."""
    target = Volume(np.empty(grid, np.uint8), affine)
    turned = source.reoriented(target.axcodes)
    if turned.grid == grid and np.allclose(turned.affine, target.affine, atol=1e-4):
        return np.ascontiguousarray(turned.data), []
    nudge = np.eye(4)
    nudge[:3, 3] = NUDGE
    to_source = np.linalg.inv(turned.affine) @ target.affine
    placed = turned.resampled(grid, turned.affine @ nudge @ to_source, order=0).data
    return placed, [f"{name} was resampled from {_size(turned)} to the model's {_size(target)}, nearest neighbour."]


def _aligned(source: Volume, grid: tuple[int, int, int], affine: np.ndarray) -> bool:
    """Whether each voxel of a file is one of the grid's."""
    turned = source.reoriented(Volume(np.empty(grid, np.uint8), affine).axcodes)
    to_grid = np.linalg.inv(affine) @ turned.affine
    first = np.rint(to_grid[:3, 3])
    same = np.allclose(to_grid[:3, :3], np.eye(3), atol=1e-3) and np.allclose(to_grid[:3, 3], first, atol=0.01)
    return bool(same and first.min() >= 0 and (first + turned.grid <= grid).all())


def _size(volume: Volume) -> str:
    """``96 x 112 x 96 voxels of 2 x 2 x 2 mm``."""
    return f"{' x '.join(map(str, volume.grid))} voxels of {' x '.join(f'{mm:.3g}' for mm in volume.spacing)} mm"


def _covered(source: Volume, grid: tuple[int, int, int], affine: np.ndarray, axes: int) -> float:
    """Share of the grid's voxels within the first ``axes`` axes of a file: a SEG leaves out empty slices, the third."""
    to_source = np.linalg.inv(source.affine) @ affine
    i, j, k = np.ix_(*(np.arange(count) for count in grid))
    inside = np.ones(grid, bool)
    for (x, y, z, start), count in zip(to_source[:axes], source.grid, strict=False):
        place = x * i + y * j + z * k + start
        inside &= (place >= -0.5) & (place <= count - 0.5)
    return float(inside.mean())


def _absent(name: str, whole: np.ndarray, placed: np.ndarray, classes: tuple[str, ...]) -> list[str]:
    """Notes on classes that the file does not have, and on those that lie outside the grid or are too small for it."""
    had, kept = (np.bincount(labels.ravel(), minlength=len(classes)) > 0 for labels in (whole, placed))
    never = [one for one, there in zip(classes[1:], had[1:], strict=True) if not there]
    lost = [one for one, there, still in zip(classes[1:], had[1:], kept[1:], strict=True) if there and not still]
    notes = [f"{name} does not have these classes of the model's: {', '.join(never)}."] if never else []
    if lost:
        notes.append(f"{', '.join(lost)} of {name}: no voxel of the model's grid is of it, too small or out of view.")
    return notes


def _refuse_two(segmentation: Segmentation, name: str, file: str) -> None:
    """Refuse a class in two large pieces where a person has one; a name that is no class is passed over."""
    if name not in segmentation.classes:
        return
    pieces = np.zeros(segmentation.labels.shape, np.int32)
    label(segmentation.mask(name), np.ones((3, 3, 3)), output=pieces)
    sizes = np.sort(np.bincount(pieces.ravel())[1:])[::-1]
    large = sizes[sizes > PIECE * sizes.sum()]
    if len(large) < 2:
        return
    voxel = abs(float(np.linalg.det(segmentation.affine[:3, :3]))) / 1000
    *first, last = [f"{count * voxel:,.0f}" for count in large]
    several = _plain(name) + ("" if name.endswith("s") else "s")
    raise VolumeError(f"{file} shows {len(large)} {several} of {', '.join(first)} and {last} ml; keep one")
