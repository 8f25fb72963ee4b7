"""Jobs that make one table from another, row by row: align and embed."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import chain
from typing import Any

import pyarrow as pa

from faceverify import tables
from faceverify.config import JobConfig, plan_of
from faceverify.errors import Reason, UserError
from faceverify.faces import Stopwatch
from faceverify.failures import refuse_rejects
from faceverify.inputs import stream_table, table_files
from faceverify.parts import parquet_bytes, part, read_part
from faceverify.provenance import NAMES, Identifier, noted_versions, outdated, reasons_told
from faceverify.run_folder import RunFolder
from faceverify.shards import TableShards, read_shard, write_shards
from faceverify.storage import Location, check_writable, open_location
from faceverify.wording import count_of
from ray_jobs.engine.cluster import Cluster, check_shared, connect
from ray_jobs.engine.dry_run import is_dry
from ray_jobs.engine.failure_limit import Watch, Watched
from ray_jobs.engine.photo_pipeline import Chain, Ran, Sink, Source, run_chain
from ray_jobs.engine.shards import maker


@dataclass(frozen=True, kw_only=True)
class TableJob:
    """One such job.

    Args:
        job: its name.
        config: its configuration.
        digests: of everything that decides the output, besides the configuration.
        rows: gives the input rows.
        files: of the table that they come from, if they come from one; workers then read it where it lies.
        columns: of that table that are read.
        refused: receives, while `rows` is read, the rejects of what could not become a row.
        stages: gives source and sink for a cluster.
        table: name of the output table.
        schema: of the output table.
        rows_per_shard: rows per unit of work.
        facts: further entries of the manifest.
        gpu: whether the sink uses a GPU.
        shared: what workers read besides the rows; every node must see it.
        run_only: fields of the configuration that do not change the output, besides those of JobConfig.
        photos: how it is found out whether the photos behind the rows are what they were; None if no photo is read.
    """

    job: str
    config: JobConfig
    digests: dict[str, str]
    rows: Callable[[], Iterable[pa.Table]]
    stages: Callable[[Cluster], tuple[Source, Sink]]
    table: str
    schema: pa.Schema
    rows_per_shard: int
    refused: list[pa.Table] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    gpu: bool = False
    shared: tuple[str | Location, ...] = ()
    run_only: tuple[str, ...] = ()
    files: list[Location] | None = None
    columns: tuple[str, ...] = ()
    photos: Identifier | None = None

    def run(self) -> None:
        """Cut the rows into shards, run them through source and sink, commit the table and `rejects`."""
        out = open_location(self.config.out)
        check_writable(out, "out")
        plan = plan_of(self.job, self.config, self.digests, self.run_only)
        if is_dry(self.config, out, plan, (self.table, "rejects")):
            return
        folder = RunFolder(out, plan, (self.table, "rejects"), self.config.overwrite)
        if self.photos is not None:
            self._look_again(folder, self.photos)
        if not folder.complete:
            self._finish(folder)
        summarise(folder, self.table)

    def _look_again(self, folder: RunFolder, photos: Identifier) -> None:
        """Have the parts of an unfinished run made again whose photos have changed meanwhile.

        Raises:
            UserError: the run is finished, and its photos have changed since.
        """
        if folder.complete:
            columns = ["photo", "photo_version"]
            made = (stream_table(table_files(folder.out / name, name), columns) for name in (self.table, "rejects"))
            seen = noted_versions(chain.from_iterable(made))
            known = ((some, [seen.get(photo) for photo in some["photo"].to_pylist()]) for some in self.rows())
            if changed := outdated(known, photos):
                raise UserError(
                    f"photos: {folder.out} was made of photos that are not what they were ({reasons_told(changed)}); "
                    "pass --overwrite to make it again, or choose another --out."
                )
        elif folder.noted("cut"):
            read = self._reader(folder)
            done = sorted(folder.done(self.table))
            stale = [shard for shard in done if self._is_stale(folder, photos, shard, read(shard))]
            folder.discard(self.table, stale)
            if stale:
                print(f"Photos of {len(stale):,} finished units of work have changed; these are made again.")

    def _is_stale(self, folder: RunFolder, photos: Identifier, shard: int, rows: pa.Table) -> bool:
        places = [part(folder.work, stage, shard) for stage in (self.table, f"{self.table}.rejects")]
        seen = noted_versions(read_part(place) for place in places if place.is_file())
        return bool(outdated([(rows, [seen.get(photo) for photo in rows["photo"].to_pylist()])], photos))

    def _finish(self, folder: RunFolder) -> None:
        if folder.resumed:
            print("Going on where an earlier run stopped.")
        clock = Stopwatch()
        with clock("plan"), folder.planning():
            cut = folder.noted("cut") or self._cut(folder)
        with clock("connect"):
            cluster = connect(self.config, cut["shards"])
            check_shared(cluster, folder.work, *self.shared)
        print(f"Ray: {cluster}")
        with clock(self.job):
            ran = self._work(folder, cluster, cut)
        refuse_rejects(folder, [self.table], cut["rows"], self.config.max_failed)
        make = maker(cluster)
        made = folder.publish_parts(self.table, self.schema, [self.table], make).rows
        reasons = folder.publish_rejects(["listing", self.table], make=make)
        rejected, rows_in = sum(reasons.values()), cut["rows"] + cut["refused"]
        assert made + rejected == rows_in, f"{rows_in} rows became {made} + {rejected}"
        counts = {"rows_in": {"photos": rows_in}, "rows_out": {self.table: made}, "rejects": reasons}
        seconds = {**clock.seconds, "workers": ran.seconds}
        known = {"photo_identity": NAMES[self.photos.identity]} if self.photos else {}
        facts = {"job": self.job, "config": asdict(self.config), **self.facts, **known}
        folder.finish({**facts, **counts, "seconds": seconds, "operators": ran.operators})

    def _cut(self, folder: RunFolder) -> dict[str, Any]:
        """Cut the input into shards: a table where it lies, other rows by writing them (again, if interrupted)."""
        (folder.work / "input").delete()
        if table := self._table_shards():
            cut = {"rows": table.rows, "refused": 0, "shards": len(table), "rows_per_shard": self.rows_per_shard}
            folder.note("cut", cut | {"in_place": True})
            return cut
        count = 0

        def counted() -> Iterator[pa.Table]:
            nonlocal count
            for piece in self.rows():
                named = piece.filter(piece["photo"].is_valid())
                self.refused.append(_nameless(piece.num_rows - named.num_rows))
                count += named.num_rows
                yield named

        shards = write_shards(folder.work / "input", counted(), self.rows_per_shard)
        refused = pa.concat_tables([tables.REJECTS.empty_table(), *self.refused])
        if len(refused):
            part(folder.work, "listing.rejects", 0).write_bytes(parquet_bytes(refused))
        cut = {"rows": count, "refused": len(refused), "shards": shards, "rows_per_shard": self.rows_per_shard}
        folder.note("cut", cut)
        return cut

    def _table_shards(self) -> TableShards | None:
        return TableShards.of(self.files, self.columns, "photo", self.rows_per_shard) if self.files else None

    def _reader(self, folder: RunFolder) -> Callable[[int], pa.Table]:
        """What gives the rows of a shard."""
        in_place = (folder.noted("cut") or {}).get("in_place")
        table = self._table_shards() if in_place else None
        return table.read if table else partial(read_shard, folder.work / "input")

    def _work(self, folder: RunFolder, cluster: Cluster, cut: dict[str, Any]) -> Ran:
        done = folder.done(self.table)
        ready = min(len(done) * cut["rows_per_shard"], cut["rows"])
        watch = Watch(folder, self.table, cut["rows"], self.config.max_failed, ready)
        progress = Watched("photos", cut["rows"], done=ready, watch=watch)
        source, sink = self.stages(cluster)
        chain = Chain(folder.work, self._reader(folder), self.table, source, sink)
        todo = [shard for shard in range(cut["shards"]) if shard not in done]
        ran = run_chain(chain, todo, cluster, self.config.workers, progress, self.gpu)
        progress.finish()
        return ran


def _nameless(rows: int) -> pa.Table:
    """Rejects for rows without a key."""
    row = {"photo": "", "stage": "read", "reason": Reason.BAD_NAME.value, "detail": "a row without a name in `photo`"}
    return pa.Table.from_pylist([row] * rows, schema=tables.REJECTS)


def summarise(folder: RunFolder, table: str) -> None:
    """The last lines: how many, what was rejected and why, where."""
    facts = folder.manifest()
    rows_in = sum(facts["rows_in"].values())
    print(f"{facts['rows_out'][table]:,} of {count_of(rows_in, 'photo')} are in the table {table}.")
    if facts["rejects"]:
        print("Rejected: " + ", ".join(f"{n:,} {why}" for why, n in facts["rejects"].items()))
    print(f"Output: {folder.out}")
