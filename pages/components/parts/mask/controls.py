"""What is to be done to a mask: a region, its volume and its place, or a mask of the reader's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from engine.vocabulary.refusal import Refusal
from pages.components.parts.facts import refused
from pages.components.parts.mask.edited import read_mask
from pages.components.state.overlay import titles_of
from pages.components.state.region_edit import LEAST, RegionEdit, fitting, keep_mask, mask_title, own_masks

if TYPE_CHECKING:
    from engine.imaging.segmentation import Segmentation
    from engine.inference.generate import Model

#: mm that a slider moves a region to either side, and titles of the three of them
FAR = 50
WAYS = {
    "right": ("Right, mm", "To the patient's right; below 0 to the left."),
    "front": ("Front, mm", "Towards the front; below 0 towards the back."),
    "up": ("Up, mm", "Towards the head; below 0 towards the feet."),
}
VOLUME = "From 25 to 300 % of what it is. Its border moves by the same distance everywhere, not out of the body."
KEEP = "Off: only what is given or held stays, and the model samples all other attributes anew for each mask."
FILE = "NIfTI label map (dseg), with its BIDS table (.tsv) beside it, or DICOM-SEG"
PRIVATE = "It stays in this session; for as long as it is read it lies in a temporary file without its name."


def restore_edit(key: str, edit: RegionEdit | None) -> None:
    """Set the controls to an ``edit``; call before they are drawn."""
    edit = edit or RegionEdit()
    state: dict[str, Any] = {f"{key}.factor": edit.factor, f"{key}.keep": edit.keep, f"{key}.mask": edit.mask}
    state |= {f"{key}.{way}": round(mm) for way, mm in zip(WAYS, edit.by, strict=True)}
    if edit.region:
        state[f"{key}.region"] = edit.region
    st.session_state.update(state)
    st.session_state.pop(f"{key}.of", None)


def edit_controls(model: Model, mask: Segmentation | None, key: str, *, narrow: bool = False) -> RegionEdit:
    """Draw the controls. ``mask`` is the person's, where it is known: without it volumes are per cent of what is not known yet."""
    state = st.session_state
    titles = titles_of(model)
    state.setdefault(f"{key}.factor", 1.0)
    _remember(key)
    base = _base(model, key)
    known = own_masks()[base] if base else mask
    volumes = known.volumes_ml() if known is not None else {}
    present = [name for name in titles if not volumes or volumes[name] > 0]
    if state.get(f"{key}.region") not in present:
        state[f"{key}.region"] = _first(present)
    places = [st.container()] * 2 if narrow else st.columns([2, 3])
    region = places[0].selectbox(
        "Region",
        present,
        key=f"{key}.region",
        format_func=lambda name: f"{titles[name]}, {_ml(volumes[name])} mL" if volumes else titles[name],
        on_change=_other_region,
        args=(key,),
        help="A class of the model's masks, and its volume now.",
    )
    with places[1]:
        factor = _volume(key, region, volumes.get(region, 0.0))
    ways = [st.container()] * len(WAYS) if narrow else st.columns(len(WAYS))
    by = tuple(float(_way(place, key, way)) for place, way in zip(ways, WAYS, strict=True))
    state.setdefault(f"{key}.keep", True)
    keep = st.checkbox("Keep everything else", key=f"{key}.keep", help=KEEP)
    right, front, up = by
    _remember(key)
    return RegionEdit(region=region, factor=factor, by=(right, front, up), keep=keep, mask=base)


def _remember(key: str) -> None:
    """Keep what the controls say: Streamlit forgets those that a page, or another page, does not show."""
    state = st.session_state
    known = state.setdefault(f"{key}.known", {})
    for name in ("region", "keep", "mask", *WAYS):
        if f"{key}.{name}" in state:
            known[name] = state[f"{key}.{name}"]
        elif name in known:
            state[f"{key}.{name}"] = known[name]


