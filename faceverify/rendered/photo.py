"""Real photos: a painted portrait seen through a camera."""

import cv2
import numpy as np

from faceverify import images
from faceverify.rendered import RenderedConfig
from faceverify.rendered.identity import Identity, draw_person
from faceverify.rendered.portrait import landmarks_of, paint
from faceverify.rendered.scene import Camera, Scene, draw_scene

# First word of every random stream after the seed, so that persons, photos and fakes never share one.
PERSON, REAL, FAKE, LABELS = range(4)


def render_photo(config: RenderedConfig, person_index: int, photo_index: int) -> tuple[np.ndarray, np.ndarray]:
    """A real photo, RGB uint8 [size, size, 3], and its landmarks [5, 2] float32 px; a pure function."""
    scene = scene_of(config, REAL, person_index, photo_index)
    person = person_of(config, person_index)
    return expose(paint(person, scene), scene.camera, scene.texture_seed), landmarks_of(person, scene)


def photo_landmarks(config: RenderedConfig, person_index: int, photo_index: int) -> np.ndarray:
    """The landmarks that `render_photo` gives, without drawing."""
    return landmarks_of(person_of(config, person_index), scene_of(config, REAL, person_index, photo_index))


def person_of(config: RenderedConfig, person_index: int) -> Identity:
    """The identity of one of the configured persons."""
    return draw_person((config.seed, PERSON, person_index))


def scene_of(config: RenderedConfig, stream: int, person_index: int, index: int) -> Scene:
    """The scene of one photo, from its own random stream."""
    rng = np.random.default_rng((config.seed, stream, person_index, index))
    return draw_scene(rng, config.photo_size, config.difficulty)


def expose(picture: np.ndarray, camera: Camera, seed: int) -> np.ndarray:
    """What the camera makes of a picture [size, size, 3] float32: blur, noise, a first JPEG. RGB uint8."""
    if camera.blur > 0.05:
        picture = cv2.GaussianBlur(picture, (0, 0), camera.blur)
    if camera.noise > 0:
        rng = np.random.default_rng(seed)
        grain = rng.standard_normal(picture.shape, np.float32)
        # Neighbouring channels of a sensor share part of their noise.
        picture = picture + camera.noise * (0.6 * grain + 0.6 * grain[..., 1:2])
    pixels = np.clip(np.round(picture), 0, 255).astype(np.uint8)
    if camera.quality >= 95:
        return pixels
    return recompress(pixels, camera.quality)


def recompress(pixels: np.ndarray, quality: int) -> np.ndarray:
    """RGB uint8 pixels after one JPEG of that quality (its artefacts are what is wanted)."""
    return images.decode(images.encode_jpeg(pixels, quality))
