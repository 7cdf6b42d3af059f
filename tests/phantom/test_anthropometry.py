"""The population model: laws first, then marginals and regressions against the facts."""

from __future__ import annotations

import pytest
import torch

from engine.phantom.anthropometry import sample_people


def test_a_batch_neighbour_changes_nothing() -> None:
    both, one = sample_people([7, 8]), sample_people([8])
    assert both.sex[1] == one.sex[0]
    assert torch.equal(both[[1]].liver, one.liver)
    with pytest.raises(ValueError, match="bmi"):
        sample_people([1], {"bmi": 10})
