"""What is told apart in the masks of the shipped models: names of classes, and their codes in a cohort's label maps."""

from __future__ import annotations

from collections.abc import Mapping

from engine.cohort.preprocess.outside_brain import SCALP, SKULL
from engine.measure.head import FLUID_CODES, VENTRICLE_CODES
from engine.measure.torso import CODES
from engine.model.config import MaskConfig
from engine.phantom.heart.tissue import CODES as HEART
from engine.phantom.tissue import code, codes

#: a head's mask in DLMUSE's codes and those of skull and scalp; what is in none is of the last
HEAD_CODES = {
    "background": (0,),
    "fluid": FLUID_CODES,
    "ventricles": VENTRICLE_CODES,
    "cortex left": tuple(range(101, 208, 2)),
    "cortex right": tuple(range(100, 208, 2)),
    "white matter": (69, *range(81, 96)),
    "deep grey matter": (23, 30, 31, 32, 36, 37, 47, 48, *range(55, 63), 75, 76),
    "cerebellum": (38, 39, 40, 41, 71, 72, 73),
    "brain stem": (35,),
    "skull": (SKULL,),
    "scalp": (SCALP,),
}
#: a torso's in the phantom's codes: the ruler's classes, and of what it calls other those that look different in a scan
TORSO_CODES = {
    **CODES,
    "vessels": codes("blood"),
    "mediastinal fat": codes("mediastinal_fat", "renal_sinus"),
    "cartilage": codes("disc_and_cartilage"),
    "spinal canal": codes("spinal_canal"),
    "stomach": (code("stomach"),),
    "bowel": (code("duodenum"), code("small_bowel")),
    "bowel fluid": (code("stomach_content"), code("small_bowel_content")),
    "colon": (code("colon"),),
    "stool": (code("colon_content"), code("rectum")),
    "gas": codes("gas", "airway"),
    "bladder": codes("bladder"),
    "pancreas": codes("pancreas"),
    "breast gland": codes("fibroglandular_tissue"),
    "other": (),
}

#: what looks different in a heart's cine, or is enclosed by another wall, in the phantom's codes
HEART_CODES = {
    "air and lung": (0, HEART["lung"]),
    "left ventricle's blood": (HEART["lv_cavity"],),
    "papillary muscle": (HEART["papillary_muscle"],),
    "left ventricle's wall": (HEART["lv_myocardium"],),
    "right ventricle's blood": (HEART["rv_cavity"],),
    "right ventricle's wall": (HEART["rv_myocardium"],),
    "blood at the base": tuple(HEART[name] for name in ("left_atrium", "right_atrium", "aorta", "pulmonary_artery")),
    "vessel wall": (HEART["vessel_wall"],),
    "fat": tuple(HEART[name] for name in ("pericardial_fat", "abdominal_fat", "subcutaneous_fat")),
    "liver": (HEART["liver"],),
    "spleen": (HEART["spleen"],),
    "stomach": (HEART["stomach"],),
    "muscle": (HEART["muscle"],),
    "bone": (HEART["bone"],),
}
#: what each wall of a heart encloses, and the wall
HEART_WALLS = (
    ("left ventricle's blood", "papillary muscle", "left ventricle's wall"),
    ("right ventricle's blood", "right ventricle's wall"),
    ("blood at the base", "vessel wall"),
)


def mask_of(table: Mapping[str, tuple[int, ...]], latent: int = 64, *, atlas: bool = False) -> MaskConfig:
    """The mask autoencoder for these classes, with ``latent`` channels a token; decoded through an ``atlas`` or by itself."""
    return MaskConfig(classes=tuple(table), codes=tuple(table.values()), latent=latent, atlas=atlas)
