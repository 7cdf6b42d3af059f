# ruff: noqa: E501 - a figure a line
"""What a reader sees of a figure: the field's term, and in a sentence what it measures and which values are bad.

Reports and cards record a figure under a name of their own, which other programs read and which stays as it is. Here is, for each
of these names, the title on the page and in the HTML report.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from engine.anatomy.words import channel_in_words, column_title, in_words, measure_title, within
from engine.vocabulary.catalogue import CATALOGUE


@dataclass(frozen=True, kw_only=True)
class Described:
    """A figure for a reader: its ``title``, the ``term`` that it is one of, and its ``gloss``: what that measures, and which values
    are bad. Both are empty for a figure that is not known here."""

    title: str
    term: str = ""
    gloss: str = ""


#: what a membership attack looks at
ATTACKS = {
    "velocity loss of the scan": "flow loss of the scan",
    "velocity loss of the row": "flow loss of the row",
    "velocity loss of the network of rows": "flow loss of the network of rows",
    "autoencoder error": "reconstruction error of the scan",
}
#: feature spaces
FEATURES = {"contrastive encoder": "learned features", "radiomics": "radiomics"}
SPACES = "Learned features are those of a network trained on scans, radiomics are computed figures of brightness and texture."
_SPACE = r" \((?P<features>[^,)]+)[^)]*\)"

#: pattern of a recorded name; title, term and gloss
TERMS: tuple[tuple[str, str, str, str], ...] = (
    (r"autoencoder PSNR, (?P<rest>.+)", "Reconstruction PSNR, {rest}", "Reconstruction PSNR", "Peak signal-to-noise ratio in dB of held-out scans after the model has compressed and restored them. Low: detail is lost before anything is drawn."),
    (r"autoencoder SSIM", "Reconstruction SSIM", "Reconstruction SSIM", "Structural similarity, 0 to 1, of held-out scans and their reconstruction. Low: structure is lost before anything is drawn."),
    (rf"Fréchet distance{_SPACE}", "Fréchet distance ({features})", "Fréchet distance", f"Compares mean and covariance of synthetic and real scans in a feature space, as if both were normal. High: the average synthetic scan, or how they vary, is unlike real ones. {SPACES}"),
    (rf"kernel distance \(KID\){_SPACE}", "Kernel distance (KID, {features})", "Kernel distance (KID)", "Squared maximum mean discrepancy: compares the whole distributions up to their third moments, without assuming that they are normal; unbiased, so that it scatters about 0 where they are equal. High: the distributions differ in mean, spread or shape."),
    (rf"precision{_SPACE}", "Precision ({features})", "Precision", "Share of synthetic scans that lie among real ones. Low: implausible scans are drawn."),
    (rf"recall{_SPACE}", "Recall ({features})", "Recall", "Share of real scans that lie among synthetic ones. Low: some kinds of persons are never drawn."),
    (rf"density{_SPACE}", "Density ({features})", "Density", "How many real scans lie about a synthetic one, as a ratio to what is expected of a real one. Low: synthetic scans lie where real ones are rare."),
    (rf"coverage{_SPACE}", "Coverage ({features})", "Coverage", "Share of real scans with a synthetic one as near as their nearest real ones. Low: parts of the real distribution are left empty."),
    (r"MS-SSIM between persons", "MS-SSIM between persons", "MS-SSIM between persons", "Multi-scale structural similarity of two different persons. Higher than in real persons: the model draws them too alike; lower: noise."),
    (r"power spectrum: worst deviation from real, (?P<rest>.+) of Nyquist", "Power spectrum: largest deviation, {rest} of the Nyquist frequency", "Power spectrum", "By which share the power of detail differs from that of real scans, at the size of detail where it differs most. High: detail is missing (blur) or there is too much of it (grain)."),
    (r"edge sharpness, strongest (?P<rest>[^,:]+?)(?P<channel>, [\w ]+)?: made over real", "Edge sharpness, steepest {rest}{channel}: synthetic over real", "Edge sharpness", "Intensity gradient along borders, as a ratio to real scans. Below 1: blurred; above 1: oversharpened."),
    (r"(?P<rest>.+): made over real", "{Rest}: synthetic over real", "Synthetic over real", "Ratio of the means of synthetic and real scans; 1 is as real."),
    (r"(?P<measure>\w+): made beside real persons, Cohen's d", "{Measure}: synthetic minus real, Cohen's d", "Cohen's d", "Difference between the means of synthetic and real persons in standard deviations. Above 0: larger in synthetic persons; below 0: smaller."),
    (r"alpha-precision", "α-precision of rows", "α-precision", "Whether synthetic rows spread about the centre as real ones do: for every share of real rows, innermost first, how many synthetic rows lie as near; 1 is as many. Low: they lie too far out, or all in the middle."),
    (r"beta-recall", "β-recall of rows", "β-recall", "Whether real rows have a synthetic one as near as their nearest real one; honest data score about 0.5. Low: the variety of real rows is not reached."),
    (r"Sinkhorn divergence", "Sinkhorn divergence of rows", "Sinkhorn divergence", "Optimal-transport distance: how far synthetic rows would have to be moved to become the real ones. High: far."),
    (r"mean difference of associations", "Pairwise associations, mean absolute difference", "Pairwise associations", "How far correlations between columns (Pearson's r, the correlation ratio or Cramér's V) differ from those of real rows, 0 to 1. High: columns go together otherwise."),
    (r"detection AUC, (?P<rest>.+)", "Detection AUC, {rest}", "Detection AUC", "How well a classifier tells synthetic rows from real ones: 0.5 is a guess, 1 is always. High: rows are told apart."),
    (r"(?P<attribute>\w+) predicted after training on synthetic rows, (?P<rest>.+)", "{Attribute} predicted by a model trained on synthetic rows, {rest}", "Train on synthetic, test on real", "How well a model that has seen synthetic rows only predicts a column of real persons. Low: what is learned from synthetic rows does not hold."),
    (r"rows that break a rule, worst column \((?P<attribute>\w+)\)", "Rows with an impossible value, worst column: {attribute}", "Impossible values", "Share of synthetic rows outside of a column's range or levels, or whose computed column does not fit."),
    (r"(?P<attribute>\w+): mean error of reading", "{Attribute} read off synthetic scans: mean absolute error", "Read off synthetic scans", "A regressor trained on real persons reads the attribute off the scan; the error is against the row drawn with it. Higher than in real persons: scan and row agree less."),
    (r"(?P<attribute>\w+): share read wrong", "{Attribute} read off synthetic scans: share wrong", "Read off synthetic scans", "A regressor trained on real persons reads the attribute off the scan; the error is against the row drawn with it. Higher than in real persons: scan and row agree less."),
    (r"(?P<measure>\w+) on its own row: synthetic over real slope", "{Measure} measured on the value in the row: slope, synthetic over real", "Measured on requested", "How far a measure of a scan follows the value in the row that it was drawn for, as a ratio to real persons: 1 is as far, 0 is not at all."),
    (r"(?P<measure>\w+) on (?P<attribute>\w+): synthetic over real slope", "{Measure} on {attribute}: slope, synthetic over real", "Slope, synthetic over real", "How steeply a measure changes with an attribute, as a ratio to real persons: 1 is as steep, 0 is no change, below 0 is the wrong way."),
    (r"(?P<attribute>\w+): read on requested, slope", "{Attribute}, read on requested: slope", "Read on requested", "Share of a requested difference that is read off synthetic scans drawn with the same seed: 1 is all of it, 0 is none."),
    (r"own row told from another's, AUC", "Scan and row matched, AUC", "Scan and row matched", "How often a scan's own row is told from another person's: 0.5 is a guess. Lower than in real persons: scan and row are less closely tied."),
    (r"(?P<attribute>\w+) from the bare scan: mean error", "{Attribute} inferred from a real scan: mean absolute error", "Inferred from a real scan", "The model itself infers the attribute of held-out persons from the scan alone; 'real' is a regressor trained for that. High: the model reads scans badly."),
    (r"(?P<attribute>\w+) from the bare scan: share wrong", "{Attribute} inferred from a real scan: share wrong", "Inferred from a real scan", "The model itself infers the attribute of held-out persons from the scan alone; 'real' is a regressor trained for that. High: the model reads scans badly."),
    (r"(?P<attribute>\w+): test persons within the range of (?P<rest>\d+) draws", "{Attribute} inferred from a real scan: coverage by {rest} draws", "Coverage of inference", "Share of held-out persons whose true value lies within the range of the draws. Below the target: the model is too certain; above: too uncertain."),
    (r"(?P<attribute>\w+) learnt from (?P<rest>\d+) made pairs: mean error on real test scans", "{Attribute}, regressor trained on {rest} synthetic pairs: mean absolute error on real scans", "Trained on synthetic pairs", "A regressor that has seen synthetic scans with their rows only, tried on real held-out persons; 'real' is one trained on as many real pairs. High: what is learned from synthetic persons does not hold."),
    (r"(?P<attribute>\w+) learnt from (?P<rest>\d+) made pairs: share wrong on real test scans", "{Attribute}, classifier trained on {rest} synthetic pairs: share wrong on real scans", "Trained on synthetic pairs", "A regressor that has seen synthetic scans with their rows only, tried on real held-out persons; 'real' is one trained on as many real pairs. High: what is learned from synthetic persons does not hold."),
    (r"(?P<attribute>\w+): read change per change asked", "What-if of {attribute}: change read per change requested", "What-if, effectiveness", "Share of a requested change that is read off the changed real scan: 1 is all of it, 0 is none."),
    (r"(?P<attribute>\w+), no change asked: PSNR", "What-if of {attribute}, null intervention: PSNR", "What-if, composition", "How like a real scan, in dB, its what-if is when no change is requested; 'real' is the reconstruction alone. Lower than that: the what-if itself loses something."),
    (r"(?P<attribute>\w+), there and back: PSNR", "What-if of {attribute}, there and back: PSNR", "What-if, reversibility", "How like a real scan, in dB, it is after a change and its reversal; 'real' is the reconstruction alone. Lower than that: the change cannot be undone."),
    (r"(?P<attribute>\w+): change of (?P<measures>[\w, ]+) that should stay, SD", "What-if of {attribute}: change of {measures}, which should stay, SD", "What-if, minimality", "Change, in standard deviations between persons, of anatomy that the attribute should not move. High: what-ifs change too much."),
    (r"(?P<attribute>\w+): kernel distance of what-ifs to other real persons", "What-if of {attribute}: kernel distance (KID) to other real scans", "What-if, realism", "Whether changed scans are distributed as real ones of other persons; judged by its p."),
    (r"(?P<rest>scans|rows): closest record is a training person \(50% is ideal\)", "{Rest}: closest record is a training person", "Distance to closest record (DCR)", "Share of synthetic persons whose nearest real person took part in the training: 50 % is no sign of memory, 100 % is copying."),
    (r"(?P<rest>scans|rows): nearest-neighbour ratio smaller to training \(50% is ideal\)", "{Rest}: nearest-neighbour distance ratio smaller to training persons", "Nearest-neighbour distance ratio (NNDR)", "Share of synthetic persons that single out one training person more than one outside of the training: 50 % is no sign of memory."),
    (r"(?P<rest>.+): copy rate", "{Rest}: copy rate", "Copy rate", "Share of synthetic persons nearer to a training person than 95 % of held-out persons are. High: copies."),
    (r"patches: distance to training persons over that of held-out persons' patches", "Patches: distance to training persons, synthetic over held-out", "Patches, distance", "How near small cubes of a synthetic scan come to those of training persons, as a ratio to held-out persons. Below 1: nearer than strangers are."),
    (r"patches: nearest one is a training person's \((?P<rest>\d+%) is ideal\)", "Patches: nearest is a training person's ({rest} expected)", "Patches, nearest neighbour", "Share of small cubes of a synthetic scan whose nearest real cube is a training person's. Above what is expected: detail is copied."),
    (r"membership by (?P<attack>.+), AUC", "Membership inference by {attack}, AUC", "Membership inference", "How well it can be told whether somebody's scan or row was in the training: 0.5 is a guess, 1 is always. High: the model remembers."),
    (r"AUC of telling made from real: (?P<rest>.+)", "Discriminator AUC, {rest}", "Discriminator AUC", "How well a network trained for it tells synthetic scans from real ones: 0.5 is a guess, 1 is always. High: scans are told apart."),
    (r"seconds from request to volume, warm", "Time from request to scan", "Time from request to scan", "Seconds that one synthetic person takes once the model is loaded."),
)  # fmt: skip


@lru_cache(maxsize=1024)
def described(name: str) -> Described:
    """The recorded ``name`` of a figure for a reader.

    >>> described("brain_ml on age: synthetic over real slope").title
    'Brain on age: slope, synthetic over real'
    >>> described("wobble")
    Described(title='wobble', term='', gloss='')
    """
    for pattern, title, term, gloss in TERMS:
        if found := re.fullmatch(pattern, name):
            return Described(title=title.format_map(_said(found.groupdict())), term=term, gloss=gloss)
    return Described(title=name)


def _said(parts: dict[str, str | None]) -> dict[str, str]:
    """The parts of a name in words: within a sentence, and by their capitalised name at its beginning."""
    found: dict[str, str] = {}
    for part, text in parts.items():
        text = text or ""
        if part == "attribute":
            found |= {"attribute": within(column_title(text)), "Attribute": column_title(text)}
        elif part == "measure":
            found["Measure"] = measure_title(text)
        elif part == "measures":
            found["measures"] = ", ".join(within(measure_title(name)) for name in re.split(r",\s*", text))
        elif part == "features":
            found["features"] = FEATURES.get(text, text)
        elif part == "channel":
            found["channel"] = channel_in_words(text)
        elif part == "attack":
            found["attack"] = ATTACKS.get(text, text)
        else:
            found |= {part: text, part.capitalize(): text[:1].upper() + text[1:]}
    return found


def glosses(names: list[str]) -> dict[str, str]:
    """What the figures of these recorded ``names`` measure, by term, each once, in their order."""
    found = (described(name) for name in names)
    return {one.term: one.gloss for one in found if one.term}


def sheet_in_words(sheet: Mapping[str, Any]) -> dict[str, Any]:
    """A table of a report for a reader: columns, measures and channels by their titles, in headings and in cells."""
    heads = [str(head) for head in sheet["columns"]]
    rows = [[_cell_in_words(cell, head) for cell, head in zip(row, heads, strict=True)] for row in sheet["rows"]]
    columns = [in_words(head) for head in heads]
    return {"title": in_words(sheet["title"]), "columns": columns, "rows": rows, "note": in_words(sheet["note"] or "")}


def plot_in_words(plot: Mapping[str, Any]) -> dict[str, Any]:
    """A plot of a report for a reader: title, axes and the labels of a table of numbers in words, and of curves channels by their names."""
    series = dict(plot["series"])
    if plot["kind"] == "heat":
        series |= {
            key: [label_in_words(text) for text in series[key]] for key in ("labels", "rows_labels") if key in series
        }
    else:
        # reports of before called them so
        series = {re.sub(r"^made\b", "synthetic", channel_in_words(name)): curve for name, curve in series.items()}
    axes = ("", "group") if "rows_labels" in series else ("column", "column")
    x, y = (str(plot["x"]), str(plot["y"])) if plot["kind"] == "line" else axes
    words = {"title": in_words(plot["title"]), "x": in_words(x), "y": in_words(y), "note": in_words(plot["note"] or "")}
    return {"kind": plot["kind"], "series": series, **words}


def label_in_words(text: object) -> str:
    """A name or a group as a label: ``lv_edv`` is LV EDV, ``F under 40 years`` is Female under 40 years."""
    name = str(text)
    if name in CATALOGUE:
        return column_title(name)
    sexes = {level: words.capitalize() for level, words in CATALOGUE["sex"].levels.items()}
    return re.sub(r"^[FM](?= (?:under )?\d)", lambda found: sexes[found[0]], in_words(name))


def _cell_in_words(cell: Any, head: str) -> Any:
    if head == "channel" and not isinstance(cell, str):
        # counted, in reports of before; the one channel of a scan has no name to tell
        return channel_in_words(f"channel {cell}").removeprefix("channel ")
    if not isinstance(cell, str):
        return cell
    return measure_title(cell) if head == "measure" else label_in_words(cell)
