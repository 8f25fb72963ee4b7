"""From landmarks to an `AlignedFace`: the step that every method with landmarks shares."""

from typing import Protocol

import numpy as np

from faceverify.align.detections import Detections, choose
from faceverify.align.geometry import fit_similarity, warp
from faceverify.align.interface import AlignedFace, Policy
from faceverify.errors import BadData, Reason

# (photo's index, landmarks [5, 2], score, faces found)
Found = tuple[int, np.ndarray, float | None, int | None]


class Detector(Protocol):
    """A face detector with five landmarks; `DetectingAligner` makes an aligner of it."""

    name: str

    def detect(self, images: list[np.ndarray]) -> list[Detections]:
        """All faces of each photo [H, W, 3] uint8 RGB, in pixels of that photo; one result per photo, same order."""
        ...


class DetectingAligner:
    """Detect, choose one face by `policy`, fit and cut (see `Aligner`)."""

    def __init__(self, detector: Detector, policy: Policy) -> None:
        self.name = detector.name
        self._detector = detector
        self._policy = policy

    def align(self, images: list[np.ndarray], landmarks: list[np.ndarray | None]) -> list[AlignedFace | BadData]:
        """One result per photo, same order; `landmarks` is not read."""
        del landmarks
        chosen: list[Found | BadData] = []
        for i, (image, found) in enumerate(zip(images, self._detector.detect(images), strict=True)):
            index = choose(found, self._policy, *image.shape[:2])
            if isinstance(index, BadData):
                chosen.append(index)
            else:
                chosen.append((i, found.landmarks[index], float(found.scores[index]), len(found)))
        return cut(images, chosen)


def cut(images: list[np.ndarray], chosen: list[Found | BadData]) -> list[AlignedFace | BadData]:
    """Cut the chosen face out of each photo; a `BadData` passes through.

    All faces are fitted at once. Landmarks that cannot be fitted, or of which none lies in the photo, give
    BAD_LANDMARKS.
    """
    faces = [item for item in chosen if not isinstance(item, BadData)]
    points = np.stack([face[1] for face in faces]) if faces else np.zeros((0, 5, 2))
    matrices = iter(fit_similarity(points))
    return [item if isinstance(item, BadData) else _cut_one(images[item[0]], item, next(matrices)) for item in chosen]


def unfit(landmarks: np.ndarray, matrix: np.ndarray, height: int, width: int) -> BadData | None:
    """Why a face cannot be cut out of a photo of `height` x `width`: [5, 2] in its pixels, [2, 3] from it to the crop.

    None if it can be.
    """
    if not np.isfinite(matrix).all():
        return BadData(Reason.BAD_LANDMARKS, "the landmarks are not finite or all in one point")
    if not ((landmarks >= -0.5) & (landmarks < [width - 0.5, height - 0.5])).all(axis=1).any():
        return BadData(Reason.BAD_LANDMARKS, f"no landmark lies in the photo of {width}x{height} pixels")
    return None


def _cut_one(image: np.ndarray, face: Found, matrix: np.ndarray) -> AlignedFace | BadData:
    _, landmarks, score, faces_found = face
    fault = unfit(landmarks, matrix, *image.shape[:2])
    return fault or AlignedFace(warp(image, matrix), landmarks.astype(np.float32), score, faces_found)
