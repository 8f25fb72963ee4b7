"""Augmentation of aligned faces: seeded, exact, and off unless asked for.

    config = AugmentConfig(blur=0.2, jpeg=0.2)
    face = augment(face, config, (seed, step, place_of_the_face_in_the_step))

The random numbers of a face come from the given integers alone, so it does not matter which worker augments it, nor
what was augmented before; and each kind has its own, so switching one on or off changes nothing about the others.
What each kind does is in `faceverify.training.augment`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import cv2
import numpy as np

from faceverify.errors import UserError
from faceverify.images import decode, encode_jpeg


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentConfig:
    """How often each kind of augmentation happens to a face, and how strongly at most."""

    flip: float = 0.0
    """Probability of the mirror image, 0 to 1."""
    rotation: float = 0.0
    """Probability of a rotation about the middle, 0 to 1."""
    occlusion: float = 0.0
    """Probability of a rectangle of one colour over the face, 0 to 1."""
    light: float = 0.0
    """Probability of another exposure and contrast, 0 to 1."""
    blur: float = 0.0
    """Probability of a Gaussian blur, 0 to 1."""
    low_resolution: float = 0.0
    """Probability of being shrunk and enlarged again, 0 to 1."""
    noise: float = 0.0
    """Probability of Gaussian noise, 0 to 1."""
    jpeg: float = 0.0
    """Probability of a JPEG's artefacts, 0 to 1."""
    shake: float = 0.0
    """Probability of being turned, scaled, shifted and bent a little, 0 to 1."""
    sharpening: float = 0.0
    """Probability of being sharpened, 0 to 1."""

    rotation_degrees: float = 10.0
    """Largest angle, either way; above 0, at most 180."""
    occlusion_share: float = 0.4
    """Longest side of the rectangle as a share of the face's side; above 0, at most 1."""
    light_strength: float = 0.3
    """Exposure and contrast are changed by factors from exp(-s) to exp(s); above 0, at most 2."""
    blur_sigma: float = 2.0
    """Largest standard deviation in pixels; above 0, at most 30."""
    low_resolution_side: int = 28
    """Smallest side in pixels to which the face is shrunk; 4 to 111."""
    noise_sigma: float = 10.0
    """Largest standard deviation in grey levels; above 0, at most 255."""
    jpeg_quality: int = 30
    """Lowest quality; 1 to 95."""
    shake_strength: float = 1.0
    """1 = by at most 8 degrees, 8 %, 4 pixels, and bends of some pixels; above 0, at most 3."""
    sharpening_amount: float = 1.0
    """Largest multiple of the difference to a blurred copy that is added; above 0, at most 5."""

    def __post_init__(self) -> None:
        for kind in KINDS:
            value = getattr(self, kind)
            if not 0 <= value <= 1:
                raise UserError(f"augment.{kind} is {value}: give a probability from 0 to 1.")
        for name, most in _ABOVE_ZERO.items():
            value = getattr(self, name)
            if not 0 < value <= most:
                raise UserError(f"augment.{name} is {value}: give a number above 0, at most {most}.")
        for name, (least, most) in _WHOLE.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise UserError(f"augment.{name} is {value}: give a whole number from {least} to {most}.")


_ABOVE_ZERO = {
    "rotation_degrees": 180, "occlusion_share": 1, "light_strength": 2, "blur_sigma": 30, "noise_sigma": 255,
    "shake_strength": 3, "sharpening_amount": 5,
}  # fmt: skip
_WHOLE = {"low_resolution_side": (4, 111), "jpeg_quality": (1, 95)}

# In the order in which they happen to a photo: the scene, the lens, the sensor, the file.
KINDS = (
    "flip",
    "shake",
    "rotation",
    "occlusion",
    "light",
    "blur",
    "low_resolution",
    "sharpening",
    "noise",
    "jpeg",
)
STEPS: tuple[tuple[str, Callable[[np.ndarray, AugmentConfig, np.random.Generator], np.ndarray]], ...] = tuple(
    zip(
        KINDS,
        (
            lambda face, _config, _rng: flip(face),
            lambda face, config, rng: shake(face, config.shake_strength, rng),
            lambda face, config, rng: rotation(face, config.rotation_degrees, rng),
            lambda face, config, rng: occlusion(face, config.occlusion_share, rng),
            lambda face, config, rng: light(face, config.light_strength, rng),
            lambda face, config, rng: blur(face, config.blur_sigma, rng),
            lambda face, config, rng: low_resolution(face, config.low_resolution_side, rng),
            lambda face, config, rng: sharpening(face, config.sharpening_amount, rng),
            lambda face, config, rng: noise(face, config.noise_sigma, rng),
            lambda face, config, rng: jpeg(face, config.jpeg_quality, rng),
        ),
        strict=True,
    )
)
# The number of a kind's random stream: its place among the fields, so that a kind that is added changes no other.
_STREAMS = {field.name: number for number, field in enumerate(fields(AugmentConfig))}


def augment(face: np.ndarray, config: AugmentConfig, seed: tuple[int, ...]) -> np.ndarray:
    """One face, augmented.

    Each kind of `STEPS` in turn takes its own generator, PCG64 over SeedSequence(seed, spawn_key=(its place among the
    fields of AugmentConfig,)), draws U(0, 1), and happens if that is below its probability; then it draws what it needs
    itself.

    Args:
        face: [112, 112, 3] uint8 RGB; it is not changed.
        config: a kind of probability 0 draws nothing.
        seed: integers from 0 to 2^32 - 1, always equally many: the training's seed, and what tells its faces apart.

    Returns:
        A face of the same shape and type; `face` itself if nothing happened to it.
    """
    for kind, corrupt in STEPS:
        probability = getattr(config, kind)
        if probability > 0:
            rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(_STREAMS[kind],))))
            if rng.random() < probability:
                face = corrupt(face, config, rng)
    return face


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
