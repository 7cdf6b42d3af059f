"""What the words of an image's type, and of a series' description, say of it: a scout, a map, a projection, a part of a complex image."""

from __future__ import annotations

import re

#: words in ImageType
SCOUTS, PARTS = ("LOCALIZER", "SCOUT"), ("P", "PHASE", "PHASE MAP", "R", "REAL", "I", "IMAGINARY", "VELOCITY")
PROJECTIONS = ("PROJECTION IMAGE", "MIN IP", "MAX IP", "CPR", "CSA MPR", "VOLUME RENDER", "SURFACE RENDER")
#: the same as parts of a word: CSA MIP THICK
PROJECTED = frozenset({"MIP", "MINIP", "MNIP", "MAXIP", "VRT"})
#: words of images that are computed from others and show no tissue as a scanner sees it; any word that ends in MAP is one too
MAPS = ("ADC", "FA", "TRACEW", "DIFFUSION", "PERFUSION", "RCBF", "RCBV", "RELCBF", "RELCBV", "MTT", "TTP", "TMAX")
MAPS += (
    "SUBTRACTION",
    "MASK",
    "FF",
    "FAT_FRACTION",
    "FATFRACTION",
    "PDFF",
    "R2STAR",
    "T2STAR",
    "FIELD_MAP",
    "B0",
    "B1",
)
MAPS += (
    "EADC",
    "COLFA",
    "TENSOR",
    "TRACE",
    "CBF",
    "CBV",
    "KTRANS",
    "SUB",
    "STD",
    "STDDEV",
    "T2*",
    "R2*",
    "SWI",
    "ASL",
    "FMRI",
)
MAPS += ("WASHIN", "WASHOUT", "FRACTION", "WATER_FRACTION", "SCREEN SAVE", "CSA REPORT")
MAPS += ("ISOTROPIC", "ANISOTROPY", "T1_MAP", "T2_MAP", "T2_STAR_MAP", "PHASE_DIFFERENCE", "VELOCITY_MAP")
#: what a description calls a series that only places the next; and, of images that say DERIVED, one that is computed
PLANNING = frozenset({"scout", "localizer", "localiser", "loc", "survey", "smartbrain", "aascout"})
COMPUTED = frozenset(
    {"adc", "dadc", "eadc", "fa", "map", "maps", "sub", "subtraction", "subtracted", "mip", "minip", "cbf", "cbv"}
)
COMPUTED |= {"mtt", "ttp", "pdff", "tensor", "trace", "coefficient", "fraction"}
#: contrasts of an enhanced image, or of angiography, that are not T1-weighted
OTHER_CONTRASTS = ("DIFFUSION", "FLOW_ENCODED", "PERFUSION", "TAGGING", "T2", "T2_STAR", "TOF")


def is_map(word: str) -> bool:
    """Whether a word of an image's type says that it was computed from others.

    >>> is_map("ADC"), is_map("R2_STAR_MAP"), is_map("T1")
    (True, True, False)
    """
    return word in MAPS or re.split(r"[\W_]+", word)[-1] in ("MAP", "MAPS")


def plans(description: str) -> bool:
    """Whether a description is that of a series that only places the next."""
    return bool(_words(description) & PLANNING)


def computes(description: str) -> bool:
    """Whether a description of images that say DERIVED is that of a map, a difference or a projection."""
    return bool(_words(description) & COMPUTED)


def _words(description: str) -> set[str]:
    return set(re.split(r"[\W_\d]+", description.casefold()))
