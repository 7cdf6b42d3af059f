# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#     "arfpy==0.1.1",
#     "copulas==0.14.1",
#     "ctgan==0.12.1",
#     "numpy==2.3.5",
#     "pandas==2.3.3",
#     "pyarrow==26.0.1",
#     "rdt==2.0.0",
#     "scikit-learn==1.9.1",
#     "scipy==1.17.1",
#     "torch==2.15.0",
# ]
# ///
"""Fits one rival on a parquet table and samples from it, in an environment of its own; run by :mod:`engine.evaluation.rivals.rivals`.

The engine never imports this file: arfpy needs numpy before 2.4, and ctgan, copulas and arfpy need pandas before 3.
``python rivals_script.py versions`` prints the libraries' versions as JSON; ``python rivals_script.py fit REQUEST.json``
reads the request (name, training, categories, n, seed, epochs, table, report), writes the sampled table as parquet to
``table`` and the seconds taken as JSON to ``report``.
"""
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIBRARIES = ("arfpy", "copulas", "ctgan", "numpy", "pandas", "rdt", "scikit-learn", "scipy", "torch")
#: draws a table of as many rows as it is told
Sampler = Callable[[int], Any]


def fit_ctgan(training: Any, categories: list[str], seed: int, epochs: int) -> Sampler:
    """Conditional GAN (Xu et al. 2019, arXiv 1907.00503), the library's settings."""
    from ctgan import CTGAN

    return _fitted(CTGAN(epochs=epochs, enable_gpu=False), training, categories, seed)


def fit_tvae(training: Any, categories: list[str], seed: int, epochs: int) -> Sampler:
    """Variational autoencoder of the same paper, the library's settings."""
    from ctgan import TVAE

    return _fitted(TVAE(epochs=epochs, enable_gpu=False), training, categories, seed)


def _fitted(model: Any, training: Any, categories: list[str], seed: int) -> Sampler:
    model.set_random_state(seed)
    model.fit(training, categories)
    return model.sample


def fit_arf(training: Any, categories: list[str], seed: int, epochs: int) -> Sampler:
    """Adversarial random forest (Watson et al. 2023, arXiv 2205.09435), the library's settings; knows no epochs."""
    from arfpy import arf

    forest = arf.arf(x=training, verbose=False)
    forest.forde()
    return lambda n: forest.forge(n=n)


def fit_copula(training: Any, categories: list[str], seed: int, epochs: int) -> Sampler:
    """Gaussian copula: kernel density margins, categories as intervals of a uniform margin; knows no epochs."""
    from copulas.multivariate import GaussianMultivariate
    from copulas.univariate import GaussianKDE, UniformUnivariate
    from rdt.transformers import UniformEncoder

    coded, encoders = training.copy(), {}
    for name in categories:
        encoders[name] = UniformEncoder()
        coded[name] = encoders[name].fit_transform(training[[name]], name)[name]
    margins = {name: UniformUnivariate if name in encoders else GaussianKDE for name in training.columns}
    model = GaussianMultivariate(distribution=margins, random_state=seed)
    model.fit(coded)

    def sample(n: int) -> Any:
        drawn = model.sample(n)
        for name, encoder in encoders.items():
            drawn[name] = encoder.reverse_transform(drawn[[name]])[name]
        return drawn

    return sample


FITS = {"ctgan": fit_ctgan, "tvae": fit_tvae, "arf": fit_arf, "copula": fit_copula}


def versions() -> dict[str, str]:
    """The versions fitted with; imports what is needed, so that a broken environment is found here."""
    import arfpy.arf  # noqa: F401
    import copulas.multivariate  # noqa: F401
    import ctgan  # noqa: F401
    import rdt.transformers  # noqa: F401

    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def fit(request: dict[str, Any]) -> None:
    import numpy as np
    import pandas as pd
    import torch

    # arfpy and rdt draw from numpy's global state, and nothing else runs in this process
    np.random.seed(request["seed"] % 2**32)  # noqa: NPY002
    torch.manual_seed(request["seed"])
    training, categories = pd.read_parquet(request["training"]), request["categories"]
    training[categories] = training[categories].astype(object)
    start = time.perf_counter()
    sample = FITS[request["name"]](training, categories, request["seed"], request["epochs"])
    fitted = time.perf_counter()
    table = sample(request["n"])[list(training.columns)].reset_index(drop=True)
    sampled = time.perf_counter()
    table[categories] = table[categories].astype(str)
    table.to_parquet(request["table"], index=False)
    report = {"seconds_fit": fitted - start, "seconds_sample": sampled - fitted, "versions": versions()}
    Path(request["report"]).write_text(json.dumps(report), "utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "versions":
        print(json.dumps(versions()))
    else:
        fit(json.loads(Path(sys.argv[2]).read_text("utf-8")))
