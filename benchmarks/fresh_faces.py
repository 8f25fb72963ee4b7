"""Crops to learn from that are made while a training runs: real photos cut out again, fakes that never come twice.

Processes fill one block of shared memory chunk by chunk. What is in a place depends on the seed and the place alone, so
the number of processes changes nothing but the time.

Shape letters: R photos, P persons, S places.
"""

import mmap
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkProcess
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from faceverify.align.crops import ARCFACE
from faceverify.align.geometry import ARCFACE_112, fit_similarity, warp
from faceverify.errors import BadData
from faceverify.fakes import GENERATORS, FaceInput, Fake, Generator, Request, build
from faceverify.fakes.choosing import FakeId, choose, seed_of
from faceverify.fakes.photo_pool import PhotoPool, gather
from faceverify.fakes.self_blend import altered_copy
from faceverify.images import decode
from faceverify.training.augment import AugmentConfig, augment

NAMES = ("landmark_swap", "self_blend")
CANDIDATES = 16
PER_CHUNK = 8  # fakes of each person
CUTS = 2  # crops of each fake
TRIES = 5
FACE_SIZE = 70.0  # pixels, of a face in the aligned crop
SIDE = ARCFACE.size
_GRID = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), axis=-1).astype(np.float32)
VARIED = AugmentConfig(
    light=0.4,
    light_strength=0.2,
    blur=0.1,
    blur_sigma=0.8,
    noise=0.15,
    noise_sigma=5,
    jpeg=0.2,
    jpeg_quality=50,
    occlusion=0.1,
    occlusion_share=0.3,
)


@dataclass(frozen=True, eq=False)
class Photos:
    """The photos of some people in the order of `crowd`: its facts, and the pictures [R] of uint8 RGB [H,W,3]."""

    crowd: PhotoPool
    pictures: Sequence[np.ndarray]

    @classmethod
    def read(cls, rows: pa.Table, seed: int) -> "Photos":
        """Of rows with the columns of `PhotoPool`, whose `uri` are local files."""
        crowd = gather(rows, seed)
        return cls(crowd, [decode(Path(uri).read_bytes()) for uri in crowd.uris.to_pylist()])

    @property
    def persons(self) -> np.ndarray:
        """Number of the person [R] in each photo."""
        return np.repeat(np.arange(len(self.crowd.names)), self.crowd.count)

    def face(self, photo: int) -> FaceInput:
        """A photo with its landmarks."""
        return FaceInput(self.pictures[photo], self.crowd.landmarks[photo])

    def fake(self, person: int, turn: int, index: int, generators: Sequence[Generator]) -> tuple[int, Fake]:
        """The photo that was changed, and the fake with this number of a person that it became, by the generator whose
        turn it is; the next one if it fails."""
        for again in range(TRIES):
            wanted = FakeId(person, index + again * 1_000_003)
            needs = generators[turn].description
            choice = choose(self.crowd, wanted, needs, CANDIDATES)
            target = None if choice.target is None else self.face(choice.target)
            rng = np.random.default_rng(seed_of(self.crowd, wanted))
            made = generators[turn].make([Request((self.face(choice.sources[0]),), target, rng)])[0]
            if not isinstance(made, BadData):
                return choice.sources[0] if choice.target is None else choice.target, made
        raise SystemExit(f"{self.crowd.names[person]}: no fake in {TRIES} tries.")


def generators() -> list[Generator]:
    """Ours."""
    return [build(GENERATORS[name]) for name in NAMES]


def varied(image: np.ndarray, landmarks: np.ndarray, seed: tuple[int, ...]) -> np.ndarray:
    """A crop cut out a little turned, scaled, shifted and bent, its colours and sharpness altered as a whole."""
    rng = np.random.default_rng(seed)
    face = bent(image, shaken(fit_similarity(landmarks[None])[0], rng), rng)
    if rng.random() < 0.5:
        face = altered_copy(face, FACE_SIZE, rng)[0]
    return augment(face, VARIED, seed)


