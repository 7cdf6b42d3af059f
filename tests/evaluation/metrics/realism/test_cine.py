"""The motion of a cine against cycles whose smoothness is known, and what breaks it."""

import numpy as np
import pytest

from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.metrics.realism.cine import motion
from engine.evaluation.subjects.appearance import appearance
from engine.imaging.grid import frames


def beating(phases: int = 12) -> np.ndarray:
    """A ball whose radius follows a cosine, in slices whose brightness changes evenly."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in (24, 24, 10)], indexing="ij")
    radius = 0.6 + 0.15 * np.cos(np.arange(phases) * 2 * np.pi / phases)
    far = np.sqrt(x**2 + y**2 + z**2)
    return 0.6 / (1 + np.exp((far - radius[:, None, None, None]) / 0.1)) + 0.1 * (z + 1)


def test_a_wave_has_the_roughness_of_its_phases():
    for phases in (6, 12, 30):
        wave = np.cos(np.arange(phases) * 2 * np.pi / phases)[:, None, None, None]
        cycle = wave * np.ones((phases, 4, 4, 4)) + np.arange(4.0)
        assert motion(cycle).roughness == pytest.approx(2 * np.sin(np.pi / phases))


def test_what_breaks_a_cycle_is_seen():
    whole = beating()
    seen = motion(whole)
    rng = np.random.default_rng(0)
    flicker = motion(whole * rng.uniform(0.9, 1.1, (12, 1, 1, 1)))
    assert flicker.roughness > 1.5 * seen.roughness
    # a phase left out is a cycle that does not close
    assert motion(whole[:-3]).closure > 2 * seen.closure
    shifted = whole.copy()
    shifted[:, 3:, :, 1::2] = whole[:, :-3, :, 1::2]
    assert motion(shifted).jump > 1.3 * seen.jump
    still = motion(whole.mean(0) + 0.3 * (whole - whole.mean(0)))
    assert still.amount == pytest.approx(0.3 * seen.amount)
    assert still.roughness == pytest.approx(seen.roughness)


def test_where_a_cycle_begins_does_not_matter_to_its_smoothness():
    whole = beating()
    assert motion(np.roll(whole, 5, 0)).roughness == pytest.approx(motion(whole).roughness)


def test_what_has_no_motion_is_refused():
    with pytest.raises(EvaluationError, match="nothing moves"):
        motion(np.repeat(beating()[:1], 12, 0))
    with pytest.raises(EvaluationError, match="2 phases"):
        motion(beating()[:2])


def test_the_appearance_of_a_cine_is_that_of_its_channel():
    found = appearance(beating().astype(np.float32), frames(["cine"], 12))
    assert found["power"].shape[0] == found["edges"].shape[0] == 1
    assert found["motion"].shape == (1, 4)
    assert np.isfinite(found["motion"]).all()
    assert "motion" not in appearance(beating()[:1].astype(np.float32), ("T1w",))
