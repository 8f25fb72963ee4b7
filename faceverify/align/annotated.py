"""Aligner `annotated`: the landmarks come from the photos table."""

import numpy as np

from faceverify.align.cropping import Found, cut
from faceverify.align.interface import AlignedFace
from faceverify.errors import BadData, Reason


class AnnotatedAligner:
    """Cuts by the given landmarks (see `Aligner`); score and faces_found are None."""

    name = "annotated"

    def align(self, images: list[np.ndarray], landmarks: list[np.ndarray | None]) -> list[AlignedFace | BadData]:
        """One result per photo, same order; NO_LANDMARKS where they are None."""
        if len(images) != len(landmarks):
            raise ValueError(f"{len(images)} images but {len(landmarks)} landmarks")
        missing = BadData(Reason.NO_LANDMARKS, "the photos table has no landmarks for this photo")
        chosen: list[Found | BadData] = [
            missing if points is None else (i, np.asarray(points), None, None) for i, points in enumerate(landmarks)
        ]
        return cut(images, chosen)
