"""Features by a user's own weights of a 3D ResNet-10, such as MedicalNet's (Chen et al. 2019, arXiv 1904.00625)."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file

from engine.checkpoints.files import CheckpointError
from engine.imaging.volume import VolumeError
from engine.storage.whole import file_sha256

if TYPE_CHECKING:
    from monai.networks.nets.resnet import ResNet


@dataclass(frozen=True, eq=False)
class ForeignEncoder:
    """Frozen weights that somebody else trained; ``digest`` is the SHA-256 of their file."""

    net: ResNet
    channels: int
    digest: str

    @torch.inference_mode()
    def encode(self, volumes: Float[np.ndarray, "n c x y z"]) -> Float[np.ndarray, "n c 512"]:
        """Average-pooled features of each channel, which is first brought to mean 0 and SD 1 over its foreground (> 0).

        Raises :class:`VolumeError` for another number of channels.
        """
        if volumes.shape[1] != self.channels:
            raise VolumeError(f"scans of {volumes.shape[1]} channels were given; these features are of {self.channels}")
        found = np.zeros((len(volumes), self.channels, 512), np.float32)
        for i, channel in np.ndindex(*found.shape[:2]):
            image = torch.from_numpy(np.asarray(volumes[i, channel], np.float32))
            inside = image[image > 0]
            if len(inside) > 1:
                image = (image - inside.mean()) / inside.std().clamp(min=1e-6)
            found[i, channel] = self.net(image[None, None])[0].numpy()
        return found


def foreign(path: str | Path, channels: int) -> ForeignEncoder:
    """Weights of a one-channel 3D ResNet-10 (``.pth`` or ``.safetensors``); each of ``channels`` is seen on its own.

    Raises :class:`CheckpointError` for a file that is missing, damaged, or of another network.
    """
    from monai.networks.nets.resnet import resnet10

    path = Path(path)
    try:
        stored: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
        weights = {key.removeprefix("module."): value for key, value in stored.get("state_dict", stored).items()}
        net = resnet10(n_input_channels=1, feed_forward=False, shortcut_type="B", bias_downsample=False)
        own = net.state_dict()
        net.load_state_dict({key: value for key, value in weights.items() if key in own})
    except (
        OSError,
        AttributeError,
        EOFError,
        RuntimeError,
        BadZipFile,
        pickle.UnpicklingError,
        SafetensorError,
    ) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise CheckpointError(f"{path} holds no weights of a 3D ResNet-10 ({reason}); give MedicalNet's") from None
    return ForeignEncoder(net.requires_grad_(False).eval(), channels, file_sha256(path))
