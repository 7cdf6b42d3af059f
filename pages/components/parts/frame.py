"""What every page begins with: its title, the navigation, and the banner that no link can bypass."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any, NoReturn

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.components.parts.teaching.tour import tour_bar

HERE = Path(__file__).parent
BANNER = "Synthetic. Associations, not causes. Not for diagnosis."
#: in its place where a reader's scan is shown, and where real scans are among those to be told apart
YOUR_SCAN = "Your scan is real, not synthetic. What a model draws from it is synthetic. Associations, not causes. Not for diagnosis."
BLIND = "Real and synthetic scans, which is which is not said. Not for diagnosis."
#: icon and one sentence for each page
CARDS = {
    "Explore": (
        ":material/person_search:",
        "Set age, sex and BMI, or leave them free; look at the scan and the table.",
    ),
    "What if": (
        ":material/compare:",
        "The same person, but older, heavier, of the other sex: synthetic, or in a scan of yours.",
    ),
    "Consistency": (
        ":material/monitoring:",
        "See whether the anatomy follows what was asked for, beside the real cohort.",
    ),
    "Population": (
        ":material/groups:",
        "Draw a cohort of hundreds, filter and plot it, and take it away as files.",
    ),
    "Library": (
        ":material/bookmarks:",
        "Persons and what-ifs that you kept: name them, compare any two, take them away as a file.",
    ),
    "Review": (
        ":material/rate_review:",
        "Rate scans blindly, with the keyboard if you like, and see how well you can tell.",
    ),
    "Train": (
        ":material/model_training:",
        "Train on a cohort of your own, and watch it learn.",
    ),
    "Model review": (
        ":material/fact_check:",
        "How good a model is, with the floor and the ceiling of every figure.",
    ),
    "About": (
        ":material/info:",
        "Limits, licences, keyboard shortcuts, and where the models come from.",
    ),
}


def frame(title: str) -> DeltaGenerator:
    """Configure the page; draw navigation, banner and title. Returns the place beside the title, for a status."""
    st.set_page_config(
        page_title=f"{title} · Somatwin", page_icon=(HERE / "icon.svg").read_text(encoding="utf-8"), layout="wide"
    )
    log_in()
    st.session_state["banner"] = st.empty()
    trained_on()
    with st.sidebar:
        st.html('<div class="wordmark">Somatwin<small>people who do not exist</small></div>')
        st.page_link("app.py", label="Overview", icon=":material/home:")
        for path, name in pages():
            st.page_link(path, label=name, icon=CARDS.get(name, (":material/chevron_right:", ""))[0])
    tour_bar(title)
    left, right = st.columns([1, 3], vertical_alignment="center")
    left.title(title, anchor=False)
    st.session_state["notice"] = st.container()
    shelf_of(title)
    return right.container(
        height=58, border=False, horizontal_alignment="right", vertical_alignment="center", key="status"
    )


def shelf_of(title: str) -> None:
    """The library's storage, on the pages where something is or was kept."""
    if title != "Library" and "library" not in st.session_state:
        return
    from pages.components.parts.library.shelf import shelf

    shelf()


def log_in() -> None:
    """Where whoever runs the app asks for a login (Streamlit's OIDC: ``[auth]`` in secrets.toml, or a table ``[auth.NAME]`` for each
    provider), nobody sees a page without one."""
    if not st.secrets.load_if_toml_exists() or "auth" not in st.secrets or st.user.get("is_logged_in"):
        return
    st.html(HERE / "frame.css")
    st.title("Somatwin", anchor=False)
    st.write(f"Log in to go on. {BANNER}")
    providers = [name for name, value in st.secrets["auth"].items() if isinstance(value, Mapping)]
    for provider in providers or [None]:
        label = f"Log in with {provider}" if provider else "Log in"
        st.button(label, type="primary", icon=":material/login:", on_click=st.login, args=(provider,))
    st.stop()


def pages() -> list[tuple[str, str]]:
    """Path and name of every page but the front page."""
    files = sorted(HERE.parents[1].glob("[0-9]*_*.py"))
    found = [(f"pages/{file.name}", file.stem.split("_", 1)[1].replace("_", " ")) for file in files]
    order = list(CARDS)
    return sorted(found, key=lambda page: order.index(page[1]) if page[1] in order else len(order))


def trained_on(*cards: Mapping[str, Any]) -> None:
    """Say in the banner what the models on this page were trained on."""
    sentences = " ".join(dict.fromkeys(training_data(card) for card in cards))
    st.session_state["banner facts"] = sentences
    _banner(BANNER, sentences)


def real_scans_shown(notice: str) -> None:
    """Say in the banner what on this page is real, in place of the word that all is synthetic."""
    _banner(notice, st.session_state.get("banner facts", ""))


def _banner(notice: str, sentences: str) -> None:
    trained = f"<span>{escape(sentences)}</span>" if sentences else ""
    # styles within what is drawn first, so that nothing jumps when they come; with them how Back and the Tab key behave
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("frame.css", "manners.js"))
    banner = f'<div class="banner" role="note"><strong>{escape(notice)}</strong>{trained}</div>'
    parts = f"<style>{style}</style>{banner}<script>{script}</script>"
    st.session_state["banner"].html(parts, unsafe_allow_javascript=True)


def training_data(card: Mapping[str, Any]) -> str:
    """One sentence from the model card."""
    facts = card.get("trained_on")
    if not isinstance(facts, Mapping):
        return str(facts or "What this model was trained on is not recorded.")
    parts = [f"{facts['persons']} persons"] if "persons" in facts else []
    parts += [f"of {str(facts['source_name']).replace('In-silico', 'in-silico')}"] if "source_name" in facts else []
    return f"Trained on {' '.join(parts) or 'an unnamed cohort'}{_faces(str(facts.get('faces', '')))}."


def _faces(said: str) -> str:
    """What a card says of faces, as the end of a sentence."""
    if said.startswith("none"):
        return ", no face in view"
    return f", faces {said}" if said else ""


def refuse(sentence: str) -> NoReturn:
    """End the page with a sentence in its main part, wherever it is called."""
    st.session_state["notice"].error(sentence)
    st.stop()
