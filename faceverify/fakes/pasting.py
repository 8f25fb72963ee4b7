"""Putting a network's square crop back into the photo as published swappers do it: with a square, a box, or a hull.

A crop was cut by a similarity [2, 3] from photo to crop. Its way back and its mask are part of what a swap looks like,
so they are those of the programs that people use: `square` is insightface's for inswapper (Roop), `box` facefusion's,
`hull` Ghost's. All three cut decimals off where one would round. Pictures are RGB; coordinates are (x, y) in pixels.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from faceverify.align.geometry import transform_points

Box = tuple[int, int, int, int]

_WHITE = 20  # of 255: what of the square that is brought back counts as inside
# Numbers of Ghost's 106 points: of the brows, and of the eyes' corners and lids below each.
_BROWS = np.array([43, 48, 49, 51, 50, 102, 103, 104, 105, 101])
_EYES = np.array([35, 41, 40, 42, 39, 89, 95, 94, 96, 93])
_LEFT_JAW, _RIGHT_JAW = (1, 2, 13), (17, 18, 29)


@dataclass(frozen=True, slots=True, eq=False)
class Pasted:
    """A photo with a crop pasted into it.

    Args:
        image: [H, W, 3] uint8, the whole photo.
        box: (x0, y0, x1, y1), x1 and y1 exclusive: where the mask is above 0; empty if it is so nowhere.
        mask: [y1 - y0, x1 - x0] float32, 0..1: share of the crop in each pixel.
    """

    image: np.ndarray
    box: Box
    mask: np.ndarray


def square(photo: np.ndarray, crop: np.ndarray, matrix: np.ndarray) -> Pasted:
    """Paste with the whole square, shrunk by a tenth of its side and blurred by a twentieth (insightface).

    Neither starts at the photo's edge: a face that is cut by it is pasted up to it.

    Args:
        photo: [H, W, 3] uint8.
        crop: [S, S, 3] uint8.
        matrix: [2, 3] from photo to crop.
    """
    window, back = _window(photo, len(crop), matrix, margin=1.0)
    alpha = square_mask(len(crop), back, window) / 255
    face = _brought_back(crop, back, window, cv2.BORDER_CONSTANT)
    x0, y0, x1, y1 = window
    host = photo[y0:y1, x0:x1].astype(np.float32)
    return _pasted(photo, window, alpha[..., None] * face + (1 - alpha[..., None]) * host, alpha)


def square_mask(side: int, back: np.ndarray, window: Box) -> np.ndarray:
    """The mask of `square`: [y1 - y0, x1 - x0] float32, 0..255.

    Args:
        side: of the crop.
        back: [2, 3] from crop to `window`.
        window: (x0, y0, x1, y1) in the photo; it holds the whole square, as far as the photo does.
    """
    white = _brought_back(np.full((side, side), 255, np.float32), back, window, cv2.BORDER_CONSTANT)
    white[white > _WHITE] = 255
    rows, columns = np.flatnonzero((white == 255).any(axis=1)), np.flatnonzero((white == 255).any(axis=0))
    if not len(rows):
        return np.zeros_like(white)
    size = int(math.sqrt((rows[-1] - rows[0]) * (columns[-1] - columns[0])))
    shrunk = cv2.erode(white, np.ones((max(size // 10, 10),) * 2, np.uint8))
    width = 2 * max(size // 20, 5) + 1
    return np.asarray(cv2.GaussianBlur(shrunk, (width, width), 0))


def box(photo: np.ndarray, crop: np.ndarray, matrix: np.ndarray, mask: np.ndarray) -> Pasted:
    """Paste with a mask that was made on the crop (facefusion).

    Args:
        photo: [H, W, 3] uint8.
        crop: [S, S, 3], uint8 or float 0..255 as a network gives it, not rounded.
        matrix: [2, 3] from photo to crop.
        mask: [S, S] float32 in 0..1, of `box_mask`.
    """
    window, back = _window(photo, len(crop), matrix)
    return _by_mask(photo, crop, mask, window, back)


def box_mask(size: int, blur: float = 0.3, padding: tuple[float, float, float, float] = (0, 0, 0, 0)) -> np.ndarray:
    """A square without its edges: [size, size] float32 in 0..1.

    Args:
        size: side of the crop.
        blur: how soft, as a share of half the side; as much of the edge is left out.
        padding: per cent of the side left out at least, above, on the right, below, on the left.
    """
    amount = int(size * 0.5 * blur)
    above, right, below, left = (max(amount // 2, 1, int(size * share / 100)) for share in padding)
    mask = np.ones((size, size), np.float32)
    mask[:above] = mask[-below:] = 0
    mask[:, :left] = mask[:, -right:] = 0
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), amount * 0.25)) if amount else mask


def hull(photo: np.ndarray, crop: np.ndarray, matrix: np.ndarray, mask: np.ndarray) -> Pasted:
    """Paste with the hull of the face's points (Ghost).

    Args:
        photo: [H, W, 3] uint8.
        crop: [S, S, 3] uint8.
        matrix: [2, 3] from photo to crop.
        mask: [S, S] uint8, of `hull_mask`.
    """
    window, back = _window(photo, len(crop), matrix)
    return _by_mask(photo, crop, mask / 255, window, back)


@dataclass(frozen=True, slots=True)
class HullCase:
    """One of the ways to make a hull.

    shrink: side of the square that it is eroded with, negative to grow; sigma_x, sigma_y: of the blur, in pixels;
    brows: by how many halves of their distance from the eyes the brows are raised.
    """

    shrink: int
    sigma_x: int
    sigma_y: int
    brows: float


def hull_case(swapped: np.ndarray, target: np.ndarray) -> HullCase:
    """How much smaller the hull is made: more, the narrower the new jaw is than the old one (on its wider side).

    Args:
        swapped, target: 106 points [106, 2] of the new and the old face in the 224 crop.
    """
    left = sum(float(swapped[point, 0]) - float(target[point, 0]) for point in _LEFT_JAW)
    right = sum(float(target[point, 0]) - float(swapped[point, 0]) for point in _RIGHT_JAW)
    offset = max(left, right)
    if offset > 6:
        return HullCase(15, 15, 10, 2.7)
    if offset > 3:
        return HullCase(10, 10, 8, 2.0)
    if offset < -3:
        return HullCase(-5, 5, 10, 0.5)
    return HullCase(5, 5, 5, 2.0)


def raised_brows(points: np.ndarray, amount: float) -> np.ndarray:
    """The points [106, 2] as whole numbers, the brows moved away from the eyes by `amount` halves of the distance."""
    whole = points.astype(np.int32)
    brows = whole[_BROWS]
    whole[_BROWS] = brows + amount * 0.5 * (brows - whole[_EYES])
    return whole


def hull_mask(swapped: np.ndarray, target: np.ndarray, size: int = 224) -> tuple[np.ndarray, HullCase]:
    """The mask of `hull`: [size, size] uint8, 0..255, and how it was made.

    Args:
        swapped, target: 106 points [106, 2] of the new and the old face in the crop.
        size: side of the crop.
    """
    case = hull_case(swapped, target)
    mask = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(raised_brows(swapped, case.brows)), 255)
    kernel = np.ones((abs(case.shrink),) * 2, np.uint8)
    mask = np.asarray(cv2.erode(mask, kernel) if case.shrink > 0 else cv2.dilate(mask, kernel))
    frame = 2 * case.sigma_y
    mask[:frame] = mask[-frame:] = 0
    mask[:, :frame] = mask[:, -frame:] = 0
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), sigmaX=case.sigma_x, sigmaY=case.sigma_y)), case


def _by_mask(photo: np.ndarray, crop: np.ndarray, mask: np.ndarray, window: Box, back: np.ndarray) -> Pasted:
    alpha = np.clip(_brought_back(mask, back, window, cv2.BORDER_CONSTANT), 0, 1)
    face = _brought_back(crop, back, window, cv2.BORDER_REPLICATE)
    x0, y0, x1, y1 = window
    blend = alpha[..., None].astype(np.float64)
    return _pasted(photo, window, photo[y0:y1, x0:x1] * (1 - blend) + face * blend, alpha)


def _window(photo: np.ndarray, side: int, matrix: np.ndarray, margin: float = 0.0) -> tuple[Box, np.ndarray]:
    """The part of the photo that holds a crop and `margin` sides around it, and the way [2, 3] from the crop to it."""
    back = cv2.invertAffineTransform(matrix)
    low, high = -margin * side, (1 + margin) * side
    corners = transform_points(back, np.array([[low, low], [high, low], [high, high], [low, high]]))
    height, width = photo.shape[:2]
    x0, y0 = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, [width, height])
    x1, y1 = np.clip(np.ceil(corners.max(axis=0)).astype(int), 0, [width, height])
    return (int(x0), int(y0), int(x1), int(y1)), back - [[0, 0, x0], [0, 0, y0]]


def _brought_back(crop: np.ndarray, back: np.ndarray, window: Box, border: int) -> np.ndarray:
    size = (window[2] - window[0], window[3] - window[1])
    if 0 in size:
        return np.zeros((size[1], size[0], *crop.shape[2:]), crop.dtype)
    return np.asarray(cv2.warpAffine(crop, back, size, flags=cv2.INTER_LINEAR, borderMode=border))


def _pasted(photo: np.ndarray, window: Box, blended: np.ndarray, alpha: np.ndarray) -> Pasted:
    x0, y0, x1, y1 = window
    image = photo.copy()
    image[y0:y1, x0:x1] = blended.astype(np.uint8)  # cuts the decimals off
    rows, columns = np.flatnonzero((alpha > 0).any(axis=1)), np.flatnonzero((alpha > 0).any(axis=0))
    if not len(rows):
        return Pasted(image, (0, 0, 0, 0), np.zeros((0, 0), np.float32))
    top, bottom, left, right = (int(n) for n in (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1))
    box = (x0 + left, y0 + top, x0 + right, y0 + bottom)
    return Pasted(image, box, alpha[top:bottom, left:right].astype(np.float32))
