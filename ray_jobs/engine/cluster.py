"""The Ray cluster under a job: finding or starting one, what it offers, and whether its nodes see the same files."""

import contextlib
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from faceverify.config import JobConfig, digest
from faceverify.errors import PlatformError
from faceverify.storage import Location, open_location
from faceverify.wording import count_of
from ray_jobs.engine.growing import grow
from ray_jobs.engine.reaching import find, start_or_join
from ray_jobs.engine.signals import on_signal

KEEP_IDLE_MS = "20000"  # where actors fill the machine Ray ends idle workers after 1 s; the next task starts another
RETRY_PAUSE_MS = "3000"  # between two attempts at a task whose worker died: Ray needs a while to notice a lost node


@dataclass(frozen=True)
class Cluster:
    """What Ray offers."""

    cpus: int
    gpus: int
    nodes: int
    object_store_bytes: int  # of the node that has least
    memory_bytes: int  # of all nodes, for workers
    cpus_of_nodes: tuple[int, ...] = ()  # of those that have any; () = not known: taken for one node
    here: bool = False  # there is none: this process does the work

    @property
    def node_cpus(self) -> int:
        """Of the node that has most."""
        return max(self.cpus_of_nodes, default=self.cpus)

    def share(self, workers: int) -> float:
        """CPUs that each of `workers` workers may take so that all of them fit, each on one node."""
        nodes = self.cpus_of_nodes or (self.cpus,)
        shares = sorted({cpus / parts for cpus in nodes for parts in range(1, workers + 1)}, reverse=True)
        fits = lambda share: sum(int(cpus / share + 1e-9) for cpus in nodes) >= workers  # noqa: E731
        return next(filter(fits, shares))

    def __str__(self) -> str:
        if self.here:
            return "not started, one unit of work is done sooner in this process"
        gpus = f", {self.gpus} GPU" if self.gpus else ""
        return f"{count_of(self.nodes, 'node')}, {self.cpus} CPU{gpus}"


def connect(config: JobConfig | None = None, units: int | None = None) -> Cluster:
    """Connect to the running cluster (RAY_ADDRESS, or one started on this machine), or start one in this process.

    A cluster that has less than `config` asks for, or no CPU at all, is given time to grow.

    Args:
        config: of the job.
        units: of work that can be done at the same time. One alone is done in this process, unless GPUs or a size of
            the cluster are asked for: a worker takes some seconds to start.

    Raises:
        PlatformError: it did not, or Ray cannot be reached or started.
    """
    config = config or JobConfig()
    if units is not None and units <= 1 and not (config.cpus or config.gpus or _wants_gpu(config)):
        return _this_process()
    verbose = config.verbose
    # A cluster that runs already has its own environment, see Dockerfile.
    os.environ.setdefault("RAY_task_retry_delay_ms", RETRY_PAUSE_MS)
    os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", KEEP_IDLE_MS)
    # Threads that spin while they wait take the cores from other workers (benchmarks/results/2026-11-28_waiting.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if not verbose:
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import logging

    import ray
    import ray.data

    level = logging.INFO if verbose else logging.ERROR
    ours = signal.getsignal(signal.SIGTERM)
    if not ray.is_initialized():
        known = find()
        with contextlib.nullcontext() if verbose else _silent_stderr():
            start_or_join(known, log_to_driver=verbose, logging_level=level)
        if ours is on_signal:
            signal.signal(signal.SIGTERM, ours)  # Ray has put its own in place, which ends without a word
    for handler in logging.getLogger("ray.data").handlers:
        handler.setLevel(logging.INFO if verbose else logging.CRITICAL)  # an error reaches the user as an exception
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.target_max_block_size = None  # the rows of a shard stay together
    context.memory_usage_poll_interval_s = None  # costs each worker 2 to 3 % of its time, and only fills a statistic
    context.raise_original_map_exception = True  # Ray's own wrapper forgets what it wraps
    gc.collect()  # an earlier job of this process that failed may still hold its actors, and they their CPUs
    cpus = config.cpus or int(ray.cluster_resources().get("CPU", 0) < 1)
    if cpus or config.gpus:
        grow(cpus, config.gpus, config.grow_minutes)
    total = ray.cluster_resources()
    nodes = [node for node in ray.nodes() if node["Alive"]]
    # A head that offers no CPU has no workers that share anything.
    at_work = [node["Resources"] for node in nodes if node["Resources"].get("CPU", 0) > 0]
    of_nodes = tuple(filter(None, (int(has["CPU"]) for has in at_work)))
    store = int(min(has.get("object_store_memory", 0) for has in at_work))
    cpus, gpus = max(1, int(total.get("CPU", 1))), int(total.get("GPU", 0))
    return Cluster(cpus, gpus, len(nodes), store, int(total.get("memory", 0)), of_nodes)


def _this_process() -> Cluster:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cpus = len(os.sched_getaffinity(0))
    return Cluster(cpus, 0, 1, memory, memory, (cpus,), here=True)


def _wants_gpu(config: Any) -> bool:
    """Whether the user asks for GPUs, which may be on another machine."""
    asked = [("align", "device", ("cuda",)), ("engine", "provider", ("cuda", "tensorrt"))]
    parts = [(getattr(config, part, None), name, values) for part, name, values in asked]
    wanted = any(getattr(part, name, None) in values for part, name, values in parts)
    return wanted or getattr(getattr(config, "resources", None), "gpus", 0) > 0


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Hide what native code writes to stderr (Ray announces its log level there); exceptions pass."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def check_shared(cluster: Cluster, work: Location, *inputs: str | Location) -> None:
    """Refuse local paths that the nodes of a cluster do not share.

    Args:
        cluster: what Ray offers.
        work: the folder of the run's work in progress; what is written there now, every node must read.
        inputs: what workers read; a text that is no existing path (the name of a published model, nothing) is passed
            over. Every node must see the same there.

    Raises:
        PlatformError: names the folder or file.
    """
    if cluster.nodes == 1:
        return
    token = work / f"shared-{os.getpid()}"
    token.write_bytes(os.urandom(16))
    try:
        named = [open_location(place) if isinstance(place, str) else place for place in inputs if place]
        for place, reads in [(work, token), *((place, place) for place in named)]:
            if place.is_local and reads.exists() and len(set(_on_all_nodes(look_at, reads.path))) > 1:
                raise PlatformError(
                    f"'{place}' is a local path that not all {cluster.nodes} nodes see alike; use s3:// or a shared "
                    "file system."
                )
    finally:
        token.delete()


def look_at(path: str) -> tuple[int, str] | None:
    """What tells whether two nodes see the same file or folder: size and first bytes, or the names in it."""
    if not os.path.exists(path):
        return None
    if os.path.isdir(path):
        names = sorted(os.listdir(path))
        return len(names), digest(names)
    with open(path, "rb") as stream:
        return os.path.getsize(path), stream.read(4096).hex()


def _on_all_nodes(function: Callable[[str], Any], argument: str) -> list[Any]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as OnNode

    remote = ray.remote(num_cpus=0)(function)
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    return ray.get([remote.options(scheduling_strategy=OnNode(n, soft=False)).remote(argument) for n in nodes])
