"""The part of a photo around a face, in the photo's own pixels: what fakes are made of and forensic crops are cut from.

A crop of the network's size would not do: a fake is pasted, shrunk and saved in the pixels of a photo, and only then
are its traces what they are outside.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from faceverify.errors import BadData, Reason
from faceverify.forensics.bands import eye_distance

REACH = 3.5  # eye distances from the middle of the face to each side: room for a turned crop of field 1.3
MOST_EYES = 128.0  # pixels: larger faces are shrunk to this, twice what the network sees


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A face and what surrounds it.

    Args:
        image: [H, W, 3] uint8 RGB.
        landmarks: [5, 2] float32 (x, y) in its pixels, the eyes first.
    """

    image: np.ndarray
    landmarks: np.ndarray


def cut_patch(image: np.ndarray, landmarks: np.ndarray) -> Patch:
    """The patch of a face in a photo [H, W, 3] uint8 RGB, at most 2 * REACH eye distances wide and high.

    Raises:
        BadData: BAD_LANDMARKS: not finite, in one point, or outside the photo.
    """
    eyes = float(eye_distance(landmarks[None])[0])
    height, width = image.shape[:2]
    if not np.isfinite(eyes) or eyes < 1:
        raise BadData(Reason.BAD_LANDMARKS, "the landmarks are not finite or lie in one point")
    x, y = landmarks.mean(axis=0)
    left, top = max(0, int(x - REACH * eyes)), max(0, int(y - REACH * eyes))
    right, bottom = min(width, int(x + REACH * eyes) + 1), min(height, int(y + REACH * eyes) + 1)
    if right - left < 2 or bottom - top < 2:
        raise BadData(Reason.BAD_LANDMARKS, "the face lies outside the photo")
    patch = Patch(image[top:bottom, left:right], (landmarks - [left, top]).astype(np.float32))
    return (
        shrunk(patch, MOST_EYES / eyes)
        if eyes > MOST_EYES
        else Patch(np.ascontiguousarray(patch.image), patch.landmarks)
    )


def shrunk(patch: Patch, scale: float) -> Patch:
    """The patch at `scale` (above 0, up to 1) of its size, its pixels means of those before."""
    before = np.array([patch.image.shape[1], patch.image.shape[0]])
    size = np.maximum(1, np.rint(before * scale).astype(int))
    if (size == before).all():
        return Patch(np.ascontiguousarray(patch.image), patch.landmarks)
    image = np.asarray(cv2.resize(patch.image, size.tolist(), interpolation=cv2.INTER_AREA), np.uint8)
    # The middle of a pixel is a whole number, its edges are halves.
    return Patch(image, ((patch.landmarks + 0.5) * (size / before) - 0.5).astype(np.float32))
