"""A heart's figures: each segment where the AHA's standard puts it, curves that close, nothing invented where nothing was read."""

from __future__ import annotations

import numpy as np
import pytest

from engine.figures.heart import THICK, THIN, Cycle, bullseye_figure, volume_figure
from engine.phantom.heart.segments import SEGMENTS
from engine.vocabulary.refusal import ConfigError

#: where the middle of a wall lies: degrees, counterclockwise from the right
SIDES = {"anterior": 90, "septal": 180, "inferior": 270, "lateral": 0}
LV = np.array([120.0, 80.0, 50.0, 90.0])


def bars(figure, polar: str = "polar") -> dict[str, tuple[float, float, float]]:
    """By segment: angle, inner and outer radius, whatever can be read or not."""
    found = {}
    for trace in figure.data:
        if trace.type == "barpolar" and (trace.subplot or "polar") == polar:
            for text, theta, low, r in zip(trace.text, trace.theta, trace.base, trace.r, strict=True):
                found[text.partition("<b>")[2].partition("</b>")[0].partition(" ")[2]] = (theta % 360, low, low + r)
    return found


def test_each_segment_stands_where_the_standard_puts_it():
    """Anterior on top, septum on the left, the base outside; two septal segments lie on either side of the left."""
    found = bars(bullseye_figure([np.arange(16.0)], ["A"]))
    assert set(found) == set(SEGMENTS)
    for name, (angle, low, high) in found.items():
        third, _, side = name.partition(" ")
        assert (low, high) == {"basal": (3, 4), "mid": (2, 3), "apical": (1, 2)}[third]
        if side in SIDES:
            assert angle == SIDES[side]
    assert found["basal anteroseptal"][0] == found["mid anteroseptal"][0] == 150
    assert found["basal inferoseptal"][0] == 210
    assert found["mid inferolateral"][0] == 330
    assert found["mid anterolateral"][0] == 30


def test_two_persons_have_one_scale_and_what_was_not_read_stays_empty():
    wall = np.full(16, 9.0)
    wall[3] = np.nan
    figure = bullseye_figure([wall, np.full(16, 15.5)], ["Before", "What if"], ["F", "M"])
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (THIN, THICK)
    seen, empty, text = figure.data[:3]
    assert (len(seen.text), len(empty.text)) == (15, 1)
    assert "4 basal inferior</b>: could not be read" in empty.text[0]
    assert list(text.text)[2:5] == ["9.0", "", "9.0"]
    assert "healthy women: 5.3 ± 0.9 mm (Kawel 2012)" in seen.text[6]
    assert {trace.subplot for trace in figure.data} == {"polar", "polar2"}
    men = next(trace for trace in figure.data if trace.subplot == "polar2")
    assert "healthy men: 6.3 ± 1.1 mm" in men.text[6]
    assert "from 15 mm: as thick as in hypertrophic cardiomyopathy" in men.text[0]
    assert "SYNTHETIC - not for diagnosis" in [note.text for note in figure.layout.annotations]


def test_curves_close_and_their_ends_are_marked():
    figure = volume_figure([Cycle(title="A", lv=LV, rv=LV + 20, seconds=0.8), Cycle(title="B", lv=LV * 2, seconds=1.0)])
    traces = {trace.name: trace for trace in figure.data}
    left = traces["A, left ventricle"]
    assert (list(left.x), list(left.y)) == ([0, 200, 400, 600, 800], [*LV, LV[0]])
    assert list(traces["A, right ventricle"].y) == [*(LV + 20), LV[0] + 20]
    assert "B, right ventricle" not in traces
    marks = traces["A, ends of diastole and systole"]
    assert (list(marks.x), list(marks.y), list(marks.text)) == ([0, 400], [120, 50], ["ED 120 mL", "ES 50 mL"])
    assert figure.layout.xaxis.title.text == "Time, ms"
    assert len({traces[name].line.color for name in ("A, left ventricle", "B, left ventricle")}) == 2


def test_a_cycle_of_unknown_length_is_drawn_over_its_share():
    figure = volume_figure([Cycle(title="", lv=LV, seconds=0.8), Cycle(title="B", lv=LV)])
    assert figure.layout.xaxis.title.text == "Time, % of the cycle"
    assert list(figure.data[0].x) == [0, 25, 50, 75, 100]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Cycle(title="", lv=LV[:1]), "1 volumes of the left ventricle are no cycle"),
        (lambda: Cycle(title="", lv=LV, rv=LV[:3]), "and 3 of the right one"),
        (lambda: bullseye_figure([], []), "no segments for 0 persons"),
        (lambda: volume_figure([]), "give one or two persons'"),
    ],
)
def test_what_is_no_cycle_is_refused(make, sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        make()
