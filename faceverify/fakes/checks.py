"""Which faces can be worked on at all."""

import numpy as np

from faceverify.align.geometry import usable
from faceverify.errors import BadData, Reason
from faceverify.fakes import FaceInput
from faceverify.fakes.masks import outline, polygon_area
from faceverify.fakes.pasting import Pasted

LEAST_FACE = 12.0  # pixels across below which there is no face to work on
LEAST_COVER = 0.7  # of the outline: how much must lie in the photos


def check_face(face: FaceInput, which: str) -> None:
    """Refuse landmarks that make no face of some pixels in the photo.

    Raises:
        BadData: BAD_LANDMARKS, naming `which`.
    """
    if not usable(face.landmarks[None])[0]:
        raise BadData(Reason.BAD_LANDMARKS, f"{which}: the landmarks are not finite or all in one point")
    height, width = face.image.shape[:2]
    if not ((face.landmarks >= -0.5) & (face.landmarks <= [width - 0.5, height - 0.5])).all():
        raise BadData(Reason.BAD_LANDMARKS, f"{which}: a landmark lies outside the photo of {width}x{height} pixels")
    if polygon_area(outline(face.landmarks.astype(np.float64))) < LEAST_FACE**2:
        raise BadData(Reason.BAD_LANDMARKS, f"{which}: the face is smaller than {LEAST_FACE:.0f} pixels")


def check_cover(mask: np.ndarray, area: float) -> None:
    """Refuse faces of which too little can be pasted.

    Args:
        mask: [h, w], 1 where the new face has pixels and the old one is replaced.
        area: of the face's outline in square pixels.

    Raises:
        BadData: BAD_LANDMARKS.
    """
    if mask.sum() < LEAST_COVER * area:
        raise BadData(Reason.BAD_LANDMARKS, "the faces overlap too little, or a photo's edge cuts them")


def check_host(source: FaceInput, target: FaceInput) -> None:
    """Refuse a photo of the person as the host of their own face: the fake would be a real photo under a fake's label.

    Raises:
        BadData: NO_TARGET.
    """
    if source.image.shape == target.image.shape and np.array_equal(source.image, target.image):
        raise BadData(Reason.NO_TARGET, "the host's photo is the very photo of the person, under another name")


def check_pasted(pasted: Pasted) -> None:
    """Refuse a photo of which nothing was changed: the face is so small that its mask vanished.

    Raises:
        BadData: BAD_FAKE.
    """
    if not pasted.mask.size:
        raise BadData(Reason.BAD_FAKE, "nothing of the new face was pasted: too small for the blur of its edge")
