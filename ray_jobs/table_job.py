"""Jobs that make one table from another, row by row: align and embed."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from faceverify.config import JobConfig, identity
from faceverify.faces import Stopwatch
from faceverify.run_folder import RunFolder, dry_run, read_part
from faceverify.shards import write_shards
from faceverify.storage import Location, check_writable, open_location
from ray_jobs.session import Cluster, Progress, check_shared, connect
from ray_jobs.stages import Chain, Sink, Source, run_chain


@dataclass(frozen=True, kw_only=True)
class TableJob:
    """One such job.

    Args:
        job: its name.
        config: its configuration.
        digests: of everything that decides the output, besides the configuration.
        rows: gives the input rows.
        stages: gives source and sink for a cluster.
        table: name of the output table.
        schema: of the output table.
        rows_per_shard: rows per unit of work.
        facts: further entries of the manifest.
        gpu: whether the sink uses a GPU.
        shared: what workers read besides the rows; every node must see it.
        run_only: fields of the configuration that do not change the output, besides those of JobConfig.
    """

    job: str
    config: JobConfig
    digests: dict[str, str]
    rows: Callable[[], Iterable[pa.Table]]
    stages: Callable[[Cluster], tuple[Source, Sink]]
    table: str
    schema: pa.Schema
    rows_per_shard: int
    facts: dict[str, Any] = field(default_factory=dict)
    gpu: bool = False
    shared: tuple[str | Location, ...] = ()
    run_only: tuple[str, ...] = ()

    def run(self) -> None:
        """Cut the rows into shards, run them through source and sink, commit the table and `rejects`."""
        out = open_location(self.config.out)
        check_writable(out, "out")
        decisive = {name: value for name, value in identity(self.config).items() if name not in self.run_only}
        plan = {"job": self.job, "config": decisive, "inputs": self.digests}
        if self.config.dry_run:
            dry_run(out, plan, self.config.overwrite)
            return
        folder = RunFolder(out, plan, (self.table, "rejects"), self.config.overwrite)
        if not folder.complete:
            self._finish(folder)
        summarise(folder, self.table)

    def _finish(self, folder: RunFolder) -> None:
        if folder.resumed:
            print("Going on where an earlier run stopped.")
        clock = Stopwatch()
        with clock("plan"), folder.planning():
            cut = folder.noted("cut") or self._cut(folder)
        with clock("connect"):
            cluster = connect(self.config)
            check_shared(cluster, folder.work, *self.shared)
        print(f"Ray: {cluster}")
        with clock(self.job):
            workers = self._work(folder, cluster, cut)
        made = folder.publish(self.table, map(read_part, folder.parts(self.table)), self.schema)
        reasons = folder.publish_rejects([self.table])
        rejected = sum(reasons.values())
        assert made + rejected == cut["rows"], f"{cut['rows']} rows became {made} + {rejected}"
        counts = {"rows_in": {"photos": cut["rows"]}, "rows_out": {self.table: made}, "rejects": reasons}
        seconds = {**clock.seconds, "workers": workers}
        folder.finish({"job": self.job, "config": asdict(self.config), **self.facts, **counts, "seconds": seconds})

    def _cut(self, folder: RunFolder) -> dict[str, Any]:
        """Write the input shards (anew, if that was interrupted)."""
        (folder.work / "input").delete()
        count = 0

        def counted() -> Iterator[pa.Table]:
            nonlocal count
            for piece in self.rows():
                count += piece.num_rows
                yield piece

        shards = write_shards(folder.work / "input", counted(), self.rows_per_shard)
        cut = {"rows": count, "shards": shards, "rows_per_shard": self.rows_per_shard}
        folder.note("cut", cut)
        return cut

    def _work(self, folder: RunFolder, cluster: Cluster, cut: dict[str, Any]) -> dict[str, float]:
        done = folder.done(self.table)
        progress = Progress("photos", cut["rows"], done=min(len(done) * cut["rows_per_shard"], cut["rows"]))
        source, sink = self.stages(cluster)
        chain = Chain(folder.work, "input", self.table, source, sink)
        todo = [shard for shard in range(cut["shards"]) if shard not in done]
        seconds = run_chain(chain, todo, cluster, self.config.workers, progress, self.gpu)
        progress.finish()
        return seconds


def summarise(folder: RunFolder, table: str) -> None:
    """The last lines: how many, what was rejected and why, where."""
    facts = folder.manifest()
    rows_in = sum(facts["rows_in"].values())
    print(f"{facts['rows_out'][table]:,} of {rows_in:,} photos are in the table {table}.")
    if facts["rejects"]:
        print("Rejected: " + ", ".join(f"{n:,} {why}" for why, n in facts["rejects"].items()))
    print(f"Output: {folder.out}")
