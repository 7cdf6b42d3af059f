"""How good a counterfactual is: effectiveness, composition, reversibility, minimality, realism.

Composition, reversibility and effectiveness are the axioms of Monteiro et al. 2023 (Measuring axiomatic soundness of
counterfactual image models, ICLR): a null intervention changes nothing, there and back is the start, and what
was set is what an oracle reads. Minimality and realism as in Melistas et al. 2024 (Benchmarking counterfactual image
generation, arXiv 2403.20287). All on volumes BEFORE any residual is added back: with it a null intervention is
perfect by construction. One row a person unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Num

from engine.evaluation.metrics.checks import EvaluationError, checked_features, checked_values, require_equal_n
from engine.evaluation.metrics.coherence import Response, response
from engine.evaluation.metrics.distribution import Tested, kernel_test
from engine.evaluation.metrics.interval import Figure, bootstrap, proportion
from engine.evaluation.metrics.manifold import manifold

#: squared error below which two volumes are taken as equal (8-bit steps are 1 / 255)
EQUAL = 1e-10


@dataclass(frozen=True, kw_only=True)
class Effectiveness:
    """Whether what was set is what is measured: ``response`` is the measured change for a unit of requested change, with
    the real cohort's own slope and their ratio (1 is as in the cohort, 0 is nothing); ``followed`` the share of persons
    whose measure moved the way it does in the cohort."""

    response: Response
    followed: Figure


def effectiveness(
    requested: Num[np.ndarray, "n 2"],
    measured: Num[np.ndarray, "n 2"],
    real_attribute: Num[np.ndarray, " m"],
    real_measured: Num[np.ndarray, " m"],
    rng: np.random.Generator,
    *,
    resamples: int = 1000,
) -> Effectiveness:
    """Measured change against requested change, factual and counterfactual side by side in the two columns.

    ``measured`` in any unit, by the same ruler as ``real_measured``; the factual is measured on the reconstruction, so that
    the autoencoder's blur counts on both sides. A person of whom nothing was requested counts nothing.
    """
    asked, seen = checked_features("requested", requested), checked_features("measured", measured)
    persons = np.repeat(np.arange(len(asked)), 2)
    found = response(asked.ravel(), seen.ravel(), persons, real_attribute, real_measured, rng, resamples=resamples)
    want = np.sign(np.diff(asked)[:, 0]) * np.sign(found.regressor.slope.value)
    moved = np.sign(np.diff(seen)[:, 0])[want != 0] == want[want != 0]
    return Effectiveness(response=found, followed=proportion(int(moved.sum()), len(moved)))


def attribute_error(requested: Num[np.ndarray, " n"], read: Num[np.ndarray, " n"], rng: np.random.Generator) -> Figure:
    """Mean absolute difference of what an oracle reads on the counterfactual and what was set, in the attribute's unit.

    Effectiveness of Monteiro et al. 2023 with the distance |a - b|. Set it against the oracle's own error on real scans.
    """
    gap = np.abs(checked_values("read", read) - checked_values("requested", requested))
    return _mean(gap, rng)


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """How like its scan an image is that should equal it: mean over persons of PSNR (dB, peak 1) and of L1 (0..1), the
    same of the autoencoder alone, and ``loss`` in dB, paired: what the flow adds to what the autoencoder loses."""

    psnr: Figure
    l1: Figure
    autoencoder_psnr: Figure
    autoencoder_l1: Figure
    loss: Figure


def composition(
    scans: Num[np.ndarray, "n c x y z"],
    reconstructions: Num[np.ndarray, "n c x y z"],
    nulls: Num[np.ndarray, "n c x y z"],
    rng: np.random.Generator,
    *,
    mask: Bool[np.ndarray, "n x y z"] | None = None,
) -> Likeness:
    """Null interventions (composition of Monteiro et al. 2023, applied once) against the scans, all intensities 0..1, over all
    voxels or those in ``mask``. The autoencoder's own reconstruction is the most that can be reached."""
    bare, through = _errors(scans, reconstructions, mask), _errors(scans, nulls, mask)
    return Likeness(
        psnr=_mean(_decibel(through[0]), rng),
        l1=_mean(through[1], rng),
        autoencoder_psnr=_mean(_decibel(bare[0]), rng),
        autoencoder_l1=_mean(bare[1], rng),
        loss=_mean(_decibel(bare[0]) - _decibel(through[0]), rng),
    )


