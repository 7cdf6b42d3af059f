"""The MR scanner: from noise-free water and fat to the two images a torso Dixon protocol delivers.

Source: the NAKO and UK Biobank VIBE protocols (two-point Dixon, 3 T, stations in breath-hold): receive-coil shading,
stations of slightly different gain, blur by breathing, partial volume and point spread, Rician noise, and, rarely, a
region where water and fat are swapped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import avg_pool3d

from engine.phantom.body import Body
from engine.phantom.shape.frame import Frame, generator
from engine.phantom.shape.shapes import bump
from engine.phantom.shape.voxels import values_at
from engine.phantom.tissue import is_of

CHANNELS = ("water", "fat")
#: stations, their gain's spread, the coil's shading (log), noise of each channel, share of persons with a swap
STATIONS, GAIN, SHADING, NOISE, SWAP = 4, 0.03, 0.10, 0.007, 0.02
#: share of a voxel of the heart that its neighbours make up while it moves
BEAT = 0.45
#: intensity 1 (255 in the store) is this much signal
FULL_SCALE = 1.25


@dataclass(frozen=True, eq=False)
class Scan:
    """Images as stored: uint8 (n, 2, x, y, z), water then fat, 255 = intensity 1; ``swapped`` tells who has a swap."""

    images: UInt8[Tensor, "n 2 x y z"]
    swapped: tuple[bool, ...]


@torch.inference_mode()
def scan(body: Body, *, clean: bool = False) -> Scan:
    """Image the bodies. ``clean`` leaves out noise, shading, blur and swaps: the ceiling of any reconstruction.

    The noise is a hash of the voxel and the person's seed, so it is the same on every device and in every batch.
    """
    water, fat, frame = body.water, body.fat, body.frame
    swapped = tuple(_number(seed, "swap") < SWAP for seed in frame.people.seeds)
    if clean:
        return Scan(_quantise(torch.stack([water, fat], 1)), (False,) * frame.n)
    if any(swapped):
        where = torch.stack(
            [
                _swap(frame, i) if swap else torch.zeros_like(water[i], dtype=torch.bool)
                for i, swap in enumerate(swapped)
            ]
        )
        water, fat = torch.where(where, fat, water), torch.where(where, water, fat)
    gain = _gain(frame)
    level = NOISE * torch.tensor(
        [0.7 + 0.9 * _number(seed, "noise") for seed in frame.people.seeds], device=frame.device
    )
    images = []
    for i, image in enumerate((water, fat)):
        real, imaginary = hashed_normals(frame.people.seeds, i, frame.device, frame.grid)
        sigma = level[:, None, None, None]
        signal = _breathe(_beat(image, body), frame) * gain
        images.append(torch.sqrt((signal + sigma * real) ** 2 + (sigma * imaginary) ** 2))
    return Scan(_quantise(torch.stack(images, 1)), swapped)


def _quantise(images: Tensor) -> UInt8[Tensor, "n 2 x y z"]:
    return (images * (255 / FULL_SCALE) + 0.5).clamp(0, 255).to(torch.uint8)


def _number(seed: int, name: str) -> float:
    return float(torch.rand(1, generator=generator(seed, name)))


def _gain(frame: Frame) -> Float[Tensor, "n x y z"]:
    """Smooth shading of the coils and a step of gain at the seams between stations."""
    shade = frame.noise("shading", (4, 4, 5)) * (SHADING * 0.6)
    x, y = frame.axes[0][:, None, None] / 260, frame.axes[1][:, None] / 230
    shade = shade - SHADING * torch.exp(-(x**2) - y**2)
    gains = torch.stack([torch.randn(STATIONS, generator=generator(seed, "stations")) for seed in frame.people.seeds])
    slices = frame.grid[2]
    station = torch.arange(slices) * STATIONS // slices
    return torch.exp(shade + (GAIN * gains)[:, station].to(frame.device)[:, None, None, :])


def _breathe(image: Float[Tensor, "n x y z"], frame: Frame) -> Float[Tensor, "n x y z"]:
    """Blur along z around the diaphragm, as much as the person failed to hold the breath."""
    depth = torch.tensor([0.30 * _number(seed, "breath") for seed in frame.people.seeds], device=frame.device)
    share = depth[:, None, None, None] * bump(frame.u, 0.70, 0.07)
    near = 0.5 * (torch.roll(image, 1, -1) + torch.roll(image, -1, -1))
    return torch.lerp(image, near, share)


def _beat(image: Float[Tensor, "n x y z"], body: Body) -> Float[Tensor, "n x y z"]:
    """Blur in the axial plane in and beside the heart, which beats on while the breath is held."""
    beating = is_of(body.label, "heart").float()
    slices = torch.nonzero(beating.amax((0, 1, 2)))[:, 0]
    if not len(slices):
        return image
    part = slice(int(slices[0]), int(slices[-1]) + 1)
    near = avg_pool3d(beating[:, None, ..., part], (3, 3, 1), 1, (1, 1, 0))[:, 0]
    still = image[..., part]
    around = (still.roll(1, 1) + still.roll(-1, 1) + still.roll(1, 2) + still.roll(-1, 2)) / 4
    moved = image.clone()
    moved[..., part] = torch.lerp(still, around, BEAT * near)
    return moved


def _swap(frame: Frame, person: int) -> Bool[Tensor, "x y z"]:
    """Where one person's water and fat are exchanged: an arm's side of one station, or its whole lower end."""
    seed = frame.people.seeds[person]
    station = int(_number(seed, "swap station") * STATIONS)
    rows = (torch.arange(frame.grid[2], device=frame.device) * STATIONS // frame.grid[2]) == station
    side = _number(seed, "swap side")
    columns = frame.axes[0] > 60 if side < 0.4 else frame.axes[0] < -60 if side < 0.8 else frame.axes[0] > -1e9
    return rows & columns[:, None, None] & torch.ones(frame.grid[1], 1, dtype=torch.bool, device=frame.device)


def hashed_normals(
    seeds: tuple[int, ...], stream: int, device: torch.device, grid: tuple[int, int, int]
) -> tuple[Float[Tensor, "n x y z"], Float[Tensor, "n x y z"]]:
    """Two independent standard normals a voxel from one 32-bit hash of voxel, stream and seed.

    The hash is "lowbias32" (Wellons 2018), its two halves make a pair by Box and Muller (1958).
    """
    count = math.prod(grid)
    salt = torch.tensor([_salt(seed, stream) for seed in seeds], dtype=torch.int32, device=device)
    x = torch.arange(count, dtype=torch.int32, device=device) ^ salt[:, None]
    for shift, multiplier in ((16, 0x21F0AAAD), (15, 0x735A2D97 - (1 << 32) * (0x735A2D97 >> 31)), (15, 0)):
        x ^= (x >> shift).bitwise_and_((1 << (32 - shift)) - 1)
        if multiplier:
            x *= multiplier
    radius, cosine, sine = (table.to(device) for table in _box_muller())
    low, high = x & 0xFFFF, (x >> 16).bitwise_and_(0xFFFF)
    shape = (len(seeds), *grid)
    length = values_at(radius, low)
    real, imaginary = values_at(cosine, high).mul_(length), values_at(sine, high).mul_(length)
    return real.reshape(shape), imaginary.reshape(shape)


@cache
def _box_muller() -> tuple[Float[Tensor, "65536"], Float[Tensor, "65536"], Float[Tensor, "65536"]]:
    """Length, cosine and sine of a pair of normals by each value of 16 bits."""
    value = torch.arange(65536, dtype=torch.int32)
    angle = value * (2 * torch.pi / 65536)
    return torch.sqrt(-2 * torch.log((value + 0.5) / 65536)), torch.cos(angle), torch.sin(angle)


def _salt(seed: int, stream: int) -> int:
    value = torch.randint(-(2**31), 2**31, (1,), generator=generator(seed, f"noise {stream}"))
    return int(value)