def plainly(image: np.ndarray, landmarks: np.ndarray, seed: tuple[int, ...]) -> np.ndarray:
    """A crop cut out as in `varied`, its pixels left as they are."""
    rng = np.random.default_rng(seed)
    return bent(image, shaken(fit_similarity(landmarks[None])[0], rng), rng)


def shaken(matrix: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The transform [2,3] from photo to crop, followed by one about the middle of the face: mostly up to 8 degrees,
    8 % and 4 pixels, else as much as a detector errs."""
    strength = 1.0 if rng.random() < 0.85 else 0.15
    angle, scale = np.deg2rad(rng.uniform(-8, 8)) * strength, np.exp(rng.uniform(-0.08, 0.08) * strength)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = ARCFACE_112.mean(axis=0)
    shift = middle - turn @ middle + rng.uniform(-4, 4, 2) * strength
    return np.c_[turn @ matrix[:, :2], turn @ matrix[:, 2] + shift]


def bent(image: np.ndarray, matrix: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The crop, in six of ten cases bent smoothly: what lies where in a photo cannot be learnt by heart then."""
    if rng.random() < 0.4:
        return warp(image, matrix)
    field = rng.normal(0, rng.uniform(0.5, 3.0), (4, 4, 2)).astype(np.float32)
    at = _GRID + cv2.resize(field, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    back = cv2.invertAffineTransform(matrix)
    x, y = np.ascontiguousarray(np.moveaxis(at @ back[:, :2].T + back[:, 2], -1, 0), np.float32)
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT))


class Pool:
    """Chunk c holds one crop of each photo, then CUTS of PER_CHUNK fakes of each person.

    Args:
        photos: of the people to learn from.
        chunks: how many are made.
        seed: of how crops are varied.
    """

    def __init__(self, photos: Photos, chunks: int, seed: int) -> None:
        self.photos, self.chunks, self.seed = photos, chunks, seed
        self.reals, self.people = len(photos.pictures), len(photos.crowd.names)
        self.fakes = PER_CHUNK * self.people
        self.size = self.reals + CUTS * self.fakes
        memory = mmap.mmap(-1, chunks * self.size * SIDE * SIDE * 3)
        self.faces = np.frombuffer(memory, np.uint8).reshape(chunks, self.size, SIDE, SIDE, 3)
        self._workers: list[ForkProcess] = []

    def start(self, processes: int) -> None:
        """Begin to fill; before CUDA is touched, since the processes are forks."""
        context = multiprocessing.get_context("fork")
        self._done = np.frombuffer(mmap.mmap(-1, 8 * processes), np.int64)
        self._workers = [context.Process(target=self._fill, args=(n, processes), daemon=True) for n in range(processes)]
        for worker in self._workers:
            worker.start()

    def wait(self, chunk: int) -> np.ndarray:
        """The crops [size,112,112,3] of a chunk, when they are there."""
        while self._done.min() <= chunk:
            if any(worker.exitcode for worker in self._workers):
                raise SystemExit("a process that makes crops has died")
            time.sleep(0.01)
        return self.faces[chunk]

    def _fill(self, number: int, processes: int) -> None:
        cv2.setNumThreads(1)
        makers = generators()
        for chunk in range(self.chunks):
            for place in range(number, self.reals + self.fakes, processes):
                if place < self.reals:
                    self._real(chunk, place)
                else:
                    self._fake(chunk, place - self.reals, makers)
            self._done[number] = chunk + 1

    def _real(self, chunk: int, photo: int) -> None:
        face = self.photos.face(photo)
        self.faces[chunk, photo] = varied(face.image, face.landmarks, (self.seed, chunk, photo))

    def _fake(self, chunk: int, number: int, makers: Sequence[Generator]) -> None:
        _, fake = self.photos.fake(*self.fake_of(chunk, number), makers)
        assert fake.landmarks is not None
        for cut in range(CUTS):
            place = self.reals + CUTS * number + cut
            self.faces[chunk, place] = varied(fake.image, fake.landmarks, (self.seed, chunk, place))

    def fake_of(self, chunk: int, number: int) -> tuple[int, int, int]:
        """Person, generator and index of a fake of a chunk."""
        index, person = divmod(number, self.people)
        return person, (index + person) % len(NAMES), chunk * PER_CHUNK + index
