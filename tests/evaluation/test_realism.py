"""Realism in the sections of a report: honest persons are as real, and each fault shows in the figure made for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.evaluation.metrics.realism.discriminator import DiscriminatorConfig
from engine.evaluation.metrics.realism.edges import QUANTILES
from engine.evaluation.metrics.realism.patches import BLOCK
from engine.evaluation.report.parts import Plot, ReportedFigure, Sheet
from engine.evaluation.sections import discriminator
from engine.evaluation.sections.discriminator import discriminator_section
from engine.evaluation.sections.privacy import Sides, patch_figures
from engine.evaluation.sections.realism import realism_parts
from engine.evaluation.subjects.appearance import COARSE, CROP, CROPS, appearance, crops
from engine.evaluation.subjects.people import Gathered, People
from engine.imaging.spectrum import RADII
from tests.evaluation.crowd import MEASURES, gathered

SIDES = ("test", "train", "synthetic")


@pytest.fixture
def seen() -> Gathered:
    """Honest persons of two channels, with spectrum, edges and ribbon; two of the made ones cannot be seen."""
    data, _ = gathered(n=40)
    rng = np.random.default_rng(0)
    for name in SIDES:
        n = len(data[name])
        person = rng.lognormal(0, 0.1, (n, 1, 1))
        data[name].arrays["power"] = person / RADII**2 * rng.lognormal(0, 0.05, (n, 2, len(RADII)))
        data[name].arrays["edges"] = person * rng.lognormal(0, 0.05, (n, 2, len(QUANTILES)))
        data[name].arrays["ribbon"] = np.array([0.4, 1200, 450]) * rng.lognormal(0, 0.1, (n, 3))
    for name in ("power", "edges", "ribbon"):
        data["synthetic"].arrays[name][:2] = np.nan
    return data


def found_in(data: Gathered) -> dict[str, ReportedFigure]:
    parts, missing = realism_parts(data, np.random.default_rng(0))
    assert not missing
    return {part.key: part for part in parts if isinstance(part, ReportedFigure)}


def test_channels_are_called_by_their_names(seen: Gathered) -> None:
    """Where names were gathered they stand in figures, tables and curves; else channels are counted."""
    data = replace(seen, channels=("water", "fat"))
    parts, _ = realism_parts(data, np.random.default_rng(0))
    figures = {part.key: part.name for part in parts if isinstance(part, ReportedFigure)}
    assert figures["edges_95_1"] == "edge sharpness, strongest 5% of voxels, water: made over real"
    assert figures["edges_95_2"] == "edge sharpness, strongest 5% of voxels, fat: made over real"
    (sheet,) = (part for part in parts if isinstance(part, Sheet) and part.columns[0] == "channel")
    (plot,) = (part for part in parts if isinstance(part, Plot) and part.kind == "line")
    assert {row[0] for row in sheet.rows} == {"water", "fat"}
    who = ("real (training beside test)", "synthetic")
    assert set(plot.series) == {f"{one}, {name}" for one in who for name in ("water", "fat")}


def test_honest_persons_are_as_real(seen: Gathered) -> None:
    found = found_in(seen)
    ribbons = {"ribbon_contrast", "ribbon_area", "ribbon_deep"}
    assert {"spectrum", "edges_95_1", "edges_99_2", "d_fat", "d_organ"} | ribbons <= found.keys()
    assert np.mean([reported.verdict == "as real" for reported in found.values()]) > 0.8
    assert found["spectrum"].verdict == "as real"
    assert found["spectrum"].figure.n == 38
    assert found["spectrum"].ceiling.low > found["spectrum"].floor.high
    assert all(reported.note and reported.floor is not None for reported in found.values())


def test_each_fault_shows_in_its_figure(seen: Gathered) -> None:
    made = seen["synthetic"].arrays
    made["power"][:, 1, 9] *= 0.5
    made["edges"][:, 0] *= 0.7
    made["ribbon"][:, 0] *= 0.7
    made["measures"][:, 0] += 2.0
    found = found_in(seen)
    assert found["spectrum"].verdict == "worse than real"
    assert found["spectrum"].figure.value == pytest.approx(0.5, abs=0.08)
    assert found["edges_95_1"].figure.value == pytest.approx(0.7, abs=0.07)
    assert found["ribbon_contrast"].figure.value == pytest.approx(0.7, abs=0.07)
    assert found["d_fat"].figure.low > 0.3
    assert {found[key].verdict for key in ("edges_95_1", "ribbon_contrast", "d_fat")} == {"differs from real"}


def test_the_curve_and_the_sheet_have_every_radius(seen: Gathered) -> None:
    parts, _ = realism_parts(seen, np.random.default_rng(0))
    (plot,) = [part for part in parts if isinstance(part, Plot)]
    (sheet,) = [part for part in parts if isinstance(part, Sheet)]
    assert len(sheet.rows) == 2 * len(RADII)
    assert all(len(curve[1]) == len(RADII) for curve in plot.series.values())
    assert sum(name.startswith("real") for name in plot.series) == 2


def test_what_was_not_gathered_is_no_part_and_too_few_persons_are_said(seen: Gathered) -> None:
    bare, _ = gathered(n=20)
    assert found_in(bare).keys() == {f"d_{measure}" for measure in MEASURES}
    seen["synthetic"].arrays["edges"][5:] = np.nan
    _, missing = realism_parts(seen, np.random.default_rng(0))
    assert missing == ["Edges: 3 persons of a side can be seen: 8 or more are needed."]


def test_a_volume_without_a_body_is_seen_as_nothing() -> None:
    found = appearance(np.zeros((2, 16, 16, 16), np.float32), ("water", "fat"))
    assert found["power"].shape == (2, len(RADII))
    assert found["edges"].shape == (2, len(QUANTILES))
    assert np.isnan(found["power"]).all()


@pytest.mark.parametrize("grid", [(20, 32, 50), (96, 112, 112)])
def test_crops_lie_within_the_grid_and_the_coarse_whole_keeps_the_mean(grid: tuple[int, int, int]) -> None:
    data = np.random.default_rng(0).random((2, *grid), np.float32)
    found = crops(data, 0, 3)
    side = min(CROP, *grid)
    assert found["crops"].shape == (CROPS, 2, side, side, side)
    assert max(found["coarse"].shape[2:]) <= COARSE
    assert found["coarse"].mean() / 255 == pytest.approx(0.5, abs=0.02)
    again, other = crops(data, 0, 3), crops(data, 0, 4)
    assert np.array_equal(found["crops"], again["crops"])
    assert not np.array_equal(found["crops"], other["crops"])


def test_the_classifier_tells_grain_on_crops_and_says_what_was_not_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    small = DiscriminatorConfig(steps=12, batch=8, width=0.0625, rate=1e-2)
    monkeypatch.setattr(
        discriminator, "SEEN", {name: (small, *rest) for name, (_, *rest) in discriminator.SEEN.items()}
    )
    rng = np.random.default_rng(0)
    sides = {}
    for name, n, grain in (("test", 10, 4), ("train", 10, 4), ("synthetic", 20, 60)):
        volumes = (120 + grain * rng.standard_normal((n, 1, 1, 8, 8, 8))).clip(0, 255).astype(np.uint8)
        sides[f"{name}_crops"] = People(ids=("",) * n, rows=({},) * n, arrays={"crops": volumes})
    data = Gathered(sides=sides, measures={}, features=(), about={})
    section = discriminator_section(data, np.random.default_rng(0))
    (told,) = section.figures
    assert told.key == "discriminator_crops"
    assert told.figure.value > 0.8
    assert told.floor.low <= 0.5 <= told.floor.high
    assert len(section.missing) == 1
    assert "gathered without crops" in section.missing[0]


def textures(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.integers(60, 190, (n, 4, 1, BLOCK, BLOCK, BLOCK)).astype(np.uint8)


@pytest.mark.parametrize("copier", [False, True])
def test_the_audit_reports_patches_and_catches_a_copier(copier: bool) -> None:
    rng = np.random.default_rng(1)
    train, holdout = textures(rng, 10), textures(rng, 6)

    def mosaic(n: int) -> np.ndarray:
        return train[rng.integers(10, size=(n, 4)), np.arange(4)]

    arrays = {
        "train": train,
        "holdout": holdout,
        "synthetic": mosaic(8) if copier else textures(rng, 8),
        "replay": train,
        "local": mosaic(8),
    }
    sides = {
        name: People(ids=("",) * len(patches), rows=({},) * len(patches), arrays={"patches": patches})
        for name, patches in arrays.items()
    }
    data = Gathered(sides=sides, measures={}, features=(), about={})
    compared = Sides(*(data[name] for name in ("train", "holdout", "synthetic", "replay")))
    _, schema = gathered(n=10)
    figures, control = patch_figures(data, compared, schema, np.random.default_rng(0))
    assert [reported.key for reported in figures] == ["patches_nearer", "patches_share"]
    assert {reported.verdict for reported in figures} == {"alarm" if copier else "passes"}
    assert [row[3] for row in control] == ["yes"] * 4
    assert patch_figures(gathered_without_patches(data), compared, schema, rng) == ([], [])


def gathered_without_patches(data: Gathered) -> Gathered:
    sides = {name: People(ids=side.ids, rows=side.rows, arrays={}) for name, side in data.sides.items()}
    return Gathered(sides=sides, measures={}, features=(), about={})
