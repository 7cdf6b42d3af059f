"""The phases of a cine: as many as are asked for, those that are missing between their neighbours, over the closed cycle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.imaging.cine.phases import farthest_phase, filled, in_phases
from engine.imaging.grid import frames
from engine.imaging.volume import Volume, VolumeError
from tests.imaging.cine.hearts import heart_frame


def moving(phases: int) -> Volume:
    """Voxels that go once round in a cycle, each from another place."""
    at = 2 * np.pi * np.arange(phases)[:, None, None, None] / phases
    data = np.cos(at + np.arange(24).reshape(2, 3, 4)).astype(np.float32)
    return Volume(data, np.eye(4), frames(["cine"], phases), 0.9)


@pytest.mark.parametrize("phases", [6, 7, 20, 30, 99])
def test_any_number_of_phases_becomes_twelve_of_the_same_motion(phases: int):
    found, said = in_phases(moving(phases), 12)
    assert said == [f"Its {phases} phases were resampled to 12."]
    assert (found.phases, found.cycle, found.kinds) == (12, 0.9, ("cine",))
    chord = 1 - np.cos(np.pi / phases)  # how far a circle lies from its chord
    np.testing.assert_allclose(found.data, moving(12).data, atol=chord + 1e-6)


def test_as_many_phases_are_left_as_they_are():
    cine = moving(12)
    assert in_phases(cine, 12) == (cine, [])


@pytest.mark.parametrize("phases", [2, 5])
def test_too_few_phases_are_no_cycle(phases: int):
    with pytest.raises(
        VolumeError, match=rf"x has {phases} phases.*, a cycle 6 to 99; give the phases of one whole cycle"
    ):
        in_phases(moving(phases), 12, "x")


def test_two_phases_are_told_for_what_they_are():
    with pytest.raises(VolumeError, match="end-diastole and end-systole alone are no cycle"):
        in_phases(moving(2), 12)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_what_is_there_stays_and_what_is_missing_lies_between(data: st.DataObject):
    phases = data.draw(st.integers(4, 24))
    places = sorted(data.draw(st.sets(st.integers(0, phases - 1), min_size=1)))
    known = np.arange(len(places) * 3, dtype=float).reshape(-1, 3) % 7
    whole = filled(known, places, phases)
    np.testing.assert_array_equal(whole[places], known)
    assert whole.shape == (phases, 3)
    assert known.min() <= whole.min()
    assert whole.max() <= known.max()


def test_a_lost_phase_is_the_mean_of_its_neighbours_also_over_the_end():
    cycle = np.array([4.0, 1.0, 3.0, 8.0])
    np.testing.assert_allclose(filled(cycle[:3], [0, 1, 2], 4), [4, 1, 3, 3.5])
    np.testing.assert_allclose(filled(cycle[1:], [1, 2, 3], 4), [4.5, 1, 3, 8])
    np.testing.assert_allclose(filled(cycle[[0, 3]], [0, 3], 4), [4, 4 + 4 / 3, 4 + 8 / 3, 8])


def test_the_farthest_phase_is_that_of_end_systole():
    noise = np.random.default_rng(0).normal(0, 0.02, heart_frame().data.shape).astype(np.float32)
    heart = heart_frame()
    assert farthest_phase(Volume(heart.data + noise, heart.affine, heart.channels, heart.cycle)) == heart.phases // 2
    still = Volume(np.repeat(heart.data[:1], heart.phases, 0), heart.affine, heart.channels, heart.cycle)
    assert farthest_phase(still) is None
    assert farthest_phase(Volume(heart.data[0], heart.affine)) is None
