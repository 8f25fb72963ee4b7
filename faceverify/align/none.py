"""Aligner `none`: the photos are aligned faces already."""

import cv2
import numpy as np

from faceverify.align.interface import AlignedFace
from faceverify.errors import BadData, Reason

_SIDE = 112


class PassThroughAligner:
    """Keeps 112x112 photos exactly and resizes other square ones (an `Aligner`)."""

    name = "none"

    def align(self, images: list[np.ndarray], landmarks: list[np.ndarray | None]) -> list[AlignedFace | BadData]:
        """One result per photo, same order; NOT_ALIGNED where a photo is not square; `landmarks` is not read."""
        del landmarks
        return [_to_face(image) for image in images]


def _to_face(image: np.ndarray) -> AlignedFace | BadData:
    height, width = image.shape[:2]
    if height != width:
        return BadData(Reason.NOT_ALIGNED, f"{width}x{height} is not square: use a detector as align.method")
    if height != _SIDE:
        # Averaging keeps fine detail from aliasing when shrinking; it has no meaning when enlarging.
        way = cv2.INTER_AREA if height > _SIDE else cv2.INTER_LINEAR
        image = cv2.resize(image, (_SIDE, _SIDE), interpolation=way)
    return AlignedFace(image, None, None, None)
