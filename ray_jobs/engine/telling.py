"""One long piece of work in a worker that tells the driver how far it is."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from ray_jobs.engine.cluster import Cluster
from ray_jobs.engine.shards import ours

T = TypeVar("T")


def told_by_worker(
    work: Callable[..., Iterator[T]], arguments: tuple[object, ...], cluster: Cluster, cpus: int, gpu: bool
) -> Iterator[T]:
    """What `work(*arguments)`, a generator function, yields in a worker; here, where there is no cluster.

    A worker that dies begins again, so work must do the same each time; what was told before is told again.

    Args:
        work: what is done.
        arguments: for it.
        cluster: what Ray offers.
        cpus: of the worker, as far as a node has so many.
        gpu: whether it gets one.

    Raises:
        FaceverifyError: what the worker raised for the user to see.
    """
    if cluster.here:
        yield from work(*arguments)
        return
    import ray

    # Retries, unlike those of a pool, are few: an end by too little memory would come each time.
    has = {"num_cpus": min(cpus, cluster.node_cpus), "num_gpus": int(gpu), "max_retries": 2}
    told = ray.remote(work).options(num_returns="streaming", **has).remote(*arguments)
    try:
        for one in told:
            yield ray.get(one)
    except ray.exceptions.RayError as error:
        raise ours(error) from error
    finally:
        ray.cancel(told, force=True)  # where the job was interrupted
