"""The fat fraction of the liver, read off water and fat images of a two-point Dixon.

A voxel with a share f of fat shows W = (1 - f) w and F = f v, where w and v are what the tissue would show were it all
water or all fat. Water and fat relax differently, so the images' ratio F / (W + F) is not f: at a flip angle of 9 degrees
and an echo at 2.46 ms, w and v follow the spoiled gradient echo (Ernst and Anderson 1966) and the decay by T2*, with T1
of 809 ms for the liver's water and 382 ms for fat (de Bazelaire et al. 2004). All constants are those of
:mod:`engine.phantom.tissue`; a scan of another protocol is read with a bias.

Magnitude images never average to zero in noise: the mean of M squared is A squared + 2 sigma squared (Gudbjartsson and
Patz 1995), which is taken off with the sigma seen in the air.
"""

from __future__ import annotations

from typing import overload

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import binary_erosion

from engine.phantom.tissue import SUBSTANCES, Substance

LIVER = SUBSTANCES["liver"]
#: fewest voxels of liver whose fat fraction is read
MINIMUM_VOXELS = 40
#: above this share of fat no liver is believed
FATTEST = 0.55


@overload
def fraction_of_ratio(ratio: float, tissue: Substance = ...) -> float: ...
@overload
def fraction_of_ratio(ratio: Float[np.ndarray, "..."], tissue: Substance = ...) -> Float[np.ndarray, "..."]: ...
def fraction_of_ratio(ratio, tissue: Substance = LIVER):
    """The share of fat (0-1) behind a ratio F / (W + F) of the images, relaxation taken into account.

    >>> round(fraction_of_ratio(ratio_of_fraction(0.2)), 9)
    0.2
    """
    water, fat = ratio * tissue.water_signal, (1 - ratio) * tissue.fat_signal
    return water / (water + fat)


def ratio_of_fraction(fraction: float, tissue: Substance = LIVER) -> float:
    """The ratio F / (W + F) that the images show of a share ``fraction`` of fat (0-1)."""
    water, fat = (1 - fraction) * tissue.water_signal, fraction * tissue.fat_signal
    return fat / (water + fat)


def noise_power(image: Float[np.ndarray, "x y z"], air: Bool[np.ndarray, "x y z"]) -> float:
    """Mean of M squared in the air, 2 sigma squared of a magnitude image; 0 where there is no air.

    The mean of every slice, and of these the median, so that a few slices of ghosts count little.
    """
    weights = air.sum((0, 1))
    power = (np.square(image, dtype=np.float64) * air).sum((0, 1))
    seen = weights >= MINIMUM_VOXELS
    return float(np.median(power[seen] / weights[seen])) if seen.any() else 0.0


def liver_fat(
    images: Float[np.ndarray, "2 x y z"], liver: Float[np.ndarray, "x y z"], air: Bool[np.ndarray, "x y z"]
) -> float:
    """Fat fraction of the liver in percent; NaN for less than :data:`MINIMUM_VOXELS` voxels of it.

    ``images`` are water and fat, ``liver`` is its probability, ``air`` is where nothing is. The core of the liver is
    read (two voxels from its border), vessels and bile ducts left out by taking the middle half of the water signals. Where
    the share would be above :data:`FATTEST` the two are taken for exchanged.
    """
    core = binary_erosion(liver > 0.5, iterations=2)
    core = core if core.sum() >= MINIMUM_VOXELS else liver > 0.5
    if core.sum() < MINIMUM_VOXELS:
        return float("nan")
    water, fat = (image[core].astype(np.float64) for image in images)
    exchanged = fat > ratio_of_fraction(FATTEST) * (water + fat)
    water, fat = np.where(exchanged, fat, water), np.where(exchanged, water, fat)
    low, high = np.quantile(water, [0.25, 0.75])
    middle = (water >= low) & (water <= high)
    power = [float(np.square(signal[middle]).mean()) for signal in (water, fat)]
    amplitudes = [max(p - noise_power(image, air), 0.0) ** 0.5 for p, image in zip(power, images, strict=True)]
    total = sum(amplitudes)
    return float("nan") if total == 0 else 100 * fraction_of_ratio(amplitudes[1] / total)
