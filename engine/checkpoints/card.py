"""The model card: written as JSON and Markdown from the same facts, and shown only of a checkpoint that is whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from engine.checkpoints.config import CheckpointConfig, config_from
from engine.checkpoints.files import ANATOMY, CONFIG, RULER, WEIGHTS, CheckpointError, find, stated
from engine.storage import strict_json
from engine.storage.whole import file_sha256, write_text

JSON, MARKDOWN = "model_card.json", "model_card.md"
#: checkpoints that have a card and are no joint model, by the ``format`` of config.json
KINDS = {RULER: "the card of a ruler", ANATOMY: "the card of an anatomy"}


def write_card(path: Path, card: Mapping[str, Any]) -> None:
    """The model card as JSON and, from the same facts, as Markdown."""
    lines = [f"# {card['title']} ({card['name']})", ""]
    for key, value in card.items():
        if key not in ("name", "title"):
            lines += [f"## {key.replace('_', ' ').capitalize()}", "", *_markdown(value), ""]
    write_text(path / JSON, strict_json.text_of(card))
    write_text(path / MARKDOWN, "\n".join(lines))


def read_card(path: Path) -> tuple[dict[str, Any], str]:
    """The card of the checkpoint in the folder ``path``, as JSON and as Markdown. Raises OSError or ValueError."""
    return strict_json.read(path / JSON), (path / MARKDOWN).read_text("utf-8")


def checked_card(name: str | Path) -> tuple[dict[str, Any], str]:
    """The card of a joint model, a ruler or an anatomy, once the whole checkpoint was checked without building any network.

    Checked are the config, the hash of the weights, and that the tensors whose shapes say how large the networks are have
    those of the config; raises :class:`CheckpointError` for anything else.
    """
    path = find(name)
    kind = KINDS.get(str(stated(path / CONFIG).get("format")), "a checkpoint")
    try:
        if kind == "a checkpoint":
            checked_config(path)
        return read_card(path)
    except CheckpointError:
        raise
    except (OSError, ValueError, SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise CheckpointError(f"{path} cannot be read as {kind} ({reason}); restore or replace it") from None


def checked_config(path: Path) -> CheckpointConfig:
    """The config of the checkpoint in ``path``, its weights being those it was saved with.

    Raises :class:`CheckpointError`, OSError, or ValueError for what is no JSON.
    """
    config = config_from(strict_json.read(path / CONFIG), str(path))
    if file_sha256(path / WEIGHTS) != config.weights_sha256:
        raise CheckpointError(
            f"the weights in {path} are not those it was saved with; restore or replace the checkpoint"
        )
    with safe_open(path / WEIGHTS, framework="numpy") as file:
        found = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    for key, shape in implied_shapes(config).items():
        if found.get(key) != shape:
            raise CheckpointError(
                f"{path} cannot be read as a checkpoint ({key} is {found.get(key)} where the sizes make it {shape}); "
                "restore or replace it"
            )
    return config


def implied_shapes(config: CheckpointConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors in which every size of the config shows, by name."""
    model = config.model
    columns, code = config.schema.mask.shape
    tokens, latent = model.image.tokens, model.image.latent
    last = f"velocity_net.blocks.{model.flow.depth - 1}"
    found: dict[str, tuple[int, ...]] = {
        "centre": (tokens, latent),
        "image_loadings": (tokens, latent, model.rank + model.table_rank),
        "table_loadings": (columns, code, model.rank + model.table_rank),
        f"{last}.qkv.weight": (3 * model.flow.width, model.flow.width),
    }
    if tokens:
        found["autoencoder.template"] = (model.image.channels, *model.image.coded)
        found["autoencoder.head.weight"] = (model.image.widths[3], latent, 3, 3, 3)
    if model.rows:
        of_rows = f"rows.velocity_net.blocks.{model.rows.depth - 1}"
        found[f"{of_rows}.qkv.weight"] = (3 * model.rows.width, model.rows.width)
    return found


def one_line(value: Any) -> str:
    """A fact on one line.

    >>> one_line({"age": "3.7% missing", "sex": "none"})
    'age 3.7% missing, sex none'
    """
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else str(value)


def _markdown(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [f"* {str(key).replace('_', ' ')}: {one_line(item)}" for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [f"* {item}" for item in value]
    return [str(value)]
