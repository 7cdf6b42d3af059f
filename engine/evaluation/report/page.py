"""A report as one HTML page that needs no network: figures between floor and ceiling, tables and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go
import plotly.io as pio
from plotly.offline import get_plotlyjs

from engine.anatomy.words import in_words
from engine.checkpoints.card import one_line
from engine.evaluation.report.words import described, glosses, plot_in_words, sheet_in_words

STYLE = """
:root { color-scheme: light dark; --ink: #1b2733; --soft: #5b6b7a; --line: #d9e0e6; --paper: #fff; --bad: #a33a00; --good: #00617a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9fb0bf; --line: #33414d; --paper: #12181e; --bad: #ffae6b;
 --good: #6cd0ea; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 74rem; margin: 0 auto;
 padding: 1.5rem; }
h1 { margin-bottom: .2rem; } h2 { margin-top: 2.5rem; border-top: 2px solid var(--line); padding-top: 1rem; }
.banner { border: 2px solid var(--bad); border-radius: .5rem; padding: .6rem 1rem; font-weight: 600; }
.soft { color: var(--soft); } .method { font-size: .9rem; } nav a { margin-right: 1rem; color: var(--good); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; margin: .5rem 0; }
th, td { text-align: left; padding: .25rem .7rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; } .bad { color: var(--bad); font-weight: 600; } .good { color: var(--good); }
.grid { display: flex; flex-wrap: wrap; gap: 1rem; } .grid > div { max-width: 510px; }
"""
TITLES = {"evaluate": "Evaluation", "audit": "Privacy audit"}
#: colour-blind-safe (Okabe and Ito)
BLUE, ORANGE, GREY, GREEN = "#0072b2", "#d55e00", "#8a96a3", "#009e73"
GOOD = ("as real", "passes")


def page(found: Mapping[str, Any]) -> str:
    """The whole page from a report's JSON."""
    sections = found["sections"]
    links = " ".join(f'<a href="#{s["key"]}">{escape(s["title"])}</a>' for s in sections)
    name = escape(found["checkpoint"]["name"])
    title = f"{TITLES.get(found['kind'], 'Report')} of {name}"
    body = "\n".join(_section(section) for section in sections)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{STYLE}</style><script>{get_plotlyjs()}</script></head><body>"
        f'<h1>{title}</h1><p class="banner">{escape(found["disclaimer"])}</p>{_about(found)}<nav>{links}</nav>'
        f"{_summary(sections)}{body}</body></html>"
    )


def _about(found: Mapping[str, Any]) -> str:
    sampling, store = found["sampling"], found["store"]
    rows = [
        (
            "Model",
            f"{found['checkpoint']['name']}, {found['checkpoint']['digest']}, weights {found['checkpoint']['weights_sha256'][:12]}",
        ),
        ("Trained on", _words(found["trained_on"])),
        (
            "Compared with",
            f"{store['source']}: {store['train']} training, {store['validation']} validation, {store['test']} test persons",
        ),
        ("Participants", found.get("participants", "not asked")),
        (
            "Drawn",
            f"{sampling['n']} synthetic persons, seed {sampling['seed']}, {sampling['steps']} network evaluations each",
        ),
        ("Seen by", ", ".join(f"{kind}: {name}" for kind, name in found["extractors"].items())),
        ("Licence", str(found["licence"])),
    ]
    cells = "".join(f"<tr><th>{escape(a)}</th><td>{escape(b)}</td></tr>" for a, b in rows)
    return f'<div class="scroll"><table>{cells}</table></div>'


def _words(value: Any) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    return "; ".join(f"{key.replace('_', ' ')}: {one_line(item)}" for key, item in value.items())


