"""The workers of a chain: all of it in one process, or its parts in several, and how pictures and crops pass between.

A chain cut in two or three passes on *pieces*: one row of a block of Ray Data each, with decoded photos or crops of a
shard. A shard is one piece, unless its photos are so large that `faces.decode_photos` hands them on in several; then
the rows of each piece are kept apart until the last is done, and joined by the driver (`Joiner`).
"""

import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from faceverify.errors import BadData, Reason
from faceverify.faces import Crops, Pictures, Stopwatch
from faceverify.images.decoded import DecodedPhoto
from faceverify.parts import part, read_facts, read_part, write_part
from faceverify.storage import Location
from ray_jobs.engine.progress import GPU_WAIT, GPU_WORK
from ray_jobs.engine.resources import limit_threads
from ray_jobs.engine.shards import by_shard, guarded

if TYPE_CHECKING:
    from ray_jobs.engine.photo_pipeline import Chain

MakeCrops = Callable[[pa.Table, Stopwatch], Crops]
ReadPictures = Callable[[pa.Table, Stopwatch], Iterator[Pictures]]
AlignPictures = Callable[[Pictures, Stopwatch], Crops]
UseCrops = Callable[[Crops, Stopwatch], tuple[pa.Table, pa.Table]]


@dataclass(frozen=True)
class Piece:
    """Which part of a shard: its number from 0, whether it is the last, how many rows went in."""

    shard: int
    number: int
    last: bool
    rows: int

    @property
    def whole(self) -> bool:
        """Whether the shard has no other."""
        return self.last and self.number == 0


class Fused:
    """The whole chain in one process."""

    def __init__(self, chain: "Chain", threads: int = 1) -> None:
        limit_threads(threads)
        self.chain, self.make, self.use = chain, chain.source.open(), chain.sink.open()

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Rows of shards in, counts out."""
        return pa.concat_tables([guarded(self.shard, one) for one in by_shard(batch)])

    def shard(self, given: tuple[int, pa.Table]) -> pa.Table:
        """A shard's number and its rows in, counts out."""
        (shard, rows), watch = given, Stopwatch()
        piece = Piece(shard, 0, True, rows.num_rows)
        written = part(self.chain.work, self.chain.stage, shard)
        if written.is_file():  # by an attempt at this task that was killed later
            return _counts(piece, rows.num_rows - read_facts([written])[0].rows, watch)
        return _finish(self.chain, piece, self.make(rows, watch), self.use, watch)


def decode_shards(batch: pa.Table, read: ReadPictures) -> Iterator[pa.Table]:
    """Rows of shards in, their decoded photos out, piece by piece; a task that keeps nothing from one to the next."""
    limit_threads(1)
    for shard, rows in by_shard(batch):
        watch, done = Stopwatch(), 0
        for number, pictures in enumerate(read(rows, watch)):
            done += pictures.rows.num_rows
            piece = Piece(shard, number, done == rows.num_rows, pictures.rows.num_rows)
            yield _packed(piece, watch, pictures_out(pictures))
            watch.seconds.clear()


