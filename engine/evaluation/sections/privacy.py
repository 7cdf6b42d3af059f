"""Whether the model remembers those it was trained on: records, scans, pairs, and the loss; each beside a memoriser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import cdist

from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.metrics.distribution import Projection
from engine.evaluation.metrics.privacy import Closeness, closest_records, copy_rate, membership_inference, replay_rate
from engine.evaluation.metrics.realism.patches import patch_copies
from engine.evaluation.metrics.table_encoding import TableEncoding
from engine.evaluation.report.parts import ReportedFigure, Section, Sheet
from engine.evaluation.sections.table import varying
from engine.evaluation.subjects.people import ENCODED, RADIOMICS, Gathered, People
from engine.measure.features import fold_of
from engine.vocabulary.schema import AttributeSchema, Number

#: SD of the noise on a replayed row, in standard deviations of the column
JITTER = 0.05
#: components of the radiomics in which records are compared
COMPONENTS = 8
#: persons whose patches are compared, of each side that is not real
PATCHED = 200


@dataclass(frozen=True, eq=False)
class Sides:
    """Who is compared: ``train`` as many as ``holdout``, both real, the ``synthetic`` and the ``replay`` of a memoriser."""

    train: People
    holdout: People
    synthetic: People
    replay: People


def privacy_section(data: Gathered, schema: AttributeSchema, rng: np.random.Generator) -> Section:
    """Distance to closest record, copies of scans and of pairs, membership inference; the positive control beside each."""
    schema, missing = varying(data, schema, "holdout")
    holdout, train = data["holdout"], data["train"]
    m = min(len(train), len(holdout))
    equal = Sides(
        train.take(np.sort(rng.permutation(len(train))[:m])),
        holdout.take(np.sort(rng.permutation(len(holdout))[:m])),
        data["synthetic"],
        data["replay"],
    )
    figures, control = [], []
    for part in (row_records, scan_records, scan_copies, pair_copies, patch_figures, membership):
        try:
            found, caught = part(data, equal, schema, rng)
            figures += found
            control += caught
        except EvaluationError as error:
            missing.append(f"{error}.")
    return Section(
        key="privacy",
        title="Privacy audit",
        meaning="Could a synthetic person be a copy of somebody whose scan trained the model? Synthetic persons should be no nearer to "
        "training persons than people who never took part are. Passing is no proof of anonymity: these attacks found nothing.",
        method=f"Training and held-out persons ({m} each) are exchangeable if nothing is remembered: the p of records is of swapping them. "
        "Copies: the share of synthetic persons nearer to a training scan than 95% of held-out real persons are, by the encoder fold "
        "that never saw that training person; p is of the exact precedence test. Patches: cubes of 8 voxels at matching places, "
        "contrast-normalised; p of their distances is of permuting synthetic and held-out persons, p of their nearest neighbours of "
        "swapping training and held-out persons. Membership: AUC of the velocity's loss. The memoriser "
        "replays training scans, perturbed, with rows jittered: tests that do not catch it prove nothing.",
        figures=figures,
        sheets=[
            Sheet(
                title="Positive control: a memoriser through the same tests",
                columns=("test", "p of this model", "p of the memoriser", "caught"),
                rows=tuple(control),
            )
        ],
        missing=missing,
    )


Found = tuple[list[ReportedFigure], list[tuple[str, float, float, str]]]


def _control(name: str, mine: float, theirs: float) -> tuple[str, float, float, str]:
    return name, mine, theirs, "yes" if theirs < 0.05 else "NO"


def _closeness(key: str, name: str, found: Closeness, note: str) -> ReportedFigure:
    return ReportedFigure(key=key, name=name, figure=found.share, aim="test", p=found.p, target=0.5, note=note)


def jittered(side: People, schema: AttributeSchema, rng: np.random.Generator) -> list[dict]:
    """A memoriser's rows: those of training persons with :data:`JITTER` of noise."""
    rows = [dict(row) for row in side.rows]
    for column in schema.columns:
        if isinstance(column, Number):
            sd = float(np.nanstd(side.column(column.name)))
            for row in rows:
                if (cell := row.get(column.name)) is not None:
                    row[column.name] = float(cell) + JITTER * sd * float(rng.standard_normal())
    for row in rows:
        for derived in schema.derived:
            row[derived.name] = derived.value(row)
    return rows


