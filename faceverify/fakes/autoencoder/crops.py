"""The square around a face that the networks see, and how it goes there from a photo and back.

Coordinates are (x, y) in pixels, pixel centres at whole numbers. A crop of any size shows the same part of the face:
the 112x112 crop of recognisers and 8 of its pixels on each side.
"""

import cv2
import numpy as np

from faceverify.align.geometry import ARCFACE_112, fit_similarity, transform_points
from faceverify.fakes.warping import face_warp, sample

FIELD = 128  # pixels of the 112x112 crop that a crop shows
_MARGIN = 8.0


def to_crop(landmarks_52: np.ndarray, size: int) -> np.ndarray:
    """From a photo, in whose pixels the landmarks are, to its crop of `size` pixels: [2, 3]."""
    to_arcface = fit_similarity(landmarks_52[None])[0]
    scale = size / FIELD
    shift = np.full(2, _MARGIN + 0.5) * scale - 0.5
    return np.c_[to_arcface[:, :2] * scale, to_arcface[:, 2] * scale + shift]


def plain_landmarks(size: int) -> np.ndarray:
    """Where the landmarks of the average face are in a crop of `size` pixels: [5, 2]."""
    return transform_points(to_crop(ARCFACE_112, size), ARCFACE_112)


def cut_face(image: np.ndarray, landmarks_52: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The crop of a face, averaged where it is smaller: uint8 [size, size, 3]; and the landmarks [5, 2] in it."""
    matrix = to_crop(landmarks_52, size)
    points = transform_points(matrix, landmarks_52)
    warp, _ = face_warp(landmarks_52, points, 0.0)
    return sample(image, warp, (0, 0, size, size))[0], points


def face_onto(
    image: np.ndarray, landmarks_52: np.ndarray, points_52: np.ndarray, size: int, correction: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A face brought onto the landmarks of another one, as a crop of `size` pixels.

    Args:
        image: uint8 [H, W, 3], the photo of the face to bring.
        landmarks_52: of it.
        points_52: in the crop, of the face that it is brought onto.
        size: of the crop.
        correction: how much of what differs beside a similarity follows the other face, see `face_warp`.

    Returns:
        uint8 [size, size, 3]; where the photo has pixels: bool [size, size]; and the landmarks [5, 2] in the crop.
    """
    warp, landed = face_warp(landmarks_52, points_52, correction)
    face, known = sample(image, warp, (0, 0, size, size))
    return face, known, landed


def from_crop(
    face: np.ndarray, matrix: np.ndarray, box: tuple[int, int, int, int], known: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A crop brought back into the photo.

    A crop larger than its place is averaged down; a smaller one is enlarged by cubic interpolation.

    Args:
        face: uint8 [size, size, 3].
        matrix: [2, 3] of `to_crop`.
        box: (x0, y0, x1, y1) of the photo.
        known: bool [size, size], which pixels of the crop may be used.

    Returns:
        uint8 [h, w, 3], and where the crop has pixels: bool [h, w].
    """
    x0, y0, x1, y1 = box
    size = len(face)
    to_photo = cv2.invertAffineTransform(matrix) - [[0, 0, x0], [0, 0, y0]]
    pasted = (x1 - x0, y1 - y0)
    scale = float(np.hypot(*to_photo[:, 0]))
    seen = cv2.warpAffine(known.astype(np.float32), to_photo, pasted, flags=cv2.INTER_LINEAR)
    if scale < 1:
        small = max(1, round(size * scale))
        face = np.asarray(cv2.resize(face, (small, small), interpolation=cv2.INTER_AREA))
        ratio = size / small
        to_photo = np.c_[to_photo[:, :2] * ratio, to_photo[:, 2] + to_photo[:, :2] @ np.full(2, (ratio - 1) / 2)]
    back = cv2.warpAffine(face, to_photo, pasted, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(back), seen > 0.999
