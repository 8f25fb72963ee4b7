"""The folder of one run: work in progress, exactly-once parts, the commit, the manifest.

    OUT/.work/plan.json              what is being made: a run with another plan is refused
    OUT/.work/<stage>/00000017.parquet       the rows of shard 17; its presence means that shard 17 is done
    OUT/.work/<stage>.rejects/00000017.parquet
    OUT/<table>/part-00000.parquet   appears at the commit, complete
    OUT/manifest.json                written last: its presence means that the run is complete

A shard is a fixed slice of the input, so a part's name and content do not depend on who computed it or how often.
The manifest lies beside the tables and not in them, so that `pandas.read_parquet("OUT/scores")` works.
"""

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from faceverify import __version__, tables
from faceverify.config import command_line, digest
from faceverify.errors import AnotherRun, UserError
from faceverify.storage import Location

WORK = ".work"
MANIFEST = "manifest.json"
ROWS_PER_FILE = 1_000_000


class RunFolder:
    """One run's folder, new, resumed or complete.

    Args:
        out: the folder.
        plan: JSON-like; what decides the output: job, configuration, digests of inputs and model.
        outputs: names below `out` that this job makes; `overwrite` deletes these and nothing else.
        overwrite: start anew whatever is there.

    Raises:
        UserError: the folder holds a run with another plan, or another process is at work in it.
    """

    def __init__(self, out: Location, plan: dict[str, Any], outputs: Sequence[str], overwrite: bool = False) -> None:
        self.out, self.work, self.outputs = out, out / WORK, tuple(outputs)
        self.plan = json.loads(json.dumps(plan, default=str))
        self._lock = self._acquire_lock()
        if overwrite:
            self._clear()
            self._lock = self._acquire_lock()
        earlier = _read_json(out / MANIFEST)
        self.complete = earlier is not None
        started = earlier["plan"] if earlier else _read_json(self.work / "plan.json")
        self.resumed = started is not None and not self.complete
        if started is None:
            (self.work / "plan.json").write_bytes(_to_json(self.plan))
        elif started != self.plan:
            self.release()
            raise _another(out, self.complete, differences(started, self.plan))
        elif self.complete:
            self.release()
            self.work.delete()  # left behind if the run was killed right after its commit

    def _acquire_lock(self) -> int | None:
        """Hold a lock while this process lives (local folders only; it vanishes with the process, even by kill -9)."""
        if not self.out.is_local:
            return None
        lock = self.work / "lock"
        if not (self.out / MANIFEST).exists():
            lock.make_parent()
        if not self.work.exists():
            return None
        handle = os.open(lock.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"Another process is at work in {self.out}; wait for it or choose another --out.") from None
        return handle

    def release(self) -> None:
        """Give up the lock (the end of the process does the same)."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextmanager
    def planning(self) -> Iterator[None]:
        """Around what comes before the work: a user's mistake found there ends the run as if it had never begun.

        Otherwise the corrected command would be refused as another run.
        """
        try:
            yield
        except UserError:
            self.release()
            self.work.delete()
            raise

    def _clear(self) -> None:
        """Delete all of an earlier run; the lock (which the caller has taken before) goes with the work."""
        for name in (MANIFEST, *self.outputs, WORK):
            (self.out / name).delete()
        self.release()

    def manifest(self) -> dict[str, Any]:
        """The manifest of a complete run."""
        return json.loads((self.out / MANIFEST).read_bytes())

    # -- parts -----------------------------------------------------------------------------------------------------

    def done(self, stage: str) -> set[int]:
        """The shards of `stage` whose rows are written."""
        files = (self.work / stage).files(recursive=False)
        return {int(f.path[:8]) for f in files if f.path.endswith(".parquet") and not f.path.startswith(".")}

    def parts(self, stage: str) -> list[Location]:
        """All parts of a stage in shard order."""
        return [part(self.work, stage, shard) for shard in sorted(self.done(stage))]

    def note(self, name: str, value: dict[str, Any]) -> None:
        """Keep a small fact across interruptions (`.work/<name>.json`)."""
        (self.work / f"{name}.json").write_bytes(_to_json(value))

    def noted(self, name: str) -> dict[str, Any] | None:
        """What `note` kept, or None."""
        return _read_json(self.work / f"{name}.json")

    # -- commit ----------------------------------------------------------------------------------------------------

    def publish(self, table: str, pieces: Iterable[pa.Table], schema: pa.Schema) -> int:
        """Join tables in order into `OUT/<table>/`, which appears complete; returns the number of rows.

        Locally the folder is renamed into place. On S3 the objects are written in place; the manifest completes them.
        """
        target = self.out / table
        build = self.work / "publish" / table if self.out.is_local else target
        build.delete()
        rows = 0
        for number, one_file in enumerate(_files(pieces)):
            rows += _write_file(build / f"part-{number:05d}.parquet", one_file)
        if rows == 0:
            (build / "part-00000.parquet").write_bytes(parquet_bytes(schema.empty_table()))
        if self.out.is_local:
            target.delete()
            os.replace(build.path, target.path)
        return rows

    def publish_parts(self, table: str) -> int:
        """Publish the parts of the stage of the same name as they are, a file each; returns the number of rows.

        For parts that are large and in their final form already: nothing is decoded, locally nothing is copied.
        """
        target = self.out / table
        build = self.work / "publish" / table if self.out.is_local else target
        build.delete()
        rows = 0
        for number, source in enumerate(self.parts(table)):
            goal = build / f"part-{number:05d}.parquet"
            with source.open_input() as stream:
                rows += pq.ParquetFile(stream).metadata.num_rows
            if self.out.is_local:
                goal.make_parent()
                os.link(source.path, goal.path)
            else:
                goal.fs.copy_file(source.path, goal.path)
        if self.out.is_local:
            target.delete()
            os.replace(build.path, target.path)
        return rows

    def publish_rejects(self, stages: Sequence[str], extra: pa.Table | None = None) -> dict[str, int]:
        """Publish the rejects of `stages` (and `extra`) as the table `rejects`; returns the count per reason."""
        if extra is not None and extra.num_rows:
            part(self.work, "listing.rejects", 0).write_bytes(parquet_bytes(extra))
            stages = ("listing", *stages)
        parts = [p for stage in stages for p in self.parts(f"{stage}.rejects")]
        self.publish("rejects", map(read_part, parts), tables.REJECTS)
        counts = Counter(reason for p in parts for reason in read_part(p)["reason"].to_pylist())
        return dict(sorted(counts.items()))

    def finish(self, manifest: dict[str, Any]) -> None:
        """Write the manifest, which makes the run complete, and remove the work in progress."""
        for name in self.outputs:
            (self.out / name).sweep()
        facts = {
            "version": __version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": command_line(),
            "plan": self.plan,
            "digest": digest(self.plan),
        }
        (self.out / MANIFEST).write_bytes(_to_json({**facts, **manifest}))
        self.release()
        self.work.delete()


def dry_run(out: Location, plan: dict[str, Any], overwrite: bool) -> None:
    """What `--dry-run` ends with: says whether a run with this plan would begin, go on or be done; writes nothing.

    Raises:
        AnotherRun: it would be refused, because `out` holds another run.
    """
    earlier = _read_json(out / MANIFEST)
    started = earlier["plan"] if earlier else _read_json(out / WORK / "plan.json")
    wanted = json.loads(json.dumps(plan, default=str))
    what = "nothing was started"
    if started is not None and overwrite:
        what += f"; what is in {out} would be deleted (--overwrite)"
    elif started is not None and started != wanted:
        raise _another(out, earlier is not None, differences(started, wanted))
    elif started is not None:
        what += f"; {out} holds {'the finished result' if earlier else 'this run unfinished: it would go on'}"
    print(f"Dry run: all that can be checked beforehand is in order; {what}.")


def _another(out: Location, complete: bool, differing: list[str]) -> AnotherRun:
    state, differs = "the finished" if complete else "an unfinished", ", ".join(differing)
    return AnotherRun(
        f"{out} holds {state} result of another run (it differs in {differs}); "
        "choose another --out, or pass --overwrite to start anew.",
        differs,
    )


def part(work: Location, stage: str, shard: int) -> Location:
    """Where the rows of one shard go."""
    return work / stage / f"{shard:08d}.parquet"


def write_part(work: Location, stage: str, shard: int, rows: pa.Table, rejects: pa.Table | None = None) -> None:
    """Write one shard; the rows go last, because their presence says that the shard is done.

    Rejects of an earlier, interrupted attempt are replaced: a photo that can be read now must not be told both ways.
    """
    if rejects is not None:
        place = part(work, f"{stage}.rejects", shard)
        if rejects.num_rows:
            place.write_bytes(parquet_bytes(rejects))
        else:
            place.delete()
    part(work, stage, shard).write_bytes(parquet_bytes(rows))


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as the bytes of one Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **tables.parquet_options(table.schema))
    return sink.getvalue().to_pybytes()


def _files(pieces: Iterable[pa.Table]) -> Iterator[Iterator[pa.Table]]:
    """Group tables into output files of about ROWS_PER_FILE rows."""
    in_order = iter(pieces)
    pending = next(in_order, None)

    def one_file() -> Iterator[pa.Table]:
        nonlocal pending
        rows = 0
        while pending is not None and (rows == 0 or rows + pending.num_rows <= ROWS_PER_FILE):
            rows += pending.num_rows
            yield pending
            pending = next(in_order, None)

    while pending is not None:
        yield one_file()


def _write_file(target: Location, pieces: Iterator[pa.Table]) -> int:
    """Write one Parquet file in row groups of at least 32,768 rows without holding more than one of them.

    Columns that are dictionary-encoded in memory come back as what they encode (the file keeps no Arrow schema then).
    """
    first = next(pieces)
    encoded = any(pa.types.is_dictionary(field.type) for field in first.schema)
    rows, held, held_rows = 0, [first], first.num_rows
    with target.open_output() as stream, _writer(stream, first.schema, store_schema=not encoded) as writer:
        for piece in pieces:
            if held_rows >= 32_768:
                writer.write_table(pa.concat_tables(held))
                rows, held, held_rows = rows + held_rows, [], 0
            held.append(piece)
            held_rows += piece.num_rows
        writer.write_table(pa.concat_tables(held))
    return rows + held_rows


def _writer(stream: pa.NativeFile, schema: pa.Schema, store_schema: bool) -> pq.ParquetWriter:
    return pq.ParquetWriter(stream, schema, store_schema=store_schema, **tables.parquet_options(schema))


def read_part(location: Location) -> pa.Table:
    """The rows of one part."""
    with location.open_input() as stream:
        return pq.ParquetFile(stream).read()


def _to_json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, default=str) + "\n").encode()


def _read_json(location: Location) -> dict[str, Any] | None:
    return json.loads(location.read_bytes()) if location.is_file() else None


def differences(left: Any, right: Any, prefix: str = "") -> list[str]:
    """Dotted names of the entries in which two JSON-like values differ."""
    if not (isinstance(left, dict) and isinstance(right, dict)):
        return [] if left == right else [prefix or "everything"]
    names = [*left, *(key for key in right if key not in left)]
    return [d for name in names for d in differences(left.get(name), right.get(name), f"{prefix}.{name}".lstrip("."))]
