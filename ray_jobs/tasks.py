"""Work cut into shards, on all CPUs of the cluster: as Ray tasks that share objects, or in actors that hold something.

Both return a shard's counts as (rows, rejected). A shard whose part is written is never given to them again (see
`RunFolder.done`), and the work itself writes its part, so a shard that is done twice leaves the same part.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from faceverify.errors import FaceverifyError, PlatformError, UserError
from faceverify.storage import first_line
from ray_jobs.session import Progress, storage_sentence

T = TypeVar("T")
MAX_RETRIES = 5  # of one task whose worker died: a photo that kills every worker must not be tried for ever


def run_tasks(
    work: Callable[..., tuple[int, int]],
    common: tuple[Any, ...],
    shards: Iterable[int],
    window: int,
    progress: Progress,
) -> None:
    """Call `work(*common, shard)` once for every shard, as Ray tasks of one CPU each.

    Args:
        work: a module-level function; returns (rows, rejected).
        common: what all calls share; goes into the object store once.
        shards: shard numbers.
        window: how many tasks are submitted at a time (a few more than there are CPUs).
        progress: counts the rows.

    Raises:
        FaceverifyError: what a worker raised for the user to see.
    """
    import ray

    task = ray.remote(num_cpus=1, max_retries=MAX_RETRIES)(_task).options(name=work.__name__)
    shared = [ray.put(item) for item in common]
    waiting: list[Any] = []
    left = iter(shards)
    try:
        while True:
            while len(waiting) < window and (shard := next(left, None)) is not None:
                waiting.append(task.remote(work, shard, *shared))
            if not waiting:
                return
            ready, waiting = ray.wait(waiting)
            for rows, rejected in ray.get(ready):
                progress.add(rows, rejected)
    except ray.exceptions.RayError as error:
        raise ours(error) from None


def _task(work: Callable[..., tuple[int, int]], shard: int, *common: Any) -> tuple[int, int]:
    return guarded(lambda number: work(*common, number), shard)


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
                f"workers died {MAX_RETRIES + 1} times at the same piece of work ({first_line(cause)}); too little "
                "memory or a file that crashes its decoder may be why; the same command goes on from here."
            )
        cause = getattr(cause, "cause", None) or cause.__cause__
    return error
