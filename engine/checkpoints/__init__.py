"""Trained models on disk. The package is also the public ``engine.checkpoints()``: the names of those at hand."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Names(ModuleType):
    """A package that can be called: a module and a public function share the name (data model, 3.3.2.1)."""

    def __call__(self, **asked: Any) -> list[str]:
        from engine.checkpoints.files import checkpoints

        return checkpoints(**asked)


sys.modules[__name__].__class__ = _Names
