"""What every job does around its work: the command line, errors in one sentence, signals, Ray, the progress line."""

import contextlib
import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from faceverify import config as configuration
from faceverify.config import JobConfig
from faceverify.errors import FaceverifyError, PlatformError, UserError
from faceverify.storage import Location, first_line, open_location
from ray_jobs.growing import grow
from ray_jobs.measures import Measures, measures

C = TypeVar("C")
KEEP_IDLE_MS = "20000"  # where actors fill the machine Ray ends idle workers after 1 s; the next task starts another
RETRY_PAUSE_MS = "3000"  # between two attempts at a task whose worker died: Ray needs a while to notice a lost node
GPU_WAIT, GPU_WORK = "gpu wait", "gpu work"  # seconds of workers with a GPU, among those of their stages
RAYS_COPY = "/runtime_resources/working_dir_files/"  # in the path of every working directory of a submitted job


class Stopped(KeyboardInterrupt):
    """SIGTERM arrived; a KeyboardInterrupt, which is all that interrupts a `ray.get` (others are swallowed there)."""


def run_job(
    job: str, config_class: type[C], work: Callable[[C], None], description: str, required: tuple[str, ...]
) -> int:
    """Parse the command line, run `work`, and turn its ending into an exit code.

    Returns:
        0 done · 1 a defect of this program (traceback) · 2 the user's mistake · 3 storage or cluster ·
        130 Ctrl-C · 143 SIGTERM.
    """
    signal.signal(signal.SIGTERM, _on_signal)
    signal.signal(signal.SIGINT, _on_signal)
    try:
        settings = configuration.load(
            config_class, sys.argv[1:], prog=f"python -m ray_jobs.{job}", description=description
        )
        configuration.require(settings, *required)
        check_kept(getattr(settings, "out", ""))
        work(settings)
        return 0
    except UserError as error:
        return _fail(job, str(error), 2)
    except FaceverifyError as error:
        return _fail(job, str(error), 3)
    except KeyboardInterrupt:  # Ray makes a plain one of Stopped
        name, code = ("SIGTERM", 143) if Stopped in _asked else ("Ctrl-C", 130)
        return _fail(job, f"stopped by {name}; the same command goes on from here.", code)
    except BrokenPipeError:
        return 141
    except OSError as error:
        return _fail(job, storage_sentence(error), 3)
    except Exception:  # the outermost: photos became rejects long before; what comes here is shown whole
        traceback.print_exc()
        return _fail(job, "this is a defect of faceverify, not of your data; please report the lines above.", 1)
    finally:
        _asked.clear()


def check_kept(out: str) -> None:
    """Refuse an output in the copy of the working directory that `ray job submit` made: Ray deletes that after the job.

    Raises:
        UserError: names it.
    """
    inside = open_location(out).path if out else ""
    if RAYS_COPY in inside:
        raise UserError(
            f"out is '{out}', which is in Ray's copy of the working directory and lost after the job; give s3:// or an "
            "absolute path that all nodes share."
        )


def storage_sentence(error: OSError) -> str:
    """What to tell of a storage fault (full disk, broken connection)."""
    return f"storage failed: {first_line(error)}; mend that and run the same command again, it goes on from here."


# The signals that arrived. Libraries swallow an exception that strikes inside one of their callbacks; the progress line
# looks here and raises it again.
_asked: list[type[BaseException]] = []


def _on_signal(number: int, _frame: Any) -> None:
    _asked.append(Stopped if number == signal.SIGTERM else KeyboardInterrupt)
    raise _asked[-1]


def check_stopped() -> None:
    """Raise what a signal asked for, if that was swallowed on its way."""
    if _asked:
        raise _asked[-1]


def _fail(job: str, sentence: str, code: int) -> int:
    print(f"{job}: {sentence}", file=sys.stderr, flush=True)
    return code


@dataclass(frozen=True)
class Cluster:
    """What Ray offers."""

    cpus: int
    gpus: int
    nodes: int
    object_store_bytes: int  # of the node that has least
    memory_bytes: int  # of all nodes, for workers
    cpus_of_nodes: tuple[int, ...] = ()  # of those that have any; () = not known: taken for one node

    @property
    def node_cpus(self) -> int:
        """Of the node that has most."""
        return max(self.cpus_of_nodes, default=self.cpus)

    def share(self, workers: int) -> float:
        """CPUs that each of so many workers may take, so that all have their place, each on one node."""
        nodes = self.cpus_of_nodes or (self.cpus,)
        shares = sorted({cpus / parts for cpus in nodes for parts in range(1, workers + 1)}, reverse=True)
        fits = lambda share: sum(int(cpus / share + 1e-9) for cpus in nodes) >= workers  # noqa: E731
        return next(filter(fits, shares))

    def __str__(self) -> str:
        gpus = f", {self.gpus} GPU" if self.gpus else ""
        return f"{self.nodes} node{'s' if self.nodes > 1 else ''}, {self.cpus} CPU{gpus}"


