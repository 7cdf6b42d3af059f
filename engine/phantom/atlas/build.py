"""Label volumes of the template frame from a folder of real geometry, which fields are fitted to."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.phantom.atlas.volume import LabelVolume
from engine.vocabulary.refusal import RequestError

TEMPLATE = "bodyparts/label_template_3mm.npz"


def volumes(folder: Path) -> dict[str, LabelVolume]:
    """The volumes by name; raises :class:`RequestError` for a folder that they cannot be made from."""
    path = folder / TEMPLATE
    if not path.is_file():
        raise RequestError(f"there is no {TEMPLATE} in {folder}; give the folder of the anatomical data")
    with np.load(path, allow_pickle=False) as found:
        x, y, z = found["spacing"].tolist()
        i, j, k = found["origin"].tolist()
        return {
            "body": LabelVolume(
                labels=found["labels"],
                origin=(i, j, k),
                spacing=(x, y, z),
                classes=("outside", *found["ids"].tolist()),
            )
        }
