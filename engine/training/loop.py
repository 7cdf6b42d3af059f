"""The training loop that every stage runs in: an objective, an optimizer with an averaged copy, a deadline, reports.

The loop is a generator (progress bars, journals and cancelling stay with the caller) and knows nothing of what is learned:
a stage passes the objective in. Randomness is the step's own (:func:`engine.training.run.step_generator`), so that a stage which
is stopped anywhere and goes on ends in the same weights, bit for bit. Under several ranks (``stage.world``) each computes its
part of a step, and what rests on a clock or a signal is decided by all alike.

There is one meaning of a deadline: the step at hand is finished and saved, and the stage ends for this call. The next call goes
on from there, unless the stage ``closes``: then what comes after it rests on its result, and once ended it stays ended.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from engine.training.journal import stop_asked
from engine.training.run import Progress, Stage

T = TypeVar("T")


class Loss(NamedTuple):
    """What a step minimises (None: its gradients are in the parameters already), and the parts of it that are reported, by name."""

    total: Float[Tensor, ""] | None
    parts: Mapping[str, Tensor]


#: the loss of a step, counted from 0; the same whenever it is asked for
Objective = Callable[[int], Loss]


@runtime_checkable
class Observer(Protocol):
    """Looks at a stage after a step: ``left`` seconds are still to be trained (inf: unknown), ``last`` when none are."""

    def __call__(self, stage: Stage, left: float, last: bool) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long a stage is trained and how often it speaks: ``steps`` in all, until the ``deadline`` (``time.monotonic``),
    saved every ``save_every`` seconds, reported every ``report_every`` steps; ``closes`` as the module says."""

    steps: int
    deadline: float | None = None
    save_every: float = 120.0
    report_every: int = 25
    closes: bool = False

    def late(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline

    def left(self, stage: Stage) -> float:
        """Seconds that are still to be trained: by the steps so far, or until the deadline if that is sooner."""
        by_steps = (self.steps - stage.step) * stage.seconds / max(stage.step, 1)
        return by_steps if self.deadline is None else min(by_steps, self.deadline - time.monotonic())


def optimise(
    stage: Stage,
    objective: Objective,
    rate: Callable[[int], float],
    limits: Limits,
    *,
    observe: Observer | None = None,
) -> Iterator[Progress]:
    """Train ``stage`` (restored already) on ``objective`` at the learning ``rate`` of each step, yielding progress.

    Ends with the averaged weights in the stage's modules. Where the process was asked to stop, the stage is saved after the
    step at hand and KeyboardInterrupt ends the training.
    """
    world, means = stage.world, _Means()
    objective = _averaged(stage, objective)
    began = time.monotonic() - stage.seconds
    saved = time.monotonic()
    while stage.step < limits.steps and not (stage.done and limits.closes):
        loss = objective(stage.step)
        stage.advance(loss.total, rate(stage.step))
        means.add(loss.parts)
        stage.seconds = time.monotonic() - began

        due = time.monotonic() - saved > limits.save_every
        late, stopping, due = world.any(limits.late(), stop_asked(), due)
        last = late or stage.step == limits.steps
        stage.done = last
        if last or stopping or due:
            stage.save()
            saved = time.monotonic()
        if stopping:
            raise KeyboardInterrupt

        if observe and world.leads:
            observe(stage, limits.left(stage), last)
        if last or stage.step % limits.report_every == 0:
            yield Progress(stage.name, stage.step, limits.steps, stage.seconds, world.mean(means.taken()))
        if late:
            break
    stage.finish()


def _averaged(stage: Stage, objective: Objective) -> Objective:
    """The objective, the gradients of its part on each rank averaged over ranks; FSDP2 does so by itself."""
    if stage.world.size == 1 or isinstance(stage.modules, FSDPModule):
        return objective
    return stage.world.averaged(_Step(stage.modules, objective))


class _Step(nn.Module):
    """An objective as a module with the parameters that it has to learn."""

    def __init__(self, learning: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.learning, self.objective = learning, objective

    def forward(self, step: int) -> Loss:
        found = self.objective(step)
        return Loss(found.total, {name: value.detach() for name, value in found.parts.items()})


@dataclass
class _Means:
    """Means of reported losses since the last report; kept as tensors, so that a GPU is not waited for at every step."""

    sums: dict[str, Tensor] = field(default_factory=lambda: defaultdict(lambda: torch.zeros(())))
    count: int = 0

    def add(self, parts: Mapping[str, Tensor]) -> None:
        for name, value in parts.items():
            self.sums[name] = self.sums[name].to(value.device) + value.detach()
        self.count += 1

    def taken(self) -> dict[str, float]:
        found = {name: float(value) / self.count for name, value in self.sums.items()}
        self.sums.clear()
        self.count = 0
        return found


class ReadAhead(Generic[T]):
    """What ``prepare`` makes for each step, made in a thread of its own while the step before is computed."""

    def __init__(self, prepare: Callable[[int], T]) -> None:
        self._prepare = prepare
        self._reader = ThreadPoolExecutor(1)
        self._coming: dict[int, Future[T]] = {}

    def __call__(self, step: int) -> T:
        ready = self._coming.pop(step, None) or self._reader.submit(self._prepare, step)
        found = ready.result()
        self._coming = {step + 1: self._reader.submit(self._prepare, step + 1)}
        return found

    def __enter__(self) -> ReadAhead[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.shutdown(wait=True, cancel_futures=True)
