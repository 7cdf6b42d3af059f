"""A trained model on disk: safetensors weights and JSON, never pickle; whole or not at all; checked when read.

``checkpoints/NAME/`` holds ``weights.safetensors`` (bfloat16), ``config.json`` (sizes, schema, grid, provenance, hash of
the weights) and the model card, ``model_card.json`` and ``model_card.md``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from engine.checkpoints.files import JOINT, RULER, CheckpointError, directory, file_sha256, whole_directory, write_card
from engine.cohort.participants import FILE, Participants
from engine.model.joint import JointModel, ModelConfig
from engine.model.nn.autoencoder import AutoencoderConfig
from engine.model.nn.transformer import TransformerConfig
from engine.vocabulary.schema import AttributeSchema, AttributeValueError

VERSION = 1
#: small buffers that stay in single precision
EXACT = ("centre", "rotation", "scale", "image_variance", "table_variance", "table_loadings", "table_centre")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model with what is known of it: ``digest`` identifies weights and config, ``affine`` is the grid's ijk_to_ras."""

    path: Path
    model: JointModel
    config: dict[str, Any]
    card: dict[str, Any]
    card_markdown: str
    digest: str

    @property
    def affine(self) -> Float[np.ndarray, "4 4"]:
        return np.array(self.config["affine"], dtype=np.float64)


def checkpoints(*, scans: bool = False, model: ModelConfig | None = None) -> list[str]:
    """Names of the joint models at hand, in alphabetical order; with ``scans`` but for those of tables only, with ``model``
    those of its sizes, whatever they have to draw rows."""
    found = {p.parent.name: _config(p) for p in directory().glob("*/config.json")}
    sizes = model and {**json.loads(json.dumps(asdict(model))), "rows": None}
    return sorted(
        name
        for name, config in found.items()
        if config.get("format") == JOINT
        and not (scans and config.get("channels") == [])
        and (sizes is None or {**config.get("model", {}), "rows": None} == sizes)
    )


def find(name: str | Path) -> Path:
    """The directory of a checkpoint given by name or path."""
    for path in (directory() / name, Path(name)):
        if (path / "config.json").is_file():
            return path
    raise CheckpointError(
        f"there is no checkpoint {str(name)!r}; at hand: {', '.join(checkpoints()) or 'none'}, or give a path"
    )


def save_checkpoint(
    path: Path,
    model: JointModel,
    *,
    name: str,
    title: str,
    affine: Float[np.ndarray, "4 4"],
    channels: tuple[str, ...],
    preprocess: Mapping[str, Any],
    provenance: Mapping[str, Any],
    guidance: float = 1.0,
    card: Mapping[str, Any] | None = None,
    participants: Participants | None = None,
) -> None:
    """Write a checkpoint into a directory of its own, replacing an older one only when the new one is whole.

    ``guidance`` is the weight that generation uses by default, ``participants`` those whom the weights have seen.
    """
    with whole_directory(path) as part:
        tensors = {
            key: (value if key.removeprefix("rows.") in EXACT or not value.is_floating_point() else value.bfloat16())
            .detach()
            .cpu()
            .contiguous()
            for key, value in model.state_dict().items()
        }
        save_file(tensors, part / "weights.safetensors")
        config = {
            "format": JOINT,
            "version": VERSION,
            "name": name,
            "title": title,
            "model": asdict(model.config),
            "schema": model.schema.to_json(),
            "affine": np.asarray(affine).tolist(),
            "channels": list(channels),
            "preprocess": dict(preprocess),
            "provenance": dict(provenance),
            "guidance": guidance,
            "weights_sha256": file_sha256(part / "weights.safetensors"),
        }
        (part / "config.json").write_text(json.dumps(config, indent=1), "utf-8")
        write_card(part, {"name": name, "title": title, **(card or {})})
        if participants:
            (part / FILE).write_text(json.dumps(participants.to_json(), indent=1), "utf-8")


def ruler_card(name: str | Path) -> tuple[dict[str, Any], str] | None:
    """The card of a measuring network, as JSON and as Markdown; None for any other kind of checkpoint."""
    path = find(name)
    if _config(path / "config.json").get("format") != RULER:
        return None
    try:
        card = path / "model_card.json"
        return json.loads(card.read_text("utf-8")), card.with_suffix(".md").read_text("utf-8")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"the card of {path} cannot be read ({error}); restore the checkpoint") from None


def load_checkpoint(name: str | Path, device: str = "cpu") -> Checkpoint:
    """Read and check a checkpoint by name or path.

    Raises :class:`CheckpointError` when a file is missing, the weights' hash differs, or it is of another kind.
    """
    path = find(name)
    try:
        config = json.loads((path / "config.json").read_text("utf-8"))
        if isinstance(config, dict) and config.get("format") == RULER:
            raise CheckpointError(
                f"{path} is Somatwin's ruler, which measures scans and draws nobody; its card is {path / 'model_card.md'}"
            )
        if not isinstance(config, dict) or config.get("format") != JOINT or config.get("version") != VERSION:
            raise CheckpointError(f"{path} is not a Somatwin checkpoint of version {VERSION}; choose another")
        if lacking := {"name", "title", "affine", "channels", "provenance", "guidance"} - config.keys():
            raise KeyError(f"config.json lacks {', '.join(sorted(lacking))}")
        digest = file_sha256(path / "weights.safetensors")
        if digest != config["weights_sha256"]:
            raise CheckpointError(
                f"the weights in {path} are not those it was saved with; restore or replace the checkpoint"
            )
        sizes = config["model"]
        image: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in sizes["image"].items()}
        flow, rows = (sizes.get(part) and TransformerConfig(**sizes[part]) for part in ("flow", "rows"))
        model_config = ModelConfig(**{**sizes, "image": AutoencoderConfig(**image), "flow": flow, "rows": rows})
        model = JointModel(model_config, AttributeSchema.from_json(config["schema"]))
        stored = {k: v.float() for k, v in load_file(path / "weights.safetensors").items()}
        later = {k: v for k, v in model.state_dict().items() if k in ("table_centre", "correction")}
        model.load_state_dict({**later, **stored})  # older ones have no such tensors
        card = json.loads((path / "model_card.json").read_text("utf-8"))
        markdown = (path / "model_card.md").read_text("utf-8")
    except CheckpointError:
        raise
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError, AttributeValueError) as error:
        reason = str(error).splitlines()[0][:200]
        raise CheckpointError(f"{path} cannot be read as a checkpoint ({reason}); restore or replace it") from None
    model.requires_grad_(False).eval().to(device)
    return Checkpoint(
        path, model, config, card, markdown, hashlib.sha256((digest + json.dumps(config)).encode()).hexdigest()[:12]
    )


def _config(path: Path) -> dict[str, Any]:
    """A config as it stands; empty when it is none."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