class Cropper:
    """The first half of a chain whose sink has a GPU."""

    def __init__(self, chain: "Chain", threads: int = 1) -> None:
        limit_threads(threads)
        self.chain, self.make = chain, chain.source.open()

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Rows of shards in, their crops out."""
        return pa.concat_tables([guarded(self._shard, one) for one in by_shard(batch)])

    def _shard(self, given: tuple[int, pa.Table]) -> pa.Table:
        (shard, rows), watch = given, Stopwatch()
        return _packed(Piece(shard, 0, True, rows.num_rows), watch, crops_out(self.make(rows, watch)))


class GpuClock:
    """Tells, piece by piece, how long a worker with a GPU waited for it and worked on it; silent without a GPU."""

    def __init__(self) -> None:
        import ray

        self._since = time.perf_counter()
        self._gpu = ray.is_initialized() and bool(ray.get_gpu_ids())

    @contextmanager
    def __call__(self, watch: Stopwatch) -> Iterator[None]:
        """Around the work on a piece, whose watch it is."""
        start = time.perf_counter()
        if self._gpu:
            watch.seconds[GPU_WAIT] = watch.seconds.get(GPU_WAIT, 0.0) + start - self._since
        yield
        self._since = time.perf_counter()
        if self._gpu:
            watch.seconds[GPU_WORK] = watch.seconds.get(GPU_WORK, 0.0) + self._since - start


class GpuCropper:
    """The aligner's network on a GPU, between decoding and the sink."""

    def __init__(self, chain: "Chain", open_aligner: Callable[[], AlignPictures]) -> None:
        limit_threads(1)
        self.chain, self.align, self.clock = chain, open_aligner(), GpuClock()

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Decoded photos in, their crops out."""
        for row in _rows(batch):
            piece, watch = _unpacked(row)
            with self.clock(watch):
                crops = crops_out(self.align(pictures_in(row), watch))
            yield _packed(piece, watch, crops)


class Finisher:
    """The last part of a chain: crops in, parts on disk."""

    def __init__(self, chain: "Chain", threads: int = 1) -> None:
        limit_threads(threads)
        self.chain, self.use, self.clock = chain, chain.sink.open(), GpuClock()

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Crops in, counts out."""
        return pa.concat_tables([guarded(self._piece, row) for row in _rows(batch)])

    def _piece(self, row: dict[str, pa.Scalar]) -> pa.Table:
        piece, watch = _unpacked(row)
        return _finish(self.chain, piece, crops_in(row), self.use, watch, self.clock)


class GpuFinisher(Finisher):
    """The aligner's and the sink's network on one GPU: crops need not travel."""

    def __init__(self, chain: "Chain", open_aligner: Callable[[], AlignPictures]) -> None:
        super().__init__(chain)
        self.align = open_aligner()

    def _piece(self, row: dict[str, pa.Scalar]) -> pa.Table:
        piece, watch = _unpacked(row)
        with self.clock(watch):
            crops = self.align(pictures_in(row), watch)
        return _finish(self.chain, piece, crops, self.use, watch, self.clock)


@dataclass
class Joiner:
    """Counts the pieces of shards, and joins them when all are there."""

    work: Location
    stage: str
    _seen: dict[int, list[Piece]] = field(default_factory=lambda: defaultdict(list))

    def add(self, piece: Piece) -> None:
        """Note a finished piece; the last one to come of a shard in several makes it a part."""
        if piece.whole:
            return
        seen = self._seen[piece.shard]
        seen.append(piece)
        if len(seen) < 1 + max((other.number for other in seen if other.last), default=len(seen)):
            return
        stage = _pieces(self.stage, piece.shard)
        numbers = range(len(seen))
        rows = pa.concat_tables([read_part(part(self.work, stage, number)) for number in numbers])
        told = [part(self.work, f"{stage}.rejects", number) for number in numbers]
        rejects = [read_part(place) for place in told if place.is_file()]
        write_part(self.work, self.stage, piece.shard, rows, pa.concat_tables(rejects) if rejects else None)
        for name in (stage, f"{stage}.rejects"):
            (self.work / name).delete()
        del self._seen[piece.shard]


def _pieces(stage: str, shard: int) -> str:
    """Where the pieces of a shard wait for the last one."""
    return f"{stage}.pieces/{shard:08d}"


def _finish(
    chain: "Chain", piece: Piece, crops: Crops, use: UseCrops, watch: Stopwatch, clock: GpuClock | None = None
) -> pa.Table:
    with clock(watch) if clock else nullcontext():
        rows, rejects = use(crops, watch)
    assert rows.num_rows + rejects.num_rows == piece.rows, (
        f"{piece}: {piece.rows} rows became {rows.num_rows} + {rejects.num_rows}"
    )
    with watch("write"):
        if piece.whole:
            write_part(chain.work, chain.stage, piece.shard, rows, rejects)
        else:
            write_part(chain.work, _pieces(chain.stage, piece.shard), piece.number, rows, rejects)
    return _counts(piece, rejects.num_rows, watch)


def _counts(piece: Piece, rejected: int, watch: Stopwatch) -> pa.Table:
    return _packed(piece, watch, {"rejected": rejected})


# -- pieces as rows of Ray Data's blocks -------------------------------------------------------------------------------


