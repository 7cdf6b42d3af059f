"""The label volumes that the learned anatomy is fitted to: real parts on a lattice, and what they leave out filled in.

BodyParts3D has no intercostal muscles, no inner layers of the abdominal wall, no fat, no spinal canal. They lie where
the parts leave room: this module says where (:func:`body`). Axes as of :mod:`engine.phantom.atlas.meshes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage

from engine.phantom.atlas.meshes import Lattice, Mesh, bodyparts, bowel, inside, reference_organs
from engine.phantom.atlas.morphology import closed, distance_to, eroded, filled, joined, largest, opened
from engine.phantom.atlas.volume import LabelVolume

Masks = Mapping[str, Bool[np.ndarray, "x y z"]]

#: neck to knee, mm
BODY = Lattice(origin=(-248.75, -251.25, 560.0), spacing=(2.5, 2.5, 2.5), shape=(200, 124, 376))
#: which parts (beginnings of their names) make each class; what comes later is painted over what comes before
CLASSES: Mapping[str, tuple[str, ...]] = {
    "neck_muscle": ("scm", "splenius", "levator_scap", "scalenes", "strap"),
    "back": ("latissimus", "trapezius", "rhomboids", "serratus_post"),
    "paraspinal": ("multifidus", "iliocostalis", "longissimus", "spinalis"),
    "quadratus_lumborum": ("quad_lumborum",),
    "shoulder": ("teres", "infraspinatus", "supraspinatus", "subscapularis", "subclavius"),
    "deltoid": ("deltoid",),
    "upper_arm": ("arm_flexors", "triceps"),
    "forearm": ("forearm",),
    "pectoral": ("pect_major", "pect_minor"),
    "serratus": ("serratus_ant",),
    "intercostal": ("transversus_thoracis",),
    "oblique": ("ext_oblique",),
    "rectus": ("rectus_abd",),
    "linea_alba": ("linea_alba",),
    "gluteal": ("glut_", "tfl"),
    "hip_rotators": ("piriformis", "obturators", "levator_ani"),
    "thigh_front": ("rectus_fem", "vasti", "sartorius"),
    "thigh_inner": ("adductors",),
    "thigh_back": ("hamstrings",),
    "psoas": ("psoas", "iliacus"),
    "diaphragm": ("diaphragm",),
    "lung_right_upper": ("lung_RUL",), "lung_right_middle": ("lung_RML",), "lung_right_lower": ("lung_RLL",),
    "lung_left_upper": ("lung_LUL",), "lung_left_lower": ("lung_LLL",),
    "thymus": ("thymus",), "esophagus": ("esophagus",), "airway": ("trachea", "bronchi", "larynx"),
    "pulmonary_vessel": ("pulm_",),
    "liver": ("liver",), "spleen": ("spleen",), "stomach": ("stomach",), "pancreas": ("pancreas",),
    "adrenal": ("adrenal",), "kidney_right": ("kidney_R",), "kidney_left": ("kidney_L",), "ureter": ("ureters",),
    "gallbladder": ("gallbladder",), "bladder": ("bladder",), "prostate": ("prostate", "seminal"),
    "genitals": ("testes", "penis"),
    "jejunum": ("jejunum",), "ileum": ("ileum",), "duodenum": ("duodenum",), "colon": ("colon", "appendix"),
    "rectum": ("rectum",),
    "ventricle_wall": ("heart_ventricle_wall",), "atrial_wall": ("heart_LA_wall", "heart_RA_wall"),
    "left_ventricle": ("heart_LV_blood",), "right_ventricle": ("heart_RV_blood",),
    "left_atrium": ("heart_LA_blood",), "right_atrium": ("heart_RA_blood",),
    "aorta": ("asc_aorta", "aortic_arch", "desc_aorta"), "vena_cava": ("IVC", "SVC"),
    "iliac_artery": ("iliac_arteries",), "iliac_vein": ("iliac_veins",), "renal_vessel": ("renal_",),
    "mesenteric_vessel": ("SMA", "SMV"), "neck_vessel": ("carotids", "jugulars", "subclavians"),
    "disc": ("disks",), "costal_cartilage": ("costal_cartilage",),
    "cervical": ("C",), "thoracic_upper": ("T1", "T2", "T3", "T4"), "thoracic_middle": ("T5", "T6", "T7", "T8"),
    "thoracic_lower": ("T9", "T10", "T11", "T12"), "L1": ("L1",), "L2": ("L2",), "L3": ("L3",), "L4": ("L4",),
    "L5": ("L5",), "sacrum": ("sacrum",), "rib": ("rib",), "sternum": ("manubrium", "sternum_body", "xiphoid"),
    "clavicle": ("clavicle",), "scapula": ("scapula",), "humerus": ("humerus",), "forearm_bone": ("radius", "ulna"),
    "pelvis": ("hip_bone",), "femur": ("femur",),
}  # fmt: skip
#: names that hold only as a whole: T1 is not the beginning of T10, C of colon
WHOLE = {f"{a}{i}" for a in "TLC" for i in range(1, 13)}
ARM = ("deltoid", "upper_arm", "forearm", "humerus", "forearm_bone", "arm_shell")
MUSCLES = (
    *("neck_muscle", "back", "paraspinal", "quadratus_lumborum", "shoulder", "pectoral", "serratus", "oblique"),
    *("rectus", "linea_alba", "gluteal", "hip_rotators", "psoas"),
)
SPINE = (
    *("cervical", "thoracic_upper", "thoracic_middle", "thoracic_lower", "L1", "L2", "L3", "L4", "L5", "sacrum"),
    "disc",
)
THORACIC = (
    *("lung_right_upper", "lung_right_middle", "lung_right_lower", "lung_left_upper", "lung_left_lower", "thymus"),
    *("airway", "pulmonary_vessel", "ventricle_wall", "atrial_wall", "left_ventricle", "right_ventricle"),
    *("left_atrium", "right_atrium", "aorta", "vena_cava", "esophagus", "neck_vessel"),
)
HEART = ("ventricle_wall", "atrial_wall", "left_ventricle", "right_ventricle", "left_atrium", "right_atrium")
ABDOMINAL = (
    *("liver", "spleen", "stomach", "pancreas", "adrenal", "kidney_right", "kidney_left", "ureter", "gallbladder"),
    *("bladder", "prostate", "jejunum", "ileum", "duodenum", "colon", "rectum", "iliac_artery", "iliac_vein"),
    *("renal_vessel", "mesenteric_vessel"),
)
#: what is filled in
FILLED = (
    *("spinal_canal", "intermuscular_fat", "mediastinal_fat", "epicardial_fat", "abdominal_fat", "transversus"),
    *("femur_shell", "arm_shell", "pelvis_shell"),
)
NAMES = ("outside", *CLASSES, *FILLED)
#: the first rib and the pelvic floor close the cavities; the iliac crest; mm
INLET, FLOOR, CREST = 1372.0, 782.0, 967.0
#: gaps between ribs and between muscles that are closed; thickness of the inner layers of the abdominal wall; mm
GAP, SEAM, WALL = 14.0, 17.0, 9.0
#: how far muscles grow into what lies between them, and the plane of fat that stays, mm
GROWN: Mapping[str, float] = {
    "paraspinal": 14.0, "gluteal": 24.0, "back": 9.0, "shoulder": 14.0, "pectoral": 9.0, "thigh_front": 22.0,
    "thigh_inner": 22.0, "thigh_back": 22.0, "psoas": 4.0, "hip_rotators": 8.0, "neck_muscle": 6.0, "rectus": 5.0,
    "oblique": 5.0,
}  # fmt: skip
PLANE, FAR = 1.3, 1e4


@dataclass(frozen=True, kw_only=True, eq=False)
class Layers:
    """The body's ``labels`` (indices of :data:`NAMES`), its ``cavity`` with the organs in it, and its muscle
    ``envelope`` without arms."""

    labels: UInt8[np.ndarray, "x y z"]
    cavity: Bool[np.ndarray, "x y z"]
    envelope: Bool[np.ndarray, "x y z"]


def body(folder: Path) -> Layers:
    """The whole body: parts painted in the order of :data:`CLASSES`, then what they leave out."""
    labels = _painted(bodyparts(folder))
    cavity = _cavity(labels)
    _fill_canal(labels)
    _fill_wall(labels, cavity)
    _fill_cavity(labels, cavity)
    envelope = _envelope(labels, cavity)
    _fill_between(labels, envelope)
    _fill_cortical(labels)
    return Layers(labels=labels, cavity=cavity, envelope=envelope)


def _belongs(part: str, beginnings: tuple[str, ...]) -> bool:
    for beginning in beginnings:
        if beginning == "C" and part in {f"C{i}" for i in range(1, 8)}:
            return True
        if beginning in WHOLE and part == beginning:
            return True
        if beginning != "C" and beginning not in WHOLE and part.startswith(beginning):
            return True
    return False


def _painted(parts: Mapping[str, Mesh]) -> UInt8[np.ndarray, "x y z"]:
    labels = np.zeros(BODY.shape, np.uint8)
    for name, beginnings in CLASSES.items():
        for part, mesh in parts.items():
            if _belongs(part, beginnings):
                labels[inside(mesh, BODY)] = NAMES.index(name)
    return labels


def of(labels: UInt8[np.ndarray, "x y z"], *names: str) -> Bool[np.ndarray, "x y z"]:
    """Where the labels are among these names."""
    return np.isin(labels, [NAMES.index(name) for name in names])


def _distance(mask: Bool[np.ndarray, "x y z"]) -> Float[np.ndarray, "x y z"]:
    """mm to the mask, 0 within."""
    return distance_to(mask, BODY.spacing)


def _cavity(labels: UInt8[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    """Chest, abdomen and pelvis: what the wall encloses between thoracic inlet and pelvic floor, organs included."""
    z = BODY.axes()[2]
    y = BODY.axes()[1]
    organs = of(labels, *(name for name in (*THORACIC, *ABDOMINAL) if name != "neck_vessel"))
    wall = of(labels, *MUSCLES, *SPINE, "rib", "sternum", "costal_cartilage", "pelvis", "intercostal", "diaphragm")
    solid_wall = closed(wall, GAP, BODY.spacing) & ~organs
    cavity = np.zeros(BODY.shape, bool)
    hull = of(labels, "rectus", "linea_alba", "pelvis", "sacrum", "oblique", "L5", "L4", "disc") & (z < CREST + 45)
    for k in range(BODY.shape[2]):
        height = z[0, 0, k]
        if not FLOOR < height < INLET:
            continue
        solid = solid_wall[:, :, k] | organs[:, :, k]
        low = height < CREST + 45
        # the front of the pelvis is open in the source
        enclosed = _hull(hull[:, :, k]) if low else filled(solid)
        behind = (y[0, :, 0] >= -45.0) & low
        cavity[:, :, k] = enclosed & ~solid_wall[:, :, k] & ~behind[None]
    whole = largest(cavity | organs) & (z > FLOOR) & (z < INLET)
    return opened(whole, 2) | (organs & (z > FLOOR) & (z < INLET))


def _hull(mask: Bool[np.ndarray, "x y"]) -> Bool[np.ndarray, "x y"]:
    """The convex hull of a section."""
    from scipy.spatial import ConvexHull, Delaunay

    points = np.argwhere(mask)
    if len(points) < 10:
        return mask
    corners = points[ConvexHull(points).vertices]
    every = np.stack(np.meshgrid(*(np.arange(n) for n in mask.shape), indexing="ij"), -1)
    return Delaunay(corners).find_simplex(every) >= 0


def _fill_canal(labels: UInt8[np.ndarray, "x y z"]) -> None:
    """The spinal canal: a tube through what the vertebral arches enclose."""
    x, y, z = BODY.axes()
    spine = of(labels, *SPINE)
    centres = []
    for k in range(BODY.shape[2]):
        hole = filled(spine[:, :, k]) & ~spine[:, :, k] & (np.abs(x[:, 0]) < 12)
        if hole.sum() >= 8:
            rows = np.argwhere(hole)[:, 1]
            centres.append((z[0, 0, k], y[0, rows.min(), 0] / 2 + y[0, rows.max(), 0] / 2))
    heights, middles = np.array(centres).T
    middle = ndimage.gaussian_filter1d(np.interp(z[0, 0], heights, middles), 4.0)
    tube = ((x / 10.0) ** 2 + ((y - middle) / 7.5) ** 2 < 1) & (z > heights.min()) & (z < heights.max() + 60)
    labels[tube & (labels == 0)] = NAMES.index("spinal_canal")


def _fill_wall(labels: UInt8[np.ndarray, "x y z"], cavity: Bool[np.ndarray, "x y z"]) -> None:
    """Inner oblique and transverse muscles within the outer one; muscle between neighbouring ribs."""
    z = BODY.axes()[2]
    free = labels == 0
    front = _distance(of(labels, "oblique", "rectus"))
    low = np.zeros_like(cavity)
    for k in range(BODY.shape[2]):
        if 850 < z[0, 0, k] < CREST + 40:
            section = cavity[:, :, k]
            rim = section & (distance_to(~section, BODY.spacing[0]) <= WALL)
            low[:, :, k] = rim & (BODY.axes()[1][0, :, 0] < -85.0)[None]
    layers = (((front <= WALL) & cavity & (z > CREST - 20) & (z < 1120)) | low) & free
    labels[layers] = NAMES.index("transversus")
    ribs = of(labels, "rib", "costal_cartilage")
    between = closed(ribs, 13.0, BODY.spacing) & (labels == 0) & ~cavity
    labels[between] = NAMES.index("intercostal")
    cavity &= ~(layers | between)


def _fill_cavity(labels: UInt8[np.ndarray, "x y z"], cavity: Bool[np.ndarray, "x y z"]) -> None:
    """Fat: around the heart, in the mediastinum, in the abdomen; whose it is says the nearest organ."""
    free = cavity & (labels == 0)
    chest = _distance(of(labels, *(name for name in THORACIC if name not in ("aorta", "vena_cava", "esophagus"))))
    belly = _distance(of(labels, *ABDOMINAL))
    heart = _distance(of(labels, *HEART))
    labels[free] = NAMES.index("abdominal_fat")
    labels[free & (chest < belly)] = NAMES.index("mediastinal_fat")
    labels[free & (chest < belly) & (heart < 9)] = NAMES.index("epicardial_fat")


def _envelope(labels: UInt8[np.ndarray, "x y z"], cavity: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "x y z"]:
    """The body under its subcutaneous fat, without arms; each leg is closed by itself."""
    x, _, z = BODY.axes()
    flesh = ((labels > 0) & ~of(labels, *ARM, "genitals")) | cavity
    legs = np.broadcast_to(z < 775.0, BODY.shape)
    whole = closed(flesh & ~legs, SEAM, BODY.spacing)
    for side in (x < 0, x >= 0):
        whole |= closed(flesh & (z < 800.0) & side, SEAM, BODY.spacing) & side
    return np.stack([filled(whole[:, :, k]) for k in range(BODY.shape[2])], -1)


def _fill_between(labels: UInt8[np.ndarray, "x y z"], envelope: Bool[np.ndarray, "x y z"]) -> None:
    """Between muscles: they are thin in the source, so they grow towards each other but for a plane of fat."""
    free = envelope & (labels == 0)
    nearest = np.full(labels.shape, FAR, np.float32)
    second = nearest.copy()
    whose = np.zeros(labels.shape, np.uint8)
    for name, reach in GROWN.items():
        distance = _distance(of(labels, name)).astype(np.float32)
        distance[distance > reach] = FAR
        closer = distance < nearest
        second = np.where(closer, nearest, np.minimum(second, distance))
        whose[closer] = NAMES.index(name)
        nearest = np.minimum(nearest, distance)
    grown = free & (nearest < FAR) & (second - nearest > PLANE)
    labels[grown] = whose[grown]
    labels[free & ~grown] = NAMES.index("intermuscular_fat")


def _fill_cortical(labels: UInt8[np.ndarray, "x y z"]) -> None:
    """The shells of long bones and pelvis."""
    for name, shell, layers in (
        ("femur", "femur_shell", 2),
        ("humerus", "arm_shell", 2),
        ("pelvis", "pelvis_shell", 1),
    ):
        bone = of(labels, name)
        labels[bone & ~eroded(bone, layers)] = NAMES.index(shell)


#: the box of the bowel and of the female pelvis, in the frame of the body
VISCERA = Lattice(origin=(-120.0, -205.0, 765.0), spacing=(2.5, 2.5, 2.5), shape=(97, 73, 134))
PELVIS = Lattice(origin=(-80.0, -135.0, 790.0), spacing=(2.0, 2.0, 2.0), shape=(81, 46, 60))
#: where the box of the second bowel's colon lies in the frame of the body, mm
COLON = ((-106.0, -188.0, 776.0), (106.0, -32.0, 1090.0))
#: how far the uterus of the source is enlarged, and where its middle lies, mm
UTERUS = (1.35, (0.0, -92.0, 852.0))


def volumes(folder: Path) -> dict[str, LabelVolume]:
    """The label volumes by name: ``body``, ``bowel`` (a second one) and ``womb``.

    Raises :class:`~engine.phantom.given.conditioning.PhantomError` for a folder without the geometry.
    """
    return {
        "body": _volume(BODY, NAMES, body(folder).labels),
        "bowel": _volume(VISCERA, *viscera(folder)),
        "womb": _volume(PELVIS, *female_pelvis(folder)),
    }


def _volume(lattice: Lattice, names: tuple[str, ...], labels: UInt8[np.ndarray, "x y z"]) -> LabelVolume:
    return LabelVolume(labels=labels, origin=lattice.origin, spacing=lattice.spacing, classes=names)


def viscera(folder: Path) -> tuple[tuple[str, ...], UInt8[np.ndarray, "x y z"]]:
    """The second bowel, from CT: small and large, scaled into the body's abdomen; its stomach is left out."""
    small, large = bowel(folder, "small"), bowel(folder, "large")
    low, high = (np.array(corner) for corner in COLON)
    first, last = large.bounds
    scale = (high - low) / (last - first)
    shift = low - first * scale
    loops = inside(small.moved(scale, shift), VISCERA)
    wide = distance_to(~loops, VISCERA.spacing) > 12.0
    stomach = distance_to(wide, VISCERA.spacing) < 16.0
    high_up = VISCERA.axes()[2] > 960.0
    labels = np.zeros(VISCERA.shape, np.uint8)
    labels[loops & ~(stomach & high_up)] = 1
    labels[inside(large.moved(scale, shift), VISCERA)] = 2
    return ("outside", "small_bowel", "colon"), labels


def female_pelvis(folder: Path) -> tuple[tuple[str, ...], UInt8[np.ndarray, "x y z"]]:
    """Uterus and ovaries of the Visible Human woman, placed behind and above the bladder."""
    nodes = reference_organs(folder, "female")
    scale, middle = UTERUS
    womb = [mesh for name, mesh in nodes.items() if "uterus" in name or "cervix" in name or "uterine_segment" in name]
    centre = np.mean([np.mean(mesh.bounds, 0) for mesh in womb], 0)
    shift = np.array(middle) - centre * scale
    labels = np.zeros(PELVIS.shape, np.uint8)
    for name in ("VH_F_left_ovary", "VH_F_right_ovary"):
        labels[inside(nodes[name].moved(scale * np.array([0.8, 1, 1]), shift), PELVIS)] = 2
    uterus = np.zeros(PELVIS.shape, bool)
    for mesh in womb:
        uterus |= inside(mesh.moved(scale, shift), PELVIS)
    labels[joined(uterus, 5)] = 1
    return ("outside", "uterus", "ovary"), labels
