"""The table of a heart's function: values, marks beyond the reference limits, and whose limits they are."""

from __future__ import annotations

import numpy as np
from streamlit.testing.v1 import AppTest

from engine.figures.heart import Cycle, volume_figure
from engine.measure.heart.reading import HeartReading
from pages.components.parts.heart.panel import Shown, ends_of, function_table, sources, unstated


def heart(title: str, ef: float, sex: str, thick: float = 9.0) -> Shown:
    """120 mL of which so much (%) is pumped out; a wall of even thickness and 100 g."""
    lv = np.array([120.0, 120 * (1 - ef / 100), 100.0])
    reading = HeartReading(
        lv=lv, rv=None, mass=np.full(3, 100.0), thickness=np.full((3, 16), thick), middle_radius=None
    )
    return Shown(title=title, reading=reading, row={"sex": sex}, seconds=0.8)


def test_two_hearts_stand_side_by_side_with_their_limit():
    table = function_table([heart("Before", 60, "M"), heart("What if", 25, "M", thick=16.0)])
    ejected = table.loc["Left ventricular ejection fraction, %"]
    assert (ejected["Before"], ejected["What if"], ejected["Change"]) == ("60", "25 ↓", "-35")
    assert ejected["Reference limit"] == "48 %; below: reduced left ventricular ejection fraction"
    assert table.loc["Left ventricular end-diastolic volume, mL"]["Change"] == "0"
    assert table.loc["Thickness of the thickest segment at end-diastole, mm"]["What if"] == "16.0 ↑"
    assert not any("Right ventricular" in name for name in table.index), "nothing was read of it"


def test_a_limit_is_of_the_persons_sex():
    """Mass of 100 g: above the limit of women, not of men; both limits are named where the sexes differ."""
    table = function_table([heart("A", 50, "F"), heart("B", 50, "M")])
    mass = table.loc["Left ventricular mass, g"]
    assert (mass["A"], mass["B"]) == ("100 ↑", "100")
    assert mass["Reference limit"] == "95 (female) or 144 (male) g; above: left ventricular hypertrophy"
    ejected = table.loc["Left ventricular ejection fraction, %"]
    assert (ejected["A"], ejected["B"]) == ("50 ↓", "50")


def test_curve_and_table_write_one_value():
    """An error of 21 mL: tens are known, in the curve's labels as in the table, and the change is that of what is written."""

    def error(name: str, value: float) -> float:
        return 21.0 if name in ("lv_edv", "lv_esv") else float("nan")

    before, after = heart("Before", 28, "M"), heart("What if", 55, "M")
    table = function_table([before, after], error)
    volume = table.loc["Left ventricular end-systolic volume, mL"]
    assert (volume["Before"], volume["What if"], volume["Change"]) == ("90", "50", "-40")
    assert [ends_of(one.reading, error) for one in (before, after)] == [("120", "90"), ("120", "50")]
    ends = ends_of(before.reading, error)
    figure = volume_figure([Cycle(title="", lv=before.reading.lv, seconds=0.8, ends=ends)])
    assert list(figure.data[-1].text) == ["ED 120 mL", "ES 90 mL"]
    assert ends_of(before.reading, unstated) == ("120", "86")


def test_sources_are_named_and_of_one_heart_there_is_no_change():
    one = heart("", 60, "F")
    assert list(function_table([one]).columns) == ["Read", "Reference limit"]
    assert "Petersen et al., J Cardiovasc Magn Reson 2017;19:18" in sources([one])
    assert "Eur Heart J 2014;35:2733" in sources([one])


def test_a_page_with_a_table_of_the_measures_shows_no_other():
    """The curves and the wall stay; the table, which would repeat the page's own, goes."""

    def page(table: bool) -> None:
        from pages.components.parts.heart.panel import heart_panel
        from tests.pages.parts.heart.test_panel import heart

        heart_panel([heart("", 60, "F")], key="one", table=table)

    for table in (True, False):
        app = AppTest.from_function(page, kwargs={"table": table}, default_timeout=60).run()
        assert not app.exception
        assert len(app.get("plotly_chart")) == 2
        assert len(app.table) == int(table)
        assert ("Sources:" in app.caption[-1].value) == table
