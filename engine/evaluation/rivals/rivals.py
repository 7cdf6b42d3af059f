"""Other generators of tables, fitted on the same rows in an environment of their own, one process each.

Their libraries hold numpy and pandas back, so ``uv`` runs ``rivals_script.py`` beside this file with the versions pinned
there; tables go over as parquet. Real rows lie on disk only while a rival is fitted; what is drawn stays in ``work``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.metrics.table_encoding import Columns, Table, as_columns, present, take
from engine.vocabulary.schema import AttributeSchema, Category

#: conditional GAN and variational autoencoder (Xu et al. 2019), adversarial random forest (Watson et al. 2023), copula
RIVALS = ("ctgan", "tvae", "arf", "copula")
#: those trained in epochs
IN_EPOCHS = ("ctgan", "tvae")
#: fewest complete rows a rival is fitted on
FEWEST_COMPLETE = 50
SCRIPT = Path(__file__).with_name("script.py")


class RivalsUnavailable(EvaluationError):
    """The rivals cannot run on this machine; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A rival's ``table``, an array per modelled column, and what it took.

    It was fitted on ``rows`` complete rows; ``left_out`` had a missing cell. ``versions`` are the libraries'.
    """

    name: str
    table: Columns
    rows: int
    left_out: int
    seconds_fit: float
    seconds_sample: float
    versions: dict[str, str]


def complete_cases(table: Table, schema: AttributeSchema) -> tuple[Columns, int]:
    """The modelled columns of the rows that miss no cell of them, and the number of rows left out."""
    columns = as_columns(table, schema, derived=False)
    whole = np.all([present(cells) for cells in columns.values()], axis=0)
    return take(columns, np.flatnonzero(whole)), int((~whole).sum())


def rivals(
    training: Table,
    schema: AttributeSchema,
    *,
    n: int,
    seed: int,
    work: Path,
    names: Sequence[str] = RIVALS,
    epochs: int = 300,
    progress: Callable[[str], None] | None = None,
) -> Iterator[Rival]:
    """Fit each of ``names`` on the complete rows of ``training`` and draw ``n`` rows from it; yields each when done.

    Only modelled columns are learnt; a number that is whole in every training row comes back rounded. Finished ones
    lie in ``work`` under a hash of rows, n, seed, epochs and script, so that an interrupted run goes on.
    ``progress`` is told one sentence per step.
    Raises :class:`RivalsUnavailable` without uv or where the environment cannot be installed, and
    :class:`EvaluationError` on an unknown name, too few complete rows, a constant column and a fit that fails.
    """
    columns, left_out = _checked(training, schema, n, names, epochs)
    say, rows = progress or (lambda _: None), len(columns[schema.columns[0].name])
    say(f"{rows} complete rows to fit; {left_out} with a missing cell left out")
    work.mkdir(parents=True, exist_ok=True)
    ready = False
    for name in names:
        key = _key(columns, name, n, seed, epochs if name in IN_EPOCHS else 0)
        drawn, report = work / f"{name}-{key}.parquet", work / f"{name}-{key}.json"
        if not report.exists():
            if not ready:
                say("the rivals' environment is made ready, which downloads it the first time")
                _prepare()
                ready = True
            say(f"{name} is fitted")
            _fit(columns, schema, {"name": name, "n": n, "seed": seed, "epochs": epochs}, drawn, report)
        found = json.loads(report.read_text("utf-8"))
        table = _rounded(as_columns(pq.read_table(drawn).to_pydict(), schema, derived=False), columns)
        yield Rival(name=name, table=table, rows=rows, left_out=left_out, **found)


def _checked(
    training: Table, schema: AttributeSchema, n: int, names: Sequence[str], epochs: int
) -> tuple[Columns, int]:
    for name in names:
        if name not in RIVALS:
            raise EvaluationError(f"there is no rival {name!r}: choose from {', '.join(RIVALS)}")
    if n < 1 or epochs < 1:
        raise EvaluationError(f"{n} rows after {epochs} epochs cannot be drawn: give 1 or more of both")
    columns, left_out = complete_cases(training, schema)
    if (rows := len(columns[schema.columns[0].name])) < FEWEST_COMPLETE:
        fault = f"{rows} of {rows + left_out} training rows are complete and rivals refuse missing cells"
        raise EvaluationError(f"{fault}: give {FEWEST_COMPLETE} or more, or leave a sparse column out of the schema")
    for name, cells in columns.items():
        if len(set(cells.tolist())) < 2:
            raise EvaluationError(f"column {name} is {cells[0]!r} in every complete row: leave it out of the schema")
    return columns, left_out


def _key(columns: Columns, name: str, n: int, seed: int, epochs: int) -> str:
    """16 hex digits that change with anything a rival's table depends on."""
    digest = hashlib.sha256(json.dumps([name, n, seed, epochs]).encode() + SCRIPT.read_bytes())
    for column, cells in columns.items():
        digest.update(json.dumps([column, cells.tolist()]).encode())
    return digest.hexdigest()[:16]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The script with ``arguments`` in its own environment, on this interpreter."""
    if (uv := shutil.which("uv")) is None:
        raise RivalsUnavailable("rivals need uv, which is not installed here: install it (docs.astral.sh/uv)")
    command = [uv, "run", "--no-project", "--python", sys.executable, "--script", str(SCRIPT), *arguments]
    # without the last, the engine's modules beside the script would hide libraries of the same name
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONSAFEPATH": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def _prepare() -> None:
    done = _run("versions")
    if done.returncode:
        fault = f"the rivals' environment cannot be installed ({_last(done.stderr)})"
        raise RivalsUnavailable(f"{fault}: go online once, or leave the rivals out")


def _fit(columns: Columns, schema: AttributeSchema, request: dict[str, Any], drawn: Path, report: Path) -> None:
    """Leaves the table in ``drawn`` and then, as the mark that it is whole, what it took in ``report``."""
    with tempfile.TemporaryDirectory(prefix="fitting-", dir=drawn.parent) as folder:
        training, table, taken, asked = (Path(folder) / f for f in ("real.parquet", "table", "report", "request.json"))
        pq.write_table(pa.table({name: cells.tolist() for name, cells in columns.items()}), training)
        categories = [c.name for c in schema.columns if isinstance(c, Category)]
        paths = {"training": str(training), "table": str(table), "report": str(taken)}
        asked.write_text(json.dumps({**request, **paths, "categories": categories}), "utf-8")
        done = _run("fit", str(asked))
        if done.returncode:
            fault = f"{request['name']} failed ({_last(done.stderr)})"
            raise EvaluationError(f"{fault}: leave it out of names, or give more rows")
        os.replace(table, drawn)
        os.replace(taken, report)


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


def _rounded(drawn: Columns, training: Columns) -> Columns:
    """``drawn`` with the numbers rounded that are whole in every training row."""
    whole = {name for name, cells in training.items() if cells.dtype != object and np.all(cells == np.round(cells))}
    return {name: np.round(cells) if name in whole else cells for name, cells in drawn.items()}
