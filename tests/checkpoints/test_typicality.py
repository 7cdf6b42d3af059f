"""What a model's scans look like: quantiles of a cohort, and which other scans are refused, with the reason."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import engine
from engine.__main__ import main
from engine.checkpoints.files import CheckpointError
from engine.checkpoints.typicality import (
    FEW,
    FILE,
    KINDS,
    MARGIN,
    Fingerprint,
    check,
    chosen,
    figures,
    read_fingerprint,
    write_fingerprint,
)
from engine.cohort.store import CohortStore
from engine.imaging.nifti import load_volume
from engine.imaging.volume import Volume
from engine.inference.generate import RequestError
from engine.inference.intake import admit, intake
from engine.model.joint import JointModel


def people(n: int, seed: int = 0, latent: float = 1.0) -> list[dict[str, float]]:
    rng = np.random.default_rng(seed)
    return [
        {"likeness:T1w": float(rng.normal(0.9, 0.02)), "latent": float(latent * rng.lognormal(0, 0.2))}
        for _ in range(n)
    ]


@pytest.fixture(scope="module")
def fitted(tiny_run: Path, tiny_store: CohortStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint with its fingerprint."""
    folder = Path(shutil.copytree(tiny_run / "checkpoint", tmp_path_factory.mktemp("fitted") / "tiny"))
    write_fingerprint(folder, tiny_store)
    return folder


