"""Ranks under torch.distributed: who they are, what they do together, and how the one loop is shared among them.

A step's examples come from generators by seed and step and do not depend on how many ranks there are: each rank draws the
whole global batch, takes its slice (:class:`Shard`) and returns a loss that is its part of the mean over that batch; torch
averages the gradients (DistributedDataParallel, or FSDP2 where the recipe says so).

Ranks speak over gloo: votes (:meth:`World.together`) after each step that may fail on one of them, and decisions that rest
on a clock or a signal. Gradients go over gloo on CPUs and over nccl on GPUs. In a world of one nothing of this happens.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from engine.storage.ranks import Ranks, RanksError, Told
from engine.vocabulary.refusal import Refusal

Store = Any  # torch names the type of its stores in C only
T = TypeVar("T")
Net = TypeVar("Net", bound=nn.Module)

#: how long ranks wait for each other to come and to open what they work on, and in the middle of work that one does alone
COMING, WORKING = timedelta(seconds=50), timedelta(minutes=30)
#: where in torch's store a rank leaves word of why it ends
WORD = "somatwin/ended"


class Voted(RanksError):
    """What a vote came to: every rank raises it, so that nobody votes on it again."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A rank's examples of a ``batch`` over ``size`` ranks: the slice ``rows``, at least one; ``idle`` where they are another's."""

    rows: slice
    batch: int
    size: int = 1
    idle: bool = False

    @classmethod
    def of(cls, batch: int, rank: int, size: int) -> Shard:
        """Of a batch shared out evenly and in order; a rank for whom nothing is left is idle and sees the last before it.

        >>> [(shard.rows, shard.weight) for shard in (Shard.of(4, rank, 3) for rank in range(3))]
        [(slice(0, 1, None), 0.75), (slice(1, 2, None), 0.75), (slice(2, 4, None), 1.5)]
        """
        first, end = rank * batch // size, (rank + 1) * batch // size
        idle = first == end
        return cls(rows=slice(max(0, end - 1) if idle else first, max(1, end)), batch=batch, size=size, idle=idle)

    @property
    def weight(self) -> float:
        """What makes a mean over the rows this rank's part of the mean over the batch: the mean over ranks is that."""
        return 0.0 if self.idle else (self.rows.stop - self.rows.start) * self.size / self.batch

    def part(self, own: Tensor, whole: Tensor) -> Tensor:
        """As :attr:`weight`, of a mean over ``own`` cells among the ``whole`` batch's, which examples have more or fewer of."""
        return (0 if self.idle else self.size) * own / whole.clamp(min=1)


