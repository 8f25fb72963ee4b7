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
# The same points in the crops of networks that swap faces, as shares of the side of a square crop: the templates that
# insightface 0.2.1 had for turned heads (image-left to image-right, the third is frontal), and that facefusion has.
TURNED_112 = np.array(
    [
        [[51.642, 50.115], [57.617, 49.990], [35.740, 69.007], [51.157, 89.050], [57.025, 89.702]],
        [[45.031, 50.118], [65.568, 50.872], [39.677, 68.111], [45.177, 86.190], [64.246, 86.758]],
        [[39.730, 51.138], [72.270, 51.138], [56.000, 68.493], [42.463, 87.010], [69.537, 87.010]],
        [[46.845, 50.872], [67.382, 50.118], [72.737, 68.111], [48.167, 86.758], [67.236, 86.190]],
        [[54.796, 49.990], [60.771, 50.115], [76.673, 69.007], [55.388, 89.702], [61.257, 89.050]],
    ]
)
SHARES: dict[str, np.ndarray] = {
    "arcface_112_v1": TURNED_112[2] / 112,
    "arcface_112_v2": ARCFACE_112 / 112,
    "arcface_128": (ARCFACE_112 + np.array([8.0, 0.0])) / 128,
    "ffhq_512": np.array(
        [
            [0.37691676, 0.46864664],
            [0.62285697, 0.46912813],
            [0.50123859, 0.61331904],
            [0.39308822, 0.72541100],
            [0.61150205, 0.72490465],
        ]
    ),
    "mtcnn_512": np.array(
        [
            [0.36562865, 0.46733799],
            [0.63305391, 0.46585885],
            [0.50019127, 0.61942959],
            [0.39032951, 0.77598822],
            [0.61178945, 0.77476328],
        ]
    ),
}
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
    """`fit_points` to the template of a square crop of `size` pixels, see `template`."""
    return fit_points(landmarks_N52, template(size))


def fit_points(landmarks_N52: np.ndarray, target_52: np.ndarray) -> np.ndarray:
    """Least-squares rotation, scale and shift from landmarks to five points of a crop, all faces at once.

    With a, b the centred landmarks and points: p = sum(a.b) / sum|a|^2, q = sum(a_x b_y - a_y b_x) / sum|a|^2,
    R = [[p, -q], [q, p]], t = mean(b) - R mean(a). This is Umeyama (1991) in the plane; a mirrored face stays
    mirrored, since R cannot reflect.

    Args:
        landmarks_N52: [N, 5, 2] in pixels of the photo, any float type.
        target_52: [5, 2] in pixels of the crop.

    Returns:
        [N, 2, 3] float64. Rows that `usable` refuses are NaN.
    """
    points = np.asarray(landmarks_N52, np.float64)
    ok = usable(points)
    points = np.where(ok[:, None, None], points, ARCFACE_112)
    mean, mean_target = points.mean(axis=1), target_52.mean(axis=0)
    a, b = points - mean[:, None], target_52 - mean_target
    power = (a**2).sum(axis=(1, 2))
    p = (a * b).sum(axis=(1, 2)) / power
    q = (a[..., 0] * b[:, 1] - a[..., 1] * b[:, 0]).sum(axis=1) / power
    R = np.stack([np.stack([p, -q], -1), np.stack([q, p], -1)], -2)  # [N, 2, 2]
    t = mean_target - np.einsum("nij,nj->ni", R, mean)
    matrices = np.concatenate([R, t[:, :, None]], axis=2)
    matrices[~ok] = np.nan
    return matrices


def nearest_pose(landmarks_52: np.ndarray, size: int) -> tuple[int, np.ndarray]:
    """Which of the five templates for turned heads suits best, and the similarity onto it.

    The one with the smallest sum of distances from the five points in the crop; the first of equals.

    Args:
        landmarks_52: [5, 2] in pixels of the photo, as `usable` accepts.
        size: side of the square crop.

    Returns:
        Its number 0..4 (2 is frontal), and the transform [2, 3] from photo to crop.
    """
    targets = TURNED_112 * (size / 112)
    matrices = [fit_points(landmarks_52[None], target)[0] for target in targets]
    apart = [
        np.linalg.norm(transform_points(matrix, landmarks_52) - target, axis=1).sum()
        for matrix, target in zip(matrices, targets, strict=True)
    ]
    best = int(np.argmin(apart))
    return best, matrices[best]


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
