"""Bringing a face from one photo into another: a similarity, and a smooth local correction on top of it.

Coordinates are (x, y) in pixels, pixel centres at whole numbers.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from faceverify.align.geometry import fit_similarity, transform_points

_REACH = 22.0  # of the correction around each landmark (standard deviation), in pixels of the 112x112 template
_RIDGE = 0.1  # keeps the correction smooth where two landmarks nearly meet


@dataclass(frozen=True, slots=True, eq=False)
class Warp:
    """From the pixels of the target to those of the source.

    matrix: [2, 3], the similarity; nodes [5, 2], shifts [5, 2], reach: the correction sum_i shifts_i
    exp(-|x - nodes_i|^2 / 2 reach^2); scale: pixels of the target per pixel of the source.
    """

    matrix: np.ndarray
    nodes: np.ndarray
    shifts: np.ndarray
    reach: float
    scale: float

    def maps(self, box: tuple[int, int, int, int]) -> np.ndarray:
        """Where in the source each pixel of `box` (x0, y0, x1, y1) of the target comes from: float32 [2, h, w]."""
        x0, y0, x1, y1 = box
        x, y = np.arange(x0, x1, dtype=np.float64), np.arange(y0, y1, dtype=np.float64)
        found = np.empty((2, len(y), len(x)))
        for axis in range(2):
            a, b, c = self.matrix[axis]
            found[axis] = a * x + (b * y + c)[:, None]
        for (u, v), shift in zip(self.nodes, self.shifts, strict=True):
            # exp(-(dx^2 + dy^2)) is a product of two: no exponential per pixel.
            bump = np.outer(self._bell(y - v), self._bell(x - u))
            found += bump * shift[:, None, None]
        return found.astype(np.float32)

    def _bell(self, distance: np.ndarray) -> np.ndarray:
        return np.exp(-(distance**2) / (2 * self.reach**2))


def face_warp(source_52: np.ndarray, target_52: np.ndarray, correction: float) -> tuple[Warp, np.ndarray]:
    """The warp that puts the face with landmarks `source_52` where the one with `target_52` is.

    The similarity is the one by which recognisers align both faces to their template. What differs then is partly the
    turn of the head and partly the person: `correction` (0..1) says how much of it is given up for the target's.

    Returns:
        The warp, and the landmarks [5, 2] of the moved face in the target.
    """
    to_template = fit_similarity(np.stack([source_52, target_52]))
    back = cv2.invertAffineTransform(to_template[0])
    matrix = back @ np.vstack([to_template[1], [0, 0, 1]])  # target -> template -> source
    moved = transform_points(cv2.invertAffineTransform(matrix), source_52)
    nodes = moved + correction * (target_52 - moved)
    template_px = 1 / np.hypot(*to_template[1][:, 0])
    reach = _REACH * template_px
    apart = ((nodes[:, None] - nodes[None]) ** 2).sum(axis=2)
    kernel = np.exp(-apart / (2 * reach**2)) + _RIDGE * np.eye(5)
    wanted = source_52 - transform_points(matrix, nodes)
    shifts = np.linalg.solve(kernel, wanted)
    warp = Warp(matrix, nodes, shifts, reach, 1 / float(np.hypot(*matrix[:, 0])))
    # The ridge leaves a rest: where the landmarks really land is a step of Newton's method away from the nodes.
    rest = wanted - (kernel - _RIDGE * np.eye(5)) @ shifts
    return warp, nodes + rest @ np.linalg.inv(matrix[:, :2]).T


def sample(image: np.ndarray, warp: Warp, box: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The source's pixels in `box` of the target, without aliasing.

    A source larger than the target is shrunk by area averaging first; a smaller one is enlarged by cubic interpolation.

    Returns:
        uint8 [h, w, 3], and where the source has pixels: bool [h, w].
    """
    maps = warp.maps(box)
    height, width = image.shape[:2]
    limit = np.array([width - 1, height - 1])[:, None, None]
    inside = np.asarray(((maps >= 0) & (maps <= limit)).all(axis=0))
    if warp.scale < 1:
        small = (max(1, round(width * warp.scale)), max(1, round(height * warp.scale)))
        image = np.asarray(cv2.resize(image, small, interpolation=cv2.INTER_AREA))
        ratio = (np.array(small) / [width, height])[:, None, None]
        maps = ((maps + 0.5) * ratio - 0.5).astype(np.float32)
    face = cv2.remap(image, maps[0], maps[1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(face), inside
