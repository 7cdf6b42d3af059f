"""Persons to bodies: the order in which they are drawn."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from engine.phantom.anthropometry import People
from engine.phantom.interior import gut, organs
from engine.phantom.interior.details import breast_gland, marbling, textured, under_skin
from engine.phantom.interior.flesh import flesh
from engine.phantom.interior.pullback import Covers, pulled
from engine.phantom.interior.sections import Sections
from engine.phantom.interior.signal import signals
from engine.phantom.interior.skeleton import Skeleton
from engine.phantom.interior.template import Template, shipped
from engine.phantom.shape.canvas import Canvas
from engine.phantom.shape.frame import RASTER, Frame, Raster
from engine.phantom.shape.limbs import right_arm, with_arms
from engine.phantom.shape.outline import Outline
from engine.phantom.shape.surface import abdomen, bulged, farthest, surface_of

#: distance to the skin in the air before a body, mm
AIR = 100.0


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
def build(people: People, template: Template | None = None, *, raster: Raster = RASTER) -> Body:
    """Draw every person's torso: skin and wall, the pull-back within them, chest, abdomen, pelvis, the bowel last."""
    device = people.height.device
    # the context costs a third of the time where tensors are on the CPU anyway
    with nullcontext() if device.type == "cpu" else device:
        whole = Frame(people, raster)
        anatomy = template or shipped(device)
        outline = Outline(Sections(Skeleton(whole, anatomy)), anatomy.skin)
        bulge = bulged(outline, contents(people))
        frame = whole.without_front(farthest(outline, bulge))
        sections = Sections(Skeleton(frame, anatomy))
        surface = surface_of(Outline(sections, anatomy.skin), bulge)
        arm = right_arm(frame, surface)
        covers = Covers(*with_arms(frame, surface, arm))
        fascia = sections.ray_to(surface.fascia)
        pull = pulled(sections, surface, fascia, arm, covers)
        canvas = Canvas(frame)
        flesh(canvas, sections.skeleton.template, pull, covers, signals(people))
        texture = frame.noise("texture", (26, 22, 38))
        textured(canvas, texture)
        marbling(canvas, covers)
        breast_gland(canvas, surface, texture)
        region = abdomen(sections, surface, pull.z)
        gut.abdominal_fat(canvas, region)
        under = torch.maximum(covers.fascia, covers.skin + 5)
        viscera = organs.Viscera(sections, canvas, surface.cavity, region, under, fascia)
        organs.heart(viscera)
        organs.vessels(viscera)
        organs.kidneys(viscera)
        organs.spleen(viscera)
        organs.pancreas(viscera)
        organs.liver(viscera, texture)
        organs.stomach(viscera)
        organs.pelvic(viscera)
        bowel = gut.Bowel(viscera, pull)
        gut.colon(viscera, bowel)
        gut.small_bowel(viscera, bowel)
        gut.sort_fat(viscera, pull)
        under_skin(canvas)
        return Body(
            water=whole.padded(canvas.water),
            fat=whole.padded(canvas.fat),
            label=whole.padded(canvas.label),
            trunk=whole.padded(surface.skin, AIR),
            frame=whole,
        )


def contents(people: People) -> Float[Tensor, " n"]:
    """What the abdominal cavity shall hold, litres: organs, vessels, bowel (varying) and visceral fat."""
    solid = people.liver + people.spleen + people.kidney_left + people.kidney_right + people.pancreas
    hollow = 0.36 * (0.28 * people.traits["stomach_fill"]).exp() + 0.22 * (0.5 * people.traits["bladder_fill"]).exp()
    bowel = (1.40 + 0.50 * people.male) * (0.15 * people.traits["bowel_volume"]).exp() * (people.height / 172) ** 2
    return solid / 1000 + hollow + bowel + 0.30 + people.vat
