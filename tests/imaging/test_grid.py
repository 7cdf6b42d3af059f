"""Laws of a scan's grid: frames name channels and phases and are undone; a closed cycle is taken at other phases."""

import nibabel as nib
import numpy as np
import pytest

from engine.imaging.grid import Grid, GridError, by_channel, frames, in_time, phases_of
from engine.imaging.volume import Volume


@pytest.mark.parametrize("channels", [("cine",), ("water", "fat"), ("T1w",), ("a_t1", "b")])
@pytest.mark.parametrize("phases", [1, 2, 12])
def test_frames_tell_their_channels_and_phases(channels: tuple[str, ...], phases: int):
    names = frames(channels, phases)
    assert len(set(names)) == len(channels) * phases
    assert phases_of(names) == (channels, phases)
    assert Grid(channels=channels, phases=phases, space=(4, 5, 6)).shape == (len(names), 4, 5, 6)


@pytest.mark.parametrize("names", [("cine_t01", "cine_t00"), ("cine_t00", "cine_t02"), ("a_t00", "a_t01", "b_t00")])
def test_part_of_a_cycle_is_refused(names: tuple[str, ...]):
    with pytest.raises(GridError, match="give every phase"):
        phases_of(names)
    with pytest.raises(GridError, match="empty"):
        Grid(channels=("cine",), phases=0, space=(2, 2, 2))


def test_frames_are_in_order_of_channel_and_phase():
    data = np.arange(6 * 8).reshape(6, 2, 2, 2)
    apart = by_channel(data, frames(["a", "b"], 3))
    assert apart.shape == (2, 3, 2, 2, 2)
    assert np.array_equal(apart[1, 0], data[3])


def test_a_closed_cycle_at_other_phases():
    cycle = np.cos(np.arange(20) * 2 * np.pi / 20)[:, None]
    assert np.array_equal(in_time(cycle, 20), cycle)
    assert np.array_equal(in_time(cycle, 10), cycle[::2])
    twelve = in_time(cycle, 12)[:, 0]
    assert np.abs(twelve - np.cos(np.arange(12) * 2 * np.pi / 12)).max() < 0.02
    # beyond the last phase comes the first again
    assert in_time(np.array([0.0, 4.0]), 4).tolist() == [0.0, 2.0, 4.0, 2.0]


def test_a_cine_is_one_file_with_time_as_its_fourth_axis():
    data = np.random.default_rng(0).random((12, 6, 5, 4)).astype(np.float32)
    cine = Volume(data, np.diag([1.6, 1.6, 8, 1]), frames(["cine"], 12), cycle=0.9)
    (part,) = cine.apart()
    assert part.kinds == ("cine",)
    assert part.phases == 12
    assert len(part.stills()) == 12
    image = nib.Nifti1Image.from_bytes(part.to_nifti().to_bytes())
    assert image.shape == (6, 5, 4, 12)
    assert image.header.get_xyzt_units() == ("mm", "sec")
    assert image.header.get_zooms()[3] == pytest.approx(0.075)
    assert np.array_equal(np.asarray(image.dataobj)[..., 7], data[7])
    turned = cine.reoriented("LPS")
    assert np.array_equal(turned.reoriented("RAS").data, data)


def test_a_still_scan_is_the_case_of_one_phase():
    still = Volume(np.zeros((2, 4, 4, 4)), np.eye(4), ("water", "fat"))
    assert still.phases == 1
    assert still.kinds == ("water", "fat")
    assert [part.data.ndim for part in still.apart()] == [3, 3]
