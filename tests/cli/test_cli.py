"""The command line: good paths, and every bad input is one sentence, exit code 2 and nothing half-written."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

import engine.cohort.ingest
import engine.evaluation.bench.sampling
import engine.inference.generate
from engine.__main__ import main
from engine.cli.terminal import Meter, cell, sweep
from engine.imaging.dicom import read_series
from engine.inference.generate import Model
from tests.conftest import contents


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# generate


def test_generate_writes_bids(checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "people"
    sets = ["--set", "age=60", "--set", "sex=F", "--set", "bmi=31.50"]
    assert main(["generate", checkpoint, "--n", "2", *sets, "--seed", "5", "--steps", "4", "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert said.out == f"{out}\n"
    assert "2 of 2 persons, 0 s left" in said.err

    model = engine.load(checkpoint)
    people = model.generate(n=2, given={"age": 60, "sex": "F", "bmi": 31.5}, seed=5, steps=4)
    header, *rows = [line.split("\t") for line in (out / "participants.tsv").read_text().splitlines()]
    assert header == ["participant_id", "age", "sex", "height", "weight", "bmi", "ethnicity"]
    for i, (row, person) in enumerate(zip(rows, people, strict=True), 1):
        table = dict(zip(header, row, strict=True))
        assert table["participant_id"] == f"sub-{i:04d}"
        assert (table["age"], table["sex"], table["bmi"]) == ("60", "F", "31.5")
        assert float(table["weight"]) == pytest.approx(31.5 * (float(table["height"]) / 100) ** 2, rel=1e-5)
        image = nib.load(out / f"sub-{i:04d}" / "anat" / f"sub-{i:04d}_T1w.nii.gz")
        np.testing.assert_array_equal(image.affine, model.checkpoint.affine)
        np.testing.assert_array_equal(np.asarray(image.dataobj), person.volume.data)

    about = json.loads((out / "dataset_description.json").read_text())
    (origin,) = about["GeneratedBy"]
    assert origin["Request"]["given"] == {"age": 60, "sex": "F", "bmi": 31.5}
    assert (origin["Request"]["seed"], origin["Request"]["steps"]) == (5, 4)
    assert origin["Checkpoint"] == {"Name": "tiny", "Digest": model.digest}
    assert engine.DISCLAIMER in origin["Description"]
    assert json.loads((out / "participants.json").read_text())["ethnicity"]["Levels"]["Other"] == "Other"


def test_the_same_request_makes_the_same_files(checkpoint: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        argv = ["generate", checkpoint, "--n", "2", "--set", "age=33", "--steps", "2", "--out", str(tmp_path / name)]
        assert main(argv) == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert len(contents(tmp_path / "a")) == 9


def test_generate_writes_dicom(checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["generate", checkpoint, "--set", "age=60", "--seed", "5", "--steps", "2", "--format", "dicom"]
    assert main([*argv, "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out'}\n"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "dataset_description.json", "participants.json", "participants.tsv", "sourcedata",
    ]  # fmt: skip
    files = sorted((tmp_path / "out" / "sourcedata" / "sub-0001" / "T1w").iterdir())
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for file in files:
            archive.write(file, file.name)
    scan = read_series(packed.getvalue()).volume
    model = engine.load(checkpoint)
    (person,) = model.generate(given={"age": 60}, seed=5, steps=2)
    np.testing.assert_allclose(scan.affine, model.checkpoint.affine, atol=1e-6)
    np.testing.assert_allclose(scan.data, person.volume.data, atol=1e-4)
    assert f"({model.digest})".encode() in files[0].read_bytes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--format", "png"], "invalid choice: 'png'"),
        (["--set", "sex=X"], "sex 'X' is unknown here: give one of F, M"),
        (["--set", "age=-3"], "age -3 is not possible here: give a number from 18 to 100 years"),
        (["--set", "age=old"], "age 'old' is not possible"),
        (["--set", "age=nan"], "age 'nan' is not possible"),
        (["--set", "bmi=900"], "bmi 900 is not possible"),
        (["--set", "shoe=44"], "there is no column 'shoe' here: the columns are age, sex"),
        (["--set", "age=40", "--set", "age=50"], "age is set twice"),
        (["--set", "foo"], "'foo' is not NAME=VALUE"),
        (["--set", "=5"], "'=5' is not NAME=VALUE"),
        (["--n", "0"], "n 0"),
        (["--n", "two"], "invalid int value: 'two'"),
        (["--seed", "-1"], "seed -1"),
        (["--steps", "0"], "steps 0"),
        (["--set", "age=40", "--guidance", "99"], "guidance 99.0 is outside 0 to 10"),
        (["--device", "tpu"], "invalid choice: 'tpu'"),
    ],
)
def test_an_impossible_request_is_refused(
    refused: Callable[..., str], checkpoint: str, tmp_path: Path, options: list[str], words: str
) -> None:
    assert words in refused("generate", checkpoint, "--out", tmp_path / "deep" / "out", *options)


def test_a_folder_in_use_is_refused(refused: Callable[..., str], checkpoint: str, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep me")
    assert "exists and is not empty" in refused("generate", checkpoint, "--out", tmp_path / "out")
    assert "exists and is not empty" in refused("generate", checkpoint, "--out", tmp_path / "out" / "mine.txt")


def test_a_full_disk_leaves_nothing(
    refused: Callable[..., str], checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "write_bytes", no_space)
    sentence = refused("generate", checkpoint, "--n", "2", "--steps", "1", "--out", tmp_path / "out")
    assert "the disk is full" in sentence


def test_ctrl_c_leaves_nothing(
    refused: Callable[..., str], checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Model._volume
    calls: list[int] = []

    def interrupted(self: Model, data: np.ndarray, row: dict[str, Any]) -> engine.Volume:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, data, row)

    monkeypatch.setattr(Model, "_volume", interrupted)
    sentence = refused("generate", checkpoint, "--n", "3", "--steps", "1", "--out", tmp_path / "out", code=130)
    assert sentence == "somatwin: stopped"
    assert len(calls) == 2


# the rest


@pytest.mark.slow
def test_bench_measures_and_names_the_machine(checkpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", checkpoint, "--device", "cpu"]) == 0
    said = capsys.readouterr()
    measured = json.loads(said.out)
    assert measured["machine"]["cpu"]
    assert measured["machine"]["cores"] >= 1
    assert measured["machine"]["ram_gib"] > 0
    assert measured["machine"]["torch"]
    assert measured["machine"]["device"] == "cpu"
    assert measured["checkpoint"]["name"] == "tiny"
    assert measured["cold_load_seconds"] > 0
    assert measured["peak_memory_mib"] > 0
    for steps in ("8", "4"):
        result = measured["steps"][steps]
        warm, decode = result["warm_seconds"], result["decode_seconds"]
        assert warm["runs"] == decode["runs"] == 5
        assert 0 < warm["min"] <= warm["median"] <= warm["max"]
        assert 0 <= decode["median"] < warm["max"]
        assert result["ms_per_evaluation"] > 0
        assert result["evaluations"] == int(steps)
    assert "done (12 of 12 requests), 0 s left" in said.err


# the program as a whole


def test_the_cuda_device_is_refused_where_there_is_none(
    refused: Callable[..., str], checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for argv in (["info", checkpoint], ["ingest", tmp_path, tmp_path / "store"], ["bench", checkpoint]):
        assert "device cuda is not available" in refused(*argv, "--device", "cuda")


def test_a_missing_command_is_refused(refused: Callable[..., str]) -> None:
    assert "required: COMMAND (see somatwin --help)" in refused()
    assert "invalid choice: 'paint'" in refused("paint")
    assert "required: --out (see somatwin generate --help)" in refused("generate", "tiny")


def test_an_unexpected_error_shows_where(
    checkpoint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("boom")

    monkeypatch.setattr(engine.inference.generate, "load", broken)
    assert main(["infer", checkpoint]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" in said.err
    assert "ValueError: boom" in said.err


def test_progress_on_a_terminal_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    meter = Meter()
    for i in range(1000):
        meter.show(f"{i} done", 999 - i)
    meter.close()
    assert screen.getvalue().count("\n") == 1
    assert screen.getvalue().endswith("\r\x1b[2K999 done, 0 s left\n")
    assert screen.getvalue().count("\r") < 100


def test_numbers_are_numbers_and_all_else_is_text() -> None:
    cells = [cell(t) for t in ("60", "-3", "61.50", ".5", "1e2", "F", "nan", "inf", "1_0", "0x10", "٣")]
    assert cells == [60, -3, 61.5, 0.5, 100.0, "F", "nan", "inf", "1_0", "0x10", "٣"]
    assert [type(c) for c in cells[:3]] == [int, int, float]


@pytest.mark.parametrize(
    ("text", "values"), [("x=0.00001:0.00003:3", [1e-5, 2e-5, 3e-5]), ("x=0:1:4", [0, 0.3333333333, 0.6666666667, 1])]
)
def test_a_sweep_has_the_values_asked_for(text: str, values: list[float]) -> None:
    assert sweep(text) == ("x", values)


def run_python(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *argv], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("command", ["", "ingest", "phantom", "train", "generate", "info", "bench"])
def test_every_help_needs_no_torch(command: str) -> None:
    code = f"import sys; from engine.__main__ import main; code = main({[*command.split(), '--help']}); "
    done = run_python("-c", code + "sys.exit(code or bool({'torch', 'numpy'} & set(sys.modules)))")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"usage: somatwin {command}".strip() in done.stdout
    if command:
        assert "--device {auto,cpu,cuda}" in done.stdout


def test_python_m_engine_is_the_same_program(tmp_path: Path) -> None:
    done = run_python("-m", "engine", "generate", "tiny", "--set", "age", "--out", str(tmp_path / "out"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "somatwin: argument --set: 'age' is not NAME=VALUE, such as age=60 (see somatwin generate --help)\n"
    )
    assert list(tmp_path.iterdir()) == []
