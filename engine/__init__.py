"""Somatwin: a scan and its clinical table as one generative model.

>>> import engine                                                          # doctest: +SKIP
>>> model = engine.load("head-t1")                                         # doctest: +SKIP
>>> people = model.generate(n=4, given={"age": 60, "sex": "F", "bmi": 32}, seed=0, steps=8)   # doctest: +SKIP

The names below are imported when first used (PEP 562), so that ``somatwin --help`` does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.checkpoints.files import CheckpointError, checkpoints
    from engine.imaging.volume import Volume, VolumeError
    from engine.inference.generate import DISCLAIMER, Model, Person, load
    from engine.vocabulary.refusal import Refusal, RequestError
    from engine.vocabulary.schema import AttributeSchema, AttributeValueError

__all__ = [
    "DISCLAIMER",
    "AttributeSchema",
    "AttributeValueError",
    "CheckpointError",
    "Model",
    "Person",
    "Refusal",
    "RequestError",
    "Volume",
    "VolumeError",
    "checkpoints",
    "load",
]
_ROOMS = ("vocabulary.refusal", "vocabulary.schema", "imaging.volume", "checkpoints.files", "inference.generate")


def __getattr__(name: str) -> Any:
    """A public name from the lowest module that defines it."""
    if name in __all__:
        for room in _ROOMS:
            module = import_module(f"engine.{room}")
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module 'engine' has no attribute {name!r}")
