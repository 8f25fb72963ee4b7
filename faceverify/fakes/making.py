"""Making the fakes of some persons: photos read, the generator asked, pictures written, rows and rejects returned."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from faceverify.errors import BadData, Reason
from faceverify.faces import Rejects, Stopwatch, decode_photos
from faceverify.fakes import Description, FaceInput, Fake, IdentityVector, Request, build
from faceverify.fakes.audit import MEASURED, Recogniser, pixels_changed, sharpness
from faceverify.fakes.choosing import Choice, FakeId, choose, seed_of, wanted_of
from faceverify.fakes.photo_pool import PhotoPool
from faceverify.fakes.rows import STAGE, as_row, as_table, name_of
from faceverify.fakes.storing import AHEAD, Stored, mark, store
from faceverify.images import ImageLimits, decode
from faceverify.models import EngineConfig
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
        recogniser: says how much fakes look like the person: a registered name or a file; empty = nobody does.
        min_similarity: cosine to the person below which a fake is a reject.
        recode: whether fakes are stored again as photos are that are sent on (see `images.recoding`).
        limits: for the photos read.
        extra: columns of the photos table beside tables.PHOTOS; null for fakes.
    """

    pictures: Location
    generators: tuple[Description, ...]
    per_person: int
    candidates: int
    seed: int
    recogniser: str
    min_similarity: float
    recode: bool
    limits: ImageLimits
    extra: pa.Schema


class Maker:
    """One generator and what feeds it, loaded once."""

    def __init__(
        self, order: Order, turn: int, engine: EngineConfig, recognisers: dict[str, Recogniser] | None = None
    ) -> None:
        """Load them.

        Args:
            order: what is to be made.
            turn: the number of the generator.
            engine: how its recogniser is run.
            recognisers: those that are loaded, by name or place; one that is not there is loaded and added.
        """
        self.order, self.turn, self.needs = order, turn, order.generators[turn]
        self.generator = build(self.needs)
        identity = self.needs.identity
        loaded = {} if recognisers is None else recognisers
        for model in filter(None, (identity.model if identity else "", order.recogniser)):
            if model not in loaded:
                loaded[model] = Recogniser(model, engine)
        self.embed = Embedding(identity, loaded[identity.model]) if identity else None
        self.recogniser = loaded[order.recogniser] if order.recogniser else None

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
            ready, fake = made
            choice = ready.choice
            with watch("write"):
                file = self._stored(pool, wanted, choice, fake)
            with watch("measure"):
                measured = self._measured(ready, fake, file)
            if (person := measured["similarity_person"]) is not None and person < self.order.min_similarity:
                rejects.add(name, STAGE, BadData(Reason.UNLIKE_PERSON, f"cosine {person:.3f}"))
                continue
            with watch("write"):
                name += file.suffix
                place = self.order.pictures / name
                place.write_bytes(file.data)
            row = as_row(pool, wanted, choice, fake.how, file, self.needs, measured)
            rows.append({"photo": name, "uri": place.uri} | row)
        return as_table(rows, self.order.extra), rejects.table()

    def _stored(self, pool: PhotoPool, wanted: FakeId, choice: Choice, fake: Fake) -> Stored:
        """The fake's file; how it is stored again is drawn apart from how it is made."""
        source, *_ = choice.sources
        target = None if choice.target is None else pool.photos[choice.target].as_py()
        rng = np.random.default_rng([seed_of(pool, wanted), 1]) if self.order.recode else None
        return store(fake, mark(self.needs.name, pool.photos[source].as_py(), target), rng)

    def _measured(self, ready: "Ready", fake: Fake, file: Stored) -> dict[str, float | None]:
        """What a fake is worth (audit.MEASURED): its similarities as it is stored, the rest as it was made."""
        before = (ready.request.target or ready.request.sources[0]).image
        facts: dict[str, float | None] = dict.fromkeys(MEASURED.names)
        facts |= {"pixels_changed": pixels_changed(fake, before), "sharpness": sharpness(fake)}
        if self.recogniser and file.landmarks is not None:
            person, host = ready.other or ready.request.sources[0], ready.request.target
            made = FaceInput(decode(file.data), file.landmarks)
            cosines = self.recogniser.cosines(made, [person, *([host] if host else [])])
            facts |= zip(("similarity_person", "similarity_host"), cosines, strict=False)
        return facts

    def _made(
        self, pool: PhotoPool, persons: range, watch: Stopwatch
    ) -> Iterator[tuple[FakeId, tuple["Ready", Fake] | BadData]]:
        """Each fake with what it was made of, or why there is none; in order."""
        prepared = self._prepared(pool, persons, watch)
        while some := list(islice(prepared, self.needs.batch)):
            good = [ready.request for _, ready in some if not isinstance(ready, BadData)]
            with watch("make"):
                results = iter(self.generator.make(good) if good else [])
            for wanted, ready in some:
                if isinstance(ready, BadData):
                    yield wanted, ready
                    continue
                result = next(results)
                yield wanted, result if isinstance(result, BadData) else (ready, result)

    def _prepared(
        self, pool: PhotoPool, persons: range, watch: Stopwatch
    ) -> Iterator[tuple[FakeId, "Ready | BadData"]]:
        wishes = wanted_of(pool, persons, self.order.per_person, self.turn, len(self.order.generators))
        chosen = [self._choose(pool, wanted) for wanted in wishes]
        faces = self._faces(pool, [photo for choice in chosen for photo in self._photos_of(choice)], watch)
        known: dict[int, FaceInput] = {}  # each photo is embedded once, however many fakes are made of it
        for wanted, choice in zip(wishes, chosen, strict=True):
            if isinstance(choice, BadData):
                yield wanted, choice
                continue
            read = list(islice(faces, len(self._photos_of(choice))))
            needed = read[: len(choice.sources) + (choice.target is not None)]
            good = [face for face in needed if isinstance(face, FaceInput)]
            if len(good) < len(needed):
                yield wanted, next(face for face in needed if isinstance(face, BadData))
                continue
            sources = good[: len(choice.sources)]
            if self.embed:
                for photo, face in zip(choice.sources, sources, strict=True):
                    if photo not in known:
                        known[photo] = self.embed(face)
                sources = [known[photo] for photo in choice.sources]
            target = None if choice.target is None else good[-1]
            other = next((face for face in read[len(needed) :] if isinstance(face, FaceInput)), None)
            rng = np.random.default_rng(seed_of(pool, wanted))
            yield wanted, Ready(choice, Request(tuple(sources), target, rng), other)
        next(faces, None)  # to its end, where it tells an outage of the storage from bad photos

    def _photos_of(self, choice: Choice | BadData) -> list[int]:
        """All photos that a fake is made of, the target last; behind them the one that it is compared with."""
        if isinstance(choice, BadData):
            return []
        others = [choice.other] if self.recogniser else []
        return [photo for photo in (*choice.sources, choice.target, *others) if photo is not None]

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


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """A fake to be made; `other`: a photo of the person that it is not made of."""

    choice: Choice
    request: Request
    other: FaceInput | None


class Embedding:
    """Adds the embedding that a generator asks for to a face."""

    def __init__(self, identity: IdentityVector, recogniser: Recogniser) -> None:
        self.form, self.recogniser = identity.form, recogniser

    def __call__(self, face: FaceInput) -> FaceInput:
        """The face with its embedding, of the crop that the network is shown."""
        [vector] = self.recogniser.embed([face])
        # Not `vectors.unit`: in float32, which the fakes of earlier runs were made with.
        return face.with_embedding(vector / np.linalg.norm(vector) if self.form == "unit" else vector)
