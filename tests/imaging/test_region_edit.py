"""Laws of an edited segmentation: volumes to the voxel, neighbours give way and fill in, what is kept stays."""

from __future__ import annotations

import numpy as np
import pytest

from engine.imaging.region_edit import moved, resized
from engine.imaging.segmentation import Segmentation
from engine.vocabulary.refusal import RequestError

AFFINE = np.diag([2.0, 2.0, 4.0, 1.0])


@pytest.fixture
def body() -> Segmentation:
    """A box of fat in air, with a liver of 512 voxels in it and a bone beside that."""
    labels = np.zeros((32, 32, 24), np.uint8)
    labels[2:30, 2:30, 2:22] = 1
    labels[10:18, 10:18, 8:16] = 2
    labels[20:22, 4:28, 4:20] = 3
    return Segmentation(labels, AFFINE, ("background", "fat", "liver", "bone"))


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.0, 1.3, 2.0])
def test_a_region_has_the_volume_asked_for_to_the_voxel(body: Segmentation, factor: float) -> None:
    after = resized(body, "liver", factor, kept=("bone",))
    assert after.mask("liver").sum() == round(factor * 512)
    assert np.array_equal(after.mask("bone"), body.mask("bone")), "what is kept stays"
    assert np.array_equal(after.labels == 0, body.labels == 0), "and so does the background"


def test_a_factor_of_one_and_no_way_change_nothing(body: Segmentation) -> None:
    assert np.array_equal(resized(body, "liver", 1.0).labels, body.labels)
    assert np.array_equal(moved(body, "liver", (0, 0, 0)).labels, body.labels)


def test_its_border_moves_everywhere_by_the_same_distance(body: Segmentation) -> None:
    """In mm, so half as many voxels along an axis of twice the spacing."""
    grown = resized(body, "liver", 3.0).mask("liver") & ~body.mask("liver")
    reach = [
        np.ptp(np.nonzero((grown | body.mask("liver")).any(tuple(j for j in range(3) if j != i)))[0]) for i in range(3)
    ]
    mm = [(n + 1 - 8) * s / 2 for n, s in zip(reach, (2, 2, 4), strict=True)]
    assert max(mm) - min(mm) <= 4.0


def test_what_a_smaller_region_leaves_is_of_the_nearest_other_class(body: Segmentation) -> None:
    after = resized(body, "liver", 0.5)
    left = body.mask("liver") & ~after.mask("liver")
    assert set(np.unique(after.labels[left])) == {1}


def test_a_region_is_moved_by_mm_in_the_patients_directions(body: Segmentation) -> None:
    after = moved(body, "liver", (-4, 2, 8))
    middle = [np.argwhere(m.mask("liver")).mean(0) for m in (body, after)]
    assert np.allclose((middle[1] - middle[0]) * [2, 2, 4], [-4, 2, 8])
    flipped = Segmentation(body.labels[::-1].copy(), np.diag([-2.0, 2, 4, 1]), body.classes)
    other = moved(flipped, "liver", (-4, 2, 8))
    assert np.array_equal(other.labels[::-1], after.labels)


def test_it_is_cut_off_at_what_is_kept_and_at_the_skin(body: Segmentation) -> None:
    after = moved(body, "liver", (20, 0, 0), kept=("bone",))
    assert np.array_equal(after.mask("bone"), body.mask("bone"))
    assert 0 < after.mask("liver").sum() < 512
    assert np.array_equal(after.labels == 0, body.labels == 0)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda b: resized(b, "spleen", 1.2), "there is no region 'spleen'; the regions are fat, liver, bone"),
        (lambda b: resized(b, "liver", 9), "liver 9 times as large: give a factor from 0.25 to 3"),
        (lambda b: resized(b, "fat", 3), "fat 3 times as large has no room"),
        (lambda b: moved(b, "liver", (0, 0, 400)), "give three numbers of at most 100 mm"),
        (lambda b: moved(b, "liver", (100, 0, 0)), "leaves the body; give a shorter way"),
    ],
)
def test_what_cannot_be_edited_is_refused(body: Segmentation, edit, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        edit(body)
