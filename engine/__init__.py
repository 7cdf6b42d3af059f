"""Somatwin: a scan and its clinical table as one generative model.

>>> import engine                                                          # doctest: +SKIP
>>> model = engine.load("head-t1")                                         # doctest: +SKIP
>>> people = model.generate(n=4, given={"age": 60, "sex": "F", "bmi": 32}, seed=0, steps=8)   # doctest: +SKIP
"""

from engine.attributes import AttributeSchema, AttributeValueError
from engine.checkpoint import CheckpointError, checkpoints
from engine.generate import DISCLAIMER, Model, Person, RequestError, load
from engine.volume import Volume, VolumeError

__all__ = [
    "DISCLAIMER",
    "AttributeSchema",
    "AttributeValueError",
    "CheckpointError",
    "Model",
    "Person",
    "RequestError",
    "Volume",
    "VolumeError",
    "checkpoints",
    "load",
]
