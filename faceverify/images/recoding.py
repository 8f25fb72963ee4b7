"""Photos stored once more, in the ways that pictures are sent on: a little cropped, shrunk, saved as JPEG or WebP.

A deepfake is pasted into a photo and saved; the real photo beside it was never saved again. A network finds that
difference first, and it says nothing of faces: no one meets fakes that are still as their generator left them. What
learns from fakes therefore has fakes and real photos stored again by the same function, with ways drawn alike.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from faceverify.images import RGB, encode_jpeg, encode_webp

PHASES = 8  # a JPEG's blocks: pixels cut off at the left and top shift the picture against those it was saved with
LEAST_SCALE = 0.5
LEAST_EYES = 32.0  # pixels between the eyes below which no photo is shrunk
QUALITIES = (50, 95)
LEAST_SIDE = 64  # pixels of a photo's shorter side below which it is saved again and nothing else

_UNSCALED, _WEBP, _TWICE = 0.25, 0.2, 0.25  # share of photos
_FILTERS = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "lanczos": cv2.INTER_LANCZOS4}


@dataclass(frozen=True, slots=True)
class Save:
    """Once through a codec; quality 1..100."""

    codec: Literal["jpeg", "webp"]
    quality: int


@dataclass(frozen=True, slots=True)
class Recoding:
    """One way to store a photo again.

    Args:
        left, top: pixels cut off there first.
        scale: by which the rest is shrunk, 0.5 to 1.
        filter: with what: area, linear, cubic or lanczos.
        saves: what it is saved as, one behind the other.
    """

    left: int
    top: int
    scale: float
    filter: str
    saves: tuple[Save, ...]

    def __str__(self) -> str:
        scale = f"scale {self.scale:.3f} {self.filter}" if self.scale < 1 else "scale 1"
        saves = " ".join(f"{save.codec} {save.quality}" for save in self.saves)
        return f"crop {self.left},{self.top} {scale} {saves}"


@dataclass(frozen=True, slots=True, eq=False)
class Recoded:
    """A photo that was stored again.

    Args:
        data: the file.
        suffix: of its name: `.jpg` or `.webp`.
        landmarks: [5, 2] float32 in its pixels; None if there were none.
        size: (height, width) in pixels.
    """

    data: bytes
    suffix: str
    landmarks: np.ndarray | None
    size: tuple[int, int]


def draw_recoding(rng: np.random.Generator, height: int, width: int, landmarks: np.ndarray | None) -> Recoding:
    """Draw how a photo is stored again; all photos draw from the same ways.

    Args:
        rng: all that is random.
        height, width: of the photo.
        landmarks: [5, 2] (x, y), the eyes first; a photo is not shrunk until these are less than LEAST_EYES apart.
    """
    left, top = rng.integers(0, PHASES, 2).tolist()
    unscaled, share = rng.random(2)
    name = list(_FILTERS)[rng.integers(len(_FILTERS))]
    saves = tuple(
        Save("webp" if rng.random() < _WEBP else "jpeg", int(rng.integers(QUALITIES[0], QUALITIES[1] + 1)))
        for _ in range(1 + (rng.random() < _TWICE))
    )
    if min(height, width) < LEAST_SIDE:
        return Recoding(0, 0, 1.0, name, saves)
    least = max(LEAST_SCALE, LEAST_SIDE / min(height, width))
    if landmarks is not None and np.isfinite(landmarks[:2]).all():
        eyes = float(np.hypot(*(landmarks[1] - landmarks[0])))
        least = max(least, min(1.0, LEAST_EYES / max(eyes, 1e-6)))
    scale = 1.0 if unscaled < _UNSCALED else least + (1 - least) * float(share)
    return Recoding(left, top, scale, name, saves)


def recode(pixels: RGB, recoding: Recoding, landmarks: np.ndarray | None = None, note: str = "") -> Recoded:
    """Store a photo again.

    Args:
        pixels: [H, W, 3] uint8 RGB, more than `left` wide and `top` high.
        recoding: in which way.
        landmarks: [5, 2] in `pixels`.
        note: XMP that goes into the file.
    """
    rest = pixels[recoding.top :, recoding.left :]
    before = np.array([rest.shape[1], rest.shape[0]])
    size = np.maximum(1, np.rint(before * recoding.scale).astype(int))
    if (size != before).any():
        rest = np.asarray(cv2.resize(rest, size.tolist(), interpolation=_FILTERS[recoding.filter]), np.uint8)
    *earlier, last = recoding.saves
    for save in earlier:
        rest = _decoded(_saved(rest, save))
    points = None
    if landmarks is not None:
        # The middle of a pixel is a whole number, its edges are halves.
        points = ((landmarks - [recoding.left, recoding.top] + 0.5) * (size / before) - 0.5).astype(np.float32)
    data, suffix = _saved(rest, last, note), ".jpg" if last.codec == "jpeg" else ".webp"
    return Recoded(data, suffix, points, (int(size[1]), int(size[0])))


def _saved(pixels: RGB, save: Save, note: str = "") -> bytes:
    encode = encode_jpeg if save.codec == "jpeg" else encode_webp
    return encode(pixels, save.quality, note)


def _decoded(data: bytes) -> RGB:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)