def row_records(data: Gathered, sides: Sides, schema: AttributeSchema, rng: np.random.Generator) -> Found:
    """Distance to the closest record and nearest-neighbour ratio, on rows."""
    space = TableEncoding.fitted(data["train"].rows, schema, beside=sides.holdout.rows)
    train, holdout = space(sides.train.rows), space(sides.holdout.rows)
    return _records(
        "rows", (train, holdout), space(sides.synthetic.rows), space(jittered(sides.train, schema, rng)), rng
    )


def scan_records(data: Gathered, sides: Sides, schema: AttributeSchema, rng: np.random.Generator) -> Found:
    """The same on scans, by the training-free features, for which training persons are as new as all others."""
    n = min(COMPONENTS, len(sides.train) - 2)
    projection = Projection.fitted(sides.train.features(RADIOMICS), n)
    sd = projection(np.concatenate([sides.train.features(RADIOMICS), sides.holdout.features(RADIOMICS)])).std(0)

    def points(side: People) -> np.ndarray:
        return projection(side.features(RADIOMICS)) / sd

    return _records(
        "scans", (points(sides.train), points(sides.holdout)), points(sides.synthetic), points(_replays_of(sides)), rng
    )


def _replays_of(sides: Sides) -> People:
    """The replays of those training persons that are compared."""
    kept = set(sides.train.ids)
    return sides.replay.take([i for i, who in enumerate(sides.replay.ids) if who in kept])


def _records(
    what: str, real: tuple[np.ndarray, np.ndarray], made: np.ndarray, replayed: np.ndarray, rng: np.random.Generator
) -> Found:
    mine, theirs = closest_records(made, *real, rng), closest_records(replayed, *real, rng)
    note = f"median distance to training {mine.median_distance[0]:.3g}, to held-out {mine.median_distance[1]:.3g}"
    return [
        _closeness(f"dcr_{what}", f"{what}: closest record is a training person (50% is ideal)", mine.closest, note),
        _closeness(
            f"nndr_{what}", f"{what}: nearest-neighbour ratio smaller to training (50% is ideal)", mine.ratio, ""
        ),
    ], [
        _control(f"{what}, distance to closest record", mine.closest.p, theirs.closest.p),
        _control(f"{what}, nearest-neighbour ratio", mine.ratio.p, theirs.ratio.p),
    ]


def cross_fitted(side: People, train: People) -> Float[np.ndarray, "n m"]:
    """Distances to every training person by the fold that did not train on them, each fold scaled to a median of 1."""
    folds = np.array([fold_of(who) for who in train.ids])
    out = np.empty((len(side), len(train)))
    for fold in (0, 1):
        theirs = np.flatnonzero(folds == fold)
        if len(theirs) < 2:
            raise EvaluationError(f"fold {fold} of the encoder holds {len(theirs)} training persons: give more persons")
        judge = 1 - fold
        reference = train.arrays[ENCODED][theirs, judge].astype(float)
        scale = float(np.median(cdist(reference, reference)[np.triu_indices(len(theirs), 1)]))
        out[:, theirs] = cdist(side.arrays[ENCODED][:, judge].astype(float), reference) / scale
    return out


def _copies(
    what: str, key: str, distances: Callable[[People], np.ndarray], data: Gathered, replay_distances: np.ndarray
) -> Found:
    made, held = distances(data["synthetic"]).min(1), distances(data["holdout"]).min(1)
    found, caught = copy_rate(made, held), copy_rate(replay_distances.min(1), held)
    replayed, _ = replay_rate(made, replay_distances.min(1))
    note = f"as near as 95% of perturbed replays: {replayed.value:.1%} ({replayed.low:.1%} to {replayed.high:.1%})"
    reported = ReportedFigure(
        key=key,
        name=f"{what}: copy rate",
        figure=found.synthetic,
        aim="test",
        p=found.p,
        floor=found.holdout,
        note=note,
    )
    return [reported], [_control(f"{what}, copy rate", found.p, caught.p)]


def scan_copies(data: Gathered, sides: Sides, schema: AttributeSchema, rng: np.random.Generator) -> Found:
    """Copies of scans by nearest distances in the cross-fitted encoder."""
    _require_encoder(data)
    train = data["train"]
    return _copies(
        "scans", "copies_scans", lambda side: cross_fitted(side, train), data, cross_fitted(data["replay"], train)
    )