def _first(present: list[str]) -> str:
    """The liver where there is one, else the first."""
    return "liver" if "liver" in present else present[0]


def _ml(millilitres: float) -> str:
    return f"{millilitres:,.0f}" if millilitres >= 100 else f"{millilitres:.1f}"


def _other_region(key: str) -> None:
    """Another region begins as it is."""
    st.session_state.update({f"{key}.factor": 1.0, **{f"{key}.{way}": 0 for way in WAYS}})


def _base(model: Model, key: str) -> str:
    """The key of the mask that is edited; the controls with which the reader brings one."""
    state = st.session_state
    with st.popover("Load a mask", icon=":material/upload_file:"):
        files = st.file_uploader(
            FILE, ["nii", "gz", "tsv", "dcm"], accept_multiple_files=True, key=f"{key}.files", max_upload_size=64
        )
        st.caption(PRIVATE)
        ids = [file.file_id for file in files]
        if files and st.button("Use this mask", key=f"{key}.use"):
            state[f"{key}.read"] = ids
            state[f"{key}.said"] = _loaded(model, [(file.name, file.getvalue()) for file in files], key)
        if state.get(f"{key}.read") == ids:
            for note in state.get(f"{key}.said", ()):
                st.caption(note)
    keys = ["", *fitting(model)]
    if state.get(f"{key}.mask", "") not in keys:
        state[f"{key}.mask"] = ""
    if len(keys) == 1:
        return ""
    words = {each: mask_title(each) for each in keys}
    return str(st.selectbox("Start from", keys, key=f"{key}.mask", format_func=words.__getitem__))


def _loaded(model: Model, files: list[tuple[str, bytes]], key: str) -> list[str]:
    """Take in a mask; what is said of it."""
    try:
        mask, notes = read_mask(model, files)
    except Refusal as error:
        return [f":red[{refused(error)}]"]
    st.session_state[f"{key}.mask"] = keep_mask(mask, f"Loaded, {files[0][0][:40]}")
    _other_region(key)
    return [*notes, "It is in use: see Start from."]


def _volume(key: str, region: str, now: float) -> float:
    """How many times as large the region is to be."""
    from engine.imaging.region_edit import LARGEST, SMALLEST

    state = st.session_state
    scale = now or 100.0
    digits = 0 if scale >= 100 else 1
    low, high = (round(share * scale, digits) for share in (SMALLEST, LARGEST))
    scaled = (region, round(now, 3), state[f"{key}.factor"])
    if state.get(f"{key}.of") != scaled or f"{key}.volume" not in state:
        state[f"{key}.volume"] = min(high, max(low, round(state[f"{key}.factor"] * scale, digits)))
        state[f"{key}.stands"] = state[f"{key}.volume"]
    value = st.slider(
        f"Volume, mL (now {_ml(now)})" if now else "Volume, % of now",
        low,
        high,
        step=1.0 if scale >= 100 else 0.1,
        format=f"%.{digits}f",
        key=f"{key}.volume",
        help=VOLUME if now else f"{VOLUME} In mL once this person was drawn.",
    )
    factor = state[f"{key}.factor"]
    if value != state[f"{key}.stands"]:  # moved: what was rounded for the slider stays as it was asked for
        factor = min(LARGEST, max(SMALLEST, round(value / scale, 3)))
        factor = 1.0 if abs(factor - 1) < LEAST else factor
    state[f"{key}.factor"] = factor
    state[f"{key}.stands"] = value
    state[f"{key}.of"] = region, round(now, 3), factor
    return factor


def _way(place: Any, key: str, way: str) -> int:
    title, text = WAYS[way]
    state = st.session_state
    state[f"{key}.{way}"] = min(FAR, max(-FAR, int(state.get(f"{key}.{way}", 0))))
    return place.slider(title, -FAR, FAR, key=f"{key}.{way}", help=f"{text} To the nearest voxel.")
