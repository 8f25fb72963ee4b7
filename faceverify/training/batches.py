"""From pairs to batches of pixels: the order of an epoch, a worker's share of a step, decoding ahead of training.

Shape letters: B pairs of one worker's share of a step.
"""

import ctypes
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import cv2
import numpy as np
import pyarrow as pa
from torch.utils.data import DataLoader, Dataset

from faceverify.align.crops import ARCFACE
from faceverify.errors import BadData, UserError
from faceverify.images import decode
from faceverify.inputs import stream_table
from faceverify.models.parity import PairFaces
from faceverify.pairs.rows import KINDS
from faceverify.storage import Location
from faceverify.training.augment import AugmentConfig, augment
from faceverify.training.config import BatchConfig
from faceverify.training.material import Material, Pairs

FetchImages = Callable[[np.ndarray], list[bytes]]  # rows of the faces table -> their encoded pictures
PREFETCH = 3  # batches that each process makes in advance
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl


@dataclass
class EpochOrder:
    """A seeded order of `count` rows in batches of `size`: new in every epoch, the same for any number of workers.

    Every row comes once an epoch; an incomplete last batch is left out.

    Raises:
        UserError: `count` is less than `size`.
    """

    count: int
    size: int
    seed: int
    _epoch: int = -1
    _rows: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        if self.count < self.size:
            raise UserError(f"batches.size is {self.size}, but there are only {self.count:,} to draw from: give fewer.")

    @property
    def per_epoch(self) -> int:
        """Number of batches in an epoch."""
        return self.count // self.size

    def rows(self, step: int) -> np.ndarray:
        """The rows [size] of the batch of a step (0-based, over all epochs)."""
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._rows = np.random.default_rng([self.seed, epoch]).permutation(self.count)
            self._epoch = epoch
        return self._rows[place * self.size : (place + 1) * self.size]


def worker_rows(rows: np.ndarray, rank: int, workers: int) -> np.ndarray:
    """One worker's rows of a batch.

    All workers have equally many, so that the mean of their means is the mean of the batch.

    Raises:
        UserError: the batch size is no multiple of `workers`.
    """
    if len(rows) % workers:
        raise UserError(f"batches.size is {len(rows)}, which {workers} workers cannot share evenly: give a multiple.")
    each = len(rows) // workers
    return rows[rank * each : (rank + 1) * each]


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


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """One worker's share of a step before its pictures are decoded.

    step, rows, label, kind: as in `Batch`; places: [2B] places of the faces in the order of the epoch, which seed
    their augmentation; distinct: [D] rows of the faces whose pictures are needed; back: [2B] index into `distinct`.
    """

    step: int
    rows: np.ndarray
    label: np.ndarray
    kind: np.ndarray
    places: np.ndarray
    distinct: np.ndarray
    back: np.ndarray


@dataclass(frozen=True, eq=False)
class BatchBuilder:
    """Makes batches from the material; the same bytes for the same step wherever and whenever they are made."""

    material: Material
    batches: BatchConfig
    augment: AugmentConfig

    batch_type = Batch

    def order(self) -> EpochOrder:
        """The order of the training pairs, or of the faces where batches are of identities.

        Raises:
            UserError: there are fewer than one batch takes.
        """
        if self.batches.kind == "identities":
            return EpochOrder(len(self.material.train_faces), 2 * self.batches.size, self.batches.seed)
        assert self.material.train is not None
        return EpochOrder(len(self.material.train), self.batches.size, self.batches.seed)

    def plan(self, order: EpochOrder, step: int, rank: int, workers: int) -> BatchPlan:
        """Which faces and labels the share of worker `rank` of `workers` consists of."""
        chosen = worker_rows(order.rows(step), rank, workers)
        if self.batches.kind == "identities":
            rows = self.material.train_faces[chosen]
            half = len(rows) // 2
            label = (self.material.classes[rows[:half]] == self.material.classes[rows[half:]]).astype(np.int64)
            kind = np.where(label == 1, KINDS.index("genuine"), KINDS.index("impostor"))
        else:
            pairs = self.material.train
            assert pairs is not None
            rows = np.concatenate([pairs.a[chosen], pairs.b[chosen]]).astype(np.int64)
            label, kind = pairs.label[chosen].astype(np.int64), pairs.kind[chosen].astype(np.int64)
        places = np.concatenate([chosen, chosen + order.count]) if len(rows) == 2 * len(chosen) else chosen
        return BatchPlan(step, rows, label, kind, places, *np.unique(rows, return_inverse=True))

    def build(self, planned: BatchPlan, pictures: list[bytes]) -> Batch:
        """Decode and augment the faces of a planned share.

        Args:
            planned: the share.
            pictures: encoded pictures of the faces `planned.distinct`.

        Raises:
            UserError: a picture is damaged or of another size.
        """
        decoded = [decode_face(data) for data in pictures]
        # Each place of the order has random numbers of its own, so a face that comes twice is augmented in two ways.
        augmented = [
            augment(decoded[face], self.augment, (self.batches.seed, planned.step, int(place)))
            for face, place in zip(planned.back.tolist(), planned.places, strict=True)
        ]
        rows, material = planned.rows, self.material
        facts = material.classes[rows], material.faces.is_fake[rows]
        return Batch(planned.step, np.stack(augmented), rows, planned.label, planned.kind, *facts)


