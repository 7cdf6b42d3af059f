"""For which row a scan is drawn, so that what is read off it is what was asked.

A drawn scan follows its row by less than it should where decoder and flow are unsure: a posterior mean is nearer to the mean person.
What is read off it is nearly linear in the row that it is drawn for, so that the row for which asking and reading agree on average is
found by one regression (inverse regression, Osborne, Int Stat Rev 1991;59:309; fitted in
:mod:`engine.training.stages.heart.calibration`). The scan is still one that the flow draws for a row, and nothing of one person's
is read.
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
    """Of those r of the ``columns`` of numbers that the ``schema`` has: ``slopes`` (r, r + 1) that turn values asked for, and 1, into
    SDs more."""

    slopes: Tensor

    def __init__(self, columns: Sequence[str], schema: AttributeSchema) -> None:
        super().__init__()
        names = [column.name for column in schema.columns]
        self.columns = [names.index(name) for name in columns if name in names]
        self.register_buffer("slopes", torch.zeros(len(self.columns), len(self.columns) + 1))

    def asked(self, table: Float[Tensor, "b k d"]) -> Float[Tensor, "b r"]:
        """What the columns' cells hold, in SDs."""
        return table[:, self.columns, 0]

    def forward(self, table: Float[Tensor, "b k d"]) -> Float[Tensor, "b k d"]:
        """The rows to draw for in the place of those of the table."""
        asked = self.asked(table).clamp(-MOST, MOST)
        terms = torch.cat([asked, asked.new_ones(len(asked), 1)], 1)
        return self.moved(table, terms @ self.slopes.T)

    def precede(self, slopes: Float[Tensor, "r r1"]) -> None:
        """Change the rows by these ``slopes`` first, and what comes of it as before."""
        last = torch.eye(slopes.shape[1]).to(slopes)[-1:]
        first, then = (torch.cat([s + torch.eye(*s.shape).to(s), last]) for s in (slopes, self.slopes))
        self.slopes.copy_((then @ first)[:-1] - torch.eye(*slopes.shape).to(slopes))

    def moved(self, table: Float[Tensor, "b k d"], changes: Float[Tensor, "b r"]) -> Float[Tensor, "b k d"]:
        """The rows with so many SDs more of each column."""
        table = table.clone()
        table[:, self.columns, 0] += changes
        return table
