"""Work cut into shards, on all CPUs of the cluster: as Ray tasks that share objects, or in actors that hold something.

Both return a shard's counts as (rows, rejected). A shard whose part is written is never given to them again (see
`RunFolder.done`), and the work itself writes its part, so a shard that is done twice leaves the same part.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from faceverify.errors import FaceverifyError, PlatformError, UserError
from faceverify.redaction import first_line
from ray_jobs.engine.cluster import Cluster
from ray_jobs.engine.progress import Progress
from ray_jobs.engine.resources import threads_as_before
from ray_jobs.engine.session import storage_sentence

T = TypeVar("T")
_START = "the start of an actor"
MAX_RETRIES = 5  # of one task whose worker died: a photo that kills every worker must not be tried for ever


def run_tasks(
    work: Callable[..., tuple[int, int]],
    common: tuple[Any, ...],
    shards: Iterable[int],
    cluster: Cluster,
    progress: Progress,
    workers: int = 0,
) -> None:
    """Call `work(*common, shard)` once for every shard, as Ray tasks of one CPU each, or in this process.

    Args:
        work: a module-level function; returns (rows, rejected).
        common: what all calls share; goes into the object store once.
        shards: shard numbers.
        cluster: what Ray offers.
        progress: counts the rows.
        workers: how many tasks are submitted at a time at most; 0 = a few more than there are CPUs.

    Raises:
        FaceverifyError: what a worker raised for the user to see.
    """
    if cluster.here:
        for shard in shards:
            progress.add(*_task(work, shard, *common))
        return
    import ray

    window = min(workers or cluster.cpus + 2, cluster.cpus + 2)
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


def run_in_actors(
    actor: type, arguments: tuple[Any, ...], items: Sequence[Any], workers: int, progress: Progress, **resources: float
) -> None:
    """Call `work(item)` once for every item, on actors that keep what they have loaded; see also `run_here`.

    Args:
        actor: a module-level class with a method `work(item) -> (rows, rejected)`. What it loads it loads there: an
            exception of its constructor does not reach the user as it was.
        arguments: of its constructor; go into the object store once.
        items: small, hashable and picklable.
        workers: how many actors at most.
        progress: counts the rows.
        resources: of one actor (num_cpus, num_gpus).

    Raises:
        FaceverifyError: what a worker raised for the user to see.
    """
    import ray

    shared = [ray.put(argument) for argument in arguments]
    held = ray.remote(max_restarts=0, max_task_retries=0, **resources)(actor)
    actors = [held.remote(*shared) for _ in range(min(workers, len(items)))]
    # An actor is given its first item when it is there: one that waits for a CPU that others hold keeps nothing back.
    waiting = {one.__ray_ready__.remote(): (one, _START) for one in actors}
    todo, idle, deaths = deque(items), list[Any](), Counter[Any]()
    try:
        while todo or any(item is not _START for _, item in waiting.values()):
            [ready], _ = ray.wait(list(waiting))
            one, item = waiting.pop(ready)
            try:
                outcome = ray.get(ready)
            except ray.exceptions.RayActorError:
                # Ray would try again in this same actor, which may wait for a node that never comes back.
                deaths[item] += 1
                if deaths[item] > MAX_RETRIES:
                    raise
                if item is not _START:
                    todo.appendleft(item)
                actors.append(held.remote(*shared))
                waiting[actors[-1].__ray_ready__.remote()] = (actors[-1], _START)
            else:
                idle.append(one)
                if item is not _START:
                    progress.add(*outcome)
            while todo and idle:
                one, item = idle.pop(), todo.popleft()
                waiting[one.work.remote(item)] = (one, item)
    except ray.exceptions.RayError as error:
        raise ours(error) from None
    finally:
        for one in actors:
            ray.kill(one)


def run_here(actor: type, arguments: tuple[Any, ...], items: Sequence[Any], progress: Progress) -> None:
    """The same in this process, with one object of the class.

    Raises:
        FaceverifyError: what it raised for the user to see.
    """
    with threads_as_before():
        one = actor(*arguments)
        for item in items:
            progress.add(*one.work(item))


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
