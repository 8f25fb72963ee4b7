"""Photos as a recogniser and forensic models see them, stored again in several ways; and fakes made on the spot."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from benchmarks.splits import Row
from faceverify.align import Aligner
from faceverify.align.crops import Crop
from faceverify.align.cutting import cut
from faceverify.errors import BadData
from faceverify.evaluation.deepfakes import Pictures
from faceverify.fakes import GENERATORS, FaceInput, Request, Weights, build
from faceverify.fakes.audit import found_face
from faceverify.forensics.bands import eye_distance
from faceverify.forensics.model import ForensicModel
from faceverify.images import RGB, decode, encode_jpeg
from faceverify.images.recoding import draw_recoding, recode
from faceverify.models.engines import Engine
from faceverify.models.files import sha256_of

GROUP = 32
RECODED, AS_IS = "recoded", "as is"
MORE_DRAWS = ("recoded 2", "recoded 3")
Way = Callable[[RGB, np.ndarray, int], tuple[RGB, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Photo:
    """A picture with a face in it: what it is, its pixels, and landmarks [5, 2] in them."""

    row: Row
    pixels: RGB
    landmarks: np.ndarray


def seed_of(text: str) -> int:
    """A seed that only a name decides."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def _recoded(pixels: RGB, landmarks: np.ndarray, seed: int) -> tuple[RGB, np.ndarray]:
    way = draw_recoding(np.random.default_rng(seed), *pixels.shape[:2], landmarks)  # pyrefly: ignore
    stored = recode(pixels, way, landmarks)
    assert stored.landmarks is not None
    return decode(stored.data), stored.landmarks


def _drawn_again(way: str, pixels: RGB, landmarks: np.ndarray, seed: int) -> tuple[RGB, np.ndarray]:
    return _recoded(pixels, landmarks, seed_of(f"{way} {seed}"))


def _jpeg(quality: int) -> Way:
    return lambda pixels, landmarks, _: (decode(encode_jpeg(pixels, quality)), landmarks)


