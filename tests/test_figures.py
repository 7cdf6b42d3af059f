"""What the figures show: bands where there is data, nothing invented where there is none."""

from __future__ import annotations

import numpy as np

from engine.figures import consistency_figure
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
