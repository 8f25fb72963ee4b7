"""Where the features are; nose, mouth and marks, painted onto a shaded head."""

from dataclasses import dataclass

import numpy as np

from faceverify.rendered.canvas import Canvas
from faceverify.rendered.geometry import Pose, ellipse, resample, spline, surface_depth
from faceverify.rendered.identity import RGB, Identity, Traits
from faceverify.rendered.scene import Expression, Scene

NOSE_LIFT = 0.24  # how far the tip of the nose stands out of the head's surface


@dataclass(frozen=True, slots=True)
class FaceLayout:
    """Where the features are, in face units; derived from traits and expression."""

    eye: tuple[float, float]  # of the image-right eye; the other is its mirror image
    eye_half: float
    nose: tuple[float, float]  # its tip
    nose_half: float
    mouth: tuple[float, float]
    corner: tuple[float, float]  # of the mouth, image-right


def lay_out(traits: Traits, expression: Expression) -> FaceLayout:
    """Positions of the features of this person with this expression."""
    mouth_y = 1.0 + 0.06 * traits.mouth_level + 0.03 * traits.nose_length
    half = 0.385 * (1 + 0.2 * traits.mouth_width) * (1 + 0.13 * expression.smile - 0.08 * expression.mouth)
    return FaceLayout(
        eye=(0.45 * (1 + 0.13 * traits.eye_distance), 0.04 * traits.eye_level),
        eye_half=0.228 * (1 + 0.15 * traits.eye_width),
        nose=(0.0, 0.57 + 0.09 * traits.nose_length),
        nose_half=0.19 * (1 + 0.28 * traits.nose_width),
        mouth=(0.0, mouth_y),
        corner=(half, mouth_y - 0.09 * expression.smile),
    )


def landmarks(layout: FaceLayout, pose: Pose) -> np.ndarray:
    """The five points [5, 2] float32 px: image-left and -right eye, nose tip, image-left and -right mouth corner."""
    (ex, ey), (cx, cy) = layout.eye, layout.corner
    flat = pose.project(np.array([[-ex, ey], [ex, ey], [-cx, cy], [cx, cy]]))
    nose = pose.project(np.array([layout.nose]), _nose_depth(layout))
    return np.concatenate([flat[:2], nose, flat[2:]]).astype(np.float32)


def darker(colour: RGB, factor: float, red: float = 1.0) -> RGB:
    """`colour` times `factor`, its red times `red` beyond that (shadows on skin turn warm)."""
    return min(255.0, colour[0] * factor * red), colour[1] * factor, colour[2] * factor


def lighter(colour: RGB, factor: float, lift: float) -> RGB:
    """`colour` times `factor` plus `lift`, at most white."""
    r, g, b = (min(255.0, factor * c + lift) for c in colour)
    return r, g, b


def paint_nose(canvas: Canvas, person: Identity, layout: FaceLayout, pose: Pose) -> None:
    """Nostrils, wings and the lit tip; bridge and sides come from the head's shading."""
    y, half, unit = layout.nose[1], layout.nose_half, pose.scale
    depth, low = _nose_depth(layout), _nose_depth(layout) - 0.1
    shade = darker(person.skin, 0.6, 1.08)
    for side in (-1.0, 1.0):
        curve = np.array([[0.9, -0.1], [1.06, 0.02], [1.0, 0.12], [0.82, 0.15]]) * [side * half, 0.75]
        curve[:, 1] += y
        canvas.stroke([pose.project(spline(curve, steps=5), low)], shade, 0.03 * unit, 0.6, 0.014 * unit)
        hole = ellipse((side * 0.45 * half, y + 0.095), (0.27 * half, 0.026), 14)
        canvas.fill(pose.project(hole, low), darker(person.skin, 0.38, 1.1), 0.8, 0.012 * unit)
    base = spline(np.array([[-0.28 * half, y + 0.115], [0.0, y + 0.14], [0.28 * half, y + 0.115]]), steps=4)
    canvas.stroke([pose.project(base, low)], shade, 0.026 * unit, 0.5, 0.014 * unit)
    tip = ellipse((0, y - 0.03), (0.3 * half, 0.045), 14)
    canvas.fill(pose.project(tip, depth), (255, 246, 236), 0.3, 0.03 * unit)


def _nose_depth(layout: FaceLayout) -> float:
    x, y = layout.nose
    return float(surface_depth(np.array(x), np.array(y))) + NOSE_LIFT


@dataclass(frozen=True, slots=True)
class _Lips:
    """Four curves [33, 2] px from image-left to image-right: upper edge, the seam, lower lip's upper and lower edge."""

    top: np.ndarray
    seam: np.ndarray
    chin: np.ndarray
    edge: np.ndarray


