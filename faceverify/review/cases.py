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
# Of use where clean writes them: which photos wait for a person, and links that are all that holds two groups together.
_OPTIONAL = [pa.field("open", pa.list_(pa.bool_())), pa.field("bridges", pa.list_(pa.int32()))]
SCHEMA = pa.schema([*tables.CASES, *_OPTIONAL])
_PER_PHOTO = [field.name for field in tables.CASES if pa.types.is_list(field.type) and field.name != "matrix"]


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
            with pa.OSFile(copy, "wb") as sink, pa.ipc.new_file(sink, SCHEMA, options=options) as writer:
                for batch in _batches(files):
                    writer.write_batch(batch)
                    self.summaries += _summaries(batch)
            self._file = pa.ipc.open_file(pa.memory_map(copy))
        self.position = {summary.person: number for number, summary in enumerate(self.summaries)}
        if len(self.position) < len(self.summaries):
            raise UserError(f"table: {files[0].parent} has a person with two cases; make it anew with clean.")
        self._lock = threading.Lock()  # requests are answered by several threads

    def __len__(self) -> int:
        return len(self.summaries)

    def read(self, number: int) -> dict[str, Any]:
        """One row of CASES as Python values, its lists of equal length; `open` and `bridges` are always there.

        Raises:
            UserError: they are not, or the matrix is not square.
        """
        with self._lock:
            batch = self._file.get_batch(number // BATCH)
        row = batch.slice(number % BATCH, 1).to_pylist()[0]
        photos = len(row["photo"] or [])
        if any(len(row[name] or []) != photos for name in _PER_PHOTO) or len(row["matrix"] or []) != photos**2:
            raise UserError(f"table: the lists of the case '{row['person']}' have different lengths; run clean again.")
        row["open"] = waiting(row["decision"], row["open"])
        row["bridges"] = row["bridges"] or []
        return row


def waiting(decisions: list[str], stated: list[bool] | None) -> list[bool]:
    """Which photos wait: as stated; else those that cleaning did not keep; all if there would be none."""
    waits = stated or [decision != "kept" for decision in decisions]
    return waits if any(waits) else [True] * len(waits)


def _batches(files: list[Location]) -> Iterable[pa.RecordBatch]:
    """The table in batches of exactly BATCH rows (the last may be shorter)."""
    from faceverify.shards import rebatched

    for piece in rebatched(stream_table(files, SCHEMA.names, rows=256), BATCH):
        for field in _OPTIONAL:
            if field.name not in piece.column_names:
                piece = piece.append_column(field, pa.nulls(piece.num_rows, field.type))
        yield from piece.select(SCHEMA.names).cast(SCHEMA).combine_chunks().to_batches()


def _summaries(batch: pa.RecordBatch) -> Iterable[Summary]:
    columns = (batch.column(name).to_pylist() for name in ("person", "photo", "decision", "open"))
    for person, photos, decisions, stated in zip(*columns, strict=True):
        waits = waiting(decisions, stated)
        yield Summary(person, tuple(photo for photo, waits in zip(photos, waits, strict=False) if waits))