@pytest.fixture(scope="module")
def ball(tiny_store: CohortStore, fitted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person of the cohort as a file on the model's grid."""
    path = tmp_path_factory.mktemp("scan") / "ball_T1w.nii.gz"
    row = tiny_store.split()["test"][0]
    Volume(tiny_store.volumes[row, 0].astype(np.float32) / 255, tiny_store.affine).save(path)
    return path


@pytest.fixture(scope="module")
def wrong(ball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, white where it was black."""
    path = tmp_path_factory.mktemp("scan") / "wrong_T1w.nii.gz"
    scan = load_volume(ball)
    replace(scan, data=1 - scan.data).save(path)
    return path


# the distribution


def test_quantiles_and_limits_of_a_known_distribution() -> None:
    found = Fingerprint.fit(people(100), people(20, seed=1), "w")
    assert (found.trained, found.held, found.weights) == (100, 20, "w")
    seen = [one["likeness:T1w"] for one in people(100) + people(20, seed=1)]
    spread = found.figures["likeness:T1w"]
    assert [spread.q05, spread.median, spread.q95] == pytest.approx(np.quantile(seen, [0.05, 0.5, 0.95]), abs=1e-4)
    assert spread.high is None
    assert spread.low is not None
    margin = MARGIN * (1 + FEW / 120)
    assert spread.low == pytest.approx(spread.median - margin * (spread.median - spread.q05), abs=1e-3)
    assert found.figures["latent"].low is None


def test_those_trained_on_are_moved_to_where_others_are() -> None:
    """The latent of those trained on is nearer than anybody else's; their correlations stay as they are."""
    found = Fingerprint.fit(people(100, latent=1.0), people(20, seed=1, latent=2.0), "w").figures
    alone = Fingerprint.fit(people(100, latent=1.0), [], "w").figures
    assert found["latent"].median == pytest.approx(2, rel=0.1)
    assert alone["latent"].median == pytest.approx(1, rel=0.1)
    assert found["likeness:T1w"].median == pytest.approx(alone["likeness:T1w"].median, abs=0.01)


def test_few_persons_are_believed_less() -> None:
    many, few = (Fingerprint.fit(people(100)[:n] * (100 // n), [], "w") for n in (100, 10))
    small = Fingerprint.fit(people(100)[:10], [], "w").figures["likeness:T1w"]
    same = few.figures["likeness:T1w"]
    assert many.trained == few.trained
    assert small.low is not None
    assert same.low is not None
    assert small.low < same.low


def test_the_order_of_persons_does_not_matter(tiny_store: CohortStore) -> None:
    one, other = people(60), people(12, seed=1)
    shuffled = Fingerprint.fit(random.Random(0).sample(one, 60), random.Random(1).sample(other, 12), "w")
    assert shuffled == Fingerprint.fit(one, other, "w")
    order = random.Random(2).sample(range(len(tiny_store)), len(tiny_store))
    turned = replace(tiny_store, rows=[tiny_store.rows[i] for i in order])
    names = [
        [store.rows[i]["participant_id"] for i in chosen(store, np.arange(len(store)), 7)]
        for store in (tiny_store, turned)
    ]
    assert names[0] == names[1]
    assert len(names[0]) == 7


def test_json_is_the_identity() -> None:
    found = Fingerprint.fit(people(30), people(5), "w")
    assert Fingerprint.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_reasons_name_value_limit_and_what_may_be_wrong() -> None:
    found = Fingerprint.fit(people(100), [], "w")
    assert found.reasons(people(1)[0]) == []
    (reason,) = found.reasons({"likeness:T1w": -0.213, "latent": 1.0})
    assert reason.startswith("its correlation with the mean T1w scan is -0.21, 0.7")
    assert reason.endswith(" is the least expected (wrong anatomy, orientation or size)")
    assert len(found.reasons({"likeness:T1w": float("nan"), "latent": float("nan")})) == 1


# the figures


def test_the_distance_is_that_of_the_dense_covariance(fitted: Path, tiny_store: CohortStore) -> None:
    net = engine.load(fitted, "cpu").checkpoint.model
    scan = torch.from_numpy(tiny_store.volumes[0].astype(np.float32) / 255)
    loadings = net.image_loadings.flatten(0, 1).double()
    covariance = loadings @ loadings.T + torch.diag(net.image_variance.flatten().double())
    state = net.standardise(net.autoencoder.encode(scan[None])).flatten().double()
    distance = float(state @ torch.linalg.solve(covariance, state) / len(state))
    assert figures(net, scan, ("T1w",))["latent"] == pytest.approx(distance, rel=1e-6)


def test_the_mean_scan_is_like_itself(fitted: Path) -> None:
    net = engine.load(fitted, "cpu").checkpoint.model
    found = figures(net, net.autoencoder.template, ("T1w",))
    assert {name.partition(":")[0] for name in found} == KINDS.keys()
    assert found["likeness:T1w"] == pytest.approx(1)
    assert found["contrast:T1w"] == pytest.approx(1)
    assert found["upright:T1w"] >= 0


def test_every_channel_has_figures_of_its_own(fitted: Path) -> None:
    tiny = engine.load(fitted, "cpu").checkpoint.model
    config = replace(tiny.config, image=replace(tiny.config.image, channels=2))
    net = JointModel(config, tiny.schema)
    scan = torch.rand(net.autoencoder.template.shape, generator=torch.Generator().manual_seed(0))
    scan[:, :8] = 0
    net.autoencoder.template.copy_(scan)
    scan[1] = 1 - scan[1]
    found = figures(net, scan, ("water", "fat"))
    assert len(found) == 2 * 6 + 6 + 1
    assert found["likeness:water"] == pytest.approx(1)
    assert found["likeness:fat"] == pytest.approx(-1)
    assert (found["gap:left"], found["gap:right"]) == (0, 0)
    assert figures(net, net.autoencoder.template, ("water", "fat"))["gap:left"] == 0.25


def test_an_empty_scan_is_refused_without_a_fault(fitted: Path) -> None:
    model = engine.load(fitted, "cpu")
    empty = Volume(np.zeros(model.checkpoint.model.config.image.grid, np.float32), model.checkpoint.affine)
    assert check(model.checkpoint, empty)


# beside a checkpoint


def test_it_lies_beside_the_weights_and_changes_nothing_else(fitted: Path, tiny_run: Path, tiny_store) -> None:
    before, after = engine.load(tiny_run / "checkpoint", "cpu"), engine.load(fitted, "cpu")
    assert before.digest == after.digest
    text = (fitted / FILE).read_text("utf-8")
    assert len(text) < 8000
    assert not any(str(row["participant_id"]) in text for row in tiny_store.rows)
    found = read_fingerprint(after.checkpoint)
    assert found is not None
    split = tiny_store.split()
    assert (found.trained, found.held) == (len(split["train"]), len(split["validation"]))
    assert sorted(p.name for p in fitted.iterdir() if p.name.startswith(".")) == []


def test_everybody_of_the_cohort_is_accepted(fitted: Path, tiny_store: CohortStore) -> None:
    model = engine.load(fitted, "cpu")
    for codes in tiny_store.volumes:
        assert check(model.checkpoint, Volume(codes[0].astype(np.float32) / 255, tiny_store.affine)) == []


def test_without_a_fingerprint_nothing_is_checked(tiny_run: Path, wrong: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_run / "checkpoint", tmp_path / "bare"))
    (folder / FILE).unlink(missing_ok=True)
    volume, warnings = admit(engine.load(folder, "cpu"), wrong)
    assert warnings == []
    assert np.array_equal(volume.data, load_volume(wrong).data)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"version": 1', '"version": 2', "no somatwin-fingerprint of version 1"),
        ('"trained"', '"known"', "cannot be read as a fingerprint"),
        ('"likeness:', '"colour:', "unknown figure colour"),
        ('"q05"', '"q04"', "cannot be read as a fingerprint"),
        ('"q05": ', '"q05": NaN, "was": ', "cannot be read as a fingerprint"),
        ('"likeness:T1w"', '"likeness:T2w"', "has other figures than likeness:T1w"),
        ("{", "", "cannot be read as a fingerprint"),
        ('"weights": "', '"weights": "0', "was made with other weights"),
    ],
)
def test_a_damaged_file_is_one_sentence(fitted: Path, tmp_path: Path, old: str, new: str, words: str) -> None:
    folder = Path(shutil.copytree(fitted, tmp_path / "copy"))
    (folder / FILE).write_text((folder / FILE).read_text("utf-8").replace(old, new, 1), "utf-8")
    model = engine.load(folder, "cpu")
    with pytest.raises(CheckpointError, match=words) as error:
        check(model.checkpoint, model.generate(steps=1)[0].volume)
    assert "\n" not in str(error.value)
    assert "delete it" in str(error.value)


# a scan that comes in


def test_a_refusal_names_reason_and_remedy_and_force_overrides(fitted: Path, ball: Path, wrong: Path) -> None:
    model = engine.load(fitted, "cpu")
    assert admit(model, ball)[1] == []
    with pytest.raises(RequestError) as error:
        admit(model, wrong)
    assert str(error.value).startswith("wrong_T1w.nii.gz does not look like the scans of tiny: its ")
    assert "its correlation with the mean T1w scan is -0." in str(error.value)
    assert str(error.value).endswith("; give such a scan or use --force")
    volume, reasons = admit(model, wrong, force=True)
    assert np.array_equal(volume.data, load_volume(wrong).data)
    assert reasons
    assert all("expected (" in reason for reason in reasons)


def test_a_brain_that_the_field_of_view_cuts_is_refused(fitted: Path, tmp_path: Path) -> None:
    grid = (64, 64, 64)
    radius = np.sqrt(sum(((np.indices(grid)[i] - 31.5) * 4.0) ** 2 for i in range(3)))
    head = Volume(np.where(radius < 80, 900.0, 40.0).astype(np.float32), np.diag([4.0, 4, 4, 1]))
    replace(head, data=np.ascontiguousarray(head.data[:, :, :36])).save(tmp_path / "cut_T1w.nii.gz")
    model = engine.load(fitted, "cpu")
    with pytest.raises(
        RequestError, match=r"its brain is cut off at the top: the outermost slice has \d+% of its widest"
    ):
        intake(model, tmp_path / "cut_T1w.nii.gz", lambda head: head.data > 500)
    _, reasons = admit(model, tmp_path / "cut_T1w.nii.gz", force=True, masker=lambda head: head.data > 500)
    assert "cut off at the top" in reasons[0]


# the command line


def test_infer_refuses_and_is_forced(fitted: Path, ball: Path, wrong: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["infer", str(fitted), str(wrong), "--samples", "4", "--device", "cpu"]
    assert main(command) == 2
    said = capsys.readouterr()
    assert said.out == ""
    sentence = said.err.splitlines()[-1]
    assert sentence.startswith("somatwin: wrong_T1w.nii.gz does not look like the scans of tiny: ")
    assert sentence.endswith("use --force")
    assert main([*command, "--force"]) == 0
    forced = json.loads(capsys.readouterr().out)
    assert any("mean T1w scan" in reason for reason in forced["warnings"])
    assert forced["columns"]["age"]["unit"] == "years"
    assert main(["infer", str(fitted), str(ball), "--samples", "4", "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == []


def test_whatif_refuses_and_is_forced(fitted: Path, wrong: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    command = f"whatif {fitted} {wrong} --set age=60 --steps 2 --device cpu --out {out}".split()
    assert main(command) == 2
    assert "use --force" in capsys.readouterr().err
    assert not out.exists()
    assert main([*command, "--force"]) == 0
    about = json.loads((out / "whatif.json").read_text("utf-8"))
    assert any("mean T1w scan" in reason for reason in about["warnings"])


def test_a_damaged_fingerprint_stops_the_command(fitted: Path, ball: Path, tmp_path: Path, capsys) -> None:
    folder = Path(shutil.copytree(fitted, tmp_path / "copy"))
    (folder / FILE).write_text("{")
    assert main(["infer", str(folder), str(ball), "--device", "cpu"]) == 2
    assert "cannot be read as a fingerprint" in capsys.readouterr().err
