"""Work on the shards of a table: Ray Data reads their rows, its pools of tasks or actors work on them, parts come out.

A shard is a fixed slice of a table (`faceverify.shards`), so the cut does not depend on the cluster. Ray Data's read
operator gives its rows, and a pool turns them into a part on disk (`faceverify.parts`), whose presence a resumed job
looks for; what goes on to the driver are counts. Ray Data joins the blocks of one task: the column SHARD says which
rows belong together. Tasks read, work and write as one operator, so that rows do not pass through the object store; for
actors others read ahead. A single shard is done in the process of the job, with the same functions.
"""

import gc
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from faceverify.errors import FaceverifyError, PlatformError, UserError
from faceverify.joining import Join, put_here
from faceverify.parts import NewFile, make_file, make_files
from faceverify.redaction import first_line
from ray_jobs.engine.cluster import Cluster
from ray_jobs.engine.progress import Progress
from ray_jobs.engine.resources import threads_as_before
from ray_jobs.engine.session import storage_sentence

T = TypeVar("T")
SHARD = "__shard__"
# A task costs Ray some 20 ms: it is given several shards, but every worker sixteen tasks, so that all end together.
SHARDS_PER_TASK, TASKS_PER_WORKER = 8, 16
# What a worker is given. A photo that kills every worker must not be tried for ever; but a lost node takes the cluster
# up to a minute to notice, and each attempt to reach an actor there meanwhile is counted: with the pause between two
# (cluster.RETRY_PAUSE_MS) these last longer than that.
OF_TASKS = {"num_cpus": 1.0, "max_retries": 5}
OF_ACTORS = {"num_cpus": 0.95, "max_task_retries": 20}
# Who reads rows for actors asks for no CPU: actors hold them all, perhaps those of another job, and would wait for it.
OF_READERS = {"num_cpus": 0.0, "max_retries": 5}
READERS = 2  # of a job at a time

Work = Callable[[int, pa.Table], tuple[int, int]]  # shard, its rows -> rows done, rows of them rejected


@dataclass(frozen=True)
class Shards:
    """What is to be done.

    Args:
        read: gives the rows of a shard; called by workers.
        numbers: of the shards.
        name: of Ray's read operator: what the rows are.
    """

    read: Callable[[int], pa.Table]
    numbers: Sequence[int]
    name: str


def map_shards(
    shards: Shards,
    work: Callable[..., Any],
    arguments: tuple[Any, ...],
    cluster: Cluster,
    progress: Progress,
    workers: int = 0,
    **resources: float,
) -> list[dict[str, Any]]:
    """Work on every shard once, on Ray Data's pools or, if the cluster is this process, here.

    Args:
        shards: what is read.
        work: a function `(*arguments, shard, rows) -> (rows, rejected)`, run in tasks; or a class whose objects,
            made of `arguments`, are called with `(shard, rows)`, run in actors that keep what they have loaded.
        arguments: go into the object store once.
        cluster: what Ray offers.
        progress: counts the rows.
        workers: how many at most; 0 = as many as there are CPUs.
        resources: of one worker (num_cpus, num_gpus); one CPU unless given.

    Returns:
        Which of Ray Data's operators ran, see `operators_of`; empty if none did.

    Raises:
        FaceverifyError: what a worker raised for the user to see.
    """
    if not shards.numbers:
        return []
    if cluster.here:
        with threads_as_before():
            one = _opened(work, arguments)
            for shard in shards.numbers:
                progress.add(*guarded(lambda number: one(number, shards.read(number)), shard))
        return []
    most = min(workers or cluster.cpus, len(shards.numbers))
    actors = isinstance(work, type)
    has = {**(OF_ACTORS if actors else OF_TASKS), **resources}
    each = shards_per_task(len(shards.numbers), most)
    count = lambda one: progress.add(one["rows"], one["rejected"])  # noqa: E731
    if actors:
        stage = type(work.__name__, (_InActor,), {})  # under this name Ray shows it
        rows = read(shards, each, READERS, OF_READERS)
        return consume(pool(rows, stage, (work, arguments), most, has), count)
    return consume(tasks(read(shards, each, most, has), _in_task(work, arguments), {}, most, has), count)


