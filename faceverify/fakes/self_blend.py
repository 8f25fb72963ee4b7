"""A photo blended with an altered copy of itself (Shiohara & Yamasaki, Detecting Deepfakes with Self-Blended Images,
CVPR 2022): the person stays, what a swap leaves behind is there.

The published recipe: colours and sharpness of one copy are changed, the source is moved and scaled a little, the mask
is bent, blurred, and weakened by a random factor. Two things differ. The photo around the face is always the untouched
copy: the recipe alters it half of the time and takes the altered copy for the real one too, but here the real photo is
a file. And lengths are shares of the face, not pixels of a crop of fixed size. Third, a blend that changed next to
nothing is drawn again: the file would be a real photo under the label of a fake.
"""

import cv2
import numpy as np

from faceverify.fakes import FaceInput, Fake, Request
from faceverify.fakes.blending import blend, to_bytes
from faceverify.fakes.checks import check_cover, check_face
from faceverify.fakes.masks import bounding_box, draw_variation, elastic, feathered, filled, outline, polygon_area
from faceverify.fakes.single_fake import SingleFakeGenerator

_STRENGTHS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)  # the recipe's
_BEND = 0.05  # of the mask, per size of the face
_COARSEST = 112.0  # pixels across: blur that would not show in an aligned crop is no trace
_VISIBLE = 8.0  # levels of 255, mean change of the face
_DRAWS = 8


class SelfBlend(SingleFakeGenerator):
    """Generator of self-blended images: a photo blended with an altered copy of itself; needs no target photo."""

    def make_one(self, request: Request) -> Fake:
        """The first source blended with an altered copy of itself; raises BadData as `self_blend` does."""
        return self_blend(request.sources[0], request.rng)


def self_blend(photo: FaceInput, rng: np.random.Generator) -> Fake:
    """The photo with its own face, altered, pasted over it; it stays as it is outside `Fake.mask`.

    Drawn up to eight times, until it is visible; the most visible one if none is (a face in the dark).

    Raises:
        BadData: BAD_LANDMARKS: not finite, all in one point, too small a face, or cut off by the edge of the photo.
    """
    check_face(photo, "source")
    drawn = [_draw(photo, rng)]
    while drawn[-1][1] < _VISIBLE and len(drawn) < _DRAWS:
        drawn.append(_draw(photo, rng))
    return max(drawn, key=lambda one: one[1])[0]


def visibility(before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> float:
    """Mean change [0, 255] of the pixels [h, w, 3] under the mask [h, w]."""
    change = cv2.absdiff(before, after)[mask > 0]
    return float(change.mean()) if change.size else 0.0


def _draw(photo: FaceInput, rng: np.random.Generator) -> tuple[Fake, float]:
    """A fake, and how visible it is."""
    points = photo.landmarks.astype(np.float64)
    shape = outline(points, draw_variation(rng))
    area = polygon_area(shape)
    size = float(np.sqrt(area))
    box = x0, y0, x1, y1 = bounding_box(shape, photo.image.shape, _BEND * size)
    host = photo.image[y0:y1, x0:x1]
    move = draw_move(points.mean(axis=0), size, rng)
    face, known = moved(photo.image, move, box)
    face, altered = altered_copy(face, size, rng)
    bent = elastic(filled(shape, box), rng, _BEND * size, 0.12 * size)
    hard = np.where(known, bent, 0).astype(np.float32)
    check_cover(hard, area)
    strength = _STRENGTHS[rng.integers(len(_STRENGTHS))]
    mask = feathered(hard, size * rng.uniform(0.05, 0.25)) * np.float32(strength)
    image = photo.image.copy()
    pasted = image[y0:y1, x0:x1] = blend(host, face, mask)
    # What is seen is a mixture of the two faces, and its landmarks lie between theirs.
    landmarks = points + strength * (points @ move[:, :2].T + move[:, 2] - points)
    fake = Fake(image, landmarks.astype(np.float32), box, mask, f"{altered}, {strength:.0%} of the copy")
    return fake, visibility(host, pasted, mask)


def draw_move(centre: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    """Where the copy's pixels go: scaled by up to 5 % around `centre` [2], shifted by up to 6 % of `size`; [2, 3].

    The recipe shifts by 3 % and 1.5 % of crops that are twice as wide and high as the face.
    """
    scale = rng.uniform(0.95, 1 / 0.95)
    shift = rng.uniform(-1, 1, 2) * [0.06, 0.04] * size
    return np.c_[np.eye(2) * scale, centre - scale * centre + shift]


def moved(image: np.ndarray, move: np.ndarray, box: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The moved picture in `box`: uint8 [h, w, 3], and where it has pixels: bool [h, w]."""
    x0, y0, x1, y1 = box
    matrix = move - [[0, 0, x0], [0, 0, y0]]
    size = (x1 - x0, y1 - y0)
    face = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    back = cv2.invertAffineTransform(move)
    x, y = np.arange(x0, x1) * back[0, 0] + back[0, 2], np.arange(y0, y1) * back[1, 1] + back[1, 2]
    return np.asarray(face), np.outer((y >= 0) & (y <= image.shape[0] - 1), (x >= 0) & (x <= image.shape[1] - 1))


def altered_copy(face: np.ndarray, size: float, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """The face with other colours, and blurred or sharpened: uint8 [h, w, 3], and which of the two.

    RGB shifts (in three of ten), brightness and contrast as in the recipe. Its shifts of hue and saturation, 0.3 of 255
    levels, change nothing and are left out.
    """
    picture = face.astype(np.float32)
    if rng.random() < 0.3:
        picture += rng.uniform(-20, 20, 3).astype(np.float32)
    contrast, brightness = 1 + rng.uniform(-0.1, 0.1), 255 * rng.uniform(-0.1, 0.1)
    picture = np.clip(picture * np.float32(contrast) + np.float32(brightness), 0, 255)
    if rng.random() < 0.5:
        return to_bytes(coarser(picture, min(rng.uniform(0.4, 0.8), _COARSEST / size))), "blurred"
    blurred = cv2.GaussianBlur(picture, (0, 0), max(0.8, 0.01 * size))
    return to_bytes(picture + np.float32(rng.uniform(0.3, 1.0)) * (picture - blurred)), "sharpened"


def coarser(picture: np.ndarray, ratio: float) -> np.ndarray:
    """Shrunk to `ratio` of its size and enlarged again: float32 [h, w, 3]."""
    height, width = picture.shape[:2]
    small = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    coarse = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR))