@dataclass(frozen=True, kw_only=True)
class World(Ranks):
    """The ranks of a training. ``data`` is the group that gradients are averaged in (None in a world of one)."""

    data: dist.ProcessGroup | None = None

    def shard(self, batch: int) -> Shard:
        """This rank's examples of a global batch."""
        return Shard.of(batch, self.rank, self.size)

    @contextmanager
    def together(self, *, prompt: bool = False) -> Iterator[None]:
        """As :meth:`Ranks.together`; with ``prompt`` a rank that takes longer than :data:`COMING` is refused, too.

        Such steps may lie in each other: who fails outside the inner one is heard in the inner one's vote.
        """
        if self.size == 1:
            yield
            return
        try:
            yield
        except Voted:
            raise
        except Exception as error:
            self._vote(error, prompt)
            raise
        self._vote(None, prompt)

    def _vote(self, error: Exception | None, prompt: bool) -> None:
        if prompt:
            self._all_here()
        foreseen = isinstance(error, Refusal | OSError)
        word = None if error is None else (foreseen, _in_words(error))
        for rank, said in enumerate(self.gathered(word)):
            if said is None:
                continue
            if rank == self.rank and not foreseen:
                return  # its own traceback says more
            raise _ended(rank, *said)

    def _all_here(self) -> None:
        try:
            dist.monitored_barrier(timeout=COMING, wait_all_ranks=True)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise Voted(
                f"not all {self.size} ranks are ready within {COMING.seconds} s ({reason}); look at those that are missing"
            ) from None

    def gathered(self, found: T) -> list[T]:
        if self.size == 1:
            return [found]
        every: list[Any] = [None] * self.size
        dist.all_gather_object(every, found)
        return every

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Which of the flags is raised on any rank: what rests on a clock or a signal is decided by all alike."""
        if self.size == 1:
            return flags
        raised = torch.tensor(flags, dtype=torch.int32)
        dist.all_reduce(raised, dist.ReduceOp.MAX)
        return tuple(bool(flag) for flag in raised)

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """The mean over ranks of each value."""
        if self.size == 1 or not values:
            return dict(values)
        sums = torch.tensor(list(values.values()), dtype=torch.float64)
        dist.all_reduce(sums)
        return dict(zip(values, (sums / self.size).tolist(), strict=True))

    def rows(self, own: Tensor, n: int) -> Tensor:
        """What the ranks made of their :meth:`own` shares of ``n`` rows, in order, on every rank."""
        if self.size == 1:
            return own
        most = len(range(0, n, self.size))
        padded = torch.cat([own, own.new_zeros(most - len(own), *own.shape[1:])]).contiguous()
        every = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(every, padded)
        return torch.stack(every, 1).flatten(0, 1)[:n]

    def settle(self, module: nn.Module) -> None:
        """Every rank's parameters and buffers become those of rank 0."""
        self._settle([*module.parameters(), *module.buffers()])

    def settle_buffers(self, module: nn.Module) -> None:
        """Every rank's buffers become those of rank 0."""
        self._settle(list(module.buffers()))

    def _settle(self, values: list[Tensor]) -> None:
        for value in values if self.size > 1 else ():
            sent = value.detach().cpu().contiguous()
            dist.broadcast(sent, 0)
            if not self.leads:
                value.data.copy_(sent)

    def led(self, steps: Iterator[T]) -> Iterator[T]:
        """What rank 0 does alone, while the others wait and hear of it step by step; what it refuses all refuse."""
        if self.size == 1:
            yield from steps
            return
        while True:
            with self.together():
                heard = [next(steps, None) if self.leads else None]
            dist.broadcast_object_list(heard, 0)
            if heard[0] is None:
                return
            yield heard[0]

    def averaged(self, module: nn.Module) -> nn.Module:
        """The module whose parameters' gradients are averaged over ranks as they are computed."""
        return DistributedDataParallel(module, process_group=self.data, broadcast_buffers=False)

    def spread(self, net: nn.Module, parts: nn.ModuleList) -> None:
        """Spread the parameters of ``net`` over the ranks, each of its ``parts`` gathered when it is its turn (FSDP2)."""
        device = next(net.parameters()).device.type
        assert self.data is not None
        mesh = DeviceMesh.from_group(self.data, device)
        for part in (*parts, net):
            fully_shard(part, mesh=mesh)

    def collected(self, net: nn.Module, whole: Net) -> Net:
        """The parameters of a ``net`` that was spread, put together on every rank into ``whole``, which it was made of."""
        options = StateDictOptions(full_state_dict=True)
        whole.load_state_dict(get_model_state_dict(net, options=options))
        return whole


ALONE = World()


@contextmanager
def joined(device: str = "cpu", *, coming: timedelta = COMING) -> Iterator[World]:
    """The world that torchrun started this process in, or a world of one.

    ``device`` as in ``--device``. Raises :class:`RanksError` when the other ranks do not come in time. What a rank refuses inside
    becomes the refusal of rank 0, and :class:`Told` on the others, also where they wait for each other.
    """
    size = _number("WORLD_SIZE", 1)
    if size == 1:
        yield ALONE
        return
    rank = _number("RANK", -1)
    if not 0 <= rank < size:
        raise RanksError(f"this process has RANK {rank} of WORLD_SIZE {size}; start the ranks with torchrun")
    store = _met(rank, size, coming)
    gpus = device != "cpu" and torch.cuda.is_available()
    if gpus:
        torch.cuda.set_device(_number("LOCAL_RANK", 0))
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=WORKING)
    try:
        data: Any = dist.new_group(backend="nccl" if gpus else "gloo", timeout=WORKING)
        world = World(rank=rank, size=size, beside=_number("LOCAL_WORLD_SIZE", size), data=data)
        yield world
        _leave(store, rank, size)
    except (Exception, KeyboardInterrupt) as error:
        heard = _heard(error, store)
        if heard is error or isinstance(heard, KeyboardInterrupt):  # what was only heard is no word of this rank
            _leave_word(heard, store, rank)
        _leave(store, rank, 0)
        if heard is error and (rank == 0 or not isinstance(error, Refusal | KeyboardInterrupt)):
            raise
        if rank == 0:
            raise heard from None
        raise Told(130 if isinstance(heard, KeyboardInterrupt) else 2) from None
    finally:
        dist.destroy_process_group()


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    try:
        return int(text)
    except ValueError:
        raise RanksError(f"{name} is {text!r} and no number; start the ranks with torchrun") from None


