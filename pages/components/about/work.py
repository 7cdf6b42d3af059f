"""What the About page tells: read from the checkpoints, the viewer and the installed version, not written down twice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.anatomy import regions
from engine.checkpoints.files import ANATOMY
from pages.components.parts.checkpoint_cards import Kept
from pages.components.parts.facts import program_version

#: the viewer's lists of keys: ``{ keys: "R", words: "reset", ...``
KEYS = tuple(
    Path(__file__).parents[1] / "parts" / "viewer" / "js" / name
    for name in ("keys.js", "cycle.js", "mark.js", "brush.js")
)
_SHORTCUT = re.compile(r'\{ keys: "([^"]+)", words: "([^"]+)"')
#: words by which a card says what training has cost
ENERGY = ("energy", "kwh", "co2", "joule")


def shortcuts() -> list[tuple[str, str]]:
    """Keys of the viewer and what they do, from the lists that the viewer itself obeys."""
    return [found for path in KEYS for found in _SHORTCUT.findall(path.read_text("utf-8"))]


def energy(card: Mapping[str, Any]) -> str:
    """What the card says of the energy of its training; empty where it says nothing."""
    places = [card, *(value for value in card.values() if isinstance(value, Mapping))]
    said = [
        f"{str(key).replace('_', ' ')}: {value}"
        for place in places
        for key, value in place.items()
        if any(word in str(key).lower() for word in ENERGY) and not isinstance(value, Mapping)
    ]
    return ", ".join(said)


def purpose(kept: Kept) -> str:
    """What a checkpoint is for, in two words."""
    if kept.draws:
        return "draws people"
    if kept.config.get("format") == ANATOMY:
        return "shapes in-silico bodies"
    return "compares scans" if kept.name in {region.features for region in regions()} else "measures scans"


def training_time(card: Mapping[str, Any]) -> str:
    """``90 minutes on cpu``, as far as the card says; empty where it says nothing of the time."""
    facts = card.get("training")
    if not isinstance(facts, Mapping) or "minutes" not in facts:
        return ""
    return f"{facts['minutes']} minutes" + (f" on {facts['device']}" if "device" in facts else "")


def origin(kept: Kept) -> dict[str, str]:
    """Where a checkpoint comes from and under which terms, by heading."""
    card = kept.card
    cohort = card.get("trained_on")
    thanks = str(cohort.get("acknowledgement", "")) if isinstance(cohort, Mapping) else ""
    facts = {
        "What it is": str(card.get("what_it_is") or card.get("purpose", "")),
        "What it is not": str(card.get("what_it_is_not", "")),
        "Licence": str(card.get("licence", "not recorded")),
        "Acknowledgement": thanks,
        "Contains": str(card.get("contains", "")),
        "Training": training_time(card),
        "Energy": energy(card),
        "Format": f"version {kept.config['version']}" if "version" in kept.config else "",
        "Weights": kept.digest,
        "SHA-256 of the file": kept.sha256,
    }
    limits = card.get("limits")
    if isinstance(limits, list):
        facts["Limits"] = "; ".join(str(limit) for limit in limits)
    return {heading: plain(text) for heading, text in facts.items() if text}


def plain(text: str) -> str:
    """A card's words without that of the workshop for what measures scans."""
    return re.sub(r"\bruler", "measuring network", re.sub(r"\bRuler", "Measuring network", text))


def citation(kept: list[Kept]) -> str:
    """One text that names the program, the models by the hash of their weights, and whom their cohorts thank."""
    models = ", ".join(f"{each.name} (weights {each.digest})" for each in kept if each.draws)
    thanks = dict.fromkeys(text for each in kept if (text := origin(each).get("Acknowledgement", "")))
    lines = [f"Somatwin, version {program_version()}: a scan and its clinical table as one generative model."]
    lines += [f"Models: {models}."] if models else []
    return " ".join([*lines, *(f"{text.rstrip('.')}." for text in thanks)])
