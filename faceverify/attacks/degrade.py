"""Photos made worse: noise, blur, JPEG, low resolution; the size stays."""

import hashlib

import cv2
import numpy as np

from faceverify.attacks.options import Condition
from faceverify.images import ImageLimits, decode, encode_jpeg

CROP = 112  # the unit of strengths that are lengths: the width of the arcface crop is 112 of them
_EYES = 73.5318 - 38.2946  # pixels between the eyes in that crop


def face_width(landmarks: np.ndarray | None, shape: tuple[int, ...]) -> float:
    """Pixels of a photo that the arcface crop of a face covers from left to right.

    Args:
        landmarks: [5, 2] of the face in the photo, eyes first; None where the photo is the crop.
        shape: of the photo's pixels, (height, width, 3).
    """
    if landmarks is None:
        return float(min(shape[:2]))
    return max(1.0, float(np.hypot(*(landmarks[1] - landmarks[0]))) * CROP / _EYES)


def degrade(rgb: np.ndarray, condition: Condition, width: float, photo: str, seed: int) -> np.ndarray:
    """The photo under one degradation; the same arguments give the same pixels.

    Args:
        rgb: [H, W, 3] uint8.
        condition: noise, blur, jpeg or low_resolution, and how strong (see `options.Strengths`).
        width: of the face crop in pixels of the photo, see `face_width`.
        photo: its name, from which the noise is drawn: the same pattern at all strengths.
        seed: of the noise.

    Returns:
        [H, W, 3] uint8, a new array.
    """
    match condition.attack:
        case "noise":
            pattern = generator(seed, "noise", photo).standard_normal(rgb.shape, np.float32)
            return _rounded(rgb + np.float32(condition.strength) * pattern)
        case "blur":
            return cv2.GaussianBlur(rgb, (0, 0), condition.strength * width / CROP)
        case "jpeg":
            # What was read once may be stored again, whatever the limits for strangers' files are.
            limits = ImageLimits(max_bytes=1 << 40, max_pixels=1 << 40, min_side=1)
            return decode(encode_jpeg(rgb, int(condition.strength)), limits)
        case "low_resolution":
            return _shrunk(rgb, condition.strength / width)
    raise ValueError(f"{condition.attack} is no degradation of a photo")


def generator(seed: int, *names: str) -> np.random.Generator:
    """A random generator of its own for these names, the same on every machine."""
    told = hashlib.sha256("\0".join(names).encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(told, np.uint32).tolist()])


def _shrunk(rgb: np.ndarray, scale: float) -> np.ndarray:
    """Averaged over areas to `scale` times the size and enlarged again; as it is where that would not shrink it."""
    height, width = rgb.shape[:2]
    if scale >= 1:
        return rgb.copy()
    small = cv2.resize(rgb, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
