"""``somatwin segment``, and what the other commands ask of masks."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli.terminal import Meter, attributes_of

if TYPE_CHECKING:
    from engine.imaging.segmentation import Segmentation
    from engine.inference.generate import Model


def read_mask(model: Model, path: Path | None, scan: Path | None = None) -> Segmentation | None:
    """The mask in a file (of a ``scan``, or of nobody), on the model's grid; what was done to it is said on stderr. None: none is
    given."""
    from engine.inference.masks import admit_mask

    if path is None:
        return None
    mask, notes = admit_mask(model, path, scan)
    for note in notes:
        print(f"somatwin: {path.name}: {note}", file=sys.stderr)
    return mask


def run_segment(args: argparse.Namespace, meter: Meter) -> None:
    """The model's segmentation of a scan as a new folder; on stdout its volumes, as JSON."""
    from engine.inference.export import write_segmented
    from engine.inference.generate import DISCLAIMER, load
    from engine.inference.intake import admit
    from engine.inference.segment import check_masks, segment

    meter.show("loading the model and the scan", None, now=True)
    model = load(args.checkpoint, args.device)
    check_masks(model)
    given = attributes_of(model, args.set)
    scan, warnings = admit(model, args.scan, force=args.force)
    meter.show("segmenting", None, now=True)
    mask = segment(model, scan, given)
    written = write_segmented(model, scan, mask, args.out, name=args.scan.name, form=args.format)
    meter.close()
    about = {
        "out": str(written),
        "checkpoint": {"name": model.name, "digest": model.digest},
        "volumes_ml": {name: round(ml, 1) for name, ml in mask.volumes_ml().items()},
        "warnings": warnings,
        "disclaimer": DISCLAIMER,
    }
    print(json.dumps(about, indent=1, ensure_ascii=False))
