"""Fitting the learned anatomy: points, the stage, the figures of a whole decode."""
