# ruff: noqa: E501
"""What fails is said in plain words, grouped, privacy before all, the worst first; and taken away as files."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from engine.evaluation.report.words import ATTACKS
from pages.components.model_review.failures import GLOSSES, GROUPS, explained, failures
from pages.components.model_review.lead import side_by_side, to_csv
from pages.components.model_review.work import Part, Review, card_review
from pages.components.parts.evaluation.grade import Grade, Span

CLOSENESS = ("closest record is a training person", "nearest-neighbour ratio smaller to training")
CARDS = Path(__file__).parents[3] / "checkpoints"


def shipped(name: str) -> Review:
    return card_review(json.loads((CARDS / name / "model_card.json").read_text("utf-8")))


def review_of(*grades: Grade) -> Review:
    part = Part(key="a", title="A", meaning="", remarks={}, grades=grades)
    return Review(title="of tiny", facts={}, parts=(part,), cohort=None)


@pytest.mark.parametrize("name", ["head-t1", "torso-dixon"])
def test_every_figure_of_the_shipped_cards_is_explained(name: str) -> None:
    grades = [grade for part in shipped(name).parts for grade in part.grades if grade.verdict]
    assert len(grades) > 20
    for grade in grades:
        group, sentence = explained(grade)
        assert group in GROUPS
        assert not sentence.startswith(f"{grade.name}: "), "no gloss fits"
        assert sentence.endswith(".")
        assert not {"autoencoder", "velocity", "radiomics", "encoder"} & set(sentence.lower().replace(".", "").split())


def test_the_worst_privacy_figure_leads_and_says_what_an_attacker_can_do() -> None:
    member = "membership by {}, AUC"
    found = failures(
        review_of(
            Grade(name="Fréchet distance (radiomics, 8 components)", figure=Span(value=90, low=80, high=100), real=Span(value=5, low=4, high=9), verdict="worse than real"),
            Grade(name=member.format("autoencoder error"), figure=Span(value=0.65, low=0.55, high=0.75), verdict="alarm"),
            Grade(name=member.format("velocity loss of the row"), figure=Span(value=0.74, low=0.64, high=0.83), verdict="alarm"),
            Grade(name="alpha-precision", figure=Span(value=0.9), verdict="as real"),
        )
    )  # fmt: skip
    assert [one.group for one in found] == ["Privacy", "Privacy", "Pictures"]
    assert found[0].sentence == (
        "Who holds somebody's row could often tell, by the flow loss of the row, whether they were in training: "
        "right in 74% of pairs (a guess is 50%)."
    )
    assert "could sometimes tell" in found[1].sentence
    assert found[2].sentence == (
        "By texture and brightness the average synthetic scan, or how such scans vary, is unlike real ones: Fréchet distance 90 "
        "(real persons 5); 0 is alike, more is less alike."
    )


def test_no_two_figures_are_given_the_same_sentence() -> None:
    """Each says what it measures: with the same value and verdict the sentences still differ."""
    names = [grade.name for name in ("head-t1", "torso-dixon") for part in shipped(name).parts for grade in part.grades]
    names += [f"membership by {what}, AUC" for what in ATTACKS]
    names += [f"{what}: {kind} (50% is ideal)" for what in ("rows", "scans") for kind in CLOSENESS]
    worse = {
        name: Grade(name=name, figure=Span(value=0.9), real=Span(value=0.5), verdict="alarm")
        for name in dict.fromkeys(names)
    }
    judged = [name for name in worse if "PSNR" not in name and "SSIM" not in name]
    said = {explained(worse[name])[1].replace("80 synthetic", "60 synthetic") for name in judged}
    alike = {re.sub(r"\d+ made pairs", "made pairs", name) for name in judged}
    assert len(said) == len(alike) > 60
    fréchet, kernel = (
        explained(worse[f"{what} (radiomics, 8 components)"])[1]
        for what in ("Fréchet distance", "kernel distance (KID)")
    )
    assert "the average synthetic scan, or how such scans vary, is unlike real ones" in fréchet
    assert "a test over the whole distribution, shape included" in kernel
    assert all("more is less alike" in sentence for sentence in (fréchet, kernel))


def test_each_gloss_is_of_a_known_group_and_a_figure_without_one_keeps_its_name() -> None:
    assert {group for group, _, _ in GLOSSES} == set(GROUPS)
    plain = Grade(name="wobble", figure=Span(value=2.0), unit="mm", real=Span(value=1.0), verdict="worse than real")
    assert explained(plain) == ("Pictures", "wobble: 2 mm (real persons 1).")


def test_figures_are_taken_away_with_their_meaning() -> None:
    review = shipped("head-t1")
    rows = list(csv.DictReader(io.StringIO(to_csv(review).decode("utf-8-sig"))))
    grades = [grade for part in review.parts for grade in part.grades]
    assert [row["figure"] for row in rows] == [grade.name for grade in grades]
    assert rows[0]["figure"] == "autoencoder PSNR, inside the mask", "other programs read the recorded name"
    assert rows[0]["title"] == "Reconstruction PSNR, inside the mask"
    assert [float(row["value"]) for row in rows] == [grade.figure.value for grade in grades]
    assert all(bool(row["meaning"]) == (g.verdict != "" and not g.good) for row, g in zip(rows, grades, strict=True))
    assert {row["notice"] for row in rows} == {"Synthetic. Associations, not causes. Not for diagnosis."}


def test_two_models_stand_side_by_side_by_the_figures_they_share() -> None:
    one = review_of(Grade(name="a", figure=Span(value=1.0), verdict="as real"), Grade(name="b", figure=Span(value=2.0)))
    other = review_of(Grade(name="a", figure=Span(value=3.0), unit="mm", verdict="alarm"))
    table = side_by_side(("x", one), ("y", other))
    assert table.to_dict("index") == {"a": {"x": "1 ●", "y": "3 mm ▲"}}
    assert side_by_side(("x", one), ("y", review_of())).empty
