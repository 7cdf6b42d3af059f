"""Cines, scans that move: their phases (:mod:`phases`), and where a short-axis stack lies in the heart (:mod:`short_axis`)."""
