"""Parts of the What-if page: where a change lies and should lie, the pictures of a grid."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from engine.anatomy.head import HEAD
from engine.imaging.volume import Volume
from engine.measure.clinical import Change
from pages.components.parts.ruler.reader import Seen
from pages.components.whatif.answer import NOTHING_SET
from pages.components.whatif.figures import PIXEL, axial_slice
from pages.components.whatif.regions import Spread, expected, spread
from pages.components.whatif.tables import BRIGHTNESS, CHANGE, OWN_ERROR, limits_in_words, measure_table, place_table


def test_where_a_change_lies_is_counted():
    mask = np.zeros((4, 4, 4), bool)
    mask[:2] = True
    difference = np.where(mask, 0.3, -0.1)
    found = spread(difference, mask)
    assert (found.inside, found.outside, found.share) == pytest.approx((30, 10, 0.25))
    assert spread(np.zeros((2, 4, 4, 4)), mask).share == 0


def test_the_region_follows_the_attribute():
    body, brain = np.ones((9, 9, 9), bool), np.zeros((9, 9, 9), bool)
    brain[4, 4, 4] = True
    one = Seen({"brain_ml": 1000.0}, {"body": body, "brain": brain, "soft": body & ~brain}, "")
    other = one._replace(values={"brain_ml": 900.0})
    mask, words = expected(HEAD, one, other, ["age"])
    assert (int(mask.sum()), words) == (25, "the brain and the fluid around it")
    for region, moved in ((HEAD, ["age", "sex"]), (HEAD, []), (None, ["age"])):
        mask, words = expected(region, one, other, moved)
        assert (mask.all(), words) == (True, "the body")


def test_slices_show_the_patients_right_on_the_left():
    data = np.zeros((20, 24, 28), np.float32)
    data[15:, 20:, :] = 1
    axial = axial_slice(Volume(data, np.diag([PIXEL, PIXEL, PIXEL, 1])))
    assert axial.shape == (24, 20)
    assert axial[:4, :5].min() > 200, "right and front are the left upper corner"
    assert axial[8:].max() == 0


@pytest.mark.parametrize(("before", "after", "error"), [(3.6, 8.4, 0.7), (212.0, 249.0, 21.0), (27.0, 34.6, 7.0)])
def test_the_table_of_measures_adds_up(before: float, after: float, error: float):
    one = Change(name="vat", title="Visceral fat", unit="l", before=before, after=after, error=error)
    row = measure_table([one]).iloc[0]
    change = float(row[CHANGE].split(" ")[0])
    assert change == pytest.approx(float(row["What if"]) - float(row["Before"]))
    assert abs(change - (after - before)) <= error


def test_the_table_of_measures_says_what_was_asked():
    one = Change(name="lv_ef", title="Ejection fraction", unit="%", before=62, after=35, error=3)
    (name,) = measure_table([one], {"lv_ef": 25, "age": 60}).index
    assert name == "Ejection fraction, % (asked: 25)"


def test_readings_beyond_a_reference_limit_are_marked_and_sourced():
    ef = Change(name="lv_ef", title="Ejection fraction", unit="%", before=62, after=35, error=3, drift=0.0)
    mass = Change(name="lv_mass", title="Mass", unit="g", before=100, after=100, error=10, drift=0.0)
    table = measure_table([ef, mass], sexes=("M", "M"))
    assert list(table.loc["Ejection fraction, %", ["Before", "What if"]]) == ["62", "35 ↓"]
    assert list(table.loc["Mass, g", ["Before", "What if"]]) == ["100", "100"]
    assert "Nothing set" not in table, "a column of nothing is left out"
    said = limits_in_words([ef, mass], ("M", "M"))
    assert said.startswith(
        " ↑ ↓ beyond the reference limit: Ejection fraction below 48 %: reduced left ventricular ejection"
    )
    assert "Petersen" in said
    assert "Mass" not in said
    assert limits_in_words([mass], ("M", "M")) == ""
    assert "100 ↑" in list(measure_table([mass], sexes=("M", "F")).loc["Mass, g"]), "of the sex of each person"


def test_the_models_own_error_is_named_with_its_unit_and_left_out_where_it_is_none():
    whatif, null = Spread(inside=9.0, outside=4.0, share=0.4), Spread(inside=7.28, outside=3.3, share=0.3)
    table = place_table(SimpleNamespace(places={"This what-if": whatif, NOTHING_SET: null}))
    assert table.index.name == BRIGHTNESS == "Mean change of brightness, % of white"
    assert list(table.index) == ["This what-if", OWN_ERROR]
    assert list(table.loc[OWN_ERROR]) == ["7.28", "3.30", "30%"]
    still = Spread(inside=0.0, outside=0.0, share=0.0)
    assert list(place_table(SimpleNamespace(places={"This what-if": whatif, NOTHING_SET: still})).index) == [
        "This what-if"
    ]
