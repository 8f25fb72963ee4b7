"""What the forensic network learns from: a real crop and a manipulated one of the same photo, stored again alike.

Both begin as the same patch of a photo. One is given a manipulated face; then both are cut, shrunk and saved in the
same drawn way, turned or not, and cut out. All that differs between the two is what was done to the face.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from faceverify.align.crops import Crop
from faceverify.align.cutting import cut
from faceverify.align.geometry import transform_points
from faceverify.fakes.audit import found_face
from faceverify.fakes.masks import filled, outline
from faceverify.forensics.bands import eye_distance
from faceverify.forensics.network import FIELDS, SIDE
from faceverify.forensics.patches import Patch
from faceverify.images import decode
from faceverify.images.recoding import draw_recoding, recode

CROP = Crop("arcface", SIDE, view=1.3)
"""What the network is shown: the eyes are 62 pixels apart in it."""
_LANDMARK_NOISE = 0.015  # of the eye distance: detectors differ by about as much
_CHANGED = 4.0  # levels of 255 from which on a pixel of a given fake counts as changed


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A photo as the network sees it.

    Args:
        crop: [256, 256, 3] uint8 RGB.
        eyes: eye distance in pixels of the photo that it was cut from.
        fields: [16, 16] float32, how much of each field was manipulated, 0..1.
    """

    crop: np.ndarray
    eyes: float
    fields: np.ndarray


def make_pair(real: Patch, fake: Patch, mask: np.ndarray, seed: Sequence[int]) -> tuple[Example, Example]:
    """A real photo and a manipulated one as the network sees them, stored again alike.

    Args:
        real: the photo, or another real one where the original of a fake is not known.
        fake: the same photo with another face, or one that was altered.
        mask: [H, W] float32 in 0..1 of the fake's pixels, what was manipulated.
        seed: of all that is random; photos of one size draw the same.
    """
    nothing = np.zeros(real.image.shape[:2], np.float32)
    drawn = [(real, nothing), (fake, mask)]
    one, other = (make_example(patch, share, np.random.default_rng(list(seed))) for patch, share in drawn)
    return one, other


def make_example(patch: Patch, mask: np.ndarray, rng: np.random.Generator, recoded: bool = True) -> Example:
    """A photo as the network sees it, after it was stored again in a drawn way (`recoded`) and turned or not."""
    picture, landmarks = patch.image, patch.landmarks
    if recoded:
        way = draw_recoding(rng, *picture.shape[:2], landmarks)  # pyrefly: ignore[bad-argument-count]
        stored = recode(picture, way, landmarks)
        assert stored.landmarks is not None
        picture, landmarks = decode(stored.data), stored.landmarks
        mask = cv2.resize(mask[way.top :, way.left :], picture.shape[1::-1], interpolation=cv2.INTER_AREA)
    eyes = float(eye_distance(landmarks[None])[0])
    near = landmarks + rng.normal(0, _LANDMARK_NOISE * eyes, (5, 2))
    crop, fields = cut(picture, found_face(near), CROP), fields_of(mask, near)
    if rng.random() < 0.5:
        crop, fields = np.ascontiguousarray(crop[:, ::-1]), np.ascontiguousarray(fields[:, ::-1])
    return Example(crop, eyes, fields)


def outline_mask(patch: Patch) -> np.ndarray:
    """The inner face of a photo: float32 [H, W], 1 inside."""
    height, width = patch.image.shape[:2]
    return np.asarray(filled(outline(patch.landmarks.astype(np.float64)), (0, 0, width, height)), np.float32)


def changed(real: np.ndarray, fake: np.ndarray) -> np.ndarray:
    """Where [H, W] float32 in 0..1 two pictures [H, W, 3] uint8 differ, smoothed over a few pixels."""
    apart = cv2.absdiff(real, fake).max(axis=2).astype(np.float32)
    size = max(3, round(min(real.shape[:2]) / 40)) | 1
    return np.clip(cv2.blur(apart, (size, size)) / _CHANGED, 0, 1)


def fields_of(mask: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The mean [16, 16] of a mask [H, W] float32 in each field of the crop at some landmarks."""
    face = found_face(landmarks)
    assert face.to_arcface is not None
    onto = CROP.from_arcface()
    matrix = np.c_[onto[:, :2] @ face.to_arcface[:, :2], transform_points(onto, face.to_arcface[:, 2])]
    crop = cv2.warpAffine(mask, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR)
    return np.asarray(cv2.resize(crop, (FIELDS, FIELDS), interpolation=cv2.INTER_AREA), np.float32)
