"""From a found face to its crop: one place for all methods and all crops."""

import cv2
import numpy as np

from faceverify.align.crops import Crop
from faceverify.align.found import FoundFace
from faceverify.align.geometry import warp

_MOST_SAMPLES = 8192  # pixels a side of what is averaged to a crop
_BORDERS = {"black": cv2.BORDER_CONSTANT, "replicate": cv2.BORDER_REPLICATE}


def pixels_per_crop_pixel(face: FoundFace, crop: Crop, height: int, width: int) -> float:
    """How many pixels of a photo of `height` x `width`, in which a face was found, become one of the crop (a side)."""
    if face.to_arcface is None:
        return max(height, width) / crop.size
    if crop.template == "box":
        x1, y1, x2, y2 = _box(face, crop, height, width)
        return max(1, min(x2 - x1, y2 - y1)) / crop.size
    M = crop.from_arcface()[:, :2] @ face.to_arcface[:, :2]
    return float(1 / np.sqrt(abs(np.linalg.det(M))))


def cut(image: np.ndarray, face: FoundFace, crop: Crop) -> np.ndarray:
    """The crop of a face.

    Args:
        image: [H, W, 3] uint8 RGB, the picture that the face was found in.
        face: in its pixels.
        crop: which part of it.

    Returns:
        [size, size, 3] uint8 RGB.
    """
    if face.image is not None:
        return face.image
    if face.to_arcface is None:
        return _resized(image, crop)
    if crop.template == "box":
        x1, y1, x2, y2 = _box(face, crop, *image.shape[:2])
        return _resized(image[y1:y2, x1:x2], crop)
    M = crop.from_arcface()
    matrix = np.c_[M[:, :2] @ face.to_arcface[:, :2], M[:, :2] @ face.to_arcface[:, 2] + M[:, 2]]
    samples = round(pixels_per_crop_pixel(face, crop, *image.shape[:2])) if crop.filter == "area" else 1
    samples = max(1, min(samples, _MOST_SAMPLES // crop.size))
    border = _BORDERS[crop.border]
    if samples == 1:
        return warp(image, matrix, crop.size, border)
    # Bilinear samples about a pixel apart, and the mean of those that make a pixel of the crop.
    fine = np.c_[matrix[:, :2] * samples, matrix[:, 2] * samples + (samples - 1) / 2]
    large = warp(image, fine, crop.size * samples, border)
    return np.asarray(cv2.resize(large, (crop.size, crop.size), interpolation=cv2.INTER_AREA), np.uint8)


def _resized(image: np.ndarray, crop: Crop) -> np.ndarray:
    """The whole picture as a crop; one of the right size stays as it is."""
    if image.shape[:2] == (crop.size, crop.size):
        return np.ascontiguousarray(image)
    # Averaging keeps fine detail from aliasing when shrinking; it has no meaning when enlarging.
    shrinks = min(image.shape[:2]) > crop.size and crop.filter == "area"
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (crop.size, crop.size), interpolation=way), np.uint8)


def _box(face: FoundFace, crop: Crop, height: int, width: int) -> tuple[int, int, int, int]:
    """The box with its margin, x1 y1 x2 y2 in whole pixels within the photo (as facenet-pytorch's `extract_face`)."""
    assert face.box is not None, "align.build refuses box crops of methods that give no box"
    x1, y1, x2, y2 = face.box.astype(np.float64)
    wider, higher = (crop.margin * side / (crop.size - crop.margin) for side in (x2 - x1, y2 - y1))
    left, top = int(max(x1 - wider / 2, 0)), int(max(y1 - higher / 2, 0))
    right, bottom = int(min(x2 + wider / 2, width)), int(min(y2 + higher / 2, height))
    left, top = min(left, width - 1), min(top, height - 1)
    return left, top, max(right, left + 1), max(bottom, top + 1)
