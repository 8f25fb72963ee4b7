"""A progress line that ends the job as soon as it is certain that too many rows fail for one reason."""

from dataclasses import dataclass

from faceverify.failures import refuse_run
from faceverify.parts import PartFacts, part, read_facts, total
from faceverify.run_folder import RunFolder
from ray_jobs.engine.progress import Progress


class Watch:
    """Looks at the counts of a stage's rejects, at those of each part once, when there are enough to exceed the limit.

    What decides is the share of *all* rows of the work, which later rows cannot make good again: whether a job is
    stopped does not depend on which rows come first.

    Args:
        folder: of the run.
        stage: whose rejects count.
        rows: of the whole work.
        max_failed: JobConfig.max_failed.
        done: rows that an earlier process did; all of them may have failed.
    """

    def __init__(self, folder: RunFolder, stage: str, rows: int, max_failed: float, done: int = 0) -> None:
        self.folder, self.stage, self.rows, self.max_failed = folder, stage, rows, max_failed
        self._failed, self._enough = done, max_failed * rows
        self._seen: set[int] = set()
        self._rejects = PartFacts()

    def add(self, rejected: int) -> None:
        """Count rows that failed.

        Raises:
            UserError: too many of them failed for one reason.
        """
        self._failed += rejected
        if not rejected or self._failed <= self._enough:
            return
        there = self.folder.done(self.stage) & self.folder.done(f"{self.stage}.rejects")
        new = sorted(there - self._seen)
        self._seen |= there
        places = [part(self.folder.work, f"{self.stage}.rejects", shard) for shard in new]
        self._rejects.add(total(read_facts(places)))
        counts, names = self._rejects.counts, self._rejects.examples
        refuse_run(self.folder, counts, self.rows, self.max_failed, stages=[self.stage], names=names)
        # How many would have to fail in all before the most frequent reason can exceed the limit.
        self._enough = self._failed + self.max_failed * self.rows - max(counts.values(), default=0)


@dataclass
class Watched(Progress):
    """A progress line with a watch."""

    watch: Watch | None = None

    def add(self, rows: int, rejected: int = 0) -> None:
        """Count finished rows."""
        super().add(rows, rejected)
        if self.watch is not None:
            self.watch.add(rejected)
