"""Laws of writing: whoever is killed at any moment leaves the whole old one or the whole new one, and can go on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.storage.whole import amended_directory, settle_all, settled, whole_directory, whole_file, write_text
from tests.storage.killed import WRITERS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "checkpoint" else ()) for name in WRITERS]
)
def test_whoever_is_killed_at_any_change_leaves_the_old_one_or_the_new_one(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.storage.killed", name, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for before, found in zip((None, 1), json.loads(done.stdout), strict=True):
        assert len(found["killed"]) > 2
        for way in ("killed", "refused"):
            assert found[way][0] == before
            assert found[way][-1] == 2
            assert set(found[way]) <= {before, 2}
        first = found["killed"].index(2)
        assert set(found["killed"][first:]) == {2}, "once the new one is there it stays"
        assert set(found["resumed"]) == {2}
        # what replaces an empty folder only is not written again, so what was to be deleted may wait for another day
        waiting = {".it.old", ".it.gone"} if name in ("bids", "store") else set()
        assert all({"it"} <= set(names) <= {"it"} | waiting for names in found["left"])


def test_what_waits_aside_is_put_back(tmp_path: Path) -> None:
    (tmp_path / ".a.old").mkdir()
    (tmp_path / ".a.old" / "x").write_text("old")
    (tmp_path / ".a.part").mkdir()
    assert settled(tmp_path / "a") == tmp_path / "a"
    assert (tmp_path / "a" / "x").read_text() == "old"
    (tmp_path / "a").rename(tmp_path / ".b.old")
    settle_all(tmp_path)
    assert (tmp_path / "b" / "x").read_text() == "old"


def test_what_waits_aside_never_replaces_what_is_there(tmp_path: Path) -> None:
    for name in ("a", ".a.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text(name)
    assert (settled(tmp_path / "a") / "x").read_text() == "a"
    with whole_directory(tmp_path / "a") as part:
        (part / "x").write_text("new")
    assert (tmp_path / "a" / "x").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def half_a_directory() -> None:
        with whole_directory(tmp_path / "a") as part:
            (part / "x").write_text("half")
            raise ZeroDivisionError

    def half_a_file() -> None:
        with whole_file(tmp_path / "b") as part:
            part.write_text("half")
            raise ZeroDivisionError

    for half in (half_a_directory, half_a_file):
        with pytest.raises(ZeroDivisionError):
            half()
    assert list(tmp_path.iterdir()) == []


def test_what_a_link_stands_for_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with whole_directory(tmp_path / "link") as part:
        (part / "x").write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "x").read_text() == "new"


def test_amending_keeps_what_is_not_written(tmp_path: Path) -> None:
    for name in ("x", "y"):
        write_text(tmp_path / name, "old")
    folder = tmp_path / "a"
    folder.mkdir()
    for name in ("x", "y"):
        (tmp_path / name).rename(folder / name)
    with amended_directory(folder) as part:
        write_text(part / "x", "new")
        assert (folder / "x").read_text() == "old"
    assert [(folder / name).read_text() for name in ("x", "y")] == ["new", "old"]
