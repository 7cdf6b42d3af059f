"""An implicit network that says which class lies at a point: grids of features, interpolated, and a small MLP.

Multi-resolution feature grids are those of instant neural graphics primitives (Müller et al. 2022, arXiv 2201.05989), here
dense or kept near borders instead of hashed. A coarse mask says which classes may lie in each of its cells: a cell of one
class is known without any network, in the others the network chooses among those that may be.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, linear

from engine.phantom.atlas.blocks import Block, Span, blocks
from engine.phantom.atlas.config import FieldConfig
from engine.phantom.atlas.supports import allowed_classes, rows_near
from engine.phantom.atlas.volume import LabelVolume
from engine.phantom.process import one_thread

#: SD of the features before fitting
INITIAL = 0.1


class LabelField(nn.Module):
    """Class logits at points of the template frame.

    ``allowed`` says which classes may lie in each cell of the mask, ``rows`` of each grid which row of its table each node
    has. Both are made from a volume by :meth:`for_volume`, or read with the weights.
    """

    def __init__(
        self, config: FieldConfig, allowed: Bool[Tensor, "x y z c"], rows: Sequence[Int[Tensor, "_ _ _"]]
    ) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("allowed", allowed, persistent=False)
        barred = torch.zeros(allowed.shape).masked_fill(~allowed, -torch.inf)
        self.register_buffer("barred", barred, persistent=False)
        self.tables = nn.ParameterList()
        for number, (grid, row) in enumerate(zip(config.grids, rows, strict=True)):
            self.register_buffer(f"rows_{number}", row, persistent=False)
            self.tables.append(nn.Parameter(INITIAL * torch.randn(int(row.max()) + 1, grid.channels)))
        sizes = [sum(grid.channels for grid in config.grids), *[config.width] * config.depth]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(sizes):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.hidden = nn.Sequential(*layers)
        self.output = nn.Linear(config.width, len(config.classes))

    @classmethod
    def for_volume(cls, config: FieldConfig, volume: LabelVolume) -> LabelField:
        """An unfitted field with the mask and the nodes that ``volume`` needs."""
        near = [rows_near(config, volume, grid) for grid in config.grids]
        return cls(config, allowed_classes(config, volume), near)

    def rows(self, number: int) -> Int[Tensor, "i j k"]:
        """The row of each node of a grid; 0 is the row that nodes far from every border share."""
        return self.get_buffer(f"rows_{number}")

    def forward(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n c"]:
        """The logits of the classes at ``points`` (mm); minus infinity where a class cannot be. Points beyond the volume are
        outside."""
        return self.output(self.hidden(self.features(points))) + self.barred_at(points)

    def barred_at(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n c"]:
        """0 for the classes that may lie at ``points`` (mm), minus infinity for all others."""
        share = (points - points.new_tensor(self.config.low)) / points.new_tensor(self.config.extent)
        beyond = ((share < 0) | (share > 1)).any(1)
        i, j, k = self._at(points, self.config.cell, self.config.cells)[0].unbind(1)
        found = self.get_buffer("barred")[i, j, k]
        if beyond.any():
            found[beyond] = -torch.inf
            found[beyond, 0] = 0
        return found

    def features(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n f"]:
        """The features of all grids at ``points`` (mm), trilinear."""
        found = []
        for number, (grid, table) in enumerate(zip(self.config.grids, self.tables, strict=True)):
            rows = self.rows(number)
            nx, ny, nz = rows.shape
            first, share = self._at(points, grid.step, (nx - 1, ny - 1, nz - 1))
            flat, weights = corners(first, share, (ny, nz))
            found.append(embedding_bag(rows.flatten()[flat], table, per_sample_weights=weights, mode="sum"))
        return torch.cat(found, 1)

    def _at(
        self, points: Float[Tensor, "n 3"], step: float, counts: tuple[int, int, int]
    ) -> tuple[Int[Tensor, "n 3"], Float[Tensor, "n 3"]]:
        """The cell of side ``step`` that each point lies in (the nearest of ``counts``), and where in it, 0 to 1."""
        place = (points - points.new_tensor(self.config.low)) / step
        cell = place.floor().clamp(min=points.new_zeros(3), max=points.new_tensor(counts) - 1)
        return cell.long(), (place - cell).clamp(0, 1)

    @torch.inference_mode()
    def decode(self, spacing: tuple[float, float, float] | None = None) -> UInt8[np.ndarray, "x y z"]:
        """The likeliest class of every voxel: of the volume fitted to, or of voxels of ``spacing`` mm (the centre of the first
        lies half a voxel from the volume's corner). Cells of one class are filled without asking the network."""
        spacing = spacing or self.config.spacing
        found = torch.zeros(self.config.shape_at(spacing), dtype=torch.uint8)
        allowed = self.get_buffer("allowed")
        count, first = allowed.sum(-1), allowed.byte().argmax(-1)
        with one_thread():
            for block in blocks(self.config, spacing):
                known = count[block.cell] == 1
                found[block.voxels] = first[block.cell].byte() if known else self._likeliest(block)
        return found.numpy()

    def _likeliest(self, block: Block) -> UInt8[Tensor, "x y z"]:
        """The likeliest of a cell's possible classes at each of its voxels."""
        choice = self.get_buffer("allowed")[block.cell].nonzero().flatten()
        features = torch.cat([self._interpolated(number, spans) for number, spans in enumerate(block.spans)], -1)
        logits = linear(self._hidden_at(features), self.output.weight[choice], self.output.bias[choice])
        x, y, z = (len(span.weights) for span in block.spans[0])
        return choice[logits.argmax(-1)].byte().reshape(x, y, z)

    def _hidden_at(self, features: Float[Tensor, "v f"]) -> Float[Tensor, "v w"]:
        """The last hidden layer, without a copy for every function of it."""
        for layer in self.hidden:
            features = features.relu_() if isinstance(layer, nn.ReLU) else layer(features)
        return features

    def _interpolated(self, number: int, spans: tuple[Span, Span, Span]) -> Float[Tensor, "v f"]:
        """The features of a grid at a block's voxels: :meth:`features`, along one axis after the other."""
        x, y, z = spans
        nodes = self.tables[number][self.rows(number)[x.first : x.last, y.first : y.last, z.first : z.last]]
        along_x = (x.weights @ nodes.flatten(1)).reshape(len(x.weights), *nodes.shape[1:])
        along_y = y.weights @ along_x.flatten(2)
        along_z = z.weights @ along_y.reshape(-1, *nodes.shape[2:])
        return along_z.reshape(-1, nodes.shape[-1])


def corners(
    cell: Int[Tensor, "n 3"], share: Float[Tensor, "n 3"], sides: tuple[int, int]
) -> tuple[Int[Tensor, "n 8"], Float[Tensor, "n 8"]]:
    """The flat numbers of a cell's eight nodes and their trilinear weights; ``sides`` are the counts along y and z."""
    strides = (sides[0] * sides[1], sides[1], 1)
    flat = (cell * cell.new_tensor(strides)).sum(1, keepdim=True)
    weights = torch.ones_like(share[:, :1])
    for axis, stride in enumerate(strides):
        flat = torch.cat([flat, flat + stride], 1)
        weights = torch.cat([weights * (1 - share[:, axis, None]), weights * share[:, axis, None]], 1)
    return flat, weights
