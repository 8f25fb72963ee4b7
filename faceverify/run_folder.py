"""The folder of one run: work in progress, exactly-once parts, the commit, the manifest.

    OUT/.work/plan.json              what is being made: a run with another plan is refused
    OUT/.work/<stage>/00000017.parquet       the rows of shard 17; its presence means that shard 17 is done
    OUT/.work/<stage>.rejects/00000017.parquet
    OUT/<table>/part-00000.parquet   appears at the commit, complete
    OUT/manifest.json                written last: its presence means that the run is complete

Parts are described in `faceverify.parts`. The manifest lies beside the tables and not in them, so that
`pandas.read_parquet("OUT/scores")` works.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from faceverify import __version__, tables
from faceverify.config import command_line, digest
from faceverify.errors import AnotherRun, UserError
from faceverify.joining import Join, join_files
from faceverify.parts import (
    NewFile,
    PartFacts,
    file_name,
    make_files,
    parquet_bytes,
    part,
    plan_files,
    read_facts,
    text_piece,
    total,
    write_file,
)
from faceverify.reading import read_json
from faceverify.storage import Location, check_no_link

WORK = ".work"
MANIFEST = "manifest.json"
ROWS_PER_FILE = 1_000_000


class RunFolder:
    """One run's folder, new, resumed or complete.

    Args:
        out: the folder.
        plan: JSON-like; what decides the output: job, configuration, digests of inputs and model.
        outputs: names below `out` that this job makes; `overwrite` deletes these and nothing else.
        overwrite: start again whatever is there.

    Raises:
        UserError: see `check_out`; or another process is at work in the folder.
    """

    def __init__(self, out: Location, plan: dict[str, Any], outputs: Sequence[str], overwrite: bool = False) -> None:
        self.out, self.work, self.outputs = out, out / WORK, tuple(outputs)
        self.plan = _as_json(plan)
        check_out(out, plan, outputs, overwrite)
        self._lock = self._acquire_lock()
        if overwrite:
            self._clear()
            self._lock = self._acquire_lock()
        self.complete, started = _started(out)
        self.resumed = started is not None and not self.complete
        if started is None:
            (self.work / "plan.json").write_bytes(_to_json(self.plan))
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
        handle = os.open(lock.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
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

    def reopen(self) -> None:
        """Make a complete run unfinished, because its inputs are no longer what they were.

        Its tables stay until the commit replaces them; without a manifest nobody reads them meanwhile.
        """
        self.complete, self.resumed = False, False
        (self.work / "plan.json").write_bytes(_to_json(self.plan))
        self._lock = self._acquire_lock()
        (self.out / MANIFEST).delete()

    def discard(self, stage: str, shards: Iterable[int]) -> None:
        """Have shards of a stage made again; their rejects are replaced when they are."""
        for shard in shards:
            part(self.work, stage, shard).delete()

    def put_aside(self, stage: str) -> None:
        """Take the parts of a stage out of it, so that all its shards are to be made again; see `aside`."""
        number = len(self.aside(stage))
        for place in self.parts(stage):
            target = self.work / f"{stage}.aside" / f"{number:04d}" / place.name
            target.make_parent()
            place.fs.move(place.path, target.path)
        (self.work / f"{stage}.rejects").delete()

    def aside(self, stage: str) -> list[list[Location]]:
        """The parts that were put aside, the latest first, each time's together."""
        times: dict[str, list[Location]] = {}
        for entry in (self.work / f"{stage}.aside").files():
            times.setdefault(entry.path.split("/")[0], []).append(self.work / f"{stage}.aside" / entry.path)
        return [times[number] for number in sorted(times, reverse=True)]

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
        return read_manifest(self.out / MANIFEST)

    # -- parts -----------------------------------------------------------------------------------------------------

    def done(self, stage: str) -> set[int]:
        """The shards of `stage` whose rows are written."""
        return {int(place.name[:8]) for place, _ in self._listed(stage)}

    def parts(self, stage: str) -> list[Location]:
        """All parts of a stage in shard order."""
        return [place for place, _ in self._listed(stage)]

    def _listed(self, stage: str) -> list[tuple[Location, int]]:
        """The parts of a stage in shard order, and their bytes."""
        files = (self.work / stage).files(recursive=False)
        written = [f for f in files if f.path.endswith(".parquet") and not f.path.startswith(".")]
        return [(self.work / stage / file.path, file.size) for file in written]

    def note(self, name: str, value: dict[str, Any]) -> None:
        """Keep a small fact across interruptions (`.work/<name>.json`)."""
        (self.work / f"{name}.json").write_bytes(_to_json(value))

    def noted(self, name: str) -> dict[str, Any] | None:
        """What `note` kept, or None."""
        return _read_json(self.work / f"{name}.json")

    # -- commit ----------------------------------------------------------------------------------------------------

    def publish(self, table: str, pieces: Iterable[pa.Table], schema: pa.Schema) -> int:
        """Write tables in order into `OUT/<table>/`, which appears complete; returns the number of rows.

        For small tables that the driver has made: what workers have made is published by `publish_parts`.
        """
        build = self._begin(table)
        rows = sum(write_file(build / file_name(n, 0), one_file) for n, one_file in enumerate(_files(pieces)))
        self._appear(table, build, rows, schema)
        return rows

    def publish_parts(
        self,
        table: str,
        schema: pa.Schema,
        stages: Sequence[str],
        make: Callable[[Sequence[NewFile]], None] = make_files,
    ) -> PartFacts:
        """Publish the parts of stages, in order, as `OUT/<table>/`, which appears complete.

        Parts of a good size become files as they are, smaller ones are joined. No row passes through this process
        unless `make` lets it.

        Args:
            table: name of the table.
            schema: of the table if there are no parts.
            stages: whose parts.
            make: makes the files, wherever that may be.

        Returns:
            How many rows there are, and how many of them are what.
        """
        build = self._begin(table)
        parts = [one for stage in stages for one in self._listed(stage)]
        facts = read_facts([place for place, _ in parts])
        make(plan_files([(place, one.rows, size) for (place, size), one in zip(parts, facts, strict=True)], build))
        self._appear(table, build, len(parts), schema)
        return total(facts)

    def publish_text(self, name: str, head: bytes, stage: str, put: Callable[[Join], None] | None = None) -> None:
        """Publish the texts of a stage's shards (see `parts.text_piece`), joined behind `head`, as `OUT/<name>`.

        Args:
            name: of the file.
            head: its first line.
            stage: whose texts.
            put: puts chunks in their places, wherever that may be; see `faceverify.joining`.
        """
        sizes = {entry.path: entry.size for entry in (self.work / f"{stage}.csv").files(recursive=False)}
        places = [text_piece(self.work, stage, int(place.name[:8])) for place in self.parts(stage)]
        pieces = [(place, sizes[place.name]) for place in places]
        join_files(self.out / name, head, pieces, self.work / "publish" / name, put)

    def _begin(self, table: str) -> Location:
        """Where the files of a table are made: locally aside, on S3 in place, where the manifest completes them."""
        build = self.work / "publish" / table if self.out.is_local else self.out / table
        build.delete()
        return build

    def _appear(self, table: str, build: Location, count: int, schema: pa.Schema) -> None:
        if count == 0:
            (build / file_name(0, 0)).write_bytes(parquet_bytes(schema.empty_table()))
        if self.out.is_local:
            (self.out / table).delete()
            os.replace(build.path, (self.out / table).path)

    def facts(self, *stages: str) -> PartFacts:
        """How many rows the parts of stages have, and how many of them are what."""
        return total(read_facts([place for stage in stages for place in self.parts(stage)]))

    def publish_rejects(
        self,
        stages: Sequence[str],
        extra: pa.Table | None = None,
        make: Callable[[Sequence[NewFile]], None] = make_files,
    ) -> dict[str, int]:
        """Publish the rejects of `stages` (and `extra`) as the table `rejects`; returns the count per reason."""
        if extra is not None and extra.num_rows:
            part(self.work, "listing.rejects", 0).write_bytes(parquet_bytes(extra))
            stages = ("listing", *stages)
        facts = self.publish_parts("rejects", tables.REJECTS, [f"{stage}.rejects" for stage in stages], make)
        return dict(sorted(facts.counts.items()))

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