def _summary(sections: Sequence[Mapping[str, Any]]) -> str:
    """How many figures of each section are as real data's are."""
    rows = []
    for section in sections:
        judged = [e["verdict"] for e in section["entries"] if e["verdict"]]
        good = sum(v in GOOD for v in judged)
        tone = "good" if good == len(judged) else "bad"
        rows.append(
            f'<tr><td>{escape(section["title"])}</td><td class="{tone}">{good} of {len(judged)}</td></tr>'
            if judged
            else ""
        )
    return (
        '<h2>In short</h2><p class="soft">Figures that cannot be told from what real people score among themselves (or, in the audit, '
        "tests that do not alarm). Of honest ones one in twenty is flagged by chance; with few test persons many differences go "
        "unseen: no alarm is no proof.</p>"
        f"<table><tr><th></th><th>as real</th></tr>{''.join(rows)}</table>"
    )


def _section(section: Mapping[str, Any]) -> str:
    parts = [
        f'<h2 id="{section["key"]}">{escape(section["title"])}</h2><p>{escape(section["meaning"])}</p>'
        f'<details class="method soft"><summary>Method</summary><p>{escape(section["method"])}</p></details>'
    ]
    if section["entries"]:
        parts.append(_figures(section["entries"]))
        parts.append(_glosses(section["entries"]))
        parts.append(_ladder(section["entries"]))
    parts += [_sheet(sheet_in_words(sheet)) for sheet in section["sheets"]]
    parts.append('<div class="grid">' + "".join(_plot(plot_in_words(plot)) for plot in section["plots"]) + "</div>")
    if section["missing"]:
        parts.append(
            "<p>Not computed:</p><ul>"
            + "".join(f"<li>{escape(in_words(m))}</li>" for m in section["missing"])
            + "</ul>"
        )
    return "".join(parts)


def _figures(figures: Sequence[Mapping[str, Any]]) -> str:
    head = "".join(f"<th>{h}</th>" for h in ("figure", "verdict", "this model", "real", "broken", "p", ""))
    rows = []
    for reported in figures:
        tone = "" if not reported["verdict"] else "good" if reported["verdict"] in GOOD else "bad"
        floor = (
            f"target {reported['target']:.3g}"
            if reported["floor"] is None and reported["target"] is not None
            else cell(reported["floor"])
        )
        rows.append(
            f"<tr><td>{escape(described(reported['name']).title)}</td><td class='{tone}'>{escape(reported['verdict'])}</td>"
            f"<td>{cell(reported['figure'])} {escape(reported['unit'])}</td><td>{floor}</td>"
            f"<td>{cell(reported['ceiling'])}</td><td>{cell(reported['p'])}</td>"
            f"<td class='soft'>{escape(reported['note'])}</td></tr>"
        )
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _glosses(figures: Sequence[Mapping[str, Any]]) -> str:
    """What each kind of figure measures, and which values are bad."""
    found = glosses([str(reported["name"]) for reported in figures])
    items = "".join(f"<dt>{escape(term)}</dt><dd>{escape(gloss)}</dd>" for term, gloss in found.items())
    return (
        f'<details class="method"><summary>What these figures measure</summary><dl>{items}</dl></details>'
        if items
        else ""
    )


def cell(value: Any) -> str:
    """A number, a figure with its interval, words, or nothing, as a table shows it.

    >>> cell({"value": 0.5, "low": 0.25, "high": 1.0, "n": 8})
    '0.5 <span class="soft">(0.25 to 1)</span>'
    """
    if value is None:
        return ""
    if isinstance(value, Mapping):
        if value["value"] is None:
            return "undefined"
        text = number(value["value"])
        if value["low"] is None:
            return text
        return f'{text} <span class="soft">({number(value["low"])} to {number(value["high"])})</span>'
    return number(value) if isinstance(value, float) else escape(str(value))


def number(value: float) -> str:
    """Three digits, thousands written out.

    >>> number(0.12345), number(1083.6), number(-5.39e9)
    ('0.123', '1,084', '-5.39e+09')
    """
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


def _sheet(sheet: Mapping[str, Any]) -> str:
    head = "".join(f"<th>{escape(c)}</th>" for c in sheet["columns"])
    rows = "".join("<tr>" + "".join(f"<td>{cell(c)}</td>" for c in row) + "</tr>" for row in sheet["rows"])
    note = f'<p class="soft">{escape(sheet["note"])}</p>' if sheet["note"] else ""
    return f'<h3>{escape(sheet["title"])}</h3><div class="scroll"><table><tr>{head}</tr>{rows}</table></div>{note}'