def _met(rank: int, size: int, coming: timedelta) -> Store:
    """The store in which the ranks meet, once all have come."""
    from torch.distributed.rendezvous import rendezvous

    where = f"{os.environ.get('MASTER_ADDR', 'MASTER_ADDR')}:{os.environ.get('MASTER_PORT', 'MASTER_PORT')}"
    remedy = "see that all are started with the same --rdzv-endpoint"
    try:
        store = next(rendezvous("env://", rank, size, timeout=coming))[0]
        store.set(f"somatwin/here/{rank}", socket.gethostname())
        store.wait([f"somatwin/here/{other}" for other in range(size)], coming)
    except (dist.DistError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise RanksError(
            f"rank {rank} of {size} waited {coming.total_seconds():.0f} s at {where} and not all came ({reason}); {remedy}"
        ) from None
    return store


def _leave(store: Store, rank: int, size: int) -> None:
    """Rank 0 may hold the store, and leaves last; the others do not wait for what it does alone at the end."""
    with suppress(dist.DistError, RuntimeError):
        store.set(f"somatwin/left/{rank}", "")
        if rank == 0 and size:
            store.wait([f"somatwin/left/{other}" for other in range(size)], WORKING)


def _in_words(error: BaseException) -> str:
    """A sentence on one line."""
    if isinstance(error, OSError):
        where = error.filename or "a file"
        return f"{where} cannot be used ({error.strerror or error}); check the path and the space left"
    said = " ".join(str(error).split())
    return said if isinstance(error, Refusal) else f"{type(error).__name__}: {said}"


def _ended(rank: int, foreseen: bool, word: str) -> Exception:
    """What is raised on every rank because of what one said."""
    if foreseen:
        return Voted(word if rank == 0 else f"rank {rank}: {word}")
    return Voted(f"rank {rank} failed, and says why above ({word})")


def _heard(error: BaseException, store: Store) -> BaseException:
    """Why this rank ends: its own error or, where another rank ended and it waited for that one, the word that rank left."""
    from engine.training.journal import stop_asked

    if isinstance(error, Refusal | KeyboardInterrupt | OSError):
        return error
    lost = isinstance(error, dist.DistError) or "gloo" in str(error).lower() or "peer" in str(error).lower()
    if not lost:
        return error
    if stop_asked():
        return KeyboardInterrupt()
    try:
        if store.check([WORD]):
            rank, foreseen, word = store.get(WORD).decode().split("\t", 2)
            return _ended(int(rank), foreseen == "True", word)
    except (dist.DistError, RuntimeError):
        pass  # the store went with the rank that held it
    reason = " ".join(str(error).split())[:160]
    return RanksError(
        f"another rank ended without a word ({reason}); the same command goes on from the last save, and "
        "torchrun --max-restarts does so by itself"
    )


def _leave_word(error: BaseException, store: Store, rank: int) -> None:
    """Tell those who wait for this rank why it ends."""
    foreseen = isinstance(error, Refusal | OSError)
    with suppress(dist.DistError, RuntimeError):
        if not store.check([WORD]):
            store.set(WORD, f"{rank}\t{foreseen}\t{_in_words(error)}")
