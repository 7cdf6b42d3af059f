"""A store of in-silico hearts: frames by phase, labels of every phase, and the same person again of a seed."""

from pathlib import Path

import numpy as np
import pytest

from engine.anatomy.heart import HEART
from engine.cohort.store import CohortStore
from engine.phantom.anthropometry import PhantomError
from engine.phantom.cohort import person_seeds, write_cohort, write_nifti
from engine.phantom.heart.tissue import LV_BLOOD
from engine.phantom.kinds import KINDS, kind_of, made
from engine.training.recipes import RECIPES


@pytest.mark.parametrize("recipe", KINDS)
def test_a_kind_fits_the_recipe_that_is_trained_on_it(recipe: str):
    kind, image = KINDS[recipe], RECIPES[recipe]("cpu").model.image
    assert image.grid == kind.grid
    assert image.channels == len(kind.frames)


def test_hearts_are_stored_with_their_cycle(tmp_path: Path):
    *_, last = write_cohort(tmp_path / "hearts", n=2, seed=3, labels=True, recipe=HEART.recipe, workers=1)
    assert last.done == 2
    store = CohortStore.open(tmp_path / "hearts")
    person = made(HEART.recipe, person_seeds(3, 2)[1])
    assert store.channels == HEART.frames
    assert store.labels is not None
    assert np.array_equal(store.volumes[1], person.images)
    assert np.array_equal(store.labels[1], person.labels)
    # what lies in the mask is in the body in some phase
    assert np.array_equal(store.mask[1], (person.labels > 0).any(0))
    left = np.isin(store.labels[1], LV_BLOOD).sum((1, 2, 3))
    assert left.argmax() == 0
    assert store.rows[1]["lv_ef"] == pytest.approx(100 * (1 - left.min() / left.max()), abs=0.06)

    written = write_nifti(store, 1)
    names = sorted(file.name for file in written.rglob("*.nii.gz"))
    assert names == ["sub-0001_cine.nii.gz", "sub-0001_dseg.nii.gz"]


def test_a_recipe_of_real_persons_has_no_kind():
    with pytest.raises(PhantomError, match="recipe head_t1 takes no computed persons; name torso_dixon"):
        kind_of("head_t1")
