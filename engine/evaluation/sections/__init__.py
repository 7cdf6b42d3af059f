"""The sections of a report: gathered persons in, one :class:`engine.evaluation.entry.Section` out."""
