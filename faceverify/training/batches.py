"""From the rows of a step to pixels and numbers, on any CPU.

Shape letters: B pairs of one worker's share of a step.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from faceverify.errors import BadData, UserError
from faceverify.faces import SIDE
from faceverify.images import decode
from faceverify.pairs.rows import KINDS
from faceverify.training.augment import AugmentConfig, augment
from faceverify.training.material import Material
from faceverify.training.order import Order, share
from faceverify.training.recipe import BatchConfig

GetImages = Callable[[np.ndarray], list[bytes]]  # rows of the faces -> their encoded pictures


@dataclass(frozen=True, eq=False)
class Batch:
    """One worker's share of a step.

    step: from 0; faces: [2B, 112, 112, 3] uint8 RGB, all first photos of the pairs, then all second ones;
    rows: [2B] rows of the faces, likewise; label: [B] int64; kind: [B] int64, place in KINDS;
    person: [2B] int64 class of each face, -1 if it belongs to none; is_fake: [2B] bool.
    """

    step: int
    faces: np.ndarray
    rows: np.ndarray
    label: np.ndarray
    kind: np.ndarray
    person: np.ndarray
    is_fake: np.ndarray


class Feed(Protocol):
    """Gives a worker its batches."""

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """The shares of the steps first ... last - 1, in order, prepared ahead."""
        ...


@dataclass(frozen=True, eq=False)
class Recipe:
    """How the share of a step is made; the same bytes wherever and whenever it is made."""

    material: Material
    batches: BatchConfig
    augment: AugmentConfig

    def order(self) -> Order:
        """The global order of pairs, or of faces where batches are of identities.

        Raises:
            UserError: there is less than one batch.
        """
        if self.batches.kind == "identities":
            return Order(len(self.material.taught), 2 * self.batches.size, self.batches.seed)
        assert self.material.train is not None
        return Order(len(self.material.train), self.batches.size, self.batches.seed)

    def plan(self, order: Order, step: int, rank: int, workers: int) -> "Share":
        """What the share of worker `rank` of `workers` consists of."""
        chosen = share(order.rows(step), rank, workers)
        if self.batches.kind == "identities":
            rows = self.material.taught[chosen]
            half = len(rows) // 2
            label = (self.material.classes[rows[:half]] == self.material.classes[rows[half:]]).astype(np.int64)
            kind = np.where(label == 1, KINDS.index("genuine"), KINDS.index("impostor"))
        else:
            pairs = self.material.train
            assert pairs is not None
            rows = np.concatenate([pairs.a[chosen], pairs.b[chosen]]).astype(np.int64)
            label, kind = pairs.label[chosen].astype(np.int64), pairs.kind[chosen].astype(np.int64)
        places = np.concatenate([chosen, chosen + order.count]) if len(rows) == 2 * len(chosen) else chosen
        return Share(step, rows, label, kind, places, *np.unique(rows, return_inverse=True))

    def fill(self, planned: "Share", pictures: list[bytes]) -> Batch:
        """Decode and alter the faces of a share.

        Args:
            planned: the share.
            pictures: encoded, of the faces `planned.distinct`.

        Raises:
            UserError: as `decode_face`.
        """
        decoded = [decode_face(data) for data in pictures]
        # Each place of the order has random numbers of its own, so a face that comes twice is altered in two ways.
        altered = [
            augment(decoded[face], self.augment, (self.batches.seed, planned.step, int(place)))
            for face, place in zip(planned.back.tolist(), planned.places, strict=True)
        ]
        rows, material = planned.rows, self.material
        facts = material.classes[rows], material.faces.is_fake[rows]
        return Batch(planned.step, np.stack(altered), rows, planned.label, planned.kind, *facts)


@dataclass(frozen=True, eq=False)
class Share:
    """One worker's share of a step before its pictures are decoded.

    step, rows, label, kind: as of `Batch`; places: [2B] of the faces in the order of the epoch; distinct: [D] rows of
    the faces whose pictures are needed; back: [2B] which of these each face is.
    """

    step: int
    rows: np.ndarray
    label: np.ndarray
    kind: np.ndarray
    places: np.ndarray
    distinct: np.ndarray
    back: np.ndarray


def decode_face(data: bytes) -> np.ndarray:
    """The pixels [112, 112, 3] uint8 RGB of an encoded face.

    Raises:
        UserError: it cannot be decoded, or has another size; `align` does not write such.
    """
    try:
        face = decode(data)
    except BadData as fault:
        raise UserError(f"faces: a picture of the table is damaged ({fault}); run align again.") from None
    if face.shape != (SIDE, SIDE, 3):
        raise UserError(f"faces: a picture of the table is {face.shape[1]}x{face.shape[0]}, not {SIDE}x{SIDE}.")
    return face


class MemoryImages:
    """Encoded pictures held by this process: [F] binary."""

    def __init__(self, images: pa.ChunkedArray) -> None:
        self._images = images.cast(pa.large_binary()).combine_chunks()

    def __call__(self, rows: np.ndarray) -> list[bytes]:
        """The encoded pictures of rows of the faces."""
        return self._images.take(pa.array(rows)).to_pylist()
