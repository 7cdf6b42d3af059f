"""The skeleton of a person: where its template lies in the body, by height, sex, age and seed, never by weight."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from engine.phantom.interior.template import ANGLES, Template
from engine.phantom.shape.frame import REFERENCE, Frame
from engine.phantom.shape.shapes import bump, ramp

#: heights of the template: iliac crest, upper edge of the breastbone, middle of the chest, mm
CREST, NOTCH, CHEST = 967.0, 1346.0, 1230.0
#: bones of the template to a man of the reference stature; legs are longer
SCALE, LEGS = 1.06, 1.02
#: the back of the chest lies this far behind the body's axis, a fraction of the reference stature
BACK = 0.058
#: from here to there up the template its depth becomes that of the person's chest; the depth of the template's chest, and the
#: y of its spine, mm
DEEP, DEPTH, SPINE = (960.0, 1100.0), 213.0, 60.0
#: a lean person's BMI less 26; fat and skin over a lean chest, in front and behind together; a lean breast; mm
LEAN, UNDER_SKIN, BREAST = -4.0, 20.0, 8.0
#: a woman's pelvis is wider for her size
WIDER = 0.08


class Skeleton:
    """Template coordinates of a batch of bodies.

    ``scale`` (n, 1, 1, 1) is mm of a person for a mm of the template in the axial plane; rows have the shape
    (n, 1, 1, z): ``height`` of the slices in the template, ``middle`` (y of the sections' middle in the body), ``wide``
    (how much wider the pelvis is), ``deep`` (how much deeper the chest is), ``shift`` (y of the template's 0 in the body).
    """

    def __init__(self, frame: Frame, template: Template) -> None:
        self.frame, self.template = frame, template
        grown = (0.02 * frame.trait("pelvis_breadth")).exp()
        self.scale = SCALE * frame.s * grown
        self.crest = frame.dim("iliac_crest_height")
        self.notch = frame.dim("suprasternal_height")
        self.height = self.up(frame.z)
        self.wide = 1 + WIDER * (1 - frame.male) * ramp(self.height, 1080.0, 980.0)
        axis = self.table(template.axis[None])[:, 0][:, None, None]
        behind = template.axis - template.fascia[self.behind()]
        at_chest = float(_at(behind, template.heights, torch.tensor(CHEST)))
        bend = 5 * frame.trait("lordosis") * bump(self.height, 1030.0, 70.0)
        bend = bend - 4 * frame.trait("kyphosis") * bump(self.height, 1250.0, 90.0)
        older = (frame.value("age") - 50).clamp(min=0) * 0.12
        bend = bend - older * bump(self.height, 1260.0, 80.0)
        self.chest = self._chest()
        self.deep = 1 + (self.chest - 1) * ramp(self.height, *DEEP)
        at_chest = SPINE + self.chest * (at_chest - SPINE)
        spine = -BACK * REFERENCE * frame.s - self.scale * at_chest + bend
        self.shift = spine + self.scale * SPINE * (1 - self.deep)
        self.middle = self.scale * self.deep * axis + self.shift
        own = self.table(behind[None])[:, 0][:, None, None]
        self.back = -(self.scale * self.deep * own + self.shift)

    def _chest(self) -> Tensor:
        """Depth of the rib cage relative to the template's: of this person when lean, so that weight does not move it."""
        f = self.frame
        bmi = f.value("bmi") - 26
        inside = bmi.clamp(-9, 16)
        slope, bend = 5.64 + 0.46 * (1 - f.male), -0.058 + 0.034 * (1 - f.male)
        fatter = slope * (inside - LEAN) + bend * (inside**2 - LEAN**2) + (slope + 2 * bend * inside) * (bmi - inside)
        lean = f.dim("chest_depth") - fatter - UNDER_SKIN - BREAST * (1 - f.male)
        return (lean / (self.scale * DEPTH)).clamp(0.80, 1.08)

    @staticmethod
    def behind() -> int:
        """The index of the ray that points backwards."""
        return 3 * ANGLES // 4

    def up(self, z: Tensor) -> Tensor:
        """Heights of the body, mm, as heights of the template."""
        above = (z - self.crest) * (NOTCH - CREST) / (self.notch - self.crest)
        below = (z - self.crest) / (self.scale * LEGS)
        return CREST + torch.where(z > self.crest, above, below)

    def down(self, height: float) -> Tensor:
        """A height of the template as a height of the body (n, 1, 1, 1), mm."""
        if height > CREST:
            return self.crest + (height - CREST) * (self.notch - self.crest) / (NOTCH - CREST)
        return self.crest + (height - CREST) * self.scale * LEGS

    def across(self, x: Tensor, wide: Tensor) -> Tensor:
        return x / (self.scale * wide)

    def ahead(self, y: Tensor, shift: Tensor, deep: Tensor) -> Tensor:
        """y of the body as y of the template."""
        return (y - shift) / (self.scale * deep)

    def table_at(self, table: Float[Tensor, "a h"], height: Tensor) -> Float[Tensor, "n a z"]:
        """A table (angle, template's heights) at other heights (n, 1, 1, z), mm of the template."""
        return _rows(table, self.template.heights, height[:, 0, 0])

    def table(self, table: Float[Tensor, "a h"]) -> Float[Tensor, "n a z"]:
        """A table (angle, template's heights) at the person's slices."""
        return self.table_at(table, self.height)


def _rows(table: Float[Tensor, "a h"], heights: Float[Tensor, " h"], wanted: Float[Tensor, "n z"]) -> Tensor:
    place = ((wanted - heights[0]) / (heights[1] - heights[0])).clamp(0, len(heights) - 1.001)
    low = place.long()
    part = (place - low)[:, None]
    return torch.lerp(table[:, low].transpose(0, 1), table[:, low + 1].transpose(0, 1), part)


def _at(line: Float[Tensor, " h"], heights: Float[Tensor, " h"], wanted: Tensor) -> Tensor:
    return _rows(line[None], heights, wanted.reshape(1, 1))[0, 0, 0]
