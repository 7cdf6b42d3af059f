"""Bladder, and uterus or prostate."""

from __future__ import annotations

from torch import Tensor

from engine.phantom.shape.canvas import Canvas
from engine.phantom.shape.frame import Frame
from engine.phantom.shape.shapes import ellipsoid
from engine.phantom.tissue import BLADDER, MUSCLE, PROSTATE, UTERUS


def pelvic_organs(frame: Frame, canvas: Canvas) -> None:
    """Bladder behind the symphysis, the uterus over it or the prostate below, the pelvic floor."""
    s, h = frame.s, frame.h
    k = (0.22 * frame.trait("bladder_fill")).exp()
    centre = (0.0 * h, 0.012 * h, 0.520 * h + 5 * k)
    box = frame.box(centre, (65.0, 55.0, 55.0))
    radii = (34 * s * k, 28 * s * k, 25 * s * k)
    whole = ellipsoid(box, centre, radii)
    canvas.paint(box, whole, BLADDER, keep=True)
    rim = (whole + 1.5).abs() - 1.5
    canvas.paint(box, rim, MUSCLE, over=True, signal_only=True)
    _uterus(frame, canvas, centre[2] + radii[2])
    below = (0.0, -0.003 * h, 0.501 * h)
    size = 1 + 0.006 * (frame.value("age") - 45).clamp(-15, 40)
    near = frame.box(below, (35.0, 30.0, 30.0))
    prostate = ellipsoid(near, below, (21 * s * size, 16 * s * size, 17 * s * size)) + 99 * (1 - frame.male)
    canvas.paint(near, prostate, PROSTATE, keep=True)


def _uterus(frame: Frame, canvas: Canvas, over: Tensor) -> None:
    s, h = frame.s, frame.h
    shrink = 1 - 0.010 * (frame.value("age") - 48).clamp(0, 30)
    centre = (3 * s, -0.006 * h, over + 14 * s)
    box = frame.box(centre, (45.0, 50.0, 55.0))
    pitch = 0.6 + 0.3 * frame.trait("uterus_tilt")
    wall = ellipsoid(box, centre, (28 * s * shrink, 23 * s * shrink, 36 * s * shrink), pitch=pitch)
    canvas.paint(box, wall + 99 * frame.male, UTERUS, keep=True)
    cavity = ellipsoid(box, centre, (7 * s, 4 * s, 20 * s * shrink), pitch=pitch)
    canvas.paint(box, cavity + 99 * frame.male, BLADDER, over=True, signal_only=True)