def decode_face(data: bytes) -> np.ndarray:
    """The pixels [112, 112, 3] uint8 RGB of an encoded face.

    Raises:
        UserError: it cannot be decoded or has another size, which `align` never writes.
    """
    try:
        face = decode(data)
    except BadData as fault:
        raise UserError(f"faces: a picture of the table is damaged ({fault}); run align again.") from None
    if face.shape != (ARCFACE.size, ARCFACE.size, 3):
        raise UserError(
            f"faces: a picture of the table is {face.shape[1]}x{face.shape[0]}, not {ARCFACE.size}x{ARCFACE.size}."
        )
    return face


class MemoryImages:
    """A `FetchImages` over encoded pictures [F] (binary) in the memory of this process."""

    def __init__(self, images: pa.ChunkedArray) -> None:
        self._images = images.cast(pa.large_binary()).combine_chunks()

    def __call__(self, rows: np.ndarray) -> list[bytes]:
        """The encoded pictures of rows of the faces table."""
        return self._images.take(pa.array(rows)).to_pylist()


Undecoded = tuple[Any, list[bytes]]


class BatchLoader:
    """Gives a worker its batches, in order and prepared ahead by a PyTorch DataLoader.

    The encoded pictures are fetched in the process that trains, which may be a worker of Ray. They are decoded and
    augmented in processes that are forked from it and know nothing of Ray.

    Args:
        builder: makes the batches: a `BatchBuilder`, or what has its methods.
        images: fetches the encoded pictures of faces.
        rank: number of this worker.
        workers: number of workers.
        processes: number of processes that prepare batches; 0 = the calling process does, on demand.
    """

    def __init__(self, builder: Any, images: FetchImages, rank: int = 0, workers: int = 1, processes: int = 0) -> None:
        self._builder, self._images, self._rank, self._workers = builder, images, rank, workers
        self._processes = processes

    def batches(self, first: int, last: int) -> Iterator[Any]:
        """This worker's shares of the steps first ... last - 1.

        Raises:
            UserError: a picture is damaged.
        """
        order = self._builder.order()

        def wanted() -> Iterator[Undecoded]:
            for step in range(first, last):
                planned = self._builder.plan(order, step, self._rank, self._workers)
                yield planned, self._images(planned.distinct)

        options: dict[str, Any] = {}
        if self._processes:
            cv2.setNumThreads(0)  # threads do not outlive a fork, and OpenCV would wait for them in vain
            options = {"prefetch_factor": PREFETCH, "multiprocessing_context": "fork", "worker_init_fn": _start_process}
        dataset = _Batches(self._builder)
        loader = DataLoader(
            dataset, batch_size=None, sampler=cast(Any, wanted()), num_workers=self._processes, **options
        )
        for arrays in loader:
            if isinstance(arrays, UserError):
                raise arrays
            step = arrays.pop("step")
            yield self._builder.batch_type(step, **{name: one.numpy() for name, one in arrays.items()})


class _Batches(Dataset):
    """Batches by their plans; the DataLoader turns their arrays into tensors in shared memory."""

    def __init__(self, builder: Any) -> None:
        self._builder = builder

    def __getitem__(self, index: Undecoded) -> dict[str, Any] | UserError:
        try:
            return vars(self._builder.build(*index))
        except UserError as error:
            return error  # raised here it would come with the stack of this process in its text


def _start_process(_: int) -> None:
    """End a loader process with its parent, whose connections it inherits."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def decode_pairs(faces: list[Location], pairs: Pairs) -> PairFaces:
    """Decode the faces of some pairs of a faces table.

    Args:
        faces: files of the faces table.
        pairs: pairs whose rows are of that table.

    Raises:
        UserError: a picture is damaged.
    """
    rows, places = np.unique(np.concatenate([pairs.a, pairs.b]), return_inverse=True)
    a, b = places.reshape(2, -1)
    return PairFaces(np.stack(list(_decoded_rows(faces, rows))), a, b, pairs.label)


def _decoded_rows(faces: list[Location], rows: np.ndarray) -> Iterator[np.ndarray]:
    """The decoded pictures of ascending rows of the table."""
    start = 0
    for table in stream_table(faces, ["image"], rows=4096):
        wanted = rows[(rows >= start) & (rows < start + table.num_rows)] - start
        yield from map(decode_face, table["image"].take(wanted).to_pylist())
        start += table.num_rows
