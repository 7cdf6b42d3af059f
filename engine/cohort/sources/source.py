"""What an ingest needs of wherever a cohort comes from: rows, a scan for each, and whose it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from engine.imaging.volume import Volume
from engine.vocabulary.row import Row


@runtime_checkable
class Source(Protocol):
    """A cohort to be ingested; BIDS data sets are one (:mod:`engine.cohort.sources.bids`).

    ``rows`` have a ``participant_id`` each; ``flagged`` are the cells that were set missing, {participant_id, reason}.
    """

    @property
    def rows(self) -> Sequence[Row]: ...

    @property
    def flagged(self) -> list[dict[str, str]]: ...

    def scan(self, i: int) -> tuple[Volume, Volume | None]:
        """The scan of row ``i`` as it was taken, and its label codes where it has some.

        Raises :class:`engine.imaging.volume.VolumeError` where it cannot be had: that person is left out.
        """
        ...

    def provenance(self) -> dict[str, Any]:
        """``source_name``, ``licence``, ``acknowledgement`` and whatever else is known of it."""
        ...

    def digest(self) -> str:
        """What changes when the source does: unfinished work on another digest is done anew."""
        ...
