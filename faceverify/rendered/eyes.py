"""Eyes, brows and glasses."""

from dataclasses import dataclass, replace

import numpy as np

from faceverify.rendered.canvas import SUPERSAMPLING, Canvas, blend
from faceverify.rendered.features import FaceLayout, darker, lay_out, lighter
from faceverify.rendered.geometry import Pose, ellipse, spline
from faceverify.rendered.identity import RGB, Identity
from faceverify.rendered.scene import Expression, Scene


@dataclass(frozen=True, slots=True)
class _Eye:
    """One eye: its lids as polylines [13, 2] from the inner to the outer corner, and where it looks, in face units."""

    side: float
    upper: np.ndarray
    lower: np.ndarray
    iris: tuple[float, float]
    radius: float


def paint_eyes(canvas: Canvas, person: Identity, scene: Scene) -> None:
    """Both eyes with lids, iris, highlight and lashes."""
    for side in (-1.0, 1.0):
        eye = _eye(person, scene.expression, side)
        _paint_ball(canvas, eye, person, scene)
        _paint_lids(canvas, eye, person, scene.pose)


def _eye(person: Identity, expression: Expression, side: float) -> _Eye:
    traits, layout = person.traits, lay_out(person.traits, expression)
    t = np.linspace(0, 1, 13)
    x = (2 * t - 1) * layout.eye_half
    height = 0.112 * (1 + 0.3 * traits.eye_height)
    lids = expression.lids * (1 - 0.12 * max(0.0, expression.smile))
    slope = np.tan(0.05 + 0.13 * traits.eye_slant) * x
    upper = np.stack([x, -1.08 * height * lids * np.sin(np.pi * t**0.9) ** 0.85 - slope], axis=1)
    lower = np.stack([x, 0.72 * height * min(1.0, lids + 0.15) * np.sin(np.pi * t) ** 0.9 - slope], axis=1)
    place = np.array([side * layout.eye[0], layout.eye[1]])
    iris = (place[0] + expression.gaze[0], place[1] + expression.gaze[1])
    return _Eye(side, upper * [side, 1] + place, lower * [side, 1] + place, iris, 0.118 * (1 + 0.1 * traits.iris))


def _paint_ball(canvas: Canvas, eye: _Eye, person: Identity, scene: Scene) -> None:
    outline = scene.pose.project(np.concatenate([eye.upper, eye.lower[::-1]]))
    window = canvas.window(outline, 0.1 * scene.pose.scale)
    if window is not None:
        blend(canvas.pixels[:, *window], _ball(eye, person, scene, window), canvas.mask(outline)[window])


def _ball(eye: _Eye, person: Identity, scene: Scene, window: tuple[slice, slice]) -> np.ndarray:
    """White, iris, pupil and highlights as float32 planes [3, h, w] that fill the window."""
    rows, columns = window
    white = np.array([246, 243, 240], np.float32)[:, None, None]
    ball = Canvas(np.tile(white, (1, rows.stop - rows.start, columns.stop - columns.start)))
    corner = columns.start / SUPERSAMPLING, rows.start / SUPERSAMPLING
    pose = replace(scene.pose, x=scene.pose.x - corner[0], y=scene.pose.y - corner[1])
    (x, y), unit, radius = eye.iris, pose.scale, eye.radius

    def disc(size: float, dx: float = 0.0, dy: float = 0.0) -> np.ndarray:
        return pose.project(ellipse((x + dx, y + dy), (size, size)))

    ball.fill(disc(radius), darker(person.eyes, 0.55))
    ball.fill(disc(0.8 * radius), person.eyes, 1.0, 0.01 * unit)
    ball.fill(disc(0.5 * radius, 0, 0.4 * radius), lighter(person.eyes, 1.2, 16), 0.6, 0.03 * unit)
    ball.fill(disc(0.45 * radius), (18, 14, 16))
    shade = np.array([[x - 0.3, y - 0.2], [x + 0.3, y - 0.2], [x + 0.3, y - 0.055], [x - 0.3, y - 0.055]])
    ball.fill(pose.project(shade), (70, 48, 48), 0.4, 0.03 * unit)
    glint = 0.045 if scene.light.direction[0] >= 0 else -0.045
    ball.fill(disc(0.032, glint, -0.04), (255, 255, 255), 0.95)
    ball.fill(disc(0.016, -glint, 0.04), (255, 255, 255), 0.3)
    return ball.pixels


