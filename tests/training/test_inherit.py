"""A segmenter that begins with another one's weights: the classes that both know score alike."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engine.measure.segmenter import Segmenter, SegmenterConfig
from engine.training.stages.inherit import inherit
from engine.vocabulary.refusal import ConfigError

OLD = SegmenterConfig(
    classes=("background", "muscle", "other"), window=(16, 16, 16), spacing=5.0, centre=(0.0, 0.0, 0.0),
    widths=(8, 8, 8), inputs=2, refine=8, fraction=True,
)  # fmt: skip
NEW = replace(OLD, classes=("background", "muscle", "psoas", "other"))


def test_known_classes_score_as_before_and_new_ones_as_their_parents() -> None:
    torch.manual_seed(0)
    old, new = Segmenter(OLD).eval(), Segmenter(NEW).eval()
    for parameter in old.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    inherit(new, dict(old.named_parameters()), OLD.classes, {"psoas": "muscle"})
    new.refine = old.refine = None
    scan = torch.rand(1, 2, 16, 16, 16)
    with torch.inference_mode():
        before, after = old(scan), new(scan)
    assert torch.allclose(after[:, [0, 1, 3]], before, atol=1e-5)
    assert torch.allclose(after[:, 2], before[:, 1], atol=1e-5)


def test_the_last_layer_of_voxels_is_inherited_too() -> None:
    torch.manual_seed(0)
    old, new = Segmenter(OLD), Segmenter(NEW)
    inherit(new, dict(old.named_parameters()), OLD.classes, {"psoas": "muscle"})
    weights, known = dict(new.named_parameters()), dict(old.named_parameters())
    assert torch.equal(weights["refine.2.weight"][[0, 1, 3]], known["refine.2.weight"])
    assert torch.equal(weights["refine.0.weight"][:, 4:], known["refine.0.weight"][:, 3:])


def test_what_cannot_be_inherited_is_named() -> None:
    old, new = Segmenter(OLD), Segmenter(NEW)
    weights = dict(old.named_parameters())
    with pytest.raises(ConfigError, match="'psoas' has nothing to begin with"):
        inherit(new, weights, OLD.classes, {})
    with pytest.raises(ConfigError, match="lack"):
        inherit(new, {}, OLD.classes, {"psoas": "muscle"})
    wider = Segmenter(replace(NEW, widths=(8, 8, 16)))
    with pytest.raises(ConfigError, match="give others"):
        inherit(wider, weights, OLD.classes, {"psoas": "muscle"})
