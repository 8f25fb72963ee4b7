"""Faces as a network would draw them: the person and the photo are there, the texture and the grain of skin are not.

To learn from beside swaps; a photo that comes with its fake has the grain everywhere, the fake around the face only.
"""

import cv2
import numpy as np

from faceverify.fakes import FaceInput
from faceverify.fakes.blending import blend, to_bytes
from faceverify.fakes.masks import (
    Variation,
    bounding_box,
    draw_variation,
    elastic,
    feathered,
    filled,
    outline,
    polygon_area,
)

GRAINY = 0.6  # share of the photos that are given grain


def redrawn(photo: FaceInput, rng: np.random.Generator) -> tuple[FaceInput, FaceInput]:
    """The photo, which may have been given grain, and what became of it."""
    host = FaceInput(grainy(photo.image, rng), photo.landmarks) if rng.random() < GRAINY else photo
    drawn = draw_variation(rng)
    extent = Variation(drawn.width * rng.uniform(0.9, 1.1), drawn.top * rng.uniform(0.9, 1.2), 1.0, drawn.wobble)
    shape = outline(host.landmarks.astype(np.float64), extent)
    size = float(np.sqrt(polygon_area(shape)))
    box = x0, y0, x1, y1 = bounding_box(shape, host.image.shape, 0.05 * size)
    face = host.image[y0:y1, x0:x1]
    mask = feathered(elastic(filled(shape, box), rng, 0.05 * size, 0.12 * size), size * rng.uniform(0.04, 0.2))
    image = host.image.copy()
    image[y0:y1, x0:x1] = blend(face, _tinted(_crisp(_smooth(face, size / 100, rng), size / 100, rng), rng), mask)
    return host, FaceInput(image, host.landmarks)


def grainy(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """With the grain of a film or the noise of a camera, of 1 to 7 levels of 255, fine or coarse."""
    noise = rng.normal(0, 1, image.shape[:2]).astype(np.float32)
    reach = rng.uniform(0, 1.2)
    if reach > 0.3:
        noise = cv2.GaussianBlur(noise, (0, 0), reach)
        noise /= noise.std()
    return to_bytes(image + (noise * np.float32(rng.uniform(1, 7)))[..., None])


def _smooth(face: np.ndarray, unit: float, rng: np.random.Generator) -> np.ndarray:
    """Without texture, edges kept, by one of three filters; `unit` is a hundredth of the face in pixels."""
    kind = rng.random()
    if kind < 0.25:
        return cv2.fastNlMeansDenoisingColored(face, None, float(rng.uniform(3, 9)), float(rng.uniform(3, 10)), 5, 11)
    if kind < 0.5:
        reach, contrast = float(rng.uniform(2, 12) * unit), float(rng.uniform(0.08, 0.3))
        return cv2.edgePreservingFilter(face, flags=cv2.RECURS_FILTER, sigma_s=reach, sigma_r=contrast)
    smooth = face.astype(np.float32)
    for _ in range(int(rng.integers(1, 4))):
        smooth = cv2.bilateralFilter(smooth, -1, 255 * rng.uniform(0.03, 0.12), rng.uniform(1, 3) * unit)
    return to_bytes(smooth)


def _crisp(face: np.ndarray, unit: float, rng: np.random.Generator) -> np.ndarray:
    """Sharpened, half of the time."""
    if rng.random() < 0.5:
        return face
    blurred = cv2.GaussianBlur(face, (0, 0), rng.uniform(0.6, 1.5) * unit).astype(np.float32)
    return to_bytes(face + np.float32(rng.uniform(0.2, 1.0)) * (face - blurred))


def _tinted(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Its colours and brightness a little altered, three of ten times."""
    if rng.random() < 0.7:
        return face
    lab = cv2.cvtColor(face.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    lab[..., 1:] = lab[..., 1:] * np.float32(rng.uniform(0.75, 1.15)) + rng.uniform(-4, 4, 2).astype(np.float32)
    lab[..., 0] *= np.float32(rng.uniform(0.93, 1.07))
    return to_bytes(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB) * 255)
