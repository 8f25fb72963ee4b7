"""Moustaches and beards (stubble is part of the skin's shading)."""

import numpy as np

from faceverify.rendered.canvas import Canvas
from faceverify.rendered.features import FaceLayout, darker, mouth_gap
from faceverify.rendered.geometry import mirrored, spline
from faceverify.rendered.identity import Identity
from faceverify.rendered.scene import Scene


def paint_beard(canvas: Canvas, person: Identity, layout: FaceLayout, scene: Scene, mask: np.ndarray) -> None:
    """Moustache, goatee or full beard in the colour of the hair, inside the head's mask."""
    unit, tone = scene.pose.scale, darker(person.hair, 0.82)
    if person.beard in ("full", "goatee"):
        shape = _around_chin(layout, mouth_gap(scene.expression), person.beard == "full")
        canvas.fill(scene.pose.project(shape), tone, 0.88, 0.035 * unit, mask)
    if person.beard in ("full", "goatee", "moustache"):
        (wide, _), y = layout.corner, layout.mouth[1]
        over = [[0, y - 0.2], [0.5 * wide, y - 0.19], [wide + 0.05, y - 0.02], [0.6 * wide, y - 0.1], [0, y - 0.1]]
        lip = spline(mirrored(np.array(over)), closed=True)
        canvas.fill(scene.pose.project(lip), tone, 0.88, 0.02 * unit, mask)


def _around_chin(layout: FaceLayout, gap: float, full: bool) -> np.ndarray:
    """The polygon of a goatee, or of a full beard up to the ears, in face units."""
    (wide, _), y = layout.corner, layout.mouth[1]
    top, side = (0.42, 1.02) if full else (y - 0.02, wide + 0.06)
    inner = [[-wide - 0.1, y + 0.02], [-0.26, y + 0.22 + gap], [0.26, y + 0.22 + gap], [wide + 0.1, y + 0.02]]
    if full:
        inner = [[-0.86, 0.55], [-0.66, 0.86], *inner, [0.66, 0.86], [0.86, 0.55]]
    outer = [[side, top], [side, 1.2], [0.42, 1.75], [-0.42, 1.75], [-side, 1.2], [-side, top]]
    return np.concatenate([spline(np.array(inner), steps=6), np.array(outer)])