def _as_json(plan: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(plan, default=str))


def check_out(out: Location, plan: dict[str, Any], outputs: Sequence[str], overwrite: bool = False) -> None:
    """Refuse a folder that holds something else than this run, without touching anything; see RunFolder.

    Raises:
        AnotherRun: it holds a run with another plan.
        UserError: there are files of nobody's run where outputs go, or links there.
    """
    for name in (WORK, MANIFEST, *outputs):
        check_no_link(out / name)
    if overwrite:
        return
    complete, started = _started(out)
    if started is None:
        if foreign := [name for name in outputs if (out / name).exists()]:
            raise UserError(
                f"'{out / foreign[0]}' is there, and no run that made it; choose another --out, or pass --overwrite to "
                "delete it."
            )
    elif started != (wanted := _as_json(plan)):
        differs = ", ".join(differences(started, wanted))
        raise AnotherRun(
            f"{out} holds {'the finished' if complete else 'an unfinished'} result of another run (it differs in "
            f"{differs}); choose another --out, or pass --overwrite to start again.",
            differs,
        )


def what_is_in(out: Location, overwrite: bool) -> str:
    """What a run would find in its folder, as the end of a sentence; empty if nothing."""
    complete, started = _started(out)
    if started is None:
        return ""
    if overwrite:
        return f"; what is in {out} would be deleted (--overwrite)"
    return f"; {out} holds {'the finished result' if complete else 'this run unfinished: it would go on'}"


def _started(out: Location) -> tuple[bool, dict[str, Any] | None]:
    """Whether the run in a folder is complete, and its plan; None if none has begun there."""
    if (out / MANIFEST).is_file():
        return True, read_manifest(out / MANIFEST).get("plan", {})
    return False, _read_json(out / WORK / "plan.json")


def read_manifest(location: Location) -> dict[str, Any]:
    """The manifest of a run.

    Raises:
        UserError: the file is damaged, or no manifest.
    """
    facts = read_json(location, "manifest")
    if not isinstance(facts, dict):
        raise UserError(f"manifest: '{location}' is not what a job of faceverify wrote; restore it.")
    return facts


def _to_json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, default=str) + "\n").encode()


def _read_json(location: Location) -> dict[str, Any] | None:
    return read_json(location, "run") if location.is_file() else None


def differences(left: Any, right: Any, prefix: str = "") -> list[str]:
    """Dotted names of the entries in which two JSON-like values differ."""
    if not (isinstance(left, dict) and isinstance(right, dict)):
        return [] if left == right else [prefix or "everything"]
    names = [*left, *(key for key in right if key not in left)]
    return [d for name in names for d in differences(left.get(name), right.get(name), f"{prefix}.{name}".lstrip("."))]