def reversibility(
    scans: Num[np.ndarray, "n c x y z"],
    reconstructions: Num[np.ndarray, "n c x y z"],
    returned: Num[np.ndarray, "n c x y z"],
    rng: np.random.Generator,
    *,
    mask: Bool[np.ndarray, "n x y z"] | None = None,
) -> Likeness:
    """There and back (reversibility of Monteiro et al. 2023, one cycle): the counterfactual of the counterfactual under the
    factual attributes against the scans, as :func:`composition`. Two passes of the autoencoder are in it."""
    return composition(scans, reconstructions, returned, rng, mask=mask)


@dataclass(frozen=True, kw_only=True)
class Minimality:
    """How much changed that should not. ``measures``: by name, mean absolute change in SDs of the real cohort; ``overall``
    their mean. ``replaced`` is the broken ceiling: the same when each counterfactual is another person's."""

    measures: dict[str, Figure]
    overall: Figure
    replaced: Figure


def minimality(
    before: Num[np.ndarray, "n k"],
    after: Num[np.ndarray, "n k"],
    real: Num[np.ndarray, "m k"],
    names: Sequence[str],
    rng: np.random.Generator,
) -> Minimality:
    """Measures of anatomy that the intervention should leave alone, on reconstruction and counterfactual.

    Raises :class:`EvaluationError` for a measure that does not vary over the ``real`` persons.
    """
    one, two, cohort = (
        checked_features(name, values)
        for name, values in (("factual", before), ("counterfactual", after), ("real", real))
    )
    sd = cohort.std(0, ddof=1)
    if (flat := np.flatnonzero(sd <= 1e-12 * np.maximum(1, np.abs(cohort).max(0)))).size:
        raise EvaluationError(f"{names[flat[0]]} is the same in all {len(cohort)} real persons: leave it out")
    change = np.abs(two - one) / sd
    broken = np.mean([np.abs(np.roll(two, shift, axis=0) - one) / sd for shift in range(1, len(one))], axis=(0, 2))
    return Minimality(
        measures={name: _mean(change[:, k], rng) for k, name in enumerate(names)},
        overall=_mean(change.mean(1), rng),
        replaced=_mean(broken, rng),
    )


def change_outside(
    differences: Num[np.ndarray, "n c x y z"], region: Bool[np.ndarray, "n x y z"], rng: np.random.Generator
) -> Figure:
    """Share of the absolute change of intensity that lies outside the ``region`` where it is expected, mean over persons.

    A change spread evenly over the image scores the share of voxels outside. Persons with no change at all score 0.
    """
    shares = []
    for difference, inside in zip(differences, region, strict=True):
        size = np.abs(np.asarray(difference, float)).sum(0)
        shares.append(float(size[~inside].sum() / total) if (total := size.sum()) > 0 else 0.0)
    return _mean(np.array(shares), rng)


@dataclass(frozen=True, kw_only=True)
class Realism:
    """Counterfactuals as a sample: kernel distance with permutation p (n persons a side), and the share of them that fall
    among the real ones (precision)."""

    kernel: Tested
    precision: Figure


def realism(
    real: Num[np.ndarray, "n d"], counterfactuals: Num[np.ndarray, "m d"], rng: np.random.Generator, *, k: int = 3
) -> Realism:
    """Features of counterfactuals against those of real scans; projected first where n is small
    (:class:`engine.evaluation.metrics.distribution.Projection`).

    The p supposes independent sides: give real scans of OTHER persons, of the attributes that were set, since against
    the very scans the counterfactuals were made of it is too large. Raises :class:`EvaluationError` on unequal N.
    """
    require_equal_n(len(real), len(counterfactuals), "precision")
    return Realism(
        kernel=kernel_test(real, counterfactuals, rng), precision=manifold(real, counterfactuals, k, rng).precision
    )


def _mean(values: Float[np.ndarray, " n"], rng: np.random.Generator) -> Figure:
    return bootstrap(lambda i: float(values[i].mean()), np.arange(len(values)), rng)


def _decibel(squared: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return -10 * np.log10(np.maximum(squared, EQUAL))


def _errors(
    one: Num[np.ndarray, "n c x y z"], two: Num[np.ndarray, "n c x y z"], mask: Bool[np.ndarray, "n x y z"] | None
) -> Float[np.ndarray, "2 n"]:
    """Mean squared and mean absolute difference of each person."""
    squared, absolute = [], []
    for i in range(len(one)):
        gap = np.asarray(one[i], float) - np.asarray(two[i], float)
        gap = gap if mask is None else gap[:, mask[i]]
        if gap.size == 0 or not np.isfinite(gap).all():
            raise EvaluationError(f"person {i} has an empty mask or voxels that are not finite: leave this person out")
        squared.append(float(np.square(gap).mean()))
        absolute.append(float(np.abs(gap).mean()))
    return np.array([squared, absolute])
