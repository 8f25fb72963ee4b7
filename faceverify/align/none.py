"""Aligner `none`: the photos are aligned faces already."""

import numpy as np

from faceverify.align.found import FoundFace
from faceverify.align.interface import Aligner
from faceverify.errors import BadData, Reason


class PassThroughAligner(Aligner):
    """Takes square photos as crops: of the right size exactly, others resized."""

    name = "none"

    def find(self, images: list[np.ndarray], landmarks: list[np.ndarray | None]) -> list[FoundFace | BadData]:
        """One result per photo, same order; NOT_ALIGNED where a photo is not square; `landmarks` is not read."""
        del landmarks
        return [_to_face(image) for image in images]


def _to_face(image: np.ndarray) -> FoundFace | BadData:
    height, width = image.shape[:2]
    if height != width:
        return BadData(Reason.NOT_ALIGNED, f"{width}x{height} is not square: use a detector as align.method")
    return FoundFace(None, None, None)