def _ladder(figures: Sequence[Mapping[str, Any]]) -> str:
    """Every figure with floor and ceiling on one scale: 0 is real against real, 1 is broken."""
    placed = []
    for reported in figures:
        if reported["floor"] is None or reported["ceiling"] is None or reported["figure"]["value"] is None:
            continue
        zero, one = reported["floor"]["value"], reported["ceiling"]["value"]
        if zero is None or one is None or abs(one - zero) < 1e-12:
            continue
        values = [(reported["figure"][k] - zero) / (one - zero) for k in ("value", "low", "high")]
        placed.append((described(reported["name"]).title, *values))
    if not placed:
        return ""
    names, value, low, high = zip(*reversed(placed), strict=True)
    plus = [max(a, b) - v for v, a, b in zip(value, low, high, strict=True)]
    minus = [v - min(a, b) for v, a, b in zip(value, low, high, strict=True)]
    figure = go.Figure(
        go.Scatter(
            x=value,
            y=names,
            mode="markers",
            marker={"size": 10, "color": BLUE},
            error_x={"array": plus, "arrayminus": minus, "color": GREY},
        )
    )
    for place, text in ((0, "real against real"), (1, "broken")):
        line = {"color": GREEN if place == 0 else ORANGE, "dash": "dot"}
        figure.add_vline(x=place, line=line, annotation_text=text, annotation_yshift=18)
    figure.update_layout(height=90 + 26 * len(names), xaxis={"range": [-0.6, 1.6], "title": "0: as real, 1: broken"})
    return _drawn(figure, 1040)


def _plot(plot: Mapping[str, Any]) -> str:
    series = plot["series"]
    if plot["kind"] == "heat":
        labels = series["labels"]
        values = series["rows"]
        rows = series.get("rows_labels", labels)
        if not values:
            return ""
        reach = max([abs(v) for row in values for v in row if v is not None] + [1e-9])
        text = [["" if v is None else f"{v:+.2f}" for v in row] for row in values]
        heat = go.Heatmap(
            z=values,
            x=labels,
            y=rows,
            zmin=-reach,
            zmax=reach,
            colorscale="PuOr",
            text=text,
            texttemplate="%{text}",
            showscale=False,
        )
        figure = go.Figure(heat)
        axes = {"xaxis_title": plot["x"], "yaxis_title": plot["y"]}
        figure.update_layout(height=140 + 26 * len(rows), yaxis={"autorange": "reversed"}, **axes)
    else:
        figure = go.Figure()
        for name, values in series.items():
            real = name.startswith("real")
            style = {"color": ORANGE, "width": 4} if real else {"color": BLUE, "width": 1}
            figure.add_trace(
                go.Scatter(
                    x=values[0],
                    y=values[1],
                    name=name,
                    mode="lines" if real else "lines+markers",
                    line=style,
                    opacity=1.0 if real else 0.5,
                    showlegend=real,
                )
            )
        legend = {"x": 0.02, "y": 0.98, "bgcolor": "rgba(0,0,0,0)"}
        figure.update_layout(xaxis_title=plot["x"], yaxis_title=plot["y"], height=380, legend=legend)
    note = f'<p class="soft">{escape(plot["note"])}</p>' if plot["note"] else ""
    return f"<div><h3>{escape(plot['title'])}</h3>{_drawn(figure, 500)}{note}</div>"


def _drawn(figure: go.Figure, width: int) -> str:
    layout = {"l": 10, "r": 10, "t": 30, "b": 10}
    figure.update_layout(
        template="plotly_white", width=width, margin=layout, font={"size": 12}, yaxis={"automargin": True}
    )
    return pio.to_html(figure, include_plotlyjs=False, full_html=False, config={"displaylogo": False})
