"""Generators that do next to nothing, for tests of the seam: what they are fed is told by the pictures they give."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from faceverify.errors import BadData, Reason, UserError
from faceverify.fakes import Description, FaceInput, Fake, IdentityVector, Request, Trained, Weights

WEIGHTS = (Weights("toy", "/nowhere/toy.onnx", "ab" * 32),)


class Stamp:
    """The first source as it is; `how` tells how many there are, the embedding's length, the batch, a draw, the GPU."""

    def __init__(self, description: Description) -> None:
        self.description = description

    def make(self, requests: Sequence[Request]) -> list[Fake | BadData]:
        assert 1 <= len(requests) <= self.description.batch
        return [self._one(request, len(requests)) for request in requests]

    @staticmethod
    def _one(request: Request, batch: int) -> Fake | BadData:
        lengths = [0.0 if s.embedding is None else float(np.linalg.norm(s.embedding)) for s in request.sources]
        draw = request.rng.random()
        if draw < 0.1:
            return BadData(Reason.NO_FACE, "one in ten")
        gpu = os.environ.get("CUDA_VISIBLE_DEVICES") or "none"
        how = f"{len(request.sources)} {lengths[0]:.4f} {batch} {draw} {gpu}"
        return Fake(request.sources[0].image, None, None, None, how)


def stamp(model: str | None = None, form: str = "unit", **options: object) -> Description:
    """A generator that takes three photos of the person and no target."""
    identity = IdentityVector(model, form) if model else None  # type: ignore[arg-type]
    facts = {"target": False, "source_photos": 3, "batch": 4, "weights": WEIGHTS} | options
    return Description(name="stamp", class_path="fakes.toys:Stamp", identity=identity, **facts)  # type: ignore[arg-type]


LEARNER = Description(name="learner", class_path="fakes.toys:Stamp", target=False, trainer="fakes.toys:learn")


def learn(faces: Iterable[tuple[int, FaceInput]], steps: int, seed: int, gpu: bool) -> Iterator[Trained | bytes]:
    """A trainer whose networks are what it was told."""
    persons = [person for person, _ in faces]
    yield Trained(steps, 0.5)
    yield json.dumps({"persons": persons, "steps": steps, "seed": seed, "gpu": gpu}).encode()


def fail(faces: Iterable[tuple[int, FaceInput]], steps: int, seed: int, gpu: bool) -> Iterator[Trained | bytes]:
    """A trainer that gives up half-way."""
    yield Trained(1, 0.5)
    raise UserError("cannot learn")
