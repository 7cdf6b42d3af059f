"""Features of a whole scan by a frozen contrastive encoder: what distances between persons and distributions are taken in.

Two small 3D ResNets, the *folds*, each trained on one half of the training persons (:func:`fold_of`), give 32 numbers each.
For distances between distributions both stand beside each other. For copy detection the distance of anything to training
person i is taken in the fold that did not train on i: there, a held-out real person and a synthetic one stand on equal ground.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from engine.anatomy import regions
from engine.imaging.volume import VolumeError
from engine.measure.ruler import fields, read_ruler, write_ruler
from engine.vocabulary.refusal import ConfigError

NAMES = tuple(region.features for region in regions())
FOLDS = 2


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """What is seen (``grid`` of voxels, ``channels`` in their order) and the sizes of each fold's network.

    ``widths`` are the channels of its four levels, ``groups`` those of its normalisation, ``size`` its features.
    """

    grid: tuple[int, int, int]
    channels: tuple[str, ...]
    widths: tuple[int, ...] = (16, 32, 64, 96)
    groups: int = 4
    size: int = 32

    def __post_init__(self) -> None:
        if len(self.grid) != 3 or min(self.grid) < 16:
            raise ConfigError(f"grid {self.grid} is too small; give three sizes of 16 voxels or more")
        if not self.channels or self.size < 1:
            raise ConfigError(f"an encoder of {len(self.channels)} channels to {self.size} features has nothing to do")
        if len(self.widths) != 4 or any(w % self.groups for w in self.widths):
            raise ConfigError(f"widths {self.widths} are not four multiples of the {self.groups} groups")


class FoldEncoder(nn.Module):
    """One fold: a ResNet (He et al. 2016) with one basic block a level and group normalisation, which has no running
    statistics, so that what is frozen is the parameters and nothing else."""

    def __init__(self, config: FeatureConfig) -> None:
        from monai.networks.nets.resnet import ResNet

        super().__init__()
        self.net = ResNet(
            block="basic",
            layers=[1, 1, 1, 1],
            block_inplanes=list(config.widths),
            spatial_dims=3,
            n_input_channels=len(config.channels),
            conv1_t_size=7,
            conv1_t_stride=2,
            num_classes=config.size,
        )
        for module in list(self.net.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.BatchNorm3d):
                    setattr(module, name, nn.GroupNorm(config.groups, child.num_features))

    def forward(self, volumes: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b f"]:
        """Features of length 1."""
        return nn.functional.normalize(self.net(volumes).float(), dim=1)


@dataclass(frozen=True, eq=False)
class FeatureEncoder:
    """The frozen encoder: read it with :meth:`load`, then :meth:`encode` any number of scans.

    ``digest`` is the start of the SHA-256 of its weights ("" before it is saved).
    """

    name: str
    config: FeatureConfig
    folds: nn.ModuleList
    card: dict[str, Any]
    digest: str = ""

    @property
    def grid(self) -> tuple[int, int, int]:
        """Voxels along x, y, z of a scan."""
        return self.config.grid

    @property
    def channels(self) -> tuple[str, ...]:
        """A scan's channels, in their order."""
        return self.config.channels

    @classmethod
    def load(cls, path: str | Path) -> FeatureEncoder:
        """Read and check the encoder in the folder ``path``, which has one of :data:`NAMES`.

        Raises :class:`CheckpointError` when it is missing, of another kind, or was changed.
        """
        path = Path(path)
        name = _stored_name(path)
        stored = read_ruler(path, name)
        with stored.readable():
            config = FeatureConfig(**fields(stored.config["features"]))
            folds = new_folds(config)
            folds.load_state_dict(stored.weights)
        return cls(name, config, folds.requires_grad_(False).eval(), stored.card, stored.digest)

    def save(self, path: Path, provenance: Mapping[str, Any]) -> None:
        """Write the encoder, weights as bfloat16, whole or not at all."""
        write_ruler(
            path, self.name, {"features": asdict(self.config), "provenance": dict(provenance)}, self.folds, self.card
        )

    def encode(self, volumes: Float[np.ndarray, "n c x y z"]) -> Float[np.ndarray, "n 2 f"]:
        """Features of each scan (0..1, on the encoder's grid) in each fold, every 32 of length 1.

        A scan's features depend on no other scan given. Raises :class:`VolumeError` for another grid, other channels, or
        values that are not 0 to 1.
        """
        expected = (len(self.channels), *self.grid)
        if volumes.shape[1:] != expected:
            raise VolumeError(
                f"scans of shape {volumes.shape[1:]} were given; {self.name} sees {expected} (c, x, y, z)"
            )
        found = np.zeros((len(volumes), FOLDS, self.config.size), np.float32)
        for i, volume in enumerate(volumes):
            low, high = float(volume.min()), float(volume.max())
            if not (low >= -1e-3 and high <= 1 + 1e-3):
                raise VolumeError(
                    f"scan {i} has values of {low:g} to {high:g}; {self.name} sees 0 to 1, so scale it first"
                )
            found[i] = self._features(torch.from_numpy(np.ascontiguousarray(volume, np.float32))[None])
        return found

    @torch.inference_mode()
    def _features(self, volume: Float[Tensor, "1 c x y z"]) -> Float[np.ndarray, "2 f"]:
        return torch.cat([fold(volume) for fold in self.folds]).numpy()


def fold_of(participant_id: str) -> int:
    """The fold, 0 or 1, that trains on a person if they train at all: the parity of the SHA-256 of their identifier.

    Distances to training person i are taken in fold ``1 - fold_of(i)``.

    >>> [fold_of(f"sub-{i}") for i in range(8)]
    [1, 0, 0, 1, 0, 0, 1, 1]
    """
    return sha256(participant_id.encode()).digest()[-1] & 1


def new_folds(config: FeatureConfig) -> nn.ModuleList:
    """Both folds, untrained."""
    return nn.ModuleList(FoldEncoder(config) for _ in range(FOLDS))


def _stored_name(path: Path) -> str:
    """Which of :data:`NAMES` the folder says it holds; all else about the folder is for :func:`read_ruler` to judge."""
    try:
        name = json.loads((path / "config.json").read_text("utf-8"))["name"]
    except (OSError, ValueError, KeyError, TypeError):
        return NAMES[0]
    return name if name in NAMES else NAMES[0]
