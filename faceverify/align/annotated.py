"""Aligner `annotated`: the landmarks come from the photos table."""

import numpy as np

from faceverify.align.cropping import fitted
from faceverify.align.found import FoundFace
from faceverify.align.interface import Aligner
from faceverify.errors import BadData, Reason


class AnnotatedAligner(Aligner):
    """Takes the given landmarks; score and faces_found are None."""

    name = "annotated"

    def find(self, images: list[np.ndarray], landmarks: list[np.ndarray | None]) -> list[FoundFace | BadData]:
        """One result per photo, same order; NO_LANDMARKS where they are None."""
        if len(images) != len(landmarks):
            raise ValueError(f"{len(images)} images but {len(landmarks)} landmarks")
        missing = BadData(Reason.NO_LANDMARKS, "the photos table has no landmarks for this photo")
        chosen = [missing if points is None else FoundFace(np.asarray(points), None, None) for points in landmarks]
        return fitted(images, chosen)
