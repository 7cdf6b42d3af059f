"""Imports within the pages run one way: a page's folder asks parts and state, parts ask state, state asks neither."""

from __future__ import annotations

import re

import pytest

from tests.pages.conftest import ROOT

COMPONENTS = ROOT / "pages" / "components"
IMPORT = re.compile(r"^\s*(?:from|import) pages\.components\.(\w+)", re.MULTILINE)
#: what the files of a folder may import beside their own; those of a page's folder: both
BELOW = {"state": set(), "parts": {"state"}}


@pytest.mark.parametrize("folder", sorted(path.name for path in COMPONENTS.iterdir() if any(path.glob("*.py"))))
def test_imports_run_one_way(folder: str):
    allowed = {folder} | BELOW.get(folder, {"parts", "state"})
    found = {
        (path.name, room)
        for path in (COMPONENTS / folder).rglob("*.py")
        for room in IMPORT.findall(path.read_text("utf-8"))
    }
    assert {(name, room) for name, room in found if room not in allowed} == set()
