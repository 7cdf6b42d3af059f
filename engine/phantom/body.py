"""Persons to bodies: the order in which the organs are painted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from engine.phantom.anthropometry import People
from engine.phantom.atlas.skin import SkinBasis, standard_skin
from engine.phantom.shape.abdomen import abdomen
from engine.phantom.shape.bowel import colon, small_bowel
from engine.phantom.shape.canvas import Canvas
from engine.phantom.shape.chest import thorax
from engine.phantom.shape.frame import Frame
from engine.phantom.shape.limbs import right_arm, with_arms
from engine.phantom.shape.muscles import fat_planes, flesh, glandular, psoas
from engine.phantom.shape.pelvic import pelvic_organs
from engine.phantom.shape.skeleton import pelvis, ribcage, shoulders
from engine.phantom.shape.spine import spine
from engine.phantom.shape.surface import solve


@dataclass(frozen=True, eq=False)
class Body:
    """Noise-free bodies: ``water`` and ``fat`` signal (subcutaneous fat about 1), ``label`` map, and the frame.

    ``trunk`` is the signed distance to the skin without the arms, mm.
    Shape: (n, x, y, z) each; x to the right, y anterior, z superior.
    """

    water: Float[Tensor, "n x y z"]
    fat: Float[Tensor, "n x y z"]
    label: UInt8[Tensor, "n x y z"]
    trunk: Float[Tensor, "n x y z"]
    frame: Frame


@torch.inference_mode()
def build(people: People, sections: SkinBasis | None = None) -> Body:
    """Paint every person's torso: skin, flesh, bones, chest, abdomen, pelvis, and the bowel last.

    ``sections`` is the shape of the skin, that of the installed checkpoint where none is given.
    """
    frame = Frame(people)
    canvas = Canvas(frame)
    texture = frame.noise("texture", (26, 22, 38))
    outline, surface = solve(frame, contents(people), sections or standard_skin())
    arm = right_arm(frame, surface)
    skin, fascia = with_arms(frame, surface, arm)
    flesh(frame, canvas, surface, skin, fascia, texture)
    fat_planes(frame, canvas, outline, surface, fascia)
    glandular(frame, canvas, surface, skin, texture)
    psoas(frame, canvas, outline)
    ribcage(frame, canvas, surface, outline.wall)
    shoulders(frame, canvas, surface, arm)
    spine(frame, canvas, outline)
    pelvis(frame, canvas, surface)
    thorax(frame, canvas, outline, surface)
    pelvic_organs(frame, canvas)
    region = abdomen(frame, canvas, outline, surface, texture)
    colon(frame, canvas, outline, surface, region)
    small_bowel(frame, canvas, surface, region)
    return Body(canvas.water, canvas.fat, canvas.label, surface.skin, frame)


def contents(people: People) -> Float[Tensor, " n"]:
    """What the abdominal cavity shall hold, litres: organs, vessels, bowel (varying) and visceral fat."""
    solid = people.liver + people.spleen + people.kidney_left + people.kidney_right + people.pancreas
    hollow = 0.36 * (0.28 * people.traits["stomach_fill"]).exp() + 0.22 * (0.5 * people.traits["bladder_fill"]).exp()
    bowel = (2.25 + 0.35 * people.male) * (0.15 * people.traits["bowel_volume"]).exp() * (people.height / 172) ** 2
    return solid / 1000 + hollow + bowel + 0.30 + people.vat
