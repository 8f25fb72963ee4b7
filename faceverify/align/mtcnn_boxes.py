"""Box arithmetic of MTCNN for the boxes of many photos at once.

Boxes are x1 y1 x2 y2, float32. Shape letters: N boxes.
"""

import numpy as np


def corrected(boxes_N4: np.ndarray, shifts_N4: np.ndarray, more: int) -> np.ndarray:
    """Boxes whose sides were moved by shares of their width and height; `more` counts the last pixel (1) or not (0)."""
    extent = boxes_N4[:, 2:] - boxes_N4[:, :2] + np.float32(more)
    return boxes_N4 + shifts_N4 * np.tile(extent, 2)


def squared(boxes_N4: np.ndarray) -> np.ndarray:
    """Squares with the longer side of each box, around its middle."""
    extent = boxes_N4[:, 2:] - boxes_N4[:, :2]
    side = extent.max(axis=1, keepdims=True)
    corner = boxes_N4[:, :2] + extent * np.float32(0.5) - side * np.float32(0.5)
    return np.hstack([corner, corner + side])


def pixels(boxes_N4: np.ndarray, sizes_N2: np.ndarray) -> np.ndarray:
    """The whole pixels of the photo in each box, [N, 4] int64: first and behind-the-last column and row, x1 y1 x2 y2.

    Boxes count pixels from one and include their last, as the published code does; fractions are cut towards zero.
    What lies outside the photo (`sizes_N2`: width, height) is left out, so the four may enclose nothing.
    """
    whole = boxes_N4.astype(np.int64)
    first = np.maximum(whole[:, :2], 1) - 1
    return np.hstack([first, np.minimum(whole[:, 2:], sizes_N2)])
