"""The drawn hearts against the published reference values."""

from __future__ import annotations

import numpy as np
import pytest

from engine.phantom.heart import reference as law
from engine.phantom.heart.people import draw


@pytest.mark.parametrize("sex", ["M", "F"])
def test_healthy_hearts_are_those_of_the_reference(sex: str) -> None:
    """Means within a third of an SD, SDs within a third of the published ones, at the ages of the reference."""
    people = [draw(seed, {"sex": sex, "pathology": "healthy"}) for seed in range(500)]
    people = [person for person in people if 45 <= person.age <= 74]
    found = {
        "lv_edv": [person.edv for person in people],
        "lv_esv": [person.edv - person.stroke for person in people],
        "lv_ef": [person.ef for person in people],
        "lv_mass": [person.mass for person in people],
        "rv_edv": [person.rv_edv for person in people],
        "rv_esv": [person.rv_edv * (1 - person.rv_ef / 100) for person in people],
    }
    for name, (mean, sd) in law.ABSOLUTE[sex].items():
        assert abs(np.mean(found[name]) - mean) < sd / 3, name
        assert np.std(found[name]) == pytest.approx(sd, rel=0.34), name


def test_groups_differ_as_their_definitions_say() -> None:
    people = [draw(seed) for seed in range(400)]
    by = {name: [person for person in people if person.pathology == name] for name in law.PATHOLOGIES}
    for name, share in law.SHARES.items():
        assert len(by[name]) / len(people) == pytest.approx(share, abs=0.07)
    assert all(person.ef < 47 for person in by["dilated"] + by["infarcted"])
    assert all(person.ef > 55 for person in by["hypertrophic"])
    heavy = [person.mass / law.body_surface(person.height, person.weight) for person in by["hypertrophic"]]
    assert min(heavy) > 83
    assert all((person.infarct is not None) == (person.pathology == "infarcted") for person in people)


def test_volumes_fall_with_age_and_the_fraction_does_not() -> None:
    young, old = (
        [draw(seed, {"sex": "M", "pathology": "healthy", "age": age}) for seed in range(100)] for age in (40.0, 75.0)
    )
    assert np.mean([p.edv for p in old]) < np.mean([p.edv for p in young]) - 15
    assert np.mean([p.ef for p in old]) == pytest.approx(np.mean([p.ef for p in young]), abs=0.01)


def test_what_is_given_is_so_and_the_rest_stays() -> None:
    own, weak = draw(5, {"sex": "F", "pathology": "healthy"}), draw(5, {"sex": "F", "pathology": "healthy", "ef": 25.0})
    assert weak.ef == 25
    assert (weak.age, weak.height, weak.edv, weak.mass) == (own.age, own.height, own.edv, own.mass)
