"""Bands of face size, by which forensic scores are judged.

A face's size is its eye distance: how far apart the eyes of a frontal face of that size are, in pixels of the photo. It
is taken from the similarity that fits all five landmarks, so a turned head is as large as a frontal one.
"""

from dataclasses import dataclass

import numpy as np

from faceverify.align.geometry import ARCFACE_112, fit_similarity

LEAST_EYES = 32.0
"""Eye distance in pixels below which no photo is judged."""
TOO_SMALL = -1
"""Number of the band of a face that is too small, or whose landmarks are not known."""


@dataclass(frozen=True, slots=True)
class Band:
    """Faces whose eye distance is at least `least` and below `below` pixels."""

    name: str
    least: float
    below: float


BANDS = (Band("32-48", LEAST_EYES, 48.0), Band("48-64", 48.0, 64.0), Band("64+", 64.0, np.inf))
EYES_112 = float(np.hypot(*(ARCFACE_112[1] - ARCFACE_112[0])))
"""Eye distance in pixels of the 112x112 ArcFace crop: 35.2."""


def eye_distance(landmarks: np.ndarray) -> np.ndarray:
    """Eye distance [N] float32 in pixels of the photo.

    Args:
        landmarks: [N, 5, 2] (x, y) in pixels of the photo. Rows that are not finite, or all in one point, give NaN.
    """
    matrices = fit_similarity(np.asarray(landmarks, np.float64).reshape(-1, 5, 2))
    scale = np.hypot(matrices[:, 0, 0], matrices[:, 1, 0])
    return (EYES_112 / scale).astype(np.float32)


def band_of(eyes: np.ndarray) -> np.ndarray:
    """Numbers [N] int8 of the bands in BANDS of eye distances [N]; TOO_SMALL below LEAST_EYES and for NaN."""
    eyes = np.asarray(eyes, np.float32)
    found = np.searchsorted([band.least for band in BANDS], eyes, side="right") - 1
    return np.where(np.isnan(eyes), TOO_SMALL, found).astype(np.int8)
