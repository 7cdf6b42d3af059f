"""Every example in a docstring gives what it says."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

HERE = Path(__file__).parent.parent
PLACES = sorted(
    path.relative_to(HERE)
    for folder in ("engine", "pages")
    for path in (HERE / folder).rglob("*.py")
    # the package's own draws whole persons
    if ">>> " in path.read_text("utf-8") and path.name != "__init__.py"
)


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_an_example_gives_what_it_says(place: Path) -> None:
    module = importlib.import_module(".".join(place.with_suffix("").parts))
    found = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted
    assert not found.failed
