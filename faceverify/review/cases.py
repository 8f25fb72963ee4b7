"""The cases of a clean run, readable one at a time however many there are.

A Parquet row group is read whole or not at all, and `clean` writes tens of thousands of cases into one. So the table
is copied once, in a stream, into a compressed Arrow file of small batches; memory then holds an index and one batch.
The copy has no name: it goes with this process, however that ends.
"""

import tempfile
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from faceverify import tables
from faceverify.errors import UserError
from faceverify.inputs import stream_table
from faceverify.storage import Location

BATCH = 16
_NOT_PER_PHOTO = ("matrix", "bridges")
_PER_PHOTO = [f.name for f in tables.CASES if pa.types.is_list(f.type) and f.name not in _NOT_PER_PHOTO]


@dataclass(frozen=True, slots=True)
class Summary:
    """What is kept in memory of one case.

    `to_decide` names the photos that wait for the reviewer.
    """

    person: str
    to_decide: tuple[str, ...]


class Cases:
    """All cases in the table's order, hardest first.

    Args:
        files: of the table `cases`.

    Raises:
        UserError: a person has two cases.
    """

    def __init__(self, files: list[Location]) -> None:
        self.summaries: list[Summary] = []
        with tempfile.TemporaryDirectory(prefix="faceverify-review-") as folder:
            copy = f"{folder}/cases.arrow"
            options = pa.ipc.IpcWriteOptions(compression="zstd")
            with pa.OSFile(copy, "wb") as sink, pa.ipc.new_file(sink, tables.CASES, options=options) as writer:
                for batch in _batches(files):
                    writer.write_batch(batch)
                    self.summaries += _summaries(batch)
            self._file = pa.ipc.open_file(pa.memory_map(copy))
        self.position = {summary.person: number for number, summary in enumerate(self.summaries)}
        if len(self.position) < len(self.summaries):
            raise UserError(f"table: {files[0].parent} has a person with two cases; make it again with clean.")
        self._lock = threading.Lock()  # requests are answered by several threads

    def __len__(self) -> int:
        return len(self.summaries)

    def read(self, number: int) -> dict[str, Any]:
        """One row of CASES as Python values, its lists of equal length.

        Raises:
            UserError: they are not, or the matrix is not square.
        """
        with self._lock:
            batch = self._file.get_batch(number // BATCH)
        row = batch.slice(number % BATCH, 1).to_pylist()[0]
        photos = len(row["photo"] or [])
        if any(len(row[name] or []) != photos for name in _PER_PHOTO) or len(row["matrix"] or []) != photos**2:
            raise UserError(f"table: the lists of the case '{row['person']}' have different lengths; run clean again.")
        row["open"] = waiting(row["open"])
        return row


def waiting(stated: list[bool]) -> list[bool]:
    """Which photos wait: as stated; all if there would be none."""
    return stated if any(stated) else [True] * len(stated)


def _batches(files: list[Location]) -> Iterable[pa.RecordBatch]:
    """The table in batches of exactly BATCH rows (the last may be shorter)."""
    from faceverify.shards import rebatched

    for piece in rebatched(stream_table(files, tables.CASES.names, rows=256), BATCH):
        yield from piece.select(tables.CASES.names).cast(tables.CASES).combine_chunks().to_batches()


def _summaries(batch: pa.RecordBatch) -> Iterable[Summary]:
    columns = (batch.column(name).to_pylist() for name in ("person", "photo", "open"))
    for person, photos, stated in zip(*columns, strict=True):
        yield Summary(person, tuple(photo for photo, waits in zip(photos, waiting(stated), strict=False) if waits))
