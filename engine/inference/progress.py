"""How far an ask has come: one type for every one of them, and the way to cancel it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from engine.model.flow import Joint, Levels, VelocityField

#: called with network evaluations done and in all, after every one of them; what it raises ends the ask
ProgressCallback = Callable[[int, int], None]


class Tally:
    """The evaluations that one ask has made, of ``total``; ``report`` hears of every further one.

    An exception that ``report`` raises passes through the ask unchanged. An ask changes no model, so nothing is left over.
    """

    def __init__(self, report: ProgressCallback | None, total: int) -> None:
        self.report = report
        self.total = total
        self.done = 0

    def add(self, *_of_part: int) -> None:
        """One evaluation more. It is itself a :data:`ProgressCallback`, for an ask that is part of this one."""
        self.done += 1
        if self.report:
            self.report(self.done, self.total)

    def counting(self, field: VelocityField) -> VelocityField:
        """The same ``field``; every evaluation of it is counted."""

        def counted(state: Joint, levels: Levels) -> Joint:
            found = field(state, levels)
            self.add()
            return found

        return counted

    @contextmanager
    def stage(self, parts: int, nets: Sequence[nn.Module]) -> Iterator[None]:
        """A stage that counts as so many ``parts``, told while the convolutions of its ``nets`` run, and what is left of them at its
        end; each is a point at which the ask can be cancelled. Where there are no nets all parts are told at the end."""
        layers = [layer for net in nets for layer in net.modules() if isinstance(layer, nn.Conv3d)]
        end = self.done + parts
        heard = 0

        def ran(*_of_layer: object) -> None:
            nonlocal heard
            heard += 1
            # a layer that runs again, in another tile or evaluation, tells no more than the last part but one
            while self.done < min(end - parts + parts * heard // len(layers), end - 1):
                self.add()

        hooks = [layer.register_forward_hook(ran) for layer in layers]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        while self.done < end:
            self.add()