def connect(config: JobConfig | None = None) -> Cluster:
    """Connect to the running cluster (RAY_ADDRESS, or one started on this machine), or start one in this process.

    A cluster that has less than `config` asks for, or no CPU at all, is given time to grow.

    Raises:
        PlatformError: it did not, or Ray cannot be reached or started.
    """
    config = config or JobConfig()
    verbose = config.verbose
    # A cluster that runs already has its own environment, see Dockerfile.
    os.environ.setdefault("RAY_task_retry_delay_ms", RETRY_PAUSE_MS)
    os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", KEEP_IDLE_MS)
    # Threads that spin while they wait take the cores from other workers (benchmarks/waiting.py).
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
        with contextlib.nullcontext() if verbose else _silent_stderr():
            _reach(log_to_driver=verbose, logging_level=level)
        if ours is _on_signal:
            signal.signal(signal.SIGTERM, ours)  # Ray has put its own in place, which ends without a word
    for handler in logging.getLogger("ray.data").handlers:
        handler.setLevel(logging.INFO if verbose else logging.CRITICAL)  # an error reaches the user as an exception
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
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


def _reach(**how: Any) -> None:
    """Let Ray find or start a cluster; where nobody listens at its address Ray would try for minutes."""
    import socket

    import ray

    address = os.environ.get("RAY_ADDRESS", "")
    host, _, port = address.rpartition(":")
    try:
        if host and port.isdigit() and "://" not in address:
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(include_dashboard=False, **how)
    except (OSError, RuntimeError) as error:
        what = f"no cluster answers at RAY_ADDRESS ({address})" if address else "Ray did not start on this machine"
        raise PlatformError(f"{what}: {first_line(error)}.") from None


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
        return len(names), configuration.digest(names)
    with open(path, "rb") as stream:
        return os.path.getsize(path), stream.read(4096).hex()


def _on_all_nodes(function: Callable[[str], Any], argument: str) -> list[Any]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as OnNode

    remote = ray.remote(num_cpus=0)(function)
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    return ray.get([remote.options(scheduling_strategy=OnNode(n, soft=False)).remote(argument) for n in nodes])


@dataclass
class Progress:
    """One line that says how far the work is: rewritten on a terminal, once in 10 s in a log."""

    what: str
    total: int
    done: int = 0
    rejected: int = 0
    _start: float = field(default_factory=time.perf_counter)
    _begun_at: int = 0
    _shown: float = 0.0
    _gpus: dict[str, float] = field(default_factory=lambda: {GPU_WAIT: 0.0, GPU_WORK: 0.0})
    _told: tuple[int, int] = (0, 0)
    _measures: Measures | None = None

    def __post_init__(self) -> None:
        self._begun_at = self.done
        self._told = self.done, self.rejected

    @property
    def seconds(self) -> float:
        """Since the start of this work."""
        return time.perf_counter() - self._start

    @property
    def rate(self) -> float:
        """Rows per second of this process's own work."""
        return (self.done - self._begun_at) / max(self.seconds, 1e-9)

    @property
    def seconds_left(self) -> float:
        """To the end, at this rate."""
        return (self.total - self.done) / max(self.rate, 1e-9)

    @property
    def gpu_wait(self) -> float | None:
        """Share of their time that workers with a GPU waited for work; None if there are none."""
        together = sum(self._gpus.values())
        return self._gpus[GPU_WAIT] / together if together else None

    def gpu_seconds(self, seconds: Mapping[str, float]) -> None:
        """Note what workers with a GPU say of their time, if they do (GPU_WAIT, GPU_WORK)."""
        for name in self._gpus:
            self._gpus[name] += seconds.get(name, 0.0)

    def add(self, rows: int, rejected: int = 0) -> None:
        """Count finished rows, and show the line when it is time."""
        check_stopped()
        self.done += rows
        self.rejected += rejected
        terminal = sys.stderr.isatty()
        if self.seconds - self._shown >= (0.2 if terminal else 10):
            self._shown = self.seconds
            self._print(f"{self._line()}, about {_duration(self.seconds_left)} left", "\r" if terminal else "")
            self._tell()

    def finish(self) -> None:
        """The last state of the line."""
        self._print(f"{self._line()}, {_duration(self.seconds)}", "\r" if sys.stderr.isatty() else "", "\n")
        self._tell()

    def _line(self) -> str:
        rejected = f", {self.rejected:,} rejected" if self.rejected else ""
        wait = "" if self.gpu_wait is None else f", GPUs wait {self.gpu_wait:.0%}"
        speed = f"{self.rate:,.0f}" if self.rate >= 9.95 else f"{self.rate:.1f}"
        return f"{self.what}: {self.done:,}/{self.total:,}, {speed}/s{rejected}{wait}"

    def _tell(self) -> None:
        self._measures = self._measures or measures(self.what)
        if self._measures is not None:
            rows, rejected = self._told
            self._told = self.done, self.rejected
            self._measures.tell(
                self.done - rows,
                self.rejected - rejected,
                rows_per_second=self.rate,
                seconds_left=self.seconds_left,
                share_done=self.done / max(self.total, 1),
                gpu_wait_share=self.gpu_wait,
            )

    @staticmethod
    def _print(line: str, start: str, end: str | None = None) -> None:
        clear = "\033[K" if start else ""  # what an earlier, longer line left behind
        ending = end if end is not None else ("" if start else "\n")
        print(f"{start}{line}{clear}", end=ending, file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.0f} min" if minutes < 100 else f"{hours:.1f} h"
