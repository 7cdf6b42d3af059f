"""By how much tokens that were drawn for a row are moved, so that what is read off their scan is what the row says.

A model's mean scan of a row follows the row by less than it should where decoder and flow are unsure: a posterior mean is nearer to
the mean person. The reading of a drawn scan is nearly linear in what was asked and in a shift of its tokens, so that the shift with
which they agree on average is found by one regression (:mod:`engine.training.stages.heart.calibration`). It is a shift of the mean alone:
the same for all persons of a row, and nothing of one person's is read.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from engine.vocabulary.schema import AttributeSchema

#: SDs from the mean beyond which a value is asked for as if it were that far
MOST = 3.0


class Calibration(nn.Module):
    """Of the ``columns`` of numbers with these r names: ``response`` (r, n, c) by which the diffused state differs between persons who
    differ by an SD in one of them alone, and ``slopes`` (r, r + 1) that turn values asked for, and 1, into SDs more to be drawn."""

    response: Tensor
    slopes: Tensor

    def __init__(self, columns: Sequence[str], schema: AttributeSchema, tokens: int, latent: int) -> None:
        super().__init__()
        names = [column.name for column in schema.columns]
        self.columns = [names.index(name) for name in columns]
        self.register_buffer("response", torch.zeros(len(self.columns), tokens, latent))
        self.register_buffer("slopes", torch.zeros(len(self.columns), len(self.columns) + 1))

    def asked(self, table: Float[Tensor, "b k d"]) -> Float[Tensor, "b r"]:
        """What the columns' cells hold, in SDs."""
        return table[:, self.columns, 0]

    def forward(self, table: Float[Tensor, "b k d"]) -> Float[Tensor, "b n c"]:
        """The shift of the image's state for rows of the table."""
        asked = self.asked(table).clamp(-MOST, MOST)
        terms = torch.cat([asked, torch.ones_like(asked[:, :1])], 1)
        return self.moved(terms @ self.slopes.T)

    def moved(self, shifts: Float[Tensor, "b r"]) -> Float[Tensor, "b n c"]:
        """What ``shifts`` of so many SDs of each column do to the state."""
        return torch.einsum("br,rnc->bnc", shifts, self.response)
