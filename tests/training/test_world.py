"""Ranks: a step's examples and their mean do not depend on how many there are, and nobody is left alone with a failure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.storage.ranks import Ranks, RanksError, shared_directory
from engine.training.loop import Limits, Loss, optimise
from engine.training.run import RunError, Stage
from engine.training.world import ALONE, Shard, World, joined
from tests.training.crew import crew, free_port
from tests.training.small_run import fitted, squares

STEPS = 8


def stage_of(folder: Path | None, world: World = ALONE) -> Stage:
    """A net to fit, always from the same start."""
    if folder is not None:
        folder.mkdir(exist_ok=True, parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1))
    stage = Stage("net", folder, net, world=world)
    stage.load()
    return stage


def fit(stage: Stage, steps: int = STEPS) -> dict[str, Any]:
    limits = Limits(steps=steps, report_every=1, save_every=0.0)
    losses = [found.losses["error"] for found in optimise(stage, squares(stage), lambda step: 0.05, limits)]
    return {"losses": losses, "weights": torch.cat([p.detach().flatten() for p in stage.modules.parameters()])}


def close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 2, 5, 8])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_shards_cover_a_batch_and_their_means_are_the_mean(batch: int, size: int) -> None:
    values = torch.arange(1.0, batch + 1) ** 2
    shards = [Shard.of(batch, rank, size) for rank in range(size)]
    seen = [i for shard in shards if not shard.idle for i in range(batch)[shard.rows]]
    assert seen == list(range(batch))
    parts = [shard.weight * values[shard.rows].mean() for shard in shards]
    assert float(sum(parts)) / size == pytest.approx(float(values.mean()), rel=1e-6)
    counted = values > 3
    own = [counted[shard.rows] for shard in shards]
    means = [values[shard.rows][on].sum() / on.sum().clamp(min=1) for shard, on in zip(shards, own, strict=True)]
    parts = [shard.part(on.sum(), counted.sum()) * m for shard, on, m in zip(shards, own, means, strict=True)]
    whole = values[counted].sum() / counted.sum().clamp(min=1)
    assert float(sum(parts)) / size == pytest.approx(float(whole), rel=1e-6)


def test_a_world_of_one_is_all_of_the_batch() -> None:
    shard = ALONE.shard(5)
    assert (shard.rows, shard.weight, float(shard.part(torch.tensor(3), torch.tensor(3)))) == (slice(0, 5), 1.0, 1.0)
    assert [list(Ranks(rank=rank, size=3).own(4)) for rank in range(3)] == [[0, 3], [1], [2]]


@pytest.mark.parametrize("n", [2, 4])
def test_loss_curves_and_weights_do_not_depend_on_how_many_ranks_there_are(tmp_path: Path, n: int) -> None:
    """Six examples over four ranks are shared unevenly."""
    alone = fit(stage_of(None))
    found = crew(n, tmp_path, lambda world: fit(stage_of(tmp_path / "run", world)))
    assert [kind for kind, _ in found] == ["done"] * n, found
    for _, of_rank in found:
        assert of_rank["losses"] == pytest.approx(alone["losses"], rel=1e-4)
        assert close(of_rank["weights"], alone["weights"])
        assert torch.equal(of_rank["weights"], found[0][1]["weights"])


@pytest.mark.parametrize("n", [1, 2])
def test_a_state_of_four_ranks_goes_on_on_one_and_on_two(tmp_path: Path, n: int) -> None:
    expected = fit(stage_of(None))["weights"]
    crew(4, tmp_path / "four", lambda world: fit(stage_of(tmp_path / "run", world), steps=3))
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["net.ranks"]

    def goes_on(world: World) -> dict[str, Any]:
        stage = stage_of(tmp_path / "run", world)
        assert stage.step == 3
        return fit(stage)

    if n == 1:
        found = goes_on(ALONE)
        assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["net.safetensors"]
    else:
        (_, found), _ = crew(n, tmp_path / "two", goes_on)
    assert close(found["weights"], expected)


def test_a_state_of_one_process_goes_on_on_two_ranks(tmp_path: Path) -> None:
    expected = fit(stage_of(None))["weights"]
    fit(stage_of(tmp_path / "run"), steps=3)
    (kind, found), _ = crew(2, tmp_path, lambda world: fit(stage_of(tmp_path / "run", world)))
    assert kind == "done", found
    assert close(found["weights"], expected)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["net.ranks"]


def test_a_damaged_state_of_ranks_is_refused(tmp_path: Path) -> None:
    crew(2, tmp_path / "two", lambda world: fit(stage_of(tmp_path / "run", world), steps=1))
    for part in (tmp_path / "run" / "net.ranks").iterdir():
        part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(RanksError, match=r"net\.ranks is damaged or foreign"):
        stage_of(tmp_path / "run")
    other = Stage("net", tmp_path / "run", nn.Linear(3, 3))
    with pytest.raises(RanksError, match="delete it"):
        other.load()


def test_a_state_of_ranks_of_another_recipe_is_refused(tmp_path: Path) -> None:
    crew(2, tmp_path / "two", lambda world: fit(stage_of(tmp_path / "run", world), steps=1))
    with pytest.raises(RunError, match="another recipe"):
        Stage("net", tmp_path / "run", nn.Linear(3, 3)).load()


def test_what_one_rank_refuses_all_refuse_in_its_words(tmp_path: Path) -> None:
    def work(world: World) -> None:
        with world.together(prompt=True):
            if world.rank == 1:
                raise RunError("the store is not there; mount it")
            with world.together(prompt=True):
                pass

    assert crew(3, tmp_path, work) == [
        ("refused", "rank 1: the store is not there; mount it"),
        ("told", 2),
        ("told", 2),
    ]


def test_a_fault_on_one_rank_keeps_its_traceback_and_ends_the_others(tmp_path: Path) -> None:
    def work(world: World) -> None:
        with world.together():
            if world.rank == 1:
                raise ZeroDivisionError("oh")

    zero, one = crew(2, tmp_path, work)
    assert zero == ("refused", "rank 1 failed, and says why above (ZeroDivisionError: oh)")
    assert one[0] == "failed"
    assert "ZeroDivisionError: oh" in one[1]


def test_a_rank_that_refuses_in_the_middle_of_a_step_leaves_nobody_waiting(tmp_path: Path) -> None:
    def work(world: World) -> dict[str, Any]:
        stage = stage_of(None, world)
        objective = squares(stage)

        def loss(step: int) -> Loss:
            if world.rank == 1 and step == 2:
                raise RunError("a scan is damaged; ingest again")
            return objective(step)

        return {"steps": len(list(optimise(stage, loss, lambda step: 0.05, Limits(steps=STEPS))))}

    began = time.monotonic()
    assert crew(2, tmp_path, work) == [("refused", "rank 1: a scan is damaged; ingest again"), ("told", 2)]
    assert time.monotonic() - began < 60


def test_a_killed_rank_leaves_nobody_waiting(tmp_path: Path) -> None:
    def work(world: World) -> None:
        if world.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        fit(stage_of(None, world))

    (kind, sentence), died, told = crew(3, tmp_path, work)
    assert (kind, died, told) == ("refused", ("died", None), ("told", 2))
    assert sentence.startswith("another rank ended without a word (")
    assert "torchrun --max-restarts" in sentence


@pytest.mark.slow
def test_torchrun_starts_a_killed_rank_again_and_nothing_is_lost(tmp_path: Path) -> None:
    """The ranks that are left end at once, all are started anew, and they end where ranks end that nobody disturbed."""
    (_, whole), _ = crew(2, tmp_path / "crew", lambda world: fitted(tmp_path / "whole", world))
    script = Path(__file__).with_name("small_run.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "--max-restarts=2"]
    root = {"PYTHONPATH": str(script.parents[2])}
    ran = subprocess.run(
        [*command, str(script), str(tmp_path / "killed")],
        capture_output=True,
        text=True,
        env={**os.environ, **root},
        timeout=900,
    )
    assert ran.returncode == 0, ran.stderr
    assert "another rank ended without a word" in ran.stderr
    end = torch.load(tmp_path / "killed" / "end.pt")
    assert not end["first"], "it was killed once"
    assert torch.equal(end["weights"], whole)


def test_ranks_that_were_started_on_different_things_are_refused(tmp_path: Path) -> None:
    found = crew(3, tmp_path, lambda world: world.agree({"recipe": "a", "store": "b" if world.rank < 2 else "c"}))
    sentence = "the ranks disagree on the store: rank 2 has another than rank 0; start all with the same"
    assert found == [("refused", sentence), ("told", 2), ("told", 2)]


def test_a_rendezvous_that_never_comes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    place = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    began = time.monotonic()
    with (
        pytest.raises(RanksError, match=r"rank 0 of 2 waited 2 s at 127\.0\.0\.1:\d+ and not all came .*rdzv-endpoint"),
        joined("cpu", coming=timedelta(seconds=2)),
    ):
        pass
    assert time.monotonic() - began < 20
    monkeypatch.setenv("RANK", "2")
    with pytest.raises(RanksError, match="RANK 2 of WORLD_SIZE 2; start the ranks with torchrun"), joined("cpu"):
        pass
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(RanksError, match="WORLD_SIZE is 'two' and no number"), joined("cpu"):
        pass


def test_a_folder_of_all_ranks_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    def write(world: World) -> list[int]:
        with shared_directory(tmp_path / "good", world) as part:
            (part / f"{world.rank}").write_text("here")
        return world.gathered(world.rank)

    def fail(world: World) -> None:
        with shared_directory(tmp_path / "bad", world) as part:
            (part / f"{world.rank}").write_text("here")
            if world.rank == 1:
                raise OSError(28, "No space left on device")

    assert crew(2, tmp_path / "a", write) == [("done", [0, 1])] * 2
    assert sorted(path.name for path in (tmp_path / "good").iterdir()) == ["0", "1"]
    zero, one = crew(2, tmp_path / "b", fail)
    said = "rank 1: a file cannot be used (No space left on device); check the path and the space left"
    assert zero == ("refused", said)
    assert one == ("told", 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "good"]


def test_a_full_disk_on_one_rank_keeps_the_last_save(tmp_path: Path) -> None:
    import resource

    def work(world: World) -> None:
        stage = stage_of(tmp_path / "run", world)
        fit(stage, steps=2)
        if world.rank == 1:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))
        try:
            stage.save()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    zero, _ = crew(2, tmp_path / "crew", work)
    assert zero[0] == "refused"
    assert "net.ranks cannot be written (rank 1: " in zero[1], zero
    assert "the same command goes on from the last save" in zero[1]
    assert stage_of(tmp_path / "run").step == 2
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["net.ranks"]


def test_what_rank_0_does_alone_is_heard_by_all_and_so_is_its_refusal(tmp_path: Path) -> None:
    def count(until: int):
        yield from range(until)
        if until == 3:
            raise RunError("that was all")

    def work(world: World) -> list[int]:
        return list(world.led(count(2 if world.leads else 9)))

    assert crew(2, tmp_path / "a", work) == [("done", [0, 1])] * 2
    found = crew(2, tmp_path / "b", lambda world: list(world.led(count(3))))
    assert found == [("refused", "that was all"), ("told", 2)]


def test_rows_that_ranks_made_come_in_order_to_all(tmp_path: Path) -> None:
    def work(world: World) -> list[float]:
        own = torch.tensor([[float(i)] for i in world.own(5)]).reshape(-1, 1).half()
        return world.rows(own, 5)[:, 0].tolist()

    assert crew(3, tmp_path, work) == [("done", [0.0, 1.0, 2.0, 3.0, 4.0])] * 3
