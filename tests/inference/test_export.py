"""Exported persons: whose licence they carry, and the same files for the same request."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import engine
from engine.inference.export import write_people

SENTENCE = "weights and pictures made with them: CC BY-SA 3.0"


def model_of(tiny: Path, provenance: dict[str, Any], card: dict[str, Any]) -> engine.Model:
    """The tiny model with other papers."""
    checkpoint = engine.load(tiny / "tiny", "cpu").checkpoint
    config = replace(checkpoint.config, provenance=provenance)
    return engine.Model(replace(checkpoint, config=config, card={**checkpoint.card, "licence": None, **card}), "cpu")


@pytest.mark.parametrize(
    ("provenance", "card", "licence"),
    [
        ({"licence": "CC BY-SA 3.0"}, {"licence": SENTENCE}, "CC BY-SA 3.0"),
        ({}, {"licence": SENTENCE}, SENTENCE),
        ({}, {}, "unknown"),
    ],
    ids=["the cohort's", "the card's", "none"],
)
def test_the_licence_is_the_cohorts(tiny_checkpoint: Path, tmp_path: Path, provenance: dict, card: dict, licence: str):
    write_people(model_of(tiny_checkpoint, provenance, card), tmp_path / "people", steps=1)
    assert json.loads((tmp_path / "people" / "dataset_description.json").read_text())["License"] == licence


def test_one_request_makes_the_same_files(tiny_checkpoint: Path, tmp_path: Path):
    model = model_of(tiny_checkpoint, {"acknowledgement": "Thanks to the balls"}, {})
    folders = [write_people(model, tmp_path / name, n=2, given={"age": 50}, seed=3, steps=2) for name in "ab"]
    files = [{p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in folders]
    assert files[0] == files[1]
    assert len([name for name in files[0] if name.name.endswith("_T1w.nii.gz")]) == 2
    about = json.loads((folders[0] / "dataset_description.json").read_text())
    assert about["HowToAcknowledge"] == "Thanks to the balls"
