"""What the scans of a model look like, in aggregate figures, and whether another scan looks like them.

Thirteen figures of a preprocessed scan of one channel (how it correlates with the mean scan, what of the body is missing,
where it ends, what the autoencoder loses, how likely the latent is under the model's factor prior) are taken of the persons
a model was trained and validated on; their quantiles stand beside the checkpoint in ``fingerprint.json``, and nothing of a
single person. A scan with a figure far outside is refused with the reason: wrong anatomy, contrast, orientation or field of
view. It says nothing about health, and a blurred scan passes: the model's own persons are as smooth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from engine.checkpoints.checkpoint import Checkpoint, load_checkpoint
from engine.checkpoints.files import CheckpointError
from engine.cohort.store import CohortStore
from engine.imaging.volume import Volume
from engine.model.joint import JointModel
from engine.model.nn.large import decoded, encoded
from engine.model.prior import mahalanobis
from engine.storage import strict_json
from engine.storage.whole import refusing, write_text

FILE, FORMAT, VERSION = "fingerprint.json", "somatwin-fingerprint", 1
#: a limit lies this many times the distance from the median to the 5th or 95th percentile away (4 are 6.6 SD of a normal
#: distribution), times 1 + FEW / n where n persons were seen
MARGIN, FEW = 4.0, 10.0
#: persons looked at at most, of those trained on and of those validated on
TRAINED, HELD = 128, 64
#: held-out persons from which on they tell how much better those trained on are fitted; fewer set no limit there
ENOUGH = 4
#: intensities up to this are empty; where the mean scan has this part of its greatest brightness is body, and body in everybody
EMPTY, BODY, SURE = 0.04, 0.15, 0.4
#: part of the widest cross-section that a slice has to show for the body to reach it
REACH = 0.05
#: faces of the grid, along x, y, z of RAS
FACES = ("left", "right", "back", "front", "bottom", "top")


@dataclass(frozen=True)
class Kind:
    """A kind of figure: what is said of it, which ends are refused (``low``, ``high``), the ``least`` distance of a limit's
    percentile from the median that is believed, and whether those trained on are fitted better than others (``fits``)."""

    words: str
    hint: str
    _: KW_ONLY
    least: float
    low: bool = False
    high: bool = False
    fits: bool = False


#: in the order in which reasons are given
KINDS = {
    "upright": Kind(
        "its correlation with the mean {} scan less that with one turned upside down or back to front",
        "wrong orientation",
        least=0.05,
        low=True,
    ),
    "contrast": Kind(
        "its correlation with the mean {} scan inside the body", "wrong contrast or anatomy", least=0.03, low=True
    ),
    "gap": Kind(
        "the share of the field of view that is empty at the {}", "cut off or too small", least=0.03, high=True
    ),
    "missing": Kind(
        "the share of the body that its {} image leaves empty", "parts cut off or removed", least=0.03, high=True
    ),
    "likeness": Kind(
        "its correlation with the mean {} scan", "wrong anatomy, orientation or size", least=0.02, low=True
    ),
    "brightness": Kind(
        "its mean {} intensity inside the body", "wrong contrast or scaling", least=0.03, low=True, high=True
    ),
    "loss": Kind(
        "the share of its {} image that cannot be encoded", "wrong contrast, or noise", least=0.01, high=True, fits=True
    ),
    "latent": Kind(
        "its distance from the mean person", "wrong anatomy, size or place", least=0.1, high=True, fits=True
    ),
}


def _kind(name: str) -> str:
    return name.partition(":")[0]


@torch.inference_mode()
def figures(net: JointModel, voxels: Float[Tensor, "c x y z"], channels: Sequence[str]) -> dict[str, float]:
    """The figures of a scan on the grid of ``net``, intensities of 0 to 1, by ``KIND`` or ``KIND:WHERE``."""
    template = net.autoencoder.template
    whole = voxels[None].to(template)
    bare = encoded(net.autoencoder, whole, net.cascade)
    lost = (decoded(net.autoencoder, bare) - whole)[0].square().mean((1, 2, 3))
    volume = net.cascade.coarser(whole)
    found: dict[str, float] = {}
    for name, scan, mean, error in zip(channels, volume[0], template, lost, strict=True):
        body = mean > BODY * mean.max()
        like = _correlation(scan, mean)
        found[f"likeness:{name}"] = like
        found[f"upright:{name}"] = like - max(_correlation(scan.flip(axes), mean) for axes in ((1,), (2,), (1, 2)))
        found[f"contrast:{name}"] = _correlation(scan[body], mean[body])
        found[f"brightness:{name}"] = float(scan[body].mean())
        found[f"missing:{name}"] = float((scan[mean > SURE * mean.max()] <= EMPTY).float().mean())
        found[f"loss:{name}"] = float(error / scan.var().clamp(min=1e-4))
    found |= _gaps((volume[0].amax(0) > EMPTY).cpu().numpy())
    return {**found, "latent": mahalanobis(net.prior, net.standardise(bare)[0])}


def _correlation(one: Tensor, other: Tensor) -> float:
    one, other = (part.flatten().double() - part.double().mean() for part in (one, other))
    return float(one @ other / (one.norm() * other.norm()).clamp(min=1e-9))


def _gaps(body: np.ndarray) -> dict[str, float]:
    """The share of the grid's length that is empty, from each face on."""
    found = {}
    for axis in range(3):
        area = body.mean(axis=tuple(i for i in range(3) if i != axis))
        there = np.flatnonzero(area > REACH * area.max())
        first, last = (there[0], there[-1]) if len(there) else (len(area), -1)
        found[f"gap:{FACES[2 * axis]}"] = float(first / len(area))
        found[f"gap:{FACES[2 * axis + 1]}"] = float(1 - (last + 1) / len(area))
    return found


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Quantiles of a figure over persons, and the limits beyond which a scan is refused (None: there is none)."""

    q05: float
    median: float
    q95: float
    low: float | None
    high: float | None

    def __post_init__(self) -> None:
        if not np.isfinite([float(v) for v in vars(self).values() if v is not None]).all():
            raise ValueError(f"the quantiles {tuple(vars(self).values())} are not finite")


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """The figures of a model's cohort: ``weights`` is the SHA-256 of the weights they were taken with, ``trained`` and
    ``held`` how many persons they rest on."""

    weights: str
    trained: int
    held: int
    figures: dict[str, Spread]

    @classmethod
    def fit(
        cls, trained: Sequence[Mapping[str, float]], held: Sequence[Mapping[str, float]], weights: str
    ) -> Fingerprint:
        """From the figures of the persons trained on and of some ``held`` out, in any order.

        Where those trained on are fitted better than others, their figures are first multiplied up to the median of the
        others, who are too few for quantiles of their own; with fewer than :data:`ENOUGH` others such a figure has no limit.
        """
        spreads = {}
        for name in trained[0]:
            kind = KINDS[_kind(name)]
            own, others = (np.array([one[name] for one in part]) for part in (trained, held))
            known = len(others) >= ENOUGH or not kind.fits
            if kind.fits and known:
                own = own * max(1.0, float(np.median(others) / max(np.median(own), 1e-9)))
            seen = np.concatenate([own, others])
            q05, median, q95 = (float(q) for q in np.quantile(seen, [0.05, 0.5, 0.95]))
            margin = MARGIN * (1 + FEW / len(seen))
            low = round(median - margin * max(median - q05, kind.least), 4) if kind.low and known else None
            high = round(median + margin * max(q95 - median, kind.least), 4) if kind.high and known else None
            spreads[name] = Spread(q05=round(q05, 4), median=round(median, 4), q95=round(q95, 4), low=low, high=high)
        return cls(weights=weights, trained=len(trained), held=len(held), figures=spreads)

    def reasons(self, found: Mapping[str, float]) -> list[str]:
        """What speaks against a scan with the figures ``found``, one clause each, the plainest first."""
        said = []
        for name, spread in sorted(self.figures.items(), key=lambda item: list(KINDS).index(_kind(item[0]))):
            kind, value = KINDS[_kind(name)], found[name]
            said += [
                f"{kind.words.format(name.partition(':')[2])} is {value:.2f}, {limit:.2f} is the {word} ({kind.hint})"
                for limit, word, fine in (
                    (spread.low, "least expected", spread.low is None or value >= spread.low),
                    (spread.high, "most expected", spread.high is None or value <= spread.high),
                )
                if not fine
            ]
        return said

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, "version": VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Fingerprint:
        """Raises KeyError, TypeError or ValueError for anything but what :meth:`to_json` gives."""
        if (stored.get("format"), stored.get("version")) != (FORMAT, VERSION):
            raise ValueError(f"it is no {FORMAT} of version {VERSION}")
        fields = {key: value for key, value in stored.items() if key not in ("format", "version", "figures")}
        if unknown := {_kind(name) for name in stored["figures"]} - KINDS.keys():
            raise ValueError(f"it has the unknown figure {min(unknown)}")
        return cls(**fields, figures={name: Spread(**spread) for name, spread in stored["figures"].items()})


def read_fingerprint(checkpoint: Checkpoint) -> Fingerprint | None:
    """That of a loaded checkpoint, None where it has none.

    Raises :class:`CheckpointError` for a file that is damaged or of other weights.
    """
    path = checkpoint.path / FILE
    if not path.exists():
        return None
    try:
        found = Fingerprint.from_json(strict_json.read(path))
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise CheckpointError(f"{path} cannot be read as a fingerprint ({reason}); restore or delete it") from None
    if found.weights != checkpoint.config.weights_sha256:
        raise CheckpointError(f"{path} was made with other weights than those beside it; restore or delete it")
    return found


def check(checkpoint: Checkpoint, volume: Volume) -> list[str]:
    """Why ``volume``, on the model's grid, does not look like the scans of its cohort; empty where it does, or where the
    checkpoint has no fingerprint. Raises :class:`engine.vocabulary.refusal.RequestError` for another grid."""
    fingerprint = read_fingerprint(checkpoint)
    if fingerprint is None:
        return []
    found = figures(checkpoint.model, checkpoint.on_grid(volume), checkpoint.config.channels)
    if found.keys() != fingerprint.figures.keys():
        path = checkpoint.path / FILE
        raise CheckpointError(f"{path} has other figures than {', '.join(found)}; restore or delete it")
    return fingerprint.reasons(found)


def write_fingerprint(checkpoint: str | Path, store: CohortStore, device: str = "cpu") -> Fingerprint | None:
    """Fit the fingerprint of a trained checkpoint to the store it was trained on, and put it beside the weights.

    At most :data:`TRAINED` persons of the training split and :data:`HELD` of the validation split, chosen by a hash of
    their names, are encoded and decoded once; the test split is not touched. A model of tables only has none.
    """
    found = load_checkpoint(checkpoint, device)
    if found.model.config.image.tokens == 0:
        return None
    split, parts = store.split(), []
    for name, most in (("train", TRAINED), ("validation", HELD)):
        scans = (torch.from_numpy(store.scan(row)) for row in chosen(store, split[name], most))
        parts.append([figures(found.model, scan, store.channels) for scan in scans])
    made = Fingerprint.fit(parts[0], parts[1], found.config.weights_sha256)
    path = found.path / FILE
    with refusing(path, CheckpointError):
        write_text(path, strict_json.text_of(made.to_json()))
    return made


def chosen(store: CohortStore, rows: Int[np.ndarray, " n"], most: int) -> list[int]:
    """At most so many of the rows, by a hash of the persons' names: their order in the store does not matter."""
    names = {i: f"seen {store.rows[i]['participant_id']}" for i in rows.tolist()}
    return sorted(names, key=lambda i: sha256(names[i].encode()).hexdigest())[:most]
