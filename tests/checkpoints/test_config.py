"""Laws of a checkpoint's config: what is written is read, and what cannot be true, or nobody knows, is refused with the reason."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.checkpoints.config import READERS, VERSION, config_from
from engine.checkpoints.files import JOINT, CheckpointError

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"
ROOT = Path(__file__).parents[2]


def stored(name: str = "head-t1") -> dict[str, Any]:
    return json.loads((CHECKPOINTS / name / "config.json").read_text("utf-8"))


@pytest.mark.parametrize("name", ["head-t1", "torso-dixon"])
def test_what_is_written_is_read(name: str) -> None:
    config = config_from(stored(name), name)
    assert json.loads(json.dumps(config.to_json())) == stored(name)
    assert config_from(json.loads(json.dumps(config.to_json())), name) == config
    assert np.array_equal(config.ijk_to_ras, stored(name)["affine"])
    assert (config.preprocessing is None) == (name == "torso-dixon")


def test_every_version_has_its_reader() -> None:
    assert sorted(READERS) == [(JOINT, version) for version in range(1, VERSION + 1)]


def test_an_older_file_of_the_first_version_is_read() -> None:
    older = stored()
    for key in ("rows", "table_rank"):
        del older["model"][key]
    config = config_from(older, "older")
    assert config.model.rows is None
    assert config.model.table_rank == 0


def changed(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(config: Any) -> None:
        for key in path[:-1]:
            config = config[key]
        config[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (changed("version", to=2), "has checkpoint version 2, this program reads 1; update"),
        (changed("version", to="1"), "has checkpoint version 1, this program reads 1"),
        (changed("format", to="somatwin-measure"), "measures scans and draws nobody"),
        (changed("format", to="other"), "is not a Somatwin checkpoint"),
        (changed("colour", to="red"), "unknown key colour"),
        (changed("model", "flow", "colour", to="red"), "model.flow has the unknown key colour"),
        (changed("model", "image", "colour", to="red"), "model.image has the unknown key colour"),
        (changed("model", "flow", "width", to=190), "190 is not a multiple of 4 heads"),
        (changed("model", "flow", "depth", to=-5), "depth -5 is not possible"),
        (changed("model", "image", "grid", to=[90, 112, 112]), "multiple of 16"),
        (changed("model", "rank", to=-1), "rank -1 is not possible"),
        (changed("model", "shift", to=0), "shift 0 is not possible"),
        (changed("affine", 0, to=[0.0, 0.0, 0.0, 0.0]), "no matrix from voxels to mm"),
        (changed("affine", 3, to=[0.0, 0.0, 1.0, 1.0]), "last row"),
        (changed("affine", to=[[1.0]]), "no matrix from voxels to mm"),
        (changed("channels", to=["water", "fat"]), "channels water, fat are not the 1 of the networks"),
        (changed("guidance", to=-1), "guidance -1"),
        (changed("guidance", to="strong"), "guidance is 'strong'"),
        (changed("guidance", to=float("inf")), "guidance is inf"),
        (changed("provenance", to=[]), "provenance is"),
        (changed("name", to=""), "without name or title"),
        *((lambda config, key=key: config.pop(key), f"lacks {key}") for key in stored() if key not in ("format", "version")),
    ],
)  # fmt: skip
def test_what_cannot_be_true_is_refused(damage: Callable[[dict[str, Any]], None], words: str) -> None:
    config = stored()
    damage(config)
    with pytest.raises(CheckpointError) as error:
        config_from(config, "it")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_infinity_in_a_file_is_refused(tmp_path: Path) -> None:
    from engine.checkpoints.card import checked_card

    config = {**stored(), "guidance": float("inf")}
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(CheckpointError, match="Infinity is no number in JSON"):
        checked_card(tmp_path)


def test_a_preprocessing_that_there_is_none_of_is_refused_when_it_is_read(tmp_path: Path) -> None:
    from engine.checkpoints.checkpoint import load_checkpoint

    config = stored()
    config["preprocess"]["colour"] = "red"
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    for name in ("weights.safetensors", "model_card.json", "model_card.md"):
        (tmp_path / name).symlink_to(CHECKPOINTS / "head-t1" / name)
    with pytest.raises(CheckpointError, match="colour"):
        load_checkpoint(tmp_path)


def test_info_and_the_list_of_checkpoints_need_no_network() -> None:
    code = (
        "import sys; from engine.cli.main import main; import engine; code = main(['info', 'head-t1']);"
        "assert 'head-t1' in engine.checkpoints() and 'head-t1' in engine.checkpoints(scans=True);"
        "heavy = {'torch', 'monai', 'scipy.optimize', 'pandas'} & set(sys.modules);"
        "sys.exit(f'{code} {heavy}' if code or heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# ")


def test_sizes_that_are_not_those_of_the_weights_are_refused_without_a_network(tmp_path: Path) -> None:
    from engine.checkpoints.card import checked_card

    for name in ("weights.safetensors", "model_card.json", "model_card.md"):
        (tmp_path / name).symlink_to(CHECKPOINTS / "head-t1" / name)
    for path, value in ((("flow", "width"), 96), (("image", "latent"), 32), (("rank",), 16), (("flow", "depth"), 7)):
        config = stored()
        changed("model", *path, to=value)(config)
        (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
        with pytest.raises(CheckpointError, match="where the sizes make it"):
            checked_card(tmp_path)
