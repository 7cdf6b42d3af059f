"""What the figures show: bands where there is data, nothing invented where there is none."""

from __future__ import annotations

import numpy as np

from engine.figures.charts import consistency_figure, heat_figure, ladder_figure, lines_figure, loss_figure
from engine.measure.relation import Relation


def line(level: float = 20.0) -> Relation:
    x = np.linspace(20, 80, 30)
    return Relation.fit(x, level + 0.1 * x + np.sin(x), degree=2, log=True)


def test_the_real_band_spans_its_cohort_and_the_synthetic_line_the_request():
    real, synthetic = line(), Relation.fit([30.0, 40, 50, 60], [1.0, 2, 3, 5])
    settings = {"titles": ("Age", "ml"), "span": (30.0, 60.0), "real": real}
    figure = consistency_figure([30, 40], [5, 6], synthetic=synthetic, hover=["a", "b"], **settings)
    traces = {trace.name: trace for trace in figure.data}
    assert np.min(traces["Real cohort"]["x"]) == real.low
    assert np.max(traces["95 % of real persons"]["x"]) == real.high
    assert (np.min(traces["Synthetic line"]["x"]), np.max(traces["Synthetic line"]["x"])) == (30, 60)
    assert list(traces["Synthetic persons"]["y"]) == [5, 6]


def test_without_cohort_or_line_only_the_points_are_drawn():
    figure = consistency_figure([1.0], [2.0], real=None, synthetic=None, titles=("a", "b"), span=(0.0, 9.0))
    assert [trace["name"] for trace in figure.to_dict()["data"]] == ["Synthetic persons"]


def test_a_measure_far_from_zero_uses_the_whole_height():
    settings = {"synthetic": None, "titles": ("a", "b"), "span": (20.0, 80.0)}
    modes = [consistency_figure([], [], real=line(v), **settings).layout.yaxis.rangemode for v in (2.0, 1300.0)]
    assert modes == ["tozero", "normal"]


def test_a_saved_picture_says_that_it_is_synthetic():
    figure = consistency_figure([], [], real=line(), synthetic=None, titles=("a", "b"), span=(20.0, 80.0))
    assert [note.text for note in figure.layout.annotations] == ["SYNTHETIC - not for diagnosis"]


def test_a_ladder_keeps_what_is_beyond_it_at_its_edge():
    figure = ladder_figure(
        ["inside", "beyond"],
        [(0.5, 0.2, 3.0), (9.0, 8.0, 9.5)],
        [True, False],
        ["a", "b"],
        span=(-0.5, 1.5),
        marks={0: "real", 1: "broken"},
        title="0: as real",
    )
    assert figure.layout.xaxis.title.text == "0: as real"
    good, bad = figure.data
    assert (list(good.x), good.marker.symbol, list(good.error_x.array)) == ([0.5], ("circle-open",), [1.0])
    assert (list(bad.x), bad.marker.symbol, list(bad.error_x.array)) == ([1.5], ("triangle-right",), [0.0])
    assert list(figure.layout.yaxis.categoryarray) == ["beyond", "inside"], "the first stands on top"


def test_a_heat_map_is_symmetric_about_zero_and_writes_its_numbers():
    figure = heat_figure([[0.25, None], [-0.5, 0.1]], ["a", "b"], ["x", "y"], titles=("Column", "Group"))
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("Column", "Group")
    (heat,) = figure.data
    assert (heat.zmin, heat.zmax) == (-0.5, 0.5)
    assert [list(row) for row in heat.text] == [["+0.25", ""], ["-0.50", "+0.10"]]


def test_losses_are_drawn_on_a_logarithmic_scale():
    figure = loss_figure({"image": ([1, 2, 3], [5.0, 0.0, 0.5]), "table": ([1], [1.0])})
    assert figure.layout.yaxis.type == "log"
    assert [(trace.name, list(trace.x)) for trace in figure.data] == [("image", [1, 3]), ("table", [1])]
    assert len({trace.line.dash for trace in figure.data}) == 2, "told apart without colour"


def test_the_real_line_lies_over_the_synthetic_ones():
    figure = lines_figure({"real test persons": [[0, 1], [0, 1]], "seed-1": [[0, 1], [1, 2]]}, ("asked", "read"))
    assert [trace.name for trace in figure.data] == ["seed-1", "real test persons"]