def _halved(pixels: RGB, landmarks: np.ndarray, _: int) -> tuple[RGB, np.ndarray]:
    size = (max(1, pixels.shape[1] // 2), max(1, pixels.shape[0] // 2))
    half = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    scale = np.array(size) / np.array(pixels.shape[1::-1])
    return decode(encode_jpeg(half, 90)), ((landmarks + 0.5) * scale - 0.5).astype(np.float32)


WAYS: dict[str, Way] = {
    RECODED: _recoded,
    **{way: partial(_drawn_again, way) for way in MORE_DRAWS},
    AS_IS: lambda pixels, landmarks, _: (pixels, landmarks),
    "JPEG 95": _jpeg(95),
    "JPEG 90": _jpeg(90),
    "JPEG 75": _jpeg(75),
    "JPEG 50": _jpeg(50),
    "x0.5": _halved,
}


@dataclass(frozen=True, eq=False)
class Seen:
    """Pictures [N] as the networks saw them: unit embeddings [N, D], eye distances [N], scores [N] by model."""

    rows: list[Row]
    units: np.ndarray
    eyes: np.ndarray
    scores: Mapping[str, np.ndarray]

    def of(self, which: np.ndarray) -> "Seen":
        """Some of them, by a mask or indices."""
        kept = np.arange(len(self.rows))[which]
        scores = {name: some[kept] for name, some in self.scores.items()}
        return Seen([self.rows[i] for i in kept], self.units[kept], self.eyes[kept], scores)

    def pictures(self, model: str) -> Pictures:
        """As `faceverify.evaluation.deepfakes` takes them; a host is found by its path among the same pictures."""
        by_path = {row.path: score for row, score in zip(self.rows, self.scores[model], strict=True)}
        hosts = np.array([by_path.get(row.host_path, np.nan) for row in self.rows], np.float32)
        units = np.array([row.unit for row in self.rows], object)
        return Pictures(self.scores[model], self.eyes, units, hosts)


class Looker:
    """Shows photos to one recogniser and any number of forensic models."""

    def __init__(self, engine: Engine, models: Mapping[str, ForensicModel]) -> None:
        self._engine, self._models = engine, models
        self._crops = [engine.card.shown, *dict.fromkeys(model.crop for model in models.values())]

    def look(self, photos: Iterable[Photo], ways: Sequence[str]) -> dict[str, Seen]:
        """What the networks see of photos, in each of some ways of WAYS."""
        found: dict[str, list[Seen]] = {way: [] for way in ways}
        for group in _groups(photos):
            for way, seen in found.items():
                # A fake and the picture it was made from are stored again alike.
                seeds = [seed_of(one.row.host_path or one.row.path) for one in group]
                stored = [WAYS[way](one.pixels, one.landmarks, seed) for one, seed in zip(group, seeds, strict=True)]
                seen.append(self._see([one.row for one in group], stored))
        return {way: joined(seen) for way, seen in found.items()}

    def _see(self, rows: list[Row], stored: list[tuple[RGB, np.ndarray]]) -> Seen:
        eyes = eye_distance(np.stack([landmarks for _, landmarks in stored]))

        def crops(crop: Crop) -> np.ndarray:
            return np.stack([cut(pixels, found_face(landmarks), crop) for pixels, landmarks in stored])

        vectors = self._engine.embed(crops(self._crops[0])).astype(np.float64)
        units = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        shown = {crop: crops(crop) for crop in self._crops[1:]}
        scores = {name: model.scores(shown[model.crop], eyes) for name, model in self._models.items()}
        return Seen(rows, units, eyes, scores)


def joined(parts: Sequence[Seen]) -> Seen:
    """Several as one."""
    rows = [row for part in parts for row in part.rows]
    names = parts[0].scores if parts else {}
    return Seen(
        rows,
        np.concatenate([part.units for part in parts]),
        np.concatenate([part.eyes for part in parts]),
        {name: np.concatenate([part.scores[name] for part in parts]) for name in names},
    )


def _groups(photos: Iterable[Photo]) -> Iterator[list[Photo]]:
    group = list[Photo]()
    for photo in photos:
        group.append(photo)
        if len(group) == GROUP:
            yield group
            group = []
    if group:
        yield group


class Album:
    """The pictures of a split: decoded when asked for, faces looked for once.

    Attributes:
        lost: pictures in which no face was found.
    """

    def __init__(self, data: Path, aligner: Aligner) -> None:
        self._data, self._aligner = data, aligner
        self._landmarks: dict[str, np.ndarray | None] = {}
        self.lost = list[Row]()

    def photos(self, rows: Iterable[Row]) -> Iterator[Photo]:
        """Those of the rows in which there is a face."""
        for row in rows:
            pixels = decode((self._data / row.path).read_bytes())
            if row.path not in self._landmarks:
                [face] = self._aligner.find([pixels], [None])
                found = None if isinstance(face, BadData) else face.landmarks
                self._landmarks[row.path] = found
                if found is None:
                    self.lost.append(row)
            landmarks = self._landmarks[row.path]
            if landmarks is not None:
                yield Photo(row, pixels, landmarks)


def own_fakes(name: str, hosts: Sequence[Photo], networks: Path | None = None) -> Iterator[Photo]:
    """A fake by one of our generators in each host photo, of the next other person's face; hosts without are left out.

    The claimed person of a self-blend is the host.
    """
    description = GENERATORS[name]
    if networks:
        description = replace(description, weights=(Weights(networks.name, str(networks), sha256_of(networks)),))
    generator = build(description)
    for number, host in enumerate(hosts):
        others = (hosts[(number + shift) % len(hosts)] for shift in range(1, len(hosts)))
        source = next((one for one in others if one.row.person.casefold() != host.row.person.casefold()), None)
        if not description.target:
            source = host
        if source is None:
            continue
        rng = np.random.default_rng(seed_of(f"{name} {host.row.path}"))
        face, into = FaceInput(source.pixels, source.landmarks), FaceInput(host.pixels, host.landmarks)
        [made] = generator.make([Request((face,), into if description.target else None, rng)])
        if not isinstance(made, BadData):
            yield Photo(_fake_row(name, host.row, source.row), made.image, host.landmarks)


def pasted_onto_itself(hosts: Iterable[Photo]) -> Iterator[Photo]:
    """Real photos that went through the whole chain of `landmark_swap` with their own face: nothing is fake in them."""
    generator = build(GENERATORS["landmark_swap"])
    for host in hosts:
        rng, face = np.random.default_rng(seed_of(host.row.path)), FaceInput(host.pixels, host.landmarks)
        [made] = generator.make([Request((face,), face, rng)])
        if not isinstance(made, BadData):
            yield Photo(host.row, made.image, host.landmarks)


def _fake_row(name: str, host: Row, source: Row) -> Row:
    return replace(
        host,
        path=f"{name}/{host.path}",
        role="fake",
        generator=name,
        family=f"own {name}",
        person=source.person,
        unit=f"{host.person}|{source.person}",
        host_path=host.path,
        source="own",
    )
