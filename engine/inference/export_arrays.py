"""Generated persons as tables and arrays: rows in one parquet file, scans in one zarr v3 array, a chunk a person and channel."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from engine.imaging.segmentation import Segmentation
from engine.inference.generate import DISCLAIMER, Model, Person
from engine.storage.ranks import SINGLE, Ranks, shared_directory
from engine.vocabulary.refusal import RequestError


def write_arrays(
    model: Model,
    out: Path,
    people: Iterable[Person],
    *,
    n: int,
    seed: int,
    about: Mapping[str, Any],
    with_mask: bool,
    ranks: Ranks = SINGLE,
) -> Path:
    """The ``n`` persons from ``seed`` on into the new or empty folder ``out``, whole or not at all; returns it.

    ``rows.parquet`` has a row a person (participant_id, seed and the model's columns, missing ones null), ``volumes.zarr`` their scans
    (n, c, x, y, z), float32, intensities 0 to 1, and ``masks.zarr`` their masks (n, x, y, z), uint8, ``with_mask``; channels, affine
    (``ijk_to_ras``, mm) and classes are attributes of the arrays. ``dataset.json`` says what they are (``about``). Of several ``ranks``
    each gives people of its own. Raises :class:`RequestError` when ``out`` is not empty or cannot be written.
    """
    with ranks.together():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise RequestError(f"{out} exists and is not empty; choose another folder or empty it")
    try:
        with shared_directory(out, ranks) as part:
            with ranks.together():
                if ranks.leads and model.has_image:
                    _make(model, part, n, with_mask)
            with ranks.together():
                own = dict(_written(part, seed, people))
            rows = [row for _, row in sorted((i, row) for found in ranks.gathered(own) for i, row in found.items())]
            if ranks.leads:
                _write_rows(model, part, rows)
                (part / "dataset.json").write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", "utf-8")
    except OSError as error:
        what = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise RequestError(
            f"{out} cannot be written ({what}); nothing was kept, choose another folder or free some space"
        ) from None
    return out


def _make(model: Model, folder: Path, n: int, with_mask: bool) -> None:
    """The arrays, nothing in them yet."""
    import zarr

    if n < 1:
        raise RequestError(f"n is {n}; ask for one person or more")
    config, grid = model.checkpoint.config, model.checkpoint.config.model.image.grid
    placed = {"ijk_to_ras": np.asarray(model.checkpoint.affine).tolist(), "disclaimer": DISCLAIMER}
    zarr.create_array(
        folder / "volumes.zarr",
        shape=(n, len(config.channels), *grid),
        chunks=(1, 1, *grid),
        dtype="float32",
        zarr_format=3,
        dimension_names=["person", "channel", "x", "y", "z"],
        attributes={**placed, "channels": list(config.channels)},
    )
    if not with_mask or config.model.mask is None:
        return
    zarr.create_array(
        folder / "masks.zarr",
        shape=(n, *grid),
        chunks=(1, *grid),
        dtype="uint8",
        zarr_format=3,
        dimension_names=["person", "x", "y", "z"],
        attributes={**placed, "classes": list(config.model.mask.classes)},
    )


def _written(folder: Path, seed: int, people: Iterable[Person]) -> Iterable[tuple[int, dict[str, Any]]]:
    """Number from 0 and row of each person, whose scan and mask are put into the arrays."""
    import zarr

    arrays = {name: zarr.open_array(folder / name, mode="r+") for name in _names(folder)}
    for person in people:
        place = person.seed - seed
        if person.scan is not None:
            data = np.asarray(person.scan.data, np.float32)
            arrays["volumes.zarr"][place] = data.reshape(arrays["volumes.zarr"].shape[1:])
        if "masks.zarr" in arrays and isinstance(person.mask, Segmentation):
            arrays["masks.zarr"][place] = person.mask.labels
        yield place, {"participant_id": f"sub-{place + 1:04d}", "seed": person.seed, **person.attributes}


def _names(folder: Path) -> list[str]:
    return [name for name in ("volumes.zarr", "masks.zarr") if (folder / name).is_dir()]


def _write_rows(model: Model, folder: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ["participant_id", "seed", *model.schema.names]
    table = pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})
    pq.write_table(table.replace_schema_metadata({"disclaimer": DISCLAIMER}), folder / "rows.parquet")
