"""Head, ears, neck and shoulders."""

import numpy as np

from faceverify.rendered.canvas import Canvas, blend
from faceverify.rendered.features import FaceLayout, darker, lighter
from faceverify.rendered.geometry import Pose, mirrored, spline
from faceverify.rendered.identity import RGB, Identity, Traits
from faceverify.rendered.scene import Scene
from faceverify.rendered.skin import shaded_skin


def outline(traits: Traits) -> np.ndarray:
    """The closed outline of the head [N, 2] in face units."""
    width, jaw = 1 + 0.08 * traits.face_width, 1 + 0.08 * traits.face_width + 0.09 * traits.jaw_width
    chin, drop = 1 + 0.25 * traits.chin_width, 1.58 + 0.1 * traits.chin_length
    cheek = 0.03 * traits.cheeks
    half = np.array([
        [0, -1.34], [0.5 * width, -1.22], [0.85 * width, -0.82], [0.985 * width, -0.25], [(0.97 + cheek) * width, 0.35],
        [0.84 * jaw, 0.9], [0.6 * jaw, 1.24 + 0.05 * traits.chin_length], [0.3 * chin, drop - 0.06], [0, drop],
    ])  # fmt: skip
    return spline(mirrored(half), closed=True, steps=6)


def outline_depth(points: np.ndarray) -> np.ndarray:
    """z of outline points [N, 2]: the jaw lies further forward than the temples."""
    forward = np.clip((points[:, 1] - 0.3) / 1.25, 0, 1)
    return 0.1 + 0.32 * forward * forward * (3 - 2 * forward)


def body_pose(pose: Pose) -> Pose:
    """Shoulders follow the head's turn and tilt only a little; they hang from the base of the head."""
    base = pose.project(np.array([[0.0, 1.1]]), 0.0)[0]
    body = Pose(0.25 * pose.roll, 0.3 * pose.yaw, 0.0, pose.scale, 0.0, 0.0)
    offset = base - body.project(np.array([[0.0, 1.1]]), 0.0)[0]
    return Pose(body.roll, body.yaw, 0.0, pose.scale, float(offset[0]), float(offset[1]))


def paint_body(canvas: Canvas, person: Identity, scene: Scene) -> None:
    """Neck, shoulders and clothes, with the shadow of the chin."""
    pose, unit = body_pose(scene.pose), scene.pose.scale
    broad = 1 + 0.1 * person.traits.jaw_width + (-0.06 if person.feminine else 0.1)
    throat = 0.5 * broad
    neck = np.array([[throat, 0.7], [throat, 1.4], [throat + 0.06, 1.75], [0.72, 1.95], [0.6, 2.45], [0, 2.9]])
    neck_px = pose.project(spline(np.concatenate([neck, neck[-2::-1] * [-1, 1]])), 0.0)
    mask = canvas.mask(neck_px)
    canvas.fill(neck_px, darker(person.skin, 0.9, 1.03))
    jaw = outline(person.traits)
    shadow = scene.pose.project(jaw + np.array([-0.15 * scene.light.direction[0], 0.2]), outline_depth(jaw))
    canvas.fill(shadow, darker(person.skin, 0.56, 1.1), 0.75, 0.09 * unit, mask)
    _paint_clothes(canvas, pose, scene, broad)


def _paint_clothes(canvas: Canvas, pose: Pose, scene: Scene, broad: float) -> None:
    unit, tone = pose.scale, scene.clothes
    edge = _neckline(scene.collar)
    arm = np.array([[0.7, 1.83], [1.5 * broad, 2.12], [2.05 * broad, 2.5], [2.3 * broad, 3.4], [2.3 * broad, 5]])
    right = spline(arm)
    canvas.fill(pose.project(np.concatenate([edge, right, right[::-1] * [-1, 1]]), 0.0), tone)
    folds = [pose.project(spline(np.array([[s * 1.5, 2.7], [s * 1.1, 3.2], [s * 1.2, 4]])), 0.0) for s in (-1, 1)]
    canvas.stroke(folds, darker(tone, 0.7), 0.14 * unit, 0.4, 0.09 * unit)
    canvas.stroke([pose.project(edge, 0.0)], darker(tone, 0.74), 0.07 * unit, 0.8, 0.015 * unit)
    if scene.collar == 2:
        _paint_collar(canvas, pose, tone)


def _neckline(collar: int) -> np.ndarray:
    """The clothes' edge around the neck, from image-left to image-right, in face units."""
    x = np.linspace(-0.7, 0.7, 25)
    if collar == 0:
        return np.stack([x, 1.83 + 0.45 * np.sqrt(1 - (x / 0.7) ** 2)], axis=1)
    return np.stack([x, 1.83 + (0.82 if collar == 1 else 0.62) * (1 - np.abs(x / 0.7)) ** 0.85], axis=1)


def _paint_collar(canvas: Canvas, pose: Pose, tone: RGB) -> None:
    flap = np.array([[0.46, 1.6], [0.74, 1.82], [0.62, 2.42], [0.02, 2.5], [0.42, 2.12]])
    for side in (-1, 1):
        px = pose.project(flap * [side, 1], 0.0)
        canvas.fill(px + np.array([0, 0.05 * pose.scale]), darker(tone, 0.6), 0.5, 0.04 * pose.scale)
        canvas.fill(px, lighter(tone, 1.1, 6))


def paint_ears(canvas: Canvas, pose: Pose, person: Identity) -> None:
    """Both ears; the head, painted later, covers their inner part."""
    unit, size = pose.scale, 1 + 0.2 * person.traits.ear_size
    width = 1 + 0.08 * person.traits.face_width
    half = np.array([[0.9, -0.2], [1.08, -0.24], [1.17, -0.08], [1.12, 0.2], [1.02, 0.4], [0.92, 0.42]])
    shape = (half - [0.95, 0.1]) * size + [0.95 * width, 0.12]
    inner = (half - [0.98, 0.08]) * 0.55 * size + [1.02 * width, 0.1]
    for side in (-1, 1):
        canvas.fill(pose.project(spline(shape * [side, 1], closed=True), -0.2), darker(person.skin, 0.9, 1.05))
        canvas.fill(
            pose.project(spline(inner * [side, 1], closed=True), -0.2), darker(person.skin, 0.68, 1.1), 0.6, 0.03 * unit
        )


def paint_head(canvas: Canvas, person: Identity, layout: FaceLayout, scene: Scene) -> np.ndarray:
    """The head with shaded skin; returns its mask (as `Canvas.mask`)."""
    shape = outline(person.traits)
    px = scene.pose.project(shape, outline_depth(shape))
    mask = canvas.mask(px)
    window = canvas.window(px, 1.0)
    if window is None:
        return mask
    skin = shaded_skin(person, layout, scene, canvas.pixels.shape[1])
    blend(canvas.pixels[:, *window], skin[:, *window], mask[window])
    canvas.stroke([px], darker(person.skin, 0.62, 1.08), 0.04 * scene.pose.scale, 0.25, 0.03 * scene.pose.scale, mask)
    return mask
