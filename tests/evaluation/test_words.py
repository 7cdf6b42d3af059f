# ruff: noqa: E501 - a figure a line
"""Every figure that a report records has a title in the field's terms and a gloss, on its page and in the HTML report."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from engine.evaluation.report.page import page
from engine.evaluation.report.words import described, glosses, plot_in_words, sheet_in_words

CARDS = Path(__file__).parents[2] / "checkpoints"


@pytest.mark.parametrize("name", ["head-t1", "torso-dixon"])
def test_every_figure_of_the_shipped_cards_has_a_title_and_a_gloss(name: str) -> None:
    card = json.loads((CARDS / name / "model_card.json").read_text("utf-8"))
    names = [figure for figure in card["evaluation"] if figure != "how"]
    found = {figure: described(figure) for figure in names}
    assert [figure for figure, one in found.items() if not one.term or not one.gloss.endswith(".")] == []
    assert [one.title for one in found.values() if re.search(r"_|autoencoder|\bmade\b|\blearnt\b", one.title)] == []
    assert len({one.title for one in found.values()}) == len(names), "no two figures are called the same"


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("autoencoder PSNR, whole volume", "Reconstruction PSNR, whole volume"),
        ("Fréchet distance (radiomics, 8 components)", "Fréchet distance (radiomics)"),
        ("kernel distance (KID) (contrastive encoder, 8 components)", "Kernel distance (KID, learned features)"),
        ("liver_pdff on bmi: synthetic over real slope", "Liver fat fraction on BMI: slope, synthetic over real"),
        ("edge sharpness, strongest 2% of voxels, channel 1: made over real", "Edge sharpness, steepest 2% of voxels, water: synthetic over real"),
        ("edge sharpness, strongest 2% of voxels, fat: made over real", "Edge sharpness, steepest 2% of voxels, fat: synthetic over real"),
        ("bmi: change of brain_ml, ventricles_ml that should stay, SD", "What-if of BMI: change of brain, ventricles, which should stay, SD"),
        ("membership by autoencoder error, AUC", "Membership inference by reconstruction error of the scan, AUC"),
        ("scans: closest record is a training person (50% is ideal)", "Scans: closest record is a training person"),
        ("AUC of telling made from real: whole scans", "Discriminator AUC, whole scans"),
        ("a new figure", "a new figure"),
    ],
)  # fmt: skip
def test_a_recorded_name_is_told_in_the_terms_of_the_field(name: str, title: str) -> None:
    assert described(name).title == title


def test_each_distance_says_what_it_measures_and_what_a_high_value_means() -> None:
    found = glosses([f"{name} (radiomics, 8 components)" for name in ("Fréchet distance", "kernel distance (KID)")])
    assert list(found) == ["Fréchet distance", "Kernel distance (KID)"]
    assert "mean and covariance" in found["Fréchet distance"]
    assert "whole distributions" in found["Kernel distance (KID)"]
    assert all("High: " in gloss for gloss in found.values())


def test_tables_and_plots_are_told_in_words() -> None:
    sheet = {"title": "Measured", "columns": ["measure", "attribute", "bmi: reading error"], "rows": [["sat", "liver_pdff", 1.0]], "note": ""}  # fmt: skip
    found = sheet_in_words(sheet)
    assert found["columns"] == ["measure", "attribute", "BMI: reading error"]
    assert found["rows"] == [["Subcutaneous fat", "Liver PDFF", 1.0]]
    series = {"rows": [[0.1]], "labels": ["difference"], "rows_labels": ["F under 40 years, BMI under 25"]}
    plot = plot_in_words({"title": "Share", "kind": "heat", "x": "", "y": "", "series": series, "note": ""})
    assert plot["series"]["rows_labels"] == ["Female under 40 years, BMI under 25"]
    assert plot["y"] == "group"
    lines = {"title": "Requested and read bmi", "kind": "line", "x": "requested bmi (kg/m²)", "y": "read", "series": {}}
    assert plot_in_words({**lines, "note": None})["x"] == "requested BMI (kg/m²)"


def test_the_html_report_names_figures_as_the_page_does() -> None:
    name = "brain_ml on age: synthetic over real slope"
    figure = {"value": 0.5, "low": 0.2, "high": 0.9, "n": 60}
    entry = {"key": "s", "name": name, "figure": figure, "unit": "", "floor": None, "ceiling": None, "target": 1.0, "p": None, "verdict": "differs from real", "note": ""}  # fmt: skip
    section = {"key": "c", "title": "Coherence", "meaning": "", "method": "", "entries": [entry], "sheets": [], "plots": [], "missing": []}  # fmt: skip
    found = {
        "kind": "evaluate",
        "checkpoint": {"name": "head", "digest": "abc", "weights_sha256": "0" * 64},
        "disclaimer": "Synthetic.",
        "trained_on": "nobody",
        "store": {"source": "s", "train": 1, "validation": 1, "test": 1},
        "sampling": {"n": 1, "seed": 0, "steps": 1},
        "extractors": {},
        "licence": "CC0",
        "sections": [section],
    }
    text = page(found).rpartition("</script></head>")[2]
    assert "Brain on age: slope, synthetic over real" in text
    assert "How steeply a measure changes with an attribute" in text
    assert name not in text
    heads = re.findall(r"<th>([^<]*)</th>", text[text.index("Method") :])
    assert heads[:3] == ["figure", "verdict", "this model"]