def paint_mouth(canvas: Canvas, person: Identity, scene: Scene) -> None:
    """Lips, the line between them, and teeth if the mouth is open."""
    layout, unit = lay_out(person.traits, scene.expression), scene.pose.scale
    gap = mouth_gap(scene.expression)
    low = 0.115 * (1 + 0.45 * person.traits.lip_lower) * (1 - 0.12 * max(0.0, scene.expression.smile))
    lips = _lips(person, layout, scene, low)
    canvas.fill(np.concatenate([lips.top, lips.edge[::-1]]), darker(person.lips, 0.62))
    if gap > 0.02:
        canvas.fill(np.concatenate([lips.seam, lips.chin[::-1]]), (92, 34, 38))
        teeth = np.concatenate([lips.seam, (0.45 * lips.seam + 0.55 * lips.chin)[::-1]])
        canvas.fill(teeth, (244, 240, 232), 0.95, 0.008 * unit)
    canvas.fill(np.concatenate([lips.top, lips.seam[::-1]]), darker(person.lips, 0.88))
    canvas.fill(np.concatenate([lips.chin, lips.edge[::-1]]), person.lips)
    canvas.stroke([lips.seam], darker(person.lips, 0.5), 0.024 * unit, 0.85, 0.006 * unit)
    _paint_around_mouth(canvas, person, layout, scene, low)


def mouth_gap(expression: Expression) -> float:
    """How far the lips are apart, in face units."""
    return 0.15 * expression.mouth


def _sag(expression: Expression) -> float:
    return 0.03 * expression.smile  # a smile pulls the middle of the lips down, relative to the corners


def _lips(person: Identity, layout: FaceLayout, scene: Scene, low: float) -> _Lips:
    (_, y), (cx, cy) = layout.mouth, layout.corner
    gap, sag = mouth_gap(scene.expression), _sag(scene.expression)
    up = 0.085 * (1 + 0.5 * person.traits.lip_upper) * (1 - 0.2 * max(0.0, scene.expression.smile))
    top = np.array([[0, y - 0.72 * up], [0.2 * cx, y - up], [0.55 * cx, y - 0.66 * up], [cx, cy]])
    seam = np.array([[0, y + sag], [0.22 * cx, y + sag + 0.006], [0.6 * cx, y + 0.7 * sag], [cx, cy]])
    drop = np.array([[0, y + sag + gap], [0.3 * cx, y + sag + 0.97 * gap], [0.68 * cx, y + 0.6 * sag + 0.66 * gap]])
    chin = np.concatenate([drop, [[cx, cy]]])
    edge = chin + np.array([[0, low], [0, low * 0.93], [0, low * 0.58], [0, 0]])
    return _Lips(*(scene.pose.project(_across(half)) for half in (top, seam, chin, edge)))


def _across(half: np.ndarray) -> np.ndarray:
    """A symmetric curve [33, 2] from image-left to image-right, from its right half (middle first)."""
    left = half[:0:-1] * [-1, 1]
    return resample(spline(np.concatenate([left, half])), 33)


def _paint_around_mouth(canvas: Canvas, person: Identity, layout: FaceLayout, scene: Scene, low: float) -> None:
    """Shine on the lower lip, the shadow below it, and the dents at the corners."""
    (cx, cy), pose, unit = layout.corner, scene.pose, scene.pose.scale
    bottom = layout.mouth[1] + _sag(scene.expression) + mouth_gap(scene.expression)
    shine = ellipse((0, bottom + 0.5 * low), (0.3 * cx, 0.2 * low), 14)
    canvas.fill(pose.project(shine), (255, 236, 230), 0.28, 0.02 * unit)
    below = ellipse((0, bottom + 1.45 * low), (0.45 * cx, 0.035), 14)
    canvas.fill(pose.project(below), darker(person.skin, 0.66, 1.06), 0.4, 0.035 * unit)
    dents = [pose.project(np.array([[s * cx, cy], [s * (cx + 0.025), cy - 0.02]])) for s in (-1, 1)]
    canvas.stroke(dents, darker(person.skin, 0.55, 1.1), 0.03 * unit, 0.6, 0.012 * unit)


def paint_marks(canvas: Canvas, pose: Pose, person: Identity) -> None:
    """Freckles and moles."""
    soft = 0.005 * pose.scale
    for at in person.freckles:
        canvas.fill(pose.project(ellipse(at, (0.017, 0.015), 8)), darker(person.skin, 0.76, 1.08), 0.6, soft)
    for at in person.moles:
        canvas.fill(pose.project(ellipse(at, (0.024, 0.022), 10)), darker(person.skin, 0.42, 1.1), 0.9, soft)
