"""Generators that learn: networks trained once per run on the people's photos, or taken from an earlier run."""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Annotated

import numpy as np
import pyarrow as pa
from annotated_types import Interval

from faceverify.errors import BadData, UserError
from faceverify.faces import Stopwatch, decode_photos
from faceverify.fakes import Description, FaceInput, Trained, Trainer, Weights
from faceverify.fakes.photo_pool import PhotoPool
from faceverify.images import ImageLimits
from faceverify.storage import Location

NETWORKS = "networks"  # the folder of them in a run's output
_AHEAD = 16  # photos requested from storage and decoded at a time


@dataclass(frozen=True, kw_only=True, slots=True)
class Learning:
    """How generators that learn from the photos are trained."""

    steps: Annotated[int, Interval(ge=1, le=10_000_000)] = 1000
    """Steps of training of each generator that learns; 1000 take some minutes on two cores."""
    photos: Annotated[int, Interval(ge=1, le=100_000)] = 2000
    """Real photos that it learns from at most, drawn at random; each takes 62 kB of memory."""


def place_of(out: Location, generator: str) -> Location:
    """Where a run keeps the networks of a generator."""
    return out / NETWORKS / f"{generator}.safetensors"


def learn(
    needs: Description, pool: PhotoPool, how: Learning, limits: ImageLimits, seed: int, gpu: bool, place: Location
) -> Iterator[Trained]:
    """Train the networks of a generator and write them to `place`, whole or not at all; tells how far it is.

    Raises:
        UserError: none of the photos can be learnt from.
        PlatformError: storage refuses.
    """
    assert needs.trainer is not None
    module, _, name = needs.trainer.partition(":")
    trainer: Trainer = getattr(import_module(module), name)
    for told in trainer(_drawn_faces(pool, how.photos, limits, seed), how.steps, seed, gpu):
        if isinstance(told, bytes):
            place.write_bytes(told)
        else:
            yield told


def with_networks(needs: Description, place: Location) -> Description:
    """The generator with its trained networks as weights; they lie at `place`."""
    return replace(needs, weights=(Weights(needs.name, place.uri, place.sha256()),))


def given_networks(given: Location, needs: Description) -> Location:
    """The networks of a generator that an earlier run has trained.

    Raises:
        UserError: there are none, or the file is damaged.
    """
    place = place_of(given, needs.name)
    if not place.is_file():
        raise UserError(
            f"networks: '{given}' holds no networks of {needs.name}; give the output folder of a run of fakes that "
            "made some with it, or leave the option out."
        )
    if not _is_whole(place.read_bytes(), needs.name):
        raise UserError(
            f"networks: '{place}' is damaged, or holds no networks of {needs.name}; copy it again, or leave the option "
            "out."
        )
    return place


def _is_whole(data: bytes, generator: str) -> bool:
    """Whether a safetensors file names the generator, and its tensors end where the file does."""
    try:
        length = struct.unpack_from("<Q", data)[0]
        head = json.loads(data[8 : 8 + length])
        ends = [tensor["data_offsets"][1] for name, tensor in head.items() if name != "__metadata__"]
        return generator in head["__metadata__"] and 8 + length + max(ends) == len(data)
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _drawn_faces(pool: PhotoPool, most: int, limits: ImageLimits, seed: int) -> Iterator[tuple[int, FaceInput]]:
    """Photos of the pool drawn at random, by person; those that cannot be read are left out."""
    count = len(pool.photos)
    drawn = np.sort(np.random.default_rng(seed).permutation(count)[:most])
    # Persons without photos start where the next one does, so the last of those that start there has it.
    persons = np.searchsorted(pool.start, drawn, side="right") - 1
    at = pa.array(drawn)
    rows = pa.table({"photo": pool.photos.take(at), "uri": pool.uris.take(at)})
    numbers = iter(zip(drawn.tolist(), persons.tolist(), strict=True))
    for group in decode_photos(rows, limits, Stopwatch(), _AHEAD):
        for picture, (number, person) in zip(group.photos, numbers, strict=False):
            if not isinstance(picture, BadData):
                yield person, FaceInput(picture.pixels, pool.landmarks[number])
