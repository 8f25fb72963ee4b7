"""A face as an aligner finds it in a photo, and as it is cut out."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class FoundFace:
    """A face in a photo, and how it lies there.

    Args:
        landmarks: [5, 2] float32 (x, y) in pixels of the photo: image-left eye, image-right eye, nose, image-left
            mouth corner, image-right mouth corner; None where nothing was looked for.
        score: the detector's confidence in [0, 1]; None where nothing was detected.
        faces_found: how many faces the detector found in the photo; None where none were counted.
        box: [4] x1 y1 x2 y2 in pixels of the photo; None where the method gives none.
        to_arcface: [2, 3] from pixels of the photo to those of the 112x112 ArcFace crop; None = the photo is the face.
        image: the 112x112 crop, where the method itself makes it.
    """

    landmarks: np.ndarray | None
    score: float | None
    faces_found: int | None
    box: np.ndarray | None = None
    to_arcface: np.ndarray | None = None
    image: np.ndarray | None = None

    @property
    def facts(self) -> tuple[np.ndarray | None, float | None, int | None]:
        """Landmarks, score, faces found."""
        return self.landmarks, self.score, self.faces_found

    def enlarged(self, times: int) -> "FoundFace":
        """The face in pixels of the photo, if it was found in a copy reduced `times` times.

        Coordinates are multiplied and no more: so do the detectors with what they find in a copy of their own, as
        published, and both together give what they give for the photo in full.
        """
        if times == 1:
            return self
        M = self.to_arcface
        return replace(
            self,
            landmarks=None if self.landmarks is None else self.landmarks * np.float32(times),
            box=None if self.box is None else self.box * times,
            to_arcface=None if M is None else np.c_[M[:, :2] / times, M[:, 2]],
        )

    def reduced(self, times: int) -> "FoundFace":
        """The face of a photo in pixels of its copy reduced `times` times, whose pixels are means of the photo's."""
        if times == 1:
            return self
        shift = (times - 1) / 2  # the middle of the pixels of which one of the copy is the mean
        M = self.to_arcface
        return replace(
            self,
            landmarks=None if self.landmarks is None else (self.landmarks - np.float32(shift)) / np.float32(times),
            box=None if self.box is None else self.box / times,
            to_arcface=None if M is None else np.c_[M[:, :2] * times, M[:, 2] + M[:, :2] @ np.full(2, shift)],
        )


@dataclass(frozen=True, slots=True, eq=False)
class AlignedFace:
    """One aligned face.

    Args:
        image: [S, S, 3] uint8 RGB: the crop.
        landmarks, score, faces_found: see `FoundFace`.
    """

    image: np.ndarray
    landmarks: np.ndarray | None
    score: float | None
    faces_found: int | None