def shards_per_task(shards: int, workers: int) -> int:
    """How many shards one task is given."""
    return max(1, min(SHARDS_PER_TASK, shards // (TASKS_PER_WORKER * workers)))


def maker(cluster: Cluster) -> Callable[[Sequence[NewFile]], None]:
    """What makes files of parts for `RunFolder.publish_parts`: workers, where rows must be read and written for it."""

    def make(files: Sequence[NewFile]) -> None:
        alone = [new for new in files if len(new.parts) == 1]
        joined = [new for new in files if len(new.parts) > 1]
        if cluster.here or len(joined) < 2:
            return make_files(files)
        make_files(alone)
        source = Shards(partial(number_row, "file"), range(len(joined)), "Files")
        map_shards(source, _make_one, (joined,), cluster, Progress("files", len(joined)))

    return make


def joiner(cluster: Cluster) -> Callable[[Join], None]:
    """What joins files for `RunFolder.publish_text`: workers, where there is more than one chunk."""

    def put(join: Join) -> None:
        if cluster.here or len(join.chunks) < 2:
            return put_here(join)
        source = Shards(partial(number_row, "chunk"), range(len(join.chunks)), "Chunks")
        map_shards(source, _put_one, (join,), cluster, Progress("chunks", len(join.chunks)))

    return put


def number_row(name: str, number: int) -> pa.Table:
    """A row that is no more than the number of a unit of work."""
    return pa.table({name: [number]})


def _put_one(join: Join, number: int, _: pa.Table) -> tuple[int, int]:
    join.put(number)
    return 1, 0


def _make_one(files: Sequence[NewFile], number: int, _: pa.Table) -> tuple[int, int]:
    make_file(files[number])
    return 1, 0


def _opened(work: Callable[..., Any], arguments: tuple[Any, ...]) -> Work:
    return work(*arguments) if isinstance(work, type) else lambda shard, rows: work(*arguments, shard, rows)


class _InActor:
    def __init__(self, work: type, arguments: tuple[Any, ...]) -> None:
        self.work = _opened(work, arguments)

    def __call__(self, batch: pa.Table) -> pa.Table:
        return _counted(self.work, batch)


def _in_task(work: Callable[..., Any], arguments: tuple[Any, ...]) -> Callable[[pa.Table], pa.Table]:
    def task(batch: pa.Table) -> pa.Table:
        return _counted(_opened(work, arguments), batch)

    task.__name__ = work.__name__.lstrip("_")  # under this name Ray shows it
    return task


def _counted(work: Work, batch: pa.Table) -> pa.Table:
    found = [guarded(lambda one: work(*one), one) for one in by_shard(batch)]
    return pa.table({"rows": [rows for rows, _ in found], "rejected": [rejected for _, rejected in found]})


def by_shard(batch: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """The shards of a batch and their rows, which follow each other."""
    if not batch.num_rows:
        return
    numbers = batch[SHARD].to_numpy()
    rows = batch.drop_columns(SHARD)
    edges = np.flatnonzero(np.diff(numbers, prepend=numbers[:1] - 1, append=numbers[-1:] + 1))
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        yield int(numbers[start]), rows.slice(start, stop - start)


# -- datasets ----------------------------------------------------------------------------------------------------------


def read(shards: Shards, each: int, most: int, resources: dict[str, float]) -> Any:
    """A dataset of the rows of shards, with the column SHARD.

    Args:
        shards: what is read.
        each: shards that one task reads.
        most: tasks at a time.
        resources: of a task. Ray runs the reading and what follows as one operator if all these are the same.
    """
    import ray

    from ray_jobs.engine.shard_source import ShardSource

    source = ShardSource(shards.read, shards.numbers, each, SHARD, shards.name)
    with _quiet():
        return ray.data.read_datasource(
            source, override_num_blocks=len(source), concurrency=min(most, len(source)), ray_remote_args=resources
        )


def pool(dataset: Any, stage: type, arguments: tuple[Any, ...], workers: int, resources: dict[str, float]) -> Any:
    """The dataset that a pool of actors makes of it, whole blocks at a time, or a row where it has GPUs."""
    import ray

    strategy = ray.data.ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers)
    size = 1 if resources.get("num_gpus") else None  # None is refused for workers with a GPU
    with _quiet():
        return dataset.map_batches(
            stage,
            compute=strategy,
            batch_size=size,
            batch_format="pyarrow",
            fn_constructor_args=arguments,
            **resources,
        )


def tasks(dataset: Any, function: Any, common: dict[str, Any], most: int | None, resources: dict[str, float]) -> Any:
    """The dataset that tasks make of it: `function(batch, **common)`, `most` at a time if that is given."""
    import ray

    strategy = ray.data.TaskPoolStrategy(size=most)
    with _quiet():
        return dataset.map_batches(
            function, compute=strategy, batch_size=None, batch_format="pyarrow", fn_kwargs=common, **resources
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Ray 2.60 announces another way to name retries for 2.64, and does not have it yet."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
        yield


def consume(dataset: Any, take: Callable[[dict[str, Any]], None]) -> list[dict[str, Any]]:
    """Take the rows that come home; returns which operators ran.

    Raises:
        FaceverifyError: what a worker raised for the user to see.
    """
    import ray

    from ray_jobs.engine.operators import operators_of

    try:
        for row in dataset.iter_rows():
            take(row)
        return operators_of(dataset)
    except ray.exceptions.RayError as error:
        fault = ours(error)
    # Actors live, and hold their CPUs, as long as anything refers to their pool: a traceback, Ray Data's own thread.
    del dataset
    for thread in threading.enumerate():
        if thread.name.startswith("StreamingExecutor"):
            thread.join(10)
    gc.collect()
    raise fault


# -- faults ------------------------------------------------------------------------------------------------------------


def guarded(work: Callable[[Any], T], argument: Any) -> T:
    """Run `work`; a storage fault becomes a sentence for the user."""
    try:
        return work(argument)
    except OSError as error:
        raise PlatformError(storage_sentence(error)) from error


def ours(error: BaseException) -> BaseException:
    """Return the exception of this package that a Ray error carries, else the Ray error."""
    from ray.exceptions import OutOfMemoryError, RayActorError, RayError, WorkerCrashedError

    cause: BaseException | None = error
    while cause is not None:
        # Ray raises a mixture of its own class and ours, whose text is the stack; the plain one is inside.
        if isinstance(cause, FaceverifyError) and not isinstance(cause, RayError):
            sentence = str(cause).splitlines()[0]  # Ray Data appends advice of its own
            return UserError(sentence) if isinstance(cause, UserError) else PlatformError(sentence)
        if isinstance(cause, RayActorError | WorkerCrashedError | OutOfMemoryError):
            return PlatformError(
                f"workers died again and again at the same piece of work ({first_line(cause)}); too little "
                "memory or a file that crashes its decoder may be why; the same command goes on from here."
            )
        cause = getattr(cause, "cause", None) or cause.__cause__
    return error


def beside_driver(actor: type) -> Any:
    """The class as an actor on the driver's machine, where the run ends anyway if that is lost; it takes no CPU."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(actor)