def _packed(piece: Piece, watch: Stopwatch, content: dict[str, Any]) -> pa.Table:
    columns = {**asdict(piece), "seconds": json.dumps(watch.seconds), **content}
    columns = {name: _large(value) if name in ("pixels", "files") else value for name, value in columns.items()}
    return pa.table({name: value if isinstance(value, pa.Array) else [value] for name, value in columns.items()})


def _large(data: Any) -> pa.Array:
    """One binary value without the copy that `pa.array` would make."""
    offsets = pa.py_buffer(np.array([0, len(data)], np.int64))
    return pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, pa.py_buffer(data)])


def _rows(batch: pa.Table) -> Iterator[dict[str, pa.Scalar]]:
    return ({name: batch[name][i] for name in batch.column_names} for i in range(batch.num_rows))


def _unpacked(row: dict[str, Any]) -> tuple[Piece, Stopwatch]:
    watch = Stopwatch()
    watch.seconds.update(json.loads(row["seconds"].as_py()))
    return Piece(*(row[name].as_py() for name in ("shard", "number", "last", "rows"))), watch


def pictures_out(pictures: Pictures) -> dict[str, Any]:
    """Decoded photos as columns: the rows, faults as JSON, sizes, and all pixels one after another."""
    good = [photo for photo in pictures.photos if not isinstance(photo, BadData)]
    faults = {i: (p.reason.value, p.detail) for i, p in enumerate(pictures.photos) if isinstance(p, BadData)}
    return {
        "kept": _nested(pictures.rows),
        "faults": json.dumps(faults),
        "sizes": json.dumps([(*photo.pixels.shape[:2], photo.reduction, len(photo.data)) for photo in good]),
        "pixels": np.concatenate([photo.pixels.reshape(-1) for photo in good]) if good else b"",
        "files": b"".join(photo.data for photo in good),  # of those that came at a reduced size
    }


def pictures_in(row: dict[str, Any]) -> Pictures:
    """The inverse of `pictures_out`."""
    faults = {int(i): BadData(Reason(why), detail) for i, (why, detail) in json.loads(row["faults"].as_py()).items()}
    # A copy, because what lies in the object store cannot be written to, which PyTorch does not like.
    pixels, start, good = np.frombuffer(row["pixels"].as_buffer(), np.uint8).copy(), 0, []
    files, read = row["files"].as_buffer(), 0
    for height, width, reduction, size in json.loads(row["sizes"].as_py()):
        image = pixels[start : start + height * width * 3].reshape(height, width, 3)
        good.append(DecodedPhoto(image, reduction, files[read : read + size].to_pybytes()))
        start, read = start + height * width * 3, read + size
    rows, pictures = _rows_of(row["kept"]), iter(good)
    return Pictures(rows, [faults[i] if i in faults else next(pictures) for i in range(rows.num_rows)])


def crops_out(crops: Crops) -> dict[str, Any]:
    """Crops as columns."""
    parts = {"kept": crops.rows, "found": crops.found, "rejects": crops.rejects}
    kinds = {"": crops.faces, **crops.others}
    shapes = json.dumps([(name, faces.shape) for name, faces in kinds.items()])
    pixels = b"".join(faces.tobytes() for faces in kinds.values())
    return {name: _nested(table) for name, table in parts.items()} | {"shapes": shapes, "pixels": pixels}


def crops_in(row: dict[str, Any]) -> Crops:
    """The inverse of `crops_out`."""
    pixels, start, kinds = np.frombuffer(row["pixels"].as_buffer(), np.uint8), 0, {}
    for name, shape in json.loads(row["shapes"].as_py()):
        kinds[name] = pixels[start : start + math.prod(shape)].reshape(shape)
        start += math.prod(shape)
    kept, found, rejects = (_rows_of(row[name]) for name in ("kept", "found", "rejects"))
    return Crops(kept, kinds.pop(""), found, rejects, kinds)


def _nested(table: pa.Table) -> pa.Array:
    """All rows of a table as one value: a list of structures."""
    rows = table.combine_chunks().to_struct_array()
    rows = rows.combine_chunks() if isinstance(rows, pa.ChunkedArray) else rows
    return pa.LargeListArray.from_arrays(pa.array([0, table.num_rows], pa.int64()), rows)


def _rows_of(value: pa.Scalar) -> pa.Table:
    """The inverse of `_nested`."""
    return pa.Table.from_struct_array(value.values)
