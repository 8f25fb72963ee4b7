"""Where a photo lies in the square that DFA looks at, and the way back from what DFA says to the photo's pixels."""

from dataclasses import dataclass

import cv2
import numpy as np

from faceverify.align.dfa_network import SIDE
from faceverify.align.dfa_warp import CROP


@dataclass(frozen=True, slots=True)
class Square:
    """The smallest black square with a photo of `height` x `width` pixels in its middle."""

    height: int
    width: int

    @property
    def side(self) -> int:
        """Side of the square in pixels of the photo."""
        return max(self.height, self.width)

    @property
    def corner(self) -> np.ndarray:
        """The middle of the square's first pixel, (x, y) in pixels of the photo."""
        return -np.array([(self.side - self.width) // 2, (self.side - self.height) // 2], np.float64)

    def copy(self, photo: np.ndarray) -> np.ndarray:
        """The square at 160x160 pixels, [160, 160, 3] float32 in 0..255: what `dfa_module.network_input` makes of it.

        Only the pixels that are needed are read, so that the time does not grow with the photo.
        """
        pixels = photo.reshape(-1, photo.shape[2])
        copy = np.zeros((SIDE, SIDE, photo.shape[2]), np.float32)
        for row, row_share in _taps(self.height, self.side):
            for column, column_share in _taps(self.width, self.side):
                corners = pixels.take(row[:, None] * self.width + column, axis=0)
                copy += corners * (row_share[:, None] * column_share)[:, :, None]
        return copy

    def landmarks(self, shares: np.ndarray) -> np.ndarray:
        """[..., 2] float64 in pixels of the photo, of shares of the square's side."""
        return np.asarray(shares, np.float64) * (self.side - 1) + self.corner

    def crop_matrix(self, theta: np.ndarray) -> np.ndarray:
        """[2, 3] float64 from pixels of the photo to pixels of the crop, of `theta` [2, 3] (see `dfa_warp`)."""
        theta = np.asarray(theta, np.float64)
        S = theta[:, :2] * ((self.side - 1) / (CROP - 1))
        shift = self.landmarks((theta[:, 2] - theta[:, :2].sum(axis=1) + 1) / 2)
        return cv2.invertAffineTransform(np.c_[S, shift])


def _taps(length: int, side: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each of the 160 rows (or columns) the two of the photo that it lies between, and their shares.

    Where there is none the share is 0, which gives black.
    """
    position = np.arange(SIDE) * ((side - 1) / (SIDE - 1)) - (side - length) // 2
    low = np.floor(position).astype(np.intp)
    taps = []
    for index, share in ((low, low + 1 - position), (low + 1, position - low)):
        inside = (index >= 0) & (index < length)
        taps.append((index.clip(0, length - 1), (share * inside).astype(np.float32)))
    return taps
