"""Pictures with and without a face, 160x160 pixels, to train and judge a DFA: cut out of photos, moved, disturbed.

Everything is drawn from the generator that is handed in. RGB uint8; a matrix [2, 3] maps pixels of a photo to pixels of
the picture.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.harness import CORES
from faceverify.align.detections import Detections, choose
from faceverify.align.dfa_network import SIDE
from faceverify.align.geometry import transform_points
from faceverify.align.scrfd import Scrfd
from faceverify.images import decode
from faceverify.rendered import RenderedConfig, render_photo

MIRRORED = [1, 0, 2, 4, 3]  # which landmark becomes which in a mirror
DOUBTFUL = 0.3  # score from which a detection keeps a window from being called faceless


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """A photo [H, W, 3], its main face by SCRFD (box [4], landmarks [5, 2]), and all boxes it suspects [K, 4]."""

    photo: np.ndarray
    box: np.ndarray
    landmarks: np.ndarray
    boxes: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """Pixels [160, 160, 3]; box [4] and landmarks [5, 2] in shares of the side, zeros where there is no face."""

    pixels: np.ndarray
    is_face: bool
    box: np.ndarray
    landmarks: np.ndarray


def tell(paths: list[Path], weights: Path) -> list[Told]:
    """Ask SCRFD about photos; those in which it finds no face are left out."""
    teacher = Scrfd(weights.read_bytes(), "scrfd", min_score=DOUBTFUL)

    def one(path: Path) -> Told | None:
        photo = decode(path.read_bytes())
        [found] = teacher.detect([photo])
        sure = found.scores >= 0.5
        strong = Detections(found.boxes[sure], found.scores[sure], found.landmarks[sure])
        index = choose(strong, "most_central", *photo.shape[:2])
        return (
            Told(photo, strong.boxes[index], strong.landmarks[index], found.boxes) if isinstance(index, int) else None
        )

    with ThreadPoolExecutor(CORES) as pool:
        return [told for told in pool.map(one, paths) if told is not None]


def faceless_photos(photos: list[np.ndarray], weights: Path) -> list[Told]:
    """Photos of which only windows without faces are to be used."""
    teacher = Scrfd(weights.read_bytes(), "scrfd", min_score=DOUBTFUL)
    return [
        Told(photo, np.zeros(4), np.zeros((5, 2)), found.boxes)
        for photo, found in zip(photos, teacher.detect(photos), strict=True)
    ]


def drawn_photos(count: int, seed: int) -> list[np.ndarray]:
    """People drawn by the program, 320x320."""
    config = RenderedConfig(persons=count, photo_size=320, seed=seed)
    return [render_photo(config, person, 0)[0] for person in range(count)]


def whole(told: Told) -> Picture:
    """The photo as the aligner looks at it."""
    height, width = told.photo.shape[:2]
    side = max(height, width)
    scale = (SIDE - 1) / (side - 1)
    shift = scale * np.array([(side - width) // 2, (side - height) // 2])
    return _face(told, np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]))


def distant(told: Told) -> Picture:
    """The photo in the middle of a black square of twice its size."""
    middle, scale = np.array(told.photo.shape[1::-1]) / 2, SIDE / 2 / max(told.photo.shape)
    return _face(told, np.c_[np.eye(2) * scale, SIDE / 2 - scale * middle])


def side_by_side(left: Told, right: Told) -> tuple[Picture, Picture]:
    """The middle halves of two photos beside each other: one picture, once with the landmarks of each person."""
    quarter = left.photo.shape[1] // 4
    parts = [told.photo[:, quarter : told.photo.shape[1] - quarter] for told in (left, right)]
    both, width = np.hstack(parts), parts[0].shape[1]
    one, other = (
        Told(both, told.box + np.tile([shift, 0], 2), told.landmarks + np.array([shift, 0]), told.boxes)
        for told, shift in ((left, -quarter), (right, width - quarter))
    )
    return whole(one), whole(other)


def moved(told: Told, rng: np.random.Generator) -> Picture:
    """A random window around the face, turned, and mirrored every other time; brighter or darker."""
    extent = (told.box[2:] - told.box[:2]).max()
    side = extent * np.exp(rng.uniform(np.log(1.1), np.log(3.2)))
    centre = (told.box[:2] + told.box[2:]) / 2 + rng.uniform(-0.5, 0.5, 2) * (side - 0.85 * extent)
    angle, mirror = np.deg2rad(rng.normal(0, 12)), rng.choice([-1, 1])
    turn = SIDE / side * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * [mirror, 1]
    picture = _face(told, np.c_[turn, SIDE / 2 - turn @ centre], mirror == -1)
    light = picture.pixels * rng.uniform(0.6, 1.3) + rng.uniform(-30, 30)
    return Picture(light.clip(0, 255).astype(np.uint8), True, picture.box, picture.landmarks)


def corner(told: Told, rng: np.random.Generator) -> Picture:
    """A window of the photo that touches no face, enlarged; the smaller, the longer it is looked for."""
    height, width = told.photo.shape[:2]
    for tries in range(300):
        side = rng.uniform(0.2, 0.5) * 0.99**tries * min(height, width)
        low = rng.uniform(0, [width - side, height - side])
        apart = (told.boxes[:, :2] >= low + side) | (told.boxes[:, 2:] <= low)
        if apart.any(axis=1).all():
            break
    else:
        raise ValueError("the photo is full of faces")
    scale = SIDE / side
    return _faceless(cv2.warpAffine(told.photo, np.c_[np.eye(2) * scale, -scale * low], (SIDE, SIDE)))


def scrambled(told: Told, rng: np.random.Generator) -> Picture:
    """The photo cut into squares of a tenth of its side, which are put together in another order."""
    tile, count = SIDE // 10, 10
    tiles = whole(told).pixels.reshape(count, tile, count, tile, 3).swapaxes(1, 2).reshape(-1, tile, tile, 3)
    mixed = rng.permutation(tiles).reshape(count, count, tile, tile, 3).swapaxes(1, 2)
    return _faceless(mixed.reshape(SIDE, SIDE, 3))


def blurred(told: Told, rng: np.random.Generator) -> Picture:
    """A corner, out of focus."""
    return _faceless(cv2.GaussianBlur(corner(told, rng).pixels, (0, 0), rng.uniform(3, 10)))


def plain(rng: np.random.Generator) -> Picture:
    """One colour, a smooth pattern of few colours, or noise."""
    cells = int(rng.choice([1, 3, 8, SIDE]))
    grid = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    return _faceless(cv2.resize(grid, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC))


FACELESS: tuple[Callable[[Told, np.random.Generator], Picture], ...] = (corner, scrambled, blurred)


def training_pictures(faces: list[Told], drawn: list[Told], rng: np.random.Generator) -> Iterator[Picture]:
    """Without end: two thirds faces, of which a third whole photos; one third without, a fifth of it drawn."""
    while True:
        told = faces[rng.integers(len(faces))]
        if rng.random() < 2 / 3:
            yield whole(told) if rng.random() < 1 / 3 else moved(told, rng)
        elif rng.random() < 1 / 5:
            yield corner(drawn[rng.integers(len(drawn))], rng)
        else:
            yield FACELESS[rng.integers(len(FACELESS))](told, rng)


def _face(told: Told, matrix: np.ndarray, mirrored: bool = False) -> Picture:
    pixels = cv2.warpAffine(told.photo, matrix, (SIDE, SIDE))
    corners = transform_points(matrix, told.box.reshape(2, 2))
    box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
    landmarks = transform_points(matrix, told.landmarks[MIRRORED] if mirrored else told.landmarks)
    return Picture(pixels, True, box / (SIDE - 1), landmarks / (SIDE - 1))


def _faceless(pixels: np.ndarray) -> Picture:
    return Picture(pixels, False, np.zeros(4), np.zeros((5, 2)))
