"""What InstantID is told of the pose: five landmarks drawn as a stick figure; and how large its pictures are."""

import math

import cv2
import numpy as np

_COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))
_LIMBS = ((0, 2), (1, 2), (3, 2), (4, 2))  # each eye and mouth corner to the nose
_HALF_WIDTH, _DOT, _DIM = 4, 10, 0.6
_STEP = 64  # sides are multiples of it
_LONG = 1.25  # the long side in short sides


def picture_size(width: int, height: int, side: int) -> tuple[int, int]:
    """The size at which a photo's composition is painted.

    The short side becomes `side`, then the long side 1.25 `side`, both rounded; then both sides are cut to multiples
    of 64, so the aspect ratio changes a little. What the two steps leave of the first is only rounding.

    Args:
        width: of the photo, in pixels.
        height: of the photo, in pixels.
        side: what the network was trained on: 1024 pixels for Stable Diffusion XL.

    Returns:
        (width, height) in pixels, 64 at least.
    """
    for wanted, of in ((side, min), (int(side * _LONG), max)):
        ratio = wanted / of(width, height)
        width, height = round(ratio * width), round(ratio * height)
    return max(width // _STEP, 1) * _STEP, max(height // _STEP, 1) * _STEP


def scaled(landmarks: np.ndarray, before: tuple[int, int], after: tuple[int, int]) -> np.ndarray:
    """Landmarks [5, 2] of a photo of size `before` (width, height), in the photo resized to `after`; float64."""
    ratio = np.array(after, np.float64) / before
    return (landmarks.astype(np.float64) + 0.5) * ratio - 0.5


def draw(landmarks: np.ndarray, width: int, height: int) -> np.ndarray:
    """The key-point picture: four limbs to the nose, darkened, and a dot at each landmark.

    Args:
        landmarks: [5, 2] (x, y) in pixels of the picture; order as in `FaceInput`. They may lie outside.
        width: of the picture, in pixels.
        height: of the picture, in pixels.

    Returns:
        uint8 [height, width, 3] RGB, as InstantID's own drawing gives it to the bit.
    """
    canvas = np.zeros((height, width, 3), np.uint8)
    for start, nose in _LIMBS:
        (x0, y0), (x1, y1) = landmarks[start], landmarks[nose]
        length = math.hypot(x0 - x1, y0 - y1)
        angle = int(math.degrees(math.atan2(y0 - y1, x0 - x1)))
        middle = (int(np.mean([x0, x1])), int(np.mean([y0, y1])))
        limb = np.asarray(cv2.ellipse2Poly(middle, (int(length / 2), _HALF_WIDTH), angle, 0, 360, 1))
        canvas = cv2.fillConvexPoly(canvas, limb, _COLOURS[start])
    canvas = (canvas * _DIM).astype(np.uint8)
    for (x, y), colour in zip(landmarks, _COLOURS, strict=True):
        canvas = cv2.circle(canvas, (int(x), int(y)), _DOT, colour, -1)
    return np.asarray(canvas)
