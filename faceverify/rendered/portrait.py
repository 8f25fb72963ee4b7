"""Person + scene -> picture and landmarks: the layers in the order in which they cover each other."""

import cv2
import numpy as np

from faceverify.rendered import beard, eyes, features, hair, head
from faceverify.rendered.canvas import Canvas
from faceverify.rendered.identity import Identity, with_haircut
from faceverify.rendered.scene import Light, Scene


def landmarks_of(person: Identity, scene: Scene) -> np.ndarray:
    """The five landmarks [5, 2] float32 in pixels of the picture that `paint` makes; nothing is drawn."""
    return features.landmarks(features.lay_out(person.traits, scene.expression), scene.pose)


def paint(person: Identity, scene: Scene) -> np.ndarray:
    """The lit picture before the camera: RGB float32 [size, size, 3] in 0..255."""
    person = with_haircut(person, scene.haircut)
    pose, layout = scene.pose, features.lay_out(person.traits, scene.expression)
    canvas = Canvas.over(_background(scene))
    hair.paint_back_hair(canvas, person, scene)
    head.paint_body(canvas, person, scene)
    if not hair.covers_ears(person.hair_style):
        head.paint_ears(canvas, pose, person)
    mask = head.paint_head(canvas, person, layout, scene)
    features.paint_marks(canvas, pose, person)
    beard.paint_beard(canvas, person, layout, scene, mask)
    features.paint_nose(canvas, person, layout, pose)
    features.paint_mouth(canvas, person, scene)
    eyes.paint_eyes(canvas, person, scene)
    eyes.paint_brows(canvas, person, scene)
    hair.paint_front_hair(canvas, person, scene)
    if scene.glasses is not None:
        eyes.paint_glasses(canvas, pose, layout, scene.glasses)
    return _lit(canvas.picture(), scene.light)


def _background(scene: Scene) -> np.ndarray:
    """Soft patches around one colour, brighter behind the head: float32 [size, size, 3]."""
    rng = np.random.default_rng(scene.texture_seed)
    patches = np.asarray(scene.background) + rng.normal(0, 4, (4, 4, 3)) + rng.normal(0, 14, (4, 4, 1))
    # Twice, because one cubic step from 4 x 4 shows its grid.
    soft = cv2.GaussianBlur(cv2.resize(patches.astype(np.float32), (20, 20), interpolation=cv2.INTER_CUBIC), (0, 0), 2)
    wide = cv2.resize(soft, (scene.size, scene.size), interpolation=cv2.INTER_CUBIC)
    return np.clip(wide, 20, 246)


def _lit(picture: np.ndarray, light: Light) -> np.ndarray:
    """Tint, exposure, contrast, and a soft cast shadow."""
    size = picture.shape[0]
    at = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    lx, ly, _ = light.direction
    ramp = 1 + 0.14 * light.strength * (lx * at[None, :] + ly * at[:, None])
    if light.shadow > 0:
        offset, angle = light.shadow_line
        across = np.cos(angle) * at[None, :] + np.sin(angle) * at[:, None] - offset
        ramp = ramp * (1 - light.shadow / (1 + np.exp(-across * 25)))
    gain = light.exposure * np.asarray(light.tint, np.float32)
    return np.clip((picture * ramp[..., None] * gain - 128) * light.contrast + 128, 0, 255).astype(np.float32)
