"""Making the fakes of some persons: photos read, the generator asked, pictures written, rows and rejects returned."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from faceverify.align import AlignConfig, FoundFace
from faceverify.align.cards import crops_for
from faceverify.align.cutting import cut
from faceverify.align.geometry import fit_similarity
from faceverify.errors import BadData
from faceverify.faces import Rejects, Stopwatch, decode_photos
from faceverify.fakes import Description, FaceInput, Fake, IdentityVector, Request, build
from faceverify.fakes.choosing import Choice, FakeId, choose, seed_of, wanted_of
from faceverify.fakes.photo_pool import PhotoPool
from faceverify.fakes.rows import STAGE, as_row, as_table, name_of
from faceverify.fakes.storing import AHEAD, Stored, mark, store
from faceverify.images import ImageLimits
from faceverify.models import EngineConfig, load_engine
from faceverify.storage import Location


@dataclass(frozen=True)
class Order:
    """What a run is to make.

    Args:
        pictures: the folder of the fakes' files.
        generators: who makes them, in turn.
        per_person: fakes of each person.
        candidates: see `choosing.choose`.
        seed: of the run; it is part of the fakes' names.
        recode: whether fakes are stored again as photos are that are sent on (see `images.recoding`).
        limits: for the photos read.
        extra: columns of the photos table beside tables.PHOTOS; null for fakes.
    """

    pictures: Location
    generators: tuple[Description, ...]
    per_person: int
    candidates: int
    seed: int
    recode: bool
    limits: ImageLimits
    extra: pa.Schema


class Maker:
    """One generator and what feeds it, loaded once."""

    def __init__(self, order: Order, turn: int, engine: EngineConfig) -> None:
        self.order, self.turn, self.needs = order, turn, order.generators[turn]
        self.generator = build(self.needs)
        identity = self.needs.identity
        self.embed = Embedding(identity, engine) if identity else None

    def make(self, pool: PhotoPool, persons: range, watch: Stopwatch) -> tuple[pa.Table, pa.Table]:
        """The fakes of some persons that fall to this generator: rows of `photos`, and of `rejects`.

        Raises:
            PlatformError: storage refuses all photos.
        """
        rows: list[dict[str, Any]] = []
        rejects = Rejects()
        for wanted, made in self._made(pool, persons, watch):
            name = name_of(pool.names[wanted.person].as_py(), self.needs.name, self.order.seed, wanted.index)
            if isinstance(made, BadData):
                rejects.add(name, STAGE, made)
                continue
            choice, fake = made
            with watch("write"):
                file = self._stored(pool, wanted, choice, fake)
                name += file.suffix
                place = self.order.pictures / name
                place.write_bytes(file.data)
            row = as_row(pool, wanted, choice, fake.how, file, self.needs)
            rows.append({"photo": name, "uri": place.uri} | row)
        return as_table(rows, self.order.extra), rejects.table()

    def _stored(self, pool: PhotoPool, wanted: FakeId, choice: Choice, fake: Fake) -> Stored:
        """The fake's file; how it is stored again is drawn apart from how it is made."""
        source, *_ = choice.sources
        target = None if choice.target is None else pool.photos[choice.target].as_py()
        rng = np.random.default_rng([seed_of(pool, wanted), 1]) if self.order.recode else None
        return store(fake, mark(self.needs.name, pool.photos[source].as_py(), target), rng)

    def _made(
        self, pool: PhotoPool, persons: range, watch: Stopwatch
    ) -> Iterator[tuple[FakeId, tuple[Choice, Fake] | BadData]]:
        """Each fake with what it was made of, or why there is none; in order."""
        prepared = self._prepared(pool, persons, watch)
        while some := list(islice(prepared, self.needs.batch)):
            good = [ready[1] for _, ready in some if not isinstance(ready, BadData)]
            with watch("make"):
                results = iter(self.generator.make(good) if good else [])
            for wanted, ready in some:
                if isinstance(ready, BadData):
                    yield wanted, ready
                    continue
                result = next(results)
                yield wanted, result if isinstance(result, BadData) else (ready[0], result)

    def _prepared(
        self, pool: PhotoPool, persons: range, watch: Stopwatch
    ) -> Iterator[tuple[FakeId, tuple[Choice, Request] | BadData]]:
        wishes = wanted_of(pool, persons, self.order.per_person, self.turn, len(self.order.generators))
        chosen = [self._choose(pool, wanted) for wanted in wishes]
        faces = self._faces(pool, [photo for choice in chosen for photo in photos_of(choice)], watch)
        for wanted, choice in zip(wishes, chosen, strict=True):
            if isinstance(choice, BadData):
                yield wanted, choice
                continue
            read = list(islice(faces, len(photos_of(choice))))
            good = [face for face in read if isinstance(face, FaceInput)]
            if len(good) < len(read):
                yield wanted, next(face for face in read if isinstance(face, BadData))
                continue
            sources = [self.embed(face) if self.embed else face for face in good[: len(choice.sources)]]
            target = None if choice.target is None else good[-1]
            rng = np.random.default_rng(seed_of(pool, wanted))
            yield wanted, (choice, Request(tuple(sources), target, rng))
        next(faces, None)  # to its end, where it tells an outage of the storage from bad photos

    def _choose(self, pool: PhotoPool, wanted: FakeId) -> Choice | BadData:
        try:
            return choose(pool, wanted, self.needs, self.order.candidates)
        except BadData as fault:
            return fault

    def _faces(self, pool: PhotoPool, photos: list[int], watch: Stopwatch) -> Iterator[FaceInput | BadData]:
        """The photos with these numbers, in order."""
        at = pa.array(photos, pa.int64())
        rows = pa.table({"photo": pool.photos.take(at), "uri": pool.uris.take(at)})
        numbers = iter(photos)
        for group in decode_photos(rows, self.order.limits, watch, AHEAD):
            for picture, number in zip(group.photos, numbers, strict=False):
                name = pool.photos[number].as_py()
                if isinstance(picture, BadData):
                    yield BadData(picture.reason, f"{name}: {picture.detail}")
                else:
                    yield FaceInput(picture.pixels, pool.landmarks[number])


class Embedding:
    """Adds the embedding that a generator asks for to a face."""

    def __init__(self, identity: IdentityVector, engine: EngineConfig) -> None:
        self.form, self.engine = identity.form, load_engine(identity.model, engine)
        [self.crop] = crops_for(AlignConfig(method="annotated"), self.engine.card.shown)

    def __call__(self, face: FaceInput) -> FaceInput:
        """The face with its embedding, of the crop that the network is shown."""
        found = FoundFace(face.landmarks, None, None, to_arcface=fit_similarity(face.landmarks[None])[0])
        vector = self.engine.embed(cut(face.image, found, self.crop)[None])[0]
        # Not `vectors.unit`: in float32, which the fakes of earlier runs were made with.
        return face.with_embedding(vector / np.linalg.norm(vector) if self.form == "unit" else vector)


def photos_of(choice: Choice | BadData) -> list[int]:
    """All photos that a fake is made of, the target last."""
    if isinstance(choice, BadData):
        return []
    return [*choice.sources, *([] if choice.target is None else [choice.target])]
