"""Reduced copies and crops of many photos in one step, each output pixel the mean of the pixels it covers.

Output pixel i of n covers input pixels floor(i L / n) up to ceil((i + 1) L / n) of L: what PyTorch calls adaptive
average pooling, with which MTCNN's published code makes its pyramid and its crops. The means come from summed-area
tables (Crow, SIGGRAPH 1984): four look-ups per output pixel whatever the sizes, and exact, because they are whole
numbers. Overflow of the running sums does no harm: differences of 32-bit numbers come out right as long as the sum of
one output pixel fits.
"""

import cv2
import numpy as np
import torch
from torch import Tensor

from faceverify.align.cards import card

_NORM = np.array(card("mtcnn").mean, np.float32), np.array(card("mtcnn").std, np.float32)


class Pixels:
    """Photos [H, W, 3] uint8 RGB of any sizes, on one device.

    sizes: [photos, 2] int64, width and height.
    """

    def __init__(self, photos: list[np.ndarray], device: torch.device) -> None:
        self.sizes = np.array([photo.shape[1::-1] for photo in photos], np.int64).reshape(-1, 2)
        tables = [cv2.integral(photo, sdepth=cv2.CV_32S).reshape(-1, 3) for photo in photos]
        self._starts = np.cumsum([0, *(len(table) for table in tables)])
        self._sums = torch.from_numpy(np.concatenate(tables) if tables else np.zeros((0, 3), np.int32)).to(device)

    def copies(self, which: np.ndarray, sizes: np.ndarray, canvas: tuple[int, int]) -> Tensor:
        """Whole photos `which` [N], reduced to `sizes` [N, 2] (height, width), top-left on a canvas: see `crops`.

        What the canvas shows beside them is of no meaning.
        """
        whole = np.hstack([np.zeros_like(self.sizes[which]), self.sizes[which]])
        return self._resampled(which, whole, sizes, canvas)

    def crops(self, which: np.ndarray, areas: np.ndarray, side: int) -> Tensor:
        """Areas [N, 4] (x1 y1 x2 y2 in whole pixels, inside the photo) of photos `which` [N], as squares.

        Returns:
            [N, 3, side, side] float32 RGB, (x - 127.5) / 128, in the layout channels-last.
        """
        return self._resampled(which, areas, np.full((len(which), 2), side), (side, side))

    def _resampled(self, which: np.ndarray, areas: np.ndarray, sizes: np.ndarray, canvas: tuple[int, int]) -> Tensor:
        height, width = canvas
        top, bottom = _borders(areas[:, 1], areas[:, 3], sizes[:, 0], height)
        left, right = _borders(areas[:, 0], areas[:, 2], sizes[:, 1], width)
        count = (bottom - top)[:, :, None] * (right - left)[:, None, :]
        start, stride = self._starts[which, None], self.sizes[which, :1] + 1
        rows, columns = (start + top * stride, start + bottom * stride), (left, right)
        (above, below), (before, behind) = self._on_device(*rows), self._on_device(*columns)
        total = self._at(below, behind) - self._at(above, behind) - self._at(below, before) + self._at(above, before)
        covered, mean, std = self._on_device(np.maximum(count, 1)[..., None], *_NORM)
        return ((total / covered - mean) / std).permute(0, 3, 1, 2)

    def _at(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Running sums [N, h, w, 3] at (row, column)."""
        where = rows[:, :, None] + columns[:, None, :]
        return self._sums.index_select(0, where.flatten()).reshape(*where.shape, 3)

    def _on_device(self, *arrays: np.ndarray) -> list[Tensor]:
        return [torch.from_numpy(array).to(self._sums.device) for array in arrays]


def _borders(first: np.ndarray, last: np.ndarray, count: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """First and behind-the-last input pixel [N, length] of each output pixel; none behind the `count`-th."""
    numbers = np.minimum(np.arange(length), count[:, None])
    extent, count = (last - first)[:, None], count[:, None]
    begin = first[:, None] + numbers * extent // count
    end = first[:, None] - (-np.minimum(numbers + 1, count) * extent // count)
    return begin, end
