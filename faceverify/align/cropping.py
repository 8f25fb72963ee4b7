"""From what a detector finds to the face that is taken, and how it lies: what all methods with landmarks share."""

from typing import Protocol

import numpy as np

from faceverify.align.detections import Detections, choose
from faceverify.align.found import FoundFace
from faceverify.align.geometry import fit_similarity
from faceverify.align.interface import Aligner, Policy
from faceverify.errors import BadData, Reason


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
