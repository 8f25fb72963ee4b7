"""Where a face is replaced: an outline from brows to chin grown from five landmarks, with variation.

Coordinates are (x, y) in pixels of one picture, pixel centres at whole numbers.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from faceverify.align.geometry import ARCFACE_112, fit_similarity, transform_points

# Right half of the inner face in the 112x112 template, from above the brows down to the chin: (x - 56, y).
_HALF = np.array(
    [[0, 31], [13, 31.5], [23, 35], [29.5, 42], [32, 53], [31.5, 66], [29, 79], [25, 91], [18.5, 102], [10, 109]]
)
_CHIN = np.array([[0.0, 111.0]])
_CENTRE = np.array([56.0, 70.0])
# How much nearer the outline comes on the side to which a face is turned, per nose offset in template pixels.
_TURN = 0.022
_LEAST_HALF = 0.55  # of the frontal half width: what is left of the far side of a face in profile


@dataclass(frozen=True, slots=True)
class Variation:
    """How one outline differs from the plain one.

    width, top, bottom: factors of its extent from the face's centre; wobble [2, 3] amplitude (share of the radius) and
    phase of the second to fourth harmonic around the outline.
    """

    width: float
    top: float
    bottom: float
    wobble: np.ndarray


PLAIN = Variation(1.0, 1.0, 1.0, np.zeros((2, 3)))


def draw_variation(rng: np.random.Generator) -> Variation:
    """A random variation: from just above the brows to half the forehead, from cheeks to the edge of the face.

    Smaller outlines look no better and leave so much of the host that recognisers no longer see the claimed person.
    """
    width, top, bottom = rng.uniform(1.0, 1.12), rng.uniform(1.0, 1.25), rng.uniform(1.0, 1.06)
    return Variation(width, top, bottom, np.stack([rng.uniform(0, 0.02, 3), rng.uniform(0, 2 * np.pi, 3)]))


def outline(landmarks_52: np.ndarray, variation: Variation = PLAIN) -> np.ndarray:
    """The inner face of a person with these landmarks: a closed polygon [K, 2], narrower on the averted side."""
    to_template = fit_similarity(landmarks_52[None])[0]
    shape = transform_points(to_template, landmarks_52)
    # An affine fit follows what turning and nodding do to the distances between eyes and mouth.
    design = np.c_[ARCFACE_112 - _CENTRE, np.ones(5)]
    affine = np.linalg.lstsq(design, shape, rcond=None)[0]  # [3, 2]
    halves = np.concatenate([_HALF, _CHIN, (_HALF * [-1, 1])[:0:-1]]) - [0, _CENTRE[1]]
    points = _varied(halves, variation)
    middle = (shape[:2].mean(axis=0) + shape[3:].mean(axis=0)) / 2
    turn = shape[2, 0] - middle[0]
    away = np.sign(points[:, 0]) == np.sign(turn)
    points[away, 0] *= max(_LEAST_HALF, 1 - _TURN * abs(turn))
    return _back(to_template, np.c_[points, np.ones(len(points))] @ affine)


def _varied(points: np.ndarray, variation: Variation) -> np.ndarray:
    angle = np.arctan2(points[:, 1], points[:, 0])
    harmonics = np.arange(2, 5)[:, None] * angle + variation.wobble[1][:, None]
    radius = 1 + (variation.wobble[0][:, None] * np.sin(harmonics)).sum(axis=0)
    vertical = np.where(points[:, 1] < 0, variation.top, variation.bottom)
    return points * radius[:, None] * np.c_[np.full(len(points), variation.width), vertical]


def _back(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return transform_points(cv2.invertAffineTransform(matrix), points)


def bounding_box(polygon: np.ndarray, shape: tuple[int, ...], margin: float = 0) -> tuple[int, int, int, int]:
    """(x0, y0, x1, y1) of the pixels of a picture of `shape` within `margin` pixels of the polygon [K, 2]."""
    low = np.maximum(np.floor(polygon.min(axis=0) - margin).astype(int), 0)
    high = np.minimum(np.ceil(polygon.max(axis=0) + margin).astype(int) + 1, [shape[1], shape[0]])
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def polygon_area(polygon: np.ndarray) -> float:
    """Area of a polygon [K, 2] in square pixels."""
    x, y = polygon.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def filled(polygon: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """The polygon [K, 2] as a picture of `box`: float32 [y1 - y0, x1 - x0], 1 inside, 0 outside, its edge smooth."""
    x0, y0, x1, y1 = box
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    points = np.round((polygon - [x0, y0]) * 16).astype(np.int32)
    cv2.fillPoly(mask, [points], 255, cv2.LINE_AA, 4)
    return mask.astype(np.float32) / 255


def feathered(mask: np.ndarray, width: float) -> np.ndarray:
    """A soft edge of about `width` pixels, inside the mask only: float32 in 0..1, zero wherever `mask` is below 1."""
    border = cv2.copyMakeBorder((mask >= 1).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    depth = cv2.distanceTransform(border, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    share = np.clip(depth / max(width, 1.0), 0, 1)
    return (share * share * (3 - 2 * share)).astype(np.float32)


def elastic(mask: np.ndarray, rng: np.random.Generator, reach: float, smoothness: float) -> np.ndarray:
    """The mask, bent: each pixel moves by up to about `reach` pixels, near ones alike.

    Random displacements smoothed by a Gaussian of `smoothness` pixels (Simard et al., ICDAR 2003).
    """
    height, width = mask.shape
    # A smooth field needs few nodes: drawn coarse, and the same for a face at any resolution.
    nodes = (max(2, round(height / smoothness) + 1), max(2, round(width / smoothness) + 1))
    field = rng.uniform(-1, 1, (*nodes, 2)).astype(np.float32)
    shift = cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC) * reach
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return cv2.remap(mask, x + shift[..., 0], y + shift[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
