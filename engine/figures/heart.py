"""Figures of a heart: the wall's thickness as a bull's-eye, and the ventricles' volumes over the cycle; of one person or of two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from engine.figures.charts import CURVES, REAL, marked
from engine.measure.clinical import LIMITS
from engine.phantom.heart.reference import MIDDLE_WALL
from engine.phantom.heart.segments import SEGMENTS
from engine.vocabulary.refusal import ConfigError

#: mm at the ends of the colours of thickness, the same for everybody
THIN, THICK = 2.0, 18.0
#: of the thirds of the wall from the base: segments, where the first begins (degrees, counterclockwise from the right), and from
#: which to which radius its ring reaches (Cerqueira et al., Circulation 2002;105:539)
_RINGS = ((6, 60.0, 3.0, 4.0), (6, 60.0, 2.0, 3.0), (4, 45.0, 1.0, 2.0))
#: what stands around a bull's-eye: the sides of the heart, as short axes are looked at, by angle
_SIDES = {0: "lateral", 90: "anterior", 180: "septal", 270: "inferior"}
#: shares of the width between which a bull's-eye lies: beside it the sides' names have room before the scale, on a phone too
_ACROSS = (0.14, 0.8)
#: pixels of a bull's-eye's height with its title
_HEIGHT = 370


@dataclass(frozen=True, kw_only=True, eq=False)
class Cycle:
    """A person's volumes (mL) over the phases of a cycle of so many seconds (None: nobody knows), ``rv`` where it was read;
    ``ends``: end-diastolic and end-systolic volume as they are written beside the curve (None: to the mL).

    Raises :class:`ConfigError` for curves of different lengths, or of fewer than two phases.
    """

    title: str
    lv: Float[np.ndarray, " t"]
    rv: Float[np.ndarray, " r"] | None = None
    seconds: float | None = None
    ends: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if len(self.lv) < 2 or (self.rv is not None and len(self.rv) != len(self.lv)):
            other = "" if self.rv is None else f" and {len(self.rv)} of the right one"
            raise ConfigError(
                f"{len(self.lv)} volumes of the left ventricle{other} are no cycle; give two or more of each"
            )


def bullseye_figure(
    walls: Sequence[Float[np.ndarray, "16"]], titles: Sequence[str], sexes: Sequence[str | None] = ()
) -> go.Figure:
    """Thickness (mm) of the wall in the 16 segments of the American Heart Association, a bull's-eye a person.

    The base is outside, the apex inside, the septum on the left as on a short axis that is seen from the apex. A segment that could
    not be read (NaN) is left empty. On a pointer: the segment's name and what is known of its thickness among the healthy of the
    person's sex (``sexes``, "M" or "F"). Raises :class:`ConfigError` for other than 16 segments, or no person.
    """
    if not walls or len(walls) != len(titles) or any(len(wall) != len(SEGMENTS) for wall in walls):
        found = ", ".join(str(len(wall)) for wall in walls) or "no"
        raise ConfigError(f"{found} segments for {len(titles)} persons; give {len(SEGMENTS)} of each person")
    figure, n = go.Figure(), len(walls)
    theta, width, low, high = _places()
    for k, (wall, title, sex) in enumerate(zip(walls, titles, [*sexes, *[None] * n][:n], strict=True)):
        polar = "polar" if k == 0 else f"polar{k + 1}"
        seen = np.isfinite(wall)
        shade = {"color": wall[seen], "coloraxis": "coloraxis", "line": {"color": "white", "width": 1}}
        empty = {"color": f"rgba({REAL}, 0.25)", "line": {"color": "white", "width": 1}}
        for chosen, marker in ((seen, shade), (~seen, empty)):
            figure.add_barpolar(
                theta=theta[chosen],
                width=width[chosen],
                base=low[chosen],
                r=(high - low)[chosen],
                marker=marker,
                text=[_segment_in_words(int(i), wall[i], sex) for i in np.flatnonzero(chosen)],
                hovertemplate="%{text}<extra></extra>",
                subplot=polar,
                showlegend=False,
            )
        dark = wall < (THIN + THICK) / 2
        figure.add_scatterpolar(
            theta=theta,
            r=(low + high) / 2,
            mode="text",
            text=[f"{mm:.1f}" if np.isfinite(mm) else "" for mm in wall],
            textfont={"size": 12, "color": ["white" if each else "black" for each in dark]},
            hoverinfo="skip",
            subplot=polar,
            showlegend=False,
        )
        # one below the other, each with its title in the left upper corner
        top = 1 - k / n
        figure.layout[polar] = _round([top - 0.84 / n, top - 0.07 / n])
        figure.add_annotation(
            text=title, x=0, y=top, xanchor="left", yanchor="top", xref="paper", yref="paper", showarrow=False
        )
    bar = {"title": "mm", "thickness": 12, "len": 0.9, "x": 1.02}
    figure.update_layout(
        coloraxis={"cmin": THIN, "cmax": THICK, "colorscale": "Cividis", "colorbar": bar},
        margin={"l": 30, "r": 10, "t": 10, "b": 30},
        height=30 + n * _HEIGHT,
    )
    return marked(figure, below=True)


def _places() -> tuple[np.ndarray, ...]:
    """Of each segment: its middle and width in degrees, and the radii between which it lies."""
    rows = []
    for n, start, low, high in _RINGS:
        step = 360 / n
        # from the front over the septum, which is on the left, to the back
        rows += [(start + step * (i + 0.5), step, low, high) for i in range(n)]
    return tuple(np.array(rows).T)


def _segment_in_words(i: int, mm: float, sex: str | None) -> str:
    """A segment by its number and name, its thickness, and what is known of that."""
    read = f"{mm:.1f} mm" if np.isfinite(mm) else "could not be read"
    lines = [f"<b>{i + 1} {SEGMENTS[i]}</b>: {read}"]
    if sex in MIDDLE_WALL and SEGMENTS[i].startswith("mid"):
        mean, sd = MIDDLE_WALL[str(sex)]
        lines.append(f"healthy {'men' if sex == 'M' else 'women'}: {mean:g} ± {sd:g} mm (Kawel 2012)")
    limit = LIMITS["wall_thickness"]
    lines.append(f"from {limit.of(sex):g} mm: {limit.words}")
    return "<br>".join(lines)


def _round(upwards: list[float]) -> dict:
    """A round place between two shares of the height, without grid; the names of the sides around it."""
    plain = {"showgrid": False, "showline": False, "ticks": ""}
    return {
        "domain": {"x": list(_ACROSS), "y": upwards},
        "bgcolor": "rgba(0, 0, 0, 0)",
        "radialaxis": {"range": [0, 4], "visible": False},
        "angularaxis": {
            **plain,
            "tickvals": list(_SIDES),
            "ticktext": list(_SIDES.values()),
            "direction": "counterclockwise",
        },
    }


def volume_figure(cycles: Sequence[Cycle]) -> go.Figure:
    """The ventricles' volumes over the cycle, the left one's end-diastole and end-systole marked; a colour a person.

    Over ms where everybody's cycle is known, else over the share of it. The cycle is closed: its end is the first phase again.
    Raises :class:`ConfigError` where there is nobody.
    """
    if not cycles:
        raise ConfigError("there is no cycle to be drawn; give one or two persons'")
    figure = go.Figure()
    timed = all(cycle.seconds for cycle in cycles)
    highest = max(float(part.max()) for cycle in cycles for part in (cycle.lv, cycle.rv) if part is not None)
    for k, cycle in enumerate(cycles):
        colour = CURVES[k % len(CURVES)][0]
        whole = 1000 * (cycle.seconds or 0) if timed else 100.0
        x = np.linspace(0, whole, len(cycle.lv) + 1)
        name = f"{cycle.title}, " if cycle.title else ""
        for side, volumes, dash in (("left", cycle.lv, "solid"), ("right", cycle.rv, "dash")):
            if volumes is not None:
                line = {"color": colour, "width": 2.5, "dash": dash}
                words = f"{name}{side} ventricle"
                figure.add_scatter(x=x, y=[*volumes, volumes[0]], mode="lines", line=line, name=words,
                                   hovertemplate="%{x:.0f}: %{y:.0f} mL<extra>" + words + "</extra>")  # fmt: skip
        ends = [("ED", int(cycle.lv.argmax()), "top right"), ("ES", int(cycle.lv.argmin()), "bottom center")]
        written = cycle.ends or tuple(f"{cycle.lv[at]:.0f}" for _, at, _ in ends)
        figure.add_scatter(
            x=[x[at] for _, at, _ in ends],
            y=[cycle.lv[at] for _, at, _ in ends],
            mode="markers+text",
            marker={"color": colour, "size": 10, "line": {"color": "white", "width": 1}},
            text=[f"{end} {words} mL" for (end, *_), words in zip(ends, written, strict=True)],
            textposition=[place for *_, place in ends],
            name=f"{name}ends of diastole and systole",
            showlegend=False,
            hoverinfo="skip",
        )
    figure.update_layout(
        xaxis={"title": "Time, ms" if timed else "Time, % of the cycle", "zeroline": False, "rangemode": "tozero"},
        yaxis={"title": "Volume, mL", "range": [0, 1.12 * highest], "zeroline": False},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        height=400,
    )
    return marked(figure)
