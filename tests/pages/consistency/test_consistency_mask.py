"""Consistency of a model that knows masks: their volumes against those read off the scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import engine
from engine.imaging.segmentation import Segmentation
from pages.components.parts.mask.asked import asked_table, persons_table
from tests.pages.conftest import ROOT


@pytest.mark.slow
def test_persons_are_measured_beside_their_masks(mask_checkpoints: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(mask_checkpoints))
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=90).run().switch_page("pages/3_Consistency.py").run()
    app.number_input(key="consistency.n").set_value(3)
    app.number_input(key="consistency.steps").set_value(2).run()
    next(button for button in app.button if button.label == "Sample and measure").click().run()
    assert not app.exception
    table = app.table[-1].value
    assert "Brain" in table.index
    assert table.loc["Brain", "persons"] == "3"
    (points,) = app.session_state["consistency"].measured.values()
    model = engine.load(mask_checkpoints / "masked")
    given = {"age": points[0]["requested"]}
    (person,) = model.generate(seed=points[0]["seed"], steps=2, given=given, with_mask=True)
    assert person.mask is not None
    assert points[0]["brain (mask, ml)"] == person.mask.volumes_ml()["brain"]


def test_only_regions_that_both_know_have_rows():
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[0], labels[1] = 1, 2
    mask = Segmentation(labels, np.diag([10.0, 10, 10, 1]), ("background", "liver", "tail", "spleen"))
    read = {"background": 1.0, "liver": 20.0, "heart": 4.0, "spleen": 0.0}
    titles = {"liver": "Liver", "tail": "Tail", "spleen": "Spleen"}
    table = asked_table([mask], [read], titles, ["Person 1"])
    assert list(table.index) == ["Liver"]
    assert list(table.loc["Liver"]) == ["16.0", "20.0", "+4.0 (+25 %)"]
    points = [
        {"liver (mask, ml)": 16.0, "liver (scan, ml)": 20.0},
        {"liver (mask, ml)": 16.0, "liver (scan, ml)": 18.0},
    ]
    assert list(persons_table(points, titles).loc["Liver"]) == ["2", "16.0", "19.0", "+3.0 (+19 %) ± 1.4"]
