"""What can happen to an aligned face between the person and the file: one function each, exactly as its text says.

Faces are [112, 112, 3] uint8 RGB and are never changed in place; a new array comes back. All that is random comes from
`rng`, in the order in which the text names it. U(a, b) is uniform from a to b. Numbers are computed as float32 or
float64, clipped to 0..255 and rounded once, halves to the even level.
"""

import math

import cv2
import numpy as np

from faceverify.images import decode, encode_jpeg


def flip(face: np.ndarray) -> np.ndarray:
    """The mirror image, left for right."""
    return np.ascontiguousarray(face[:, ::-1])


def shake(face: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Turned about the middle, scaled, shifted and bent, all in one: as if its landmarks lay elsewhere.

    By strength U(-8, 8) degrees, a factor exp(strength U(-0.08, 0.08)), and strength U(-4, 4) pixels in x and y. Bent
    by a field of shifts: strength U(0, 2.5) pixels times standard normal numbers on a grid of 4x4, enlarged by bicubic
    interpolation. Bicubic; what comes in from outside is the picture mirrored at its edge pixels.
    """
    height, width = face.shape[:2]
    middle = np.array([width - 1, height - 1], np.float32) / 2
    angle, scale = np.deg2rad(strength * rng.uniform(-8, 8)), np.exp(strength * rng.uniform(-0.08, 0.08))
    shift = strength * rng.uniform(-4, 4, 2)
    field = (strength * rng.uniform(0, 2.5) * rng.standard_normal((4, 4, 2))).astype(np.float32)
    at = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1) - middle - shift
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    places = at @ turn.T + middle + cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC)
    x, y = np.ascontiguousarray(np.moveaxis(places, -1, 0), np.float32)
    return np.asarray(cv2.remap(face, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101))


def rotation(face: np.ndarray, degrees: float, rng: np.random.Generator) -> np.ndarray:
    """Turned about the middle of the picture by U(-degrees, degrees), counter-clockwise if positive.

    Bilinear; what comes in from outside is the picture mirrored at its edge pixels (`dcb|abcd|cba`).
    """
    height, width = face.shape[:2]
    middle = ((width - 1) / 2, (height - 1) / 2)
    matrix = cv2.getRotationMatrix2D(middle, rng.uniform(-degrees, degrees), 1.0)
    return np.asarray(cv2.warpAffine(face, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def occlusion(face: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """One rectangle of one colour over it, wholly inside the picture.

    Height and width are whole pixels, each uniform from 1 to `share` of the picture's side (rounded, at least 1); then
    top and left, uniform over all places; then red, green and blue, uniform from 0 to 255.
    """
    size = np.array(face.shape[:2])
    height, width = rng.integers(1, np.maximum(1, np.round(share * size)), endpoint=True)
    top, left = rng.integers(0, size - (height, width), endpoint=True)
    out = face.copy()
    out[top : top + height, left : left + width] = rng.integers(0, 256, 3)
    return out


def light(face: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Another exposure and another contrast: y = 255 min(1, g (x / 255)^c), one curve for all pixels and channels.

    Exposure g = exp(strength U(-1, 1)), then c = exp(strength U(-1, 1)): a strength of 0.3 gives 0.74 to 1.35 for both.
    """
    exposure, contrast = np.exp(strength * rng.uniform(-1, 1, 2))
    curve = _pixels(255 * np.minimum(1, exposure * (np.arange(256) / 255) ** contrast))
    return curve[face]


def blur(face: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Convolved with a Gaussian of s = U(0, sigma) pixels, cut off at ceil(3 s) pixels and normalised.

    Beyond the edge the picture is mirrored at its edge pixels.
    """
    s = rng.uniform(0, sigma)
    side = 2 * math.ceil(3 * s) + 1
    return _pixels(cv2.GaussianBlur(face.astype(np.float32), (side, side), s, borderType=cv2.BORDER_REFLECT_101))


def low_resolution(face: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Shrunk to n x n pixels by area averaging and enlarged again, bilinear; n is uniform from `side` to 111."""
    height, width = face.shape[:2]
    n = int(rng.integers(side, min(height, width)))
    small = cv2.resize(face.astype(np.float32), (n, n), interpolation=cv2.INTER_AREA)
    return _pixels(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def sharpening(face: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """y = x + a (x - b), with a = U(0, amount) and b the picture blurred by a Gaussian of 0.8 pixels, as in `blur`."""
    a = np.float32(rng.uniform(0, amount))
    picture = face.astype(np.float32)
    return _pixels(picture + a * (picture - cv2.GaussianBlur(picture, (7, 7), 0.8, borderType=cv2.BORDER_REFLECT_101)))


def noise(face: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """y = x + s n, with s = U(0, sigma) grey levels, then n standard normal, its own for each pixel and channel."""
    s = np.float32(rng.uniform(0, sigma))
    return _pixels(face + s * rng.standard_normal(face.shape, np.float32))


def jpeg(face: np.ndarray, quality: int, rng: np.random.Generator) -> np.ndarray:
    """Written as JPEG and read again; the quality is uniform from `quality` to 95, colours are halved in resolution."""
    return decode(encode_jpeg(face, int(rng.integers(quality, 95, endpoint=True))))


def _pixels(levels: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)
