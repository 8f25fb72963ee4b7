"""Five landmarks, the ArcFace template, and the similarity transform between them.

Coordinates are (x, y) in pixels with pixel centres at whole numbers. A transform is a 2x3 matrix M = [R | t] that maps
points of the photo to points of the crop: crop = R photo + t.

Shape letters: N faces, 5 landmarks.
"""

import cv2
import numpy as np

# Image-left eye, image-right eye, nose, image-left and image-right mouth corner in the 112x112 crop
# (Deng et al., ArcFace, CVPR 2019, as published with insightface, where the numbers are rounded to float32 first).
ARCFACE_112 = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
).astype(np.float64)
# Root mean square distance of the landmarks from their mean, in pixels, below which they are one point.
_MIN_SPREAD = 1e-3


def template(size: int) -> np.ndarray:
    """The five template points [5, 2] for a square crop of `size` pixels.

    Multiples of 112 scale the template. Multiples of 128 (swap networks) scale it by size/128 and move it to the right
    by 8 * size/128, which leaves a margin on both sides and below.

    Raises:
        ValueError: `size` is a multiple of neither.
    """
    if size > 0 and size % 112 == 0:
        return ARCFACE_112 * (size / 112)
    if size > 0 and size % 128 == 0:
        return (ARCFACE_112 + np.array([8.0, 0.0])) * (size / 128)
    raise ValueError(f"crop size {size} is a multiple of neither 112 nor 128")


def usable(landmarks_N52: np.ndarray) -> np.ndarray:
    """Mask [N]: which sets of landmarks are finite, and not all in one point."""
    points = np.asarray(landmarks_N52, np.float64)
    finite = np.isfinite(points.reshape(-1, 10)).all(axis=-1)
    points = np.where(finite.reshape(-1, 1, 1), points, 0.0)
    centred = points - points.mean(axis=1, keepdims=True)
    return finite & (np.sqrt((centred**2).sum(axis=2).mean(axis=1)) >= _MIN_SPREAD)


def fit_similarity(landmarks_N52: np.ndarray, size: int = 112) -> np.ndarray:
    """Least-squares rotation, scale and shift from landmarks to the template, all faces at once.

    With a, b the centred landmarks and template points: p = sum(a.b) / sum|a|^2, q = sum(a_x b_y - a_y b_x) / sum|a|^2,
    R = [[p, -q], [q, p]], t = mean(b) - R mean(a). This is Umeyama (1991) in the plane; a mirrored face stays
    mirrored, since R cannot reflect.

    Args:
        landmarks_N52: [N, 5, 2] in pixels of the photo, any float type.
        size: side of the square crop, see `template`.

    Returns:
        [N, 2, 3] float64. Rows that `usable` refuses are NaN.
    """
    points = np.asarray(landmarks_N52, np.float64)
    ok = usable(points)
    points = np.where(ok[:, None, None], points, ARCFACE_112)
    target = template(size)
    mean, mean_target = points.mean(axis=1), target.mean(axis=0)
    a, b = points - mean[:, None], target - mean_target
    power = (a**2).sum(axis=(1, 2))
    p = (a * b).sum(axis=(1, 2)) / power
    q = (a[..., 0] * b[:, 1] - a[..., 1] * b[:, 0]).sum(axis=1) / power
    R = np.stack([np.stack([p, -q], -1), np.stack([q, p], -1)], -2)  # [N, 2, 2]
    t = mean_target - np.einsum("nij,nj->ni", R, mean)
    matrices = np.concatenate([R, t[:, :, None]], axis=2)
    matrices[~ok] = np.nan
    return matrices


def transform_points(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points [..., 2] moved by one transform [2, 3]."""
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def warp(image: np.ndarray, matrix: np.ndarray, size: int = 112, border: int = cv2.BORDER_CONSTANT) -> np.ndarray:
    """Sample a photo bilinearly, once per pixel of the result.

    There is no smoothing first, so a face much larger than the crop is sampled sparsely: what published networks were
    trained and tested with.

    Args:
        image: [H, W, 3] uint8, any colour order.
        matrix: [2, 3] from photo to crop.
        size: side of the crop in pixels.
        border: what lies outside the photo, a constant of OpenCV; black unless given.

    Returns:
        [size, size, 3] uint8, colour order as given.
    """
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border)
