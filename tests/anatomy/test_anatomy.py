"""The regions' facts agree with each other, and with the networks and recipes that they name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from engine.anatomy import region_named, region_of, region_of_file, regions
from engine.anatomy.head import HEAD
from engine.anatomy.heart import HEART
from engine.anatomy.region import BODY, Region, RegionError
from engine.anatomy.torso import TORSO
from engine.measure import head, torso
from engine.measure.heart import ruler as heart
from engine.measure.shipped import RULERS, load_ruler, shipped
from engine.training.recipes import RECIPES
from engine.vocabulary.refusal import RequestError

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"
every = pytest.mark.parametrize("region", regions(), ids=lambda region: region.name)


def test_a_region_is_found_by_name_channels_and_file():
    for region in regions():
        assert region_named(region.name) is region
        assert region_of(list(region.frames)) is region
        for file in region.files:
            name = file.replace("*", "sub-01_ses-2")
            assert region_of_file(f"folder/{name}.nii.gz") is region_of_file(f"{name}.nii") is region
    assert region_of([]) is region_of(["T2w"]) is region_of(["fat", "water"]) is None
    assert region_of_file("T1w.nii.gz") is region_of_file("sub-01_T1w.nii.gz.txt") is None
    with pytest.raises(RequestError, match="there is no region 'arm'; the regions are head, torso"):
        region_named("arm")


@pytest.mark.parametrize("part", ["name", "channels", "ruler", "features", "recipe"])
def test_no_two_regions_share_what_tells_them_apart(part: str):
    found = [getattr(region, part) for region in regions()]
    assert len(set(found)) == len(found)


@every
def test_what_a_region_names_is_there(region: Region):
    assert region.recipe in RECIPES
    assert (RECIPES[region.recipe]("cpu").preprocess is not None) == (region.intake == "preprocessed")
    assert RECIPES[region.recipe]("cpu").model.image.channels == len(region.frames)
    for name in (region.ruler, region.features):
        assert json.loads((CHECKPOINTS / name / "config.json").read_text())["name"] == name
    assert set(RULERS) == {each.ruler for each in regions()}


@every
def test_areas_tissues_and_measures_are_the_rulers(region: Region):
    """No class and no measure that the ruler does not know."""
    module = {HEAD.ruler: head, TORSO.ruler: torso, HEART.ruler: heart}[region.ruler]
    parts = [*region.areas.values(), *region.tissues, *region.surfaces]
    assert {name for part in parts for name in part.classes} <= {*module.CLASSES} - {"background"}
    measures = {m for kept in region.unmoved.values() for m in kept} | {m for _, m in region.relations}
    assert measures <= {*module.MEASURES}
    shown = [name for tissue in region.tissues for name in tissue.classes]
    assert len(set(shown)) == len(shown), "a voxel has one colour"


def test_an_attribute_changes_its_area_and_any_other_the_body():
    assert (HEAD.area_of("age"), HEAD.area_of("bmi"), TORSO.area_of("bmi")) == ("brain", "soft", "fat")
    assert HEAD.area_of("height") == TORSO.area_of("age") == BODY
    assert HEAD.area(BODY).words == "the body"
    assert HEAD.area("soft").around


def test_a_torso_may_be_as_large_as_its_ruler_takes():
    config = torso.TorsoMeasureConfig()
    assert TORSO.largest_mm == max(n * mm for n, mm in zip(config.largest, config.segmenter.voxel, strict=True))


def test_facts_that_contradict_each_other_are_refused():
    with pytest.raises(RegionError, match="region head has 1 channels and 2 files: give one file a channel"):
        replace(HEAD, files=("*_T1w", "*_T2w"))
    with pytest.raises(RegionError, match="region head has no area lungs: add it to its areas"):
        replace(HEAD, expected={"age": "lungs"})


@every
def test_the_shipped_ruler_is_its_regions(region: Region, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(CHECKPOINTS))
    ruler = load_ruler(region)
    assert ruler is load_ruler(region, shipped(region)), "read once"
    assert ruler.region is region
    assert [*ruler.units] == [*ruler.measures] == [*ruler.definitions]
