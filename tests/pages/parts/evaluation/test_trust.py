"""How far to trust a measure follows from the lines of the card."""

from __future__ import annotations

import pytest

from pages.components.parts.evaluation.trust import UNEVALUATED, texture_trust, trust_in_words, trust_of

AS = "1.1 (0.8 to 1.7, n = 100); as real"
NOT = "1.59 (1.23 to 2.06, n = 100); differs from real"
TITLES = {"ventricles_ml": "Ventricles", "brain_ml": "Brain", "neck_ml": "Neck"}


@pytest.mark.parametrize(
    ("age", "height", "level", "words"),
    [
        (AS, AS, "good", "follows age and height as in real persons"),
        (AS, NOT, "part", "follows age as in real persons, but follows height 1.6 times as steeply"),
        (NOT, NOT, "poor", "follows age 1.6 times as steeply and height 1.6 times as steeply"),
    ],
)
def test_a_measure_is_trusted_as_far_as_it_follows(age: str, height: str, level: str, words: str):
    slopes = {
        f"brain_ml on {name}: synthetic over real slope": text for name, text in (("age", age), ("height", height))
    }
    found = trust_of({"evaluation": slopes}, TITLES)
    assert (found["brain_ml"].level, found["brain_ml"].words) == (level, words)
    assert found["neck_ml"].level == "unknown"
    assert trust_of({}, TITLES) == {}


def test_of_a_model_without_an_evaluation_one_line_says_so():
    assert trust_in_words(trust_of({}, TITLES), texture_trust({})) == UNEVALUATED
    assert "\n" not in UNEVALUATED
    some = {"evaluation": {"brain_ml on age: synthetic over real slope": AS}}
    assert trust_in_words(trust_of(some, TITLES), texture_trust(some)).splitlines() == [
        "* ● **Brain**: follows age as in real persons (trust).",
        "* ○ Not evaluated: Ventricles, Neck, Fine texture.",
    ]


def test_a_measure_that_moves_although_it_should_stay_is_trusted_in_part():
    lines = {
        "ventricles_ml on age: synthetic over real slope": AS,
        "bmi: change of brain_ml, ventricles_ml that should stay, SD": "0.9 (0.5 to 1.2, n = 12); real 0 (0 to 0); worse than real",
    }
    found = trust_of({"evaluation": lines}, TITLES)["ventricles_ml"]
    assert found.level == "part"
    assert found.words.endswith("but follows a what-if of bmi although it should not")


def test_texture_is_graded_by_radiomics():
    name = "Fréchet distance (radiomics, 8 components)"
    poor = {"evaluation": {name: "96.2 (77.3 to 117, n = 28); real 5.5 (3.75 to 8.91); p = 0.005; worse than real"}}
    assert texture_trust(poor).short == "▲ do not trust"
    assert texture_trust({"evaluation": {name: AS}}).level == "good"
    assert texture_trust({}).level == "unknown"
