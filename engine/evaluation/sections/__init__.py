"""The sections of a report: gathered persons in, one :class:`engine.evaluation.report.parts.Section` out."""
