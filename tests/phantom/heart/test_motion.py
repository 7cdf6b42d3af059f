"""The volume-time curve, and ventricles that follow it exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.phantom.heart.cycle import Beat
from engine.phantom.heart.people import Heart, draw
from engine.phantom.heart.tissue import DENSITY
from engine.phantom.heart.ventricles import ANGLES, THETA, Ventricles

LEVELS = 300


def moving(pathology: str, seed: int = 3) -> tuple[Heart, Ventricles]:
    heart = draw(seed, {"pathology": pathology})
    return heart, Ventricles(heart, Beat(heart_rate=heart.heart_rate, kick=0.25), 12, 0.0)


def millilitres(ventricles: Ventricles, radii: np.ndarray, z: np.ndarray) -> float:
    return float((np.clip(radii, 0, None) ** 2).sum() * (z[1] - z[0]) * math.pi / ANGLES / 1000)


def middles(top: float) -> np.ndarray:
    return (np.arange(LEVELS) + 0.5) / LEVELS * top


@pytest.mark.parametrize("pathology", ["healthy", "dilated", "hypertrophic", "infarcted"])
def test_volume_follows_the_curve_and_mass_is_the_same_in_every_phase(pathology: str) -> None:
    heart, ventricles = moving(pathology)
    for phase in (0, 2, int(ventricles.contraction.argmax())):
        c = float(ventricles.contraction[phase])
        z = middles(ventricles.base(c)[0])
        found = ventricles.at(phase, z)
        inside, whole = (millilitres(ventricles, radii, z) for radii in (found.inner, found.outer))
        assert inside == pytest.approx(heart.edv - c * heart.stroke, rel=0.01)
        assert (whole - inside) * DENSITY == pytest.approx(heart.mass, rel=0.015)


@pytest.mark.parametrize("pathology", ["healthy", "hypertrophic"])
def test_the_wall_thickens_and_the_apex_turns_against_the_base(pathology: str) -> None:
    _, ventricles = moving(pathology)
    z = np.linspace(0.1, 0.9, 5) * ventricles.lengths(1.0)[0]
    end = int(ventricles.contraction.argmax())
    before, after = ventricles.at(0, np.linspace(0.1, 0.9, 5) * ventricles.length), ventricles.at(end, z)
    thicker = (after.outer - after.inner).mean(1) / (before.outer - before.inner).mean(1) - 1
    assert ((thicker[1:] > 0.2) & (thicker[1:] < 1.1)).all()
    assert np.degrees(after.twist[0] - after.twist[-1]) < -6
    assert not before.twist.any()


def test_an_infarct_is_thin_and_does_not_thicken() -> None:
    heart, ventricles = moving("infarcted")
    infarct = heart.infarct
    assert infarct is not None
    end = int(ventricles.contraction.argmax())
    before = ventricles.at(0, np.array([infarct.height * ventricles.lengths(0.0)[0]]))
    after = ventricles.at(end, np.array([infarct.height * ventricles.lengths(1.0)[0]]))
    thick0, thick1 = (b.outer[0] - b.inner[0] for b in (before, after))
    away = np.abs(np.angle(np.exp(1j * (THETA - infarct.angle))))
    core, remote = away < 0.4, away > 2.2
    assert thick0[core].mean() < 0.75 * thick0[remote].mean()
    assert abs(thick1[core].mean() / thick0[core].mean() - 1) < 0.08
    assert thick1[remote].mean() / thick0[remote].mean() > 1.15


@pytest.mark.parametrize("rate", [45, 65, 85, 100])
def test_a_beat_is_closed_falls_once_and_rises_again(rate: float) -> None:
    beat = Beat(heart_rate=rate, kick=0.25)
    curve = beat.curve()(np.linspace(0, 1, 400))
    end = int(curve.argmax())
    assert curve[0] == pytest.approx(curve[-1], abs=1e-6)
    assert beat.curve()(beat.end_systole) == pytest.approx(1)
    assert (np.diff(curve[: end + 1]) >= -1e-9).all()
    assert (np.diff(curve[end:]) <= 1e-9).all()
    assert 0.25 < beat.end_systole < 0.5
    assert Beat(heart_rate=rate + 5, kick=0.25).end_systole > beat.end_systole


def test_contraction_begins_with_none_and_reaches_all() -> None:
    contraction = Beat(heart_rate=70, kick=0.2).contraction(12)
    assert contraction[0] == 0
    assert contraction.max() == 1