def _paint_lids(canvas: Canvas, eye: _Eye, person: Identity, pose: Pose) -> None:
    unit = pose.scale
    crease = pose.project(eye.upper - [0, 0.043])
    canvas.stroke([crease[2:]], darker(person.skin, 0.66, 1.06), 0.028 * unit, 0.75, 0.012 * unit)
    canvas.stroke([pose.project(eye.lower)[2:-1]], darker(person.skin, 0.62, 1.1), 0.018 * unit, 0.55, 0.008 * unit)
    ink = darker(person.hair, 0.3) if np.mean(person.hair) < 120 else (58.0, 40.0, 34.0)
    canvas.stroke([pose.project(eye.upper)], ink, (0.036 + 0.022 * person.lashes) * unit, 0.92, 0.006 * unit)
    if person.lashes > 0.5:
        tip = eye.upper[-1] + np.array([eye.side * 0.06, -0.05]) * person.lashes
        canvas.stroke([pose.project(np.stack([eye.upper[-2], eye.upper[-1], tip]))], ink, 0.026 * unit, 0.85)


def paint_brows(canvas: Canvas, person: Identity, scene: Scene) -> None:
    """Both brows, tapered towards the temples."""
    traits, pose = person.traits, scene.pose
    layout = lay_out(traits, scene.expression)
    t = np.linspace(0, 1, 12)
    level = layout.eye[1] - 0.265 - 0.045 * traits.brow_height - 0.045 * scene.expression.brows
    arch = (0.055 + 0.035 * traits.brow_arch) * np.sin(np.pi * t**1.3)
    y = level - arch + 0.05 * (t - 0.4) * (0.2 - 1.3 * traits.brow_slant)
    thick = (0.052 + 0.022 * traits.brow_thickness) * np.minimum(1, 0.75 + 1.2 * t) * (1 - t**2.5 * 0.85)
    x = layout.eye[0] + (t - 0.42) * (0.6 + 0.05 * traits.eye_width)
    shape = np.concatenate([np.stack([x, y - thick], 1), np.stack([x, y + thick], 1)[::-1]])
    tone = darker(person.hair, 0.78 if np.mean(person.hair) < 130 else 0.58)
    for side in (-1.0, 1.0):
        canvas.fill(pose.project(shape * [side, 1]), tone, 0.86, 0.016 * pose.scale)


def paint_glasses(canvas: Canvas, pose: Pose, layout: FaceLayout, frame: RGB) -> None:
    """Rounded frames with a faint glare; they stand before the face at one depth."""
    lift, x, y = 0.9, max(layout.eye[0], 0.42), layout.eye[1]
    angle = np.linspace(0, 2 * np.pi, 33)
    round_ = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    squared = np.sign(round_) * np.abs(round_) ** 0.75 * [0.335, 0.25]
    rims = [pose.project(squared + np.array([side * x, y + 0.04]), lift) for side in (-1, 1)]
    for rim in rims:
        canvas.fill(rim, (235, 242, 250), 0.1)
    bridge = pose.project(spline(np.array([[-0.12, y], [0.0, y - 0.045], [0.12, y]])), lift + 0.05)
    arm_depth = np.array([lift, 0.0])
    arms = [pose.project(np.array([[s * (x + 0.33), y], [s * 1.03, y - 0.03]]), arm_depth) for s in (-1, 1)]
    canvas.stroke([*rims, bridge, *arms], frame, 0.05 * pose.scale, 0.95)
