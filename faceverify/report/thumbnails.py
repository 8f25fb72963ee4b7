"""Small pictures for reports."""

import cv2
import numpy as np

from faceverify.images import encode_jpeg


def thumbnail(rgb: np.ndarray, side: int = 112, quality: int = 82) -> bytes:
    """A JPEG whose longer side is `side` pixels (never enlarged), from RGB uint8 [H, W, 3]."""
    height, width = rgb.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return encode_jpeg(np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8), quality)
