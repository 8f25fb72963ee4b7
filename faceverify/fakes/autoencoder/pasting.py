"""Which pixels of the host's photo the new face replaces: four kinds of mask, as swap programs paste.

Coordinates are (x, y) in pixels of the host's photo, pixel centres at whole numbers.
"""

from typing import Literal, get_args

import cv2
import numpy as np

from faceverify.align.geometry import ARCFACE_112, transform_points
from faceverify.fakes import FaceInput
from faceverify.fakes.autoencoder.crops import to_crop
from faceverify.fakes.masks import bounding_box, draw_variation, feathered, filled, outline

Kind = Literal["hull", "ellipse", "square", "fade"]
MASKS: tuple[Kind, ...] = get_args(Kind)
_LEAST = 1 / 64  # a share of the new face below this changes no pixel by a level worth having


def draw_mask(
    kind: Kind, matrix: np.ndarray, size: int, target: FaceInput, across: float, rng: np.random.Generator
) -> tuple[tuple[int, int, int, int], np.ndarray]:
    """A mask of a kind, varied at random.

    hull: from brows to chin, its edge feathered inwards; ellipse: about the face, feathered inwards; square: most of
    the network's crop, blurred; fade: from brows to chin, fading outwards.

    Args:
        kind: of mask.
        matrix: [2, 3] from the photo to the crop.
        size: of the crop.
        target: the host.
        across: the size of the host's face in pixels.
        rng: for the variation.

    Returns:
        The box (x0, y0, x1, y1) of the photo, x1 and y1 exclusive, and the mask in it: float32 in 0..1.
    """
    shape = target.image.shape
    if kind == "hull":
        polygon = outline(target.landmarks.astype(np.float64), draw_variation(rng))
        box = bounding_box(polygon, shape)
        return box, feathered(filled(polygon, box), across * rng.uniform(0.05, 0.14))
    if kind == "ellipse":
        polygon = _in_photo(matrix, size, _ellipse(rng.uniform(1.0, 1.12), rng.uniform(1.0, 1.1)))
        box = bounding_box(polygon, shape)
        return box, feathered(filled(polygon, box), across * rng.uniform(0.08, 0.17))
    if kind == "square":
        half = 64 * (1 - 2 * rng.uniform(0.05, 0.1))
        polygon = _in_photo(matrix, size, 56 + half * np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]]))
        return _blurred(polygon, shape, across * rng.uniform(0.04, 0.07))
    polygon = outline(target.landmarks.astype(np.float64))
    middle = polygon.mean(axis=0)
    inner = middle + (polygon - middle) * rng.uniform(0.98, 1.08)
    return _blurred(inner, shape, across * rng.uniform(0.05, 0.09))


def _ellipse(width: float, height: float) -> np.ndarray:
    """About the inner face in the 112x112 crop: [48, 2]."""
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return np.c_[56 + 39 * width * np.cos(angle), 69 + 46 * height * np.sin(angle)]


def _in_photo(matrix: np.ndarray, size: int, points: np.ndarray) -> np.ndarray:
    """Points of the 112x112 crop, in the photo."""
    in_crop = transform_points(to_crop(ARCFACE_112, size), points)
    return transform_points(cv2.invertAffineTransform(matrix), in_crop)


def _blurred(polygon: np.ndarray, shape: tuple[int, ...], sigma: float) -> tuple[tuple[int, int, int, int], np.ndarray]:
    sigma = max(sigma, 0.5)
    box = bounding_box(polygon, shape, 2.5 * sigma)
    mask = cv2.GaussianBlur(filled(polygon, box), (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    return box, np.where(mask < _LEAST, 0, np.clip(mask, 0, 1)).astype(np.float32)
