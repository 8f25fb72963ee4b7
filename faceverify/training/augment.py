"""Augmentation of aligned faces: seeded, exact, and off unless asked for.

    config = AugmentConfig(blur=0.2, jpeg=0.2)
    face = augment(face, config, (seed, step, place_of_the_face_in_the_step))

The random numbers of a face come from the given integers alone, so it does not matter which worker augments it, nor
what was augmented before; and each kind has its own, so switching one on or off changes nothing about the others.
What each kind does is in `faceverify.training.corruptions`.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from faceverify.errors import UserError
from faceverify.training import corruptions


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
    """At most so many times the difference to a blurred copy is added; above 0, at most 5."""

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
            lambda face, _config, _rng: corruptions.flip(face),
            lambda face, config, rng: corruptions.shake(face, config.shake_strength, rng),
            lambda face, config, rng: corruptions.rotation(face, config.rotation_degrees, rng),
            lambda face, config, rng: corruptions.occlusion(face, config.occlusion_share, rng),
            lambda face, config, rng: corruptions.light(face, config.light_strength, rng),
            lambda face, config, rng: corruptions.blur(face, config.blur_sigma, rng),
            lambda face, config, rng: corruptions.low_resolution(face, config.low_resolution_side, rng),
            lambda face, config, rng: corruptions.sharpening(face, config.sharpening_amount, rng),
            lambda face, config, rng: corruptions.noise(face, config.noise_sigma, rng),
            lambda face, config, rng: corruptions.jpeg(face, config.jpeg_quality, rng),
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