def pair_copies(data: Gathered, sides: Sides, schema: AttributeSchema, rng: np.random.Generator) -> Found:
    """Copies of scan and row together: squared distances of both, each scaled to a median of 1, added."""
    _require_encoder(data)
    train = data["train"]
    space = TableEncoding.fitted(train.rows, schema, beside=data["holdout"].rows)
    known = space(train.rows)
    scale = float(np.median(cdist(known, known)[np.triu_indices(len(known), 1)]))

    def rows_distance(rows: list) -> np.ndarray:
        return cdist(space(rows), known) / scale

    def distances(side: People) -> np.ndarray:
        return np.hypot(cross_fitted(side, train), rows_distance([*side.rows]))

    replay = data["replay"]
    replayed = np.hypot(cross_fitted(replay, train), rows_distance(jittered(replay, schema, rng)))
    return _copies("scan and row", "copies_pairs", distances, data, replayed)


def patch_figures(data: Gathered, sides: Sides, schema: AttributeSchema, rng: np.random.Generator) -> Found:
    """Whether detail is copied: patches' nearest neighbours. Caught must be replays, and mosaics of training patches."""
    if any("patches" not in data[side].arrays for side in ("train", "holdout", "synthetic", "replay")):
        return [], []
    train, holdout = (data[side].arrays["patches"] for side in ("train", "holdout"))
    found = patch_copies(data["synthetic"].arrays["patches"][:PATCHED], train, holdout, rng)
    nearer = "patches: distance to training persons over that of held-out persons' patches"
    share = f"patches: nearest one is a training person's ({found.expected:.0%} is ideal)"
    figures = [
        ReportedFigure(
            key="patches_nearer",
            name=nearer,
            figure=found.nearer,
            aim="test",
            p=found.p_nearer,
            target=1.0,
            note="below 1: nearer than real strangers are; fog is near to everybody, so read it with the next line",
        ),
        ReportedFigure(
            key="patches_share",
            name=share,
            figure=found.share,
            aim="test",
            p=found.p_share,
            target=found.expected,
            note="does detail repeat that of training persons rather than of others? blur does not move it",
        ),
    ]
    control = []
    for side, words in (("replay", "replays"), ("local", "mosaics of training patches")):
        if side not in data.sides or len(data[side]) == 0:
            continue
        caught = patch_copies(data[side].arrays["patches"][:PATCHED], train, holdout, rng)
        control.append(_control(f"patches, distance: {words}", found.p_nearer, caught.p_nearer))
        control.append(_control(f"patches, nearest neighbour: {words}", found.p_share, caught.p_share))
    return figures, control


def _require_encoder(data: Gathered) -> None:
    if ENCODED not in data.features:
        raise EvaluationError("Copies of scans need the frozen encoder and none fits this grid: train one for it")


def membership(data: Gathered, sides: Sides, schema: AttributeSchema, rng: np.random.Generator) -> Found:
    """Membership inference on the velocity's loss, and on what the autoencoder loses."""
    train, holdout = data["train"], data["holdout"]
    figures, control = [], []
    for key, name, score in (
        ("image_loss", "velocity loss of the scan", lambda s: -s.arrays["image_loss"].astype(float).mean(1)),
        ("table_loss", "velocity loss of the row", lambda s: -s.arrays["table_loss"].astype(float).mean(1)),
        ("rows_loss", "velocity loss of the network of rows", lambda s: -s.arrays["rows_loss"].astype(float).mean(1)),
        ("inside_mse", "autoencoder error", lambda s: -np.log(s.arrays["inside_mse"].astype(float))),
    ):
        if key not in train.arrays or key not in holdout.arrays:
            continue
        found = membership_inference(score(train), score(holdout), rng)
        worst = membership_inference(score(train) + 3 * score(train).std(), score(holdout), rng)
        figures.append(
            ReportedFigure(
                key=f"membership_{key}",
                name=f"membership by {name}, AUC",
                figure=found.auc,
                aim="test",
                p=found.p,
                target=0.5,
                note="0.5: members cannot be told",
            )
        )
        control.append(_control(f"membership by {name} (members' loss three SD lower)", found.p, worst.p))
    return figures, control
