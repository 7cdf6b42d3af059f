"""Rivals: what is kept, resumed and refused, with the environment's runner faked; and the ranking, by controls."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.metrics.interval import Figure
from engine.evaluation.metrics.table_encoding import TableEncoding
from engine.evaluation.metrics.tabular_ranking import (
    BEST,
    Ranking,
    _figures,
    _ranks,
    bootstrap_rows,
    ranking,
    shuffled_columns,
)
from engine.evaluation.rivals import rivals as r
from engine.vocabulary.schema import AttributeSchema, Category, Derived, Number

SCHEMA = AttributeSchema(
    columns=(
        Number(name="age", unit="y", low=18, high=100),
        Number(name="height", unit="cm", low=120, high=220),
        Number(name="bmi", unit="kg/m2", low=12, high=70),
        Category(name="sex", levels=("F", "M")),
    ),
    derived=(Derived(name="weight", unit="kg", low=20, high=300, scale=1e-4, powers=(("bmi", 1.0), ("height", 2.0))),),
)


def people(n: int, seed: int) -> dict[str, np.ndarray]:
    """Persons of whole years, whose height goes with sex and whose bmi goes with age."""
    rng = np.random.default_rng(seed)
    sex, age = rng.choice(["F", "M"], n).astype(object), rng.integers(20, 80, n).astype(float)
    height, bmi = rng.normal(np.where(sex == "M", 178, 164), 6), rng.normal(18 + 0.2 * age, 2)
    return {"age": age, "height": height, "bmi": bmi, "sex": sex}


class Environment:
    """Stands in for the runner: counts what is asked and draws the training rows in reverse, ages a quarter older."""

    def __init__(self) -> None:
        self.fitted: list[str] = []
        self.prepared = 0
        self.failing: dict[str, str] = {}

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        if arguments[0] == "versions":
            self.prepared += 1
            return self.done(self.failing.get("versions", ""))
        request = json.loads(Path(arguments[1]).read_text("utf-8"))
        if request["name"] in self.failing:
            return self.done(self.failing[request["name"]])
        self.fitted.append(request["name"])
        assert request["categories"] == ["sex"]
        table = pq.read_table(request["training"])
        assert table.column_names == ["age", "height", "bmi", "sex"]
        assert all(column.null_count == 0 for column in table.columns)
        drawn = table.take(list(range(len(table)))[::-1][: request["n"]])
        older = [age + 0.25 for age in drawn["age"].to_pylist()]
        pq.write_table(drawn.set_column(0, "age", [older]), request["table"])
        report = {"seconds_fit": 1.0, "seconds_sample": 0.5, "versions": {"arfpy": "0"}}
        Path(request["report"]).write_text(json.dumps(report), "utf-8")
        return self.done("")

    @staticmethod
    def done(fault: str) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 1 if fault else 0, "", fault)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Environment:
    fake = Environment()
    monkeypatch.setattr(r, "_run", fake)
    return fake


def test_tables_come_back_complete_rounded_and_without_derived_columns(
    environment: Environment, tmp_path: Path
) -> None:
    table = people(60, 0)
    table["bmi"][:4], table["sex"][4] = np.nan, None
    said: list[str] = []
    found = list(r.rivals(table, SCHEMA, n=20, seed=0, work=tmp_path / "work", progress=said.append))
    assert [rival.name for rival in found] == list(r.RIVALS) == environment.fitted
    assert said[0] == "55 complete rows to fit; 5 with a missing cell left out"
    for rival in found:
        assert (rival.rows, rival.left_out, rival.seconds_fit, rival.versions) == (55, 5, 1.0, {"arfpy": "0"})
        assert list(rival.table) == ["age", "height", "bmi", "sex"]
        assert np.array_equal(rival.table["age"], table["age"][::-1][:20])
        assert np.array_equal(rival.table["height"], table["height"][::-1][:20])
        assert rival.table["sex"].tolist() == table["sex"][::-1][:20].tolist()
    kept = sorted(p.suffix for p in (tmp_path / "work").iterdir())
    assert kept == [".json"] * 4 + [".parquet"] * 4


def test_an_interrupted_run_goes_on_where_it_stopped(environment: Environment, tmp_path: Path) -> None:
    table = people(60, 0)

    def run(seed: int = 0, epochs: int = 5, rows: dict[str, np.ndarray] = table) -> list[str]:
        environment.fitted, environment.prepared = [], 0
        assert len(list(r.rivals(rows, SCHEMA, n=20, seed=seed, work=tmp_path, epochs=epochs))) == 4
        return environment.fitted

    started = r.rivals(table, SCHEMA, n=20, seed=0, work=tmp_path, epochs=5)
    assert [next(started).name, next(started).name] == ["ctgan", "tvae"]
    del started
    assert run() == ["arf", "copula"]
    assert run() == []
    assert environment.prepared == 0
    assert run(epochs=6) == ["ctgan", "tvae"]
    assert run(seed=1) == list(r.RIVALS)
    assert run(rows={**table, "age": table["age"] + 1}) == list(r.RIVALS)
    assert environment.prepared == 1


def test_a_fit_that_fails_leaves_nothing_and_says_why(environment: Environment, tmp_path: Path) -> None:
    table = people(60, 0)
    environment.failing["tvae"] = "Traceback\nValueError: too few rows\n"
    run = r.rivals(table, SCHEMA, n=20, seed=0, work=tmp_path)
    next(run)
    with pytest.raises(EvaluationError, match=r"tvae failed \(ValueError: too few rows\): leave it out of names"):
        next(run)
    assert len(list(tmp_path.iterdir())) == 2
    environment.failing.clear()
    assert [rival.name for rival in r.rivals(table, SCHEMA, n=20, seed=0, work=tmp_path)] == list(r.RIVALS)


def test_an_environment_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    offline = Environment()
    offline.failing["versions"] = "warning: slow\nerror: dns error\n"
    monkeypatch.setattr(r, "_run", offline)
    with pytest.raises(r.RivalsUnavailable, match=r"cannot be installed \(error: dns error\): go online once"):
        next(r.rivals(people(60, 0), SCHEMA, n=20, seed=0, work=tmp_path))
    monkeypatch.undo()
    monkeypatch.setattr(r.shutil, "which", lambda _: None)
    with pytest.raises(r.RivalsUnavailable, match="rivals need uv"):
        next(r.rivals(people(60, 0), SCHEMA, n=20, seed=0, work=tmp_path))


def test_the_script_runs_apart_from_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        seen.update(command=command, env=options["env"])
        return Environment.done("")

    monkeypatch.setenv("PYTHONPATH", "somewhere")
    monkeypatch.setattr(r.shutil, "which", lambda _: "uv")
    monkeypatch.setattr(r.subprocess, "run", run)
    r._run("versions")
    assert seen["command"][:3] == ["uv", "run", "--no-project"]
    assert seen["command"][-3:] == ["--script", str(r.SCRIPT), "versions"]
    assert "PYTHONPATH" not in seen["env"]
    assert seen["env"]["PYTHONSAFEPATH"] == "1"
    assert r.SCRIPT.read_text("utf-8").startswith("# /// script")


def test_bad_requests_are_refused_in_a_sentence(environment: Environment, tmp_path: Path) -> None:
    table = people(60, 0)
    sparse = {**table, "bmi": np.where(np.arange(60) < 20, np.nan, table["bmi"])}

    def ask(rows: dict[str, np.ndarray] = table, **options: Any) -> Callable[[], Any]:
        return lambda: next(r.rivals(rows, SCHEMA, **({"n": 5, "seed": 0, "work": tmp_path} | options)))

    for fault, call in {
        "40 of 60 training rows are complete": ask(sparse),
        "no rival 'gan': choose from ctgan, tvae, arf, copula": ask(names=("gan",)),
        "0 rows after 300 epochs": ask(n=0),
        "column sex is 'F' in every complete row": ask({**table, "sex": np.full(60, "F", object)}),
        "bmi is missing in 20 rows of the own table": lambda: ranking_of(table, table, {"own": sparse}),
        "0 candidates and 1 targets": lambda: ranking_of(table, table, {}),
        "a candidate is named bootstrap": lambda: ranking_of(table, table, {"bootstrap": table}),
    }.items():
        with pytest.raises(EvaluationError, match=fault):
            call()
    assert environment.fitted == []


def ranking_of(train: Any, test: Any, candidates: dict[str, Any]) -> Ranking:
    return ranking(train, test, candidates, SCHEMA, ["height"], np.random.default_rng(0))


@pytest.fixture(scope="module")
def standings() -> Ranking:
    rng, train = np.random.default_rng(1), people(200, 1)
    noise = {
        "age": rng.uniform(18, 100, 150),
        "height": rng.uniform(120, 220, 150),
        "bmi": rng.uniform(12, 70, 150),
        "sex": rng.choice(["F", "M"], 150, p=[0.9, 0.1]).astype(object),
    }
    return ranking_of(train, people(160, 2), {"noise": noise, "honest": people(150, 4)})


def test_real_rows_beat_noise_on_every_measure(standings: Ranking) -> None:
    assert standings.n == 150
    names = [s.name for s in standings.standings]
    assert names[:2] == ["honest", "noise"]
    assert set(names[2:]) == {"real", "bootstrap", "shuffled"}
    honest, noise = standings["honest"], standings["noise"]
    assert honest.ranks == dict.fromkeys([*BEST, "utility"], 1.0)
    assert (honest.mean_rank, noise.mean_rank) == (1, 2)


def test_shuffled_columns_lose_associations_and_are_detected(standings: Ranking) -> None:
    honest, shuffled = standings["honest"], standings["shuffled"]
    for measure in ("association", "detection"):
        assert shuffled.figures[measure].low > honest.figures[measure].value
    assert shuffled.figures["wasserstein"].value < 0.25
    assert shuffled.utility["height"].high < honest.utility["height"].low


def test_shuffled_columns_keep_their_margins() -> None:
    train = people(50, 0)
    other = shuffled_columns(train, np.random.default_rng(0))
    assert all(sorted(other[name]) == sorted(train[name]) for name in train)
    assert not np.array_equal(other["age"], train["age"])


def test_unranked_tables_have_figures_and_no_rank(standings: Ranking) -> None:
    for name in ("real", "bootstrap", "shuffled"):
        assert not standings[name].ranked
        assert math.isnan(standings[name].mean_rank)
    real, bootstrap = standings["real"], standings["bootstrap"]
    assert real.figures["detection"].value == pytest.approx(0.5, abs=0.1)
    assert bootstrap.figures["wasserstein"].value < 0.25
    assert bootstrap.utility["height"].value == pytest.approx(real.utility["height"].value, abs=0.15)
    sides = [figure for s in standings.standings for figure in (*s.figures.values(), *s.utility.values())]
    assert all(f.low <= f.value <= f.high for f in sides)


def test_figures_repeat_for_a_seed() -> None:
    real, drawn = people(40, 1), people(40, 2)
    space = TableEncoding.fitted(real, SCHEMA)
    first, second = (_figures(real, drawn, SCHEMA, space, np.random.default_rng(5)) for _ in range(2))
    assert first == second


def test_ties_share_their_rank_and_targets_one_vote() -> None:
    def of(value: float) -> Figure:
        return Figure(value=value, low=value, high=value, n=9)

    figures = {name: dict.fromkeys(BEST, of(value)) for name, value in {"a": 0.4, "b": 0.4, "c": 0.9}.items()}
    utilities = {name: {"x": of(x), "y": of(y)} for name, x, y in (("a", 3, 1), ("b", 2, 2), ("c", 1, 3))}
    ranks = _ranks(figures, utilities)
    assert [ranks[name]["wasserstein"] for name in "abc"] == [1.5, 1.5, 3]
    assert [ranks[name]["detection"] for name in "abc"] == [1.5, 1.5, 3]
    assert [ranks[name]["alpha_precision"] for name in "abc"] == [2.5, 2.5, 1]
    assert [ranks[name]["utility"] for name in "abc"] == [2, 2, 2]


def test_bootstrap_rows_are_training_rows() -> None:
    train = people(50, 0)
    drawn = bootstrap_rows(train, 200, np.random.default_rng(0))
    whole = set(zip(*(cells.tolist() for cells in train.values()), strict=True))
    assert set(zip(*(cells.tolist() for cells in drawn.values()), strict=True)) <= whole
    assert len(drawn["age"]) == 200


@pytest.mark.slow
def test_every_rival_learns_a_table(tmp_path: Path) -> None:
    training = people(200, 0)
    try:
        found = {rival.name: rival for rival in r.rivals(training, SCHEMA, n=150, seed=0, work=tmp_path, epochs=2)}
    except r.RivalsUnavailable as fault:
        pytest.skip(str(fault))
    assert set(found) == set(r.RIVALS)
    for rival in found.values():
        assert {len(cells) for cells in rival.table.values()} == {150}
        assert set(rival.table["sex"].tolist()) <= {"F", "M"}
        assert np.array_equal(rival.table["age"], np.round(rival.table["age"]))
    for name in ("arf", "copula"):
        assert found[name].table["height"].mean() == pytest.approx(training["height"].mean(), abs=4)
        assert np.corrcoef(found[name].table["age"], found[name].table["bmi"])[0, 1] > 0.5
