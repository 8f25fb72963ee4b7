"""From a found face to its crop: one place for all methods, all crops, and photos decoded at a reduced size."""

from typing import Protocol

import cv2
import numpy as np

from faceverify.align.crops import Crop
from faceverify.align.detections import Detections, choose
from faceverify.align.geometry import fit_similarity, warp
from faceverify.align.interface import Aligner, FoundFace, Policy
from faceverify.errors import BadData, Reason

_MOST_SAMPLES = 8192  # pixels a side of what is averaged to a crop
_BORDERS = {"black": cv2.BORDER_CONSTANT, "replicate": cv2.BORDER_REPLICATE}


class Detector(Protocol):
    """A face detector with five landmarks; `DetectingAligner` makes an aligner of it."""

    name: str

    def detect(self, images: list[np.ndarray]) -> list[Detections]:
        """All faces of each photo [H, W, 3] uint8 RGB, in pixels of that photo; one result per photo, same order."""
        ...


class DetectingAligner(Aligner):
    """Detect, choose one face by `policy`, fit (see `Aligner`)."""

    def __init__(self, detector: Detector, policy: Policy) -> None:
        self.name = detector.name
        self._detector = detector
        self._policy = policy

    def find(self, images: list[np.ndarray], landmarks: list[np.ndarray | None]) -> list[FoundFace | BadData]:
        """One result per photo, same order; `landmarks` is not read."""
        del landmarks
        chosen: list[FoundFace | BadData] = []
        for image, found in zip(images, self._detector.detect(images), strict=True):
            index = choose(found, self._policy, *image.shape[:2])
            if not isinstance(index, BadData):
                facts = float(found.scores[index]), len(found), found.boxes[index]
                chosen.append(FoundFace(found.landmarks[index], *facts))
            else:
                chosen.append(index)
        return fitted(images, chosen)


def fitted(images: list[np.ndarray], chosen: list[FoundFace | BadData]) -> list[FoundFace | BadData]:
    """The faces with the transform that their landmarks give, all fitted at once; a `BadData` passes through.

    Landmarks that cannot be fitted, or of which none lies in the photo, give BAD_LANDMARKS.
    """
    faces = [item for item in chosen if isinstance(item, FoundFace)]
    points = np.array([face.landmarks for face in faces]) if faces else np.zeros((0, 5, 2))
    matrices = iter(fit_similarity(points))
    return [
        item if isinstance(item, BadData) else _fitted(item, next(matrices), *image.shape[:2])
        for image, item in zip(images, chosen, strict=True)
    ]


def _fitted(face: FoundFace, matrix: np.ndarray, height: int, width: int) -> FoundFace | BadData:
    assert face.landmarks is not None
    fault = unfit(face.landmarks, matrix, height, width)
    return fault or FoundFace(
        face.landmarks.astype(np.float32), face.score, face.faces_found, face.box, to_arcface=matrix
    )


def unfit(landmarks: np.ndarray, matrix: np.ndarray, height: int, width: int) -> BadData | None:
    """Why a face cannot be cut out of a photo of `height` x `width`: [5, 2] in its pixels, [2, 3] from it to the crop.

    None if it can be.
    """
    if not np.isfinite(matrix).all():
        return BadData(Reason.BAD_LANDMARKS, "the landmarks are not finite or all in one point")
    if not ((landmarks >= -0.5) & (landmarks < [width - 0.5, height - 0.5])).all(axis=1).any():
        return BadData(Reason.BAD_LANDMARKS, f"no landmark lies in the photo of {width}x{height} pixels")
    return None


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
