"""Trials as Ray Tune runs them: each a training, several at once, and an actor that says who goes on."""

import os
import signal
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ray.tune.search import Searcher

from faceverify.config import replaced
from faceverify.errors import PlatformError, UserError
from faceverify.redaction import first_line
from faceverify.storage import Location
from faceverify.tuning import judging
from faceverify.tuning import trials as records
from faceverify.tuning.conducting import Search, Task
from faceverify.tuning.options import SearchConfig
from faceverify.tuning.space import Dimension, shown
from faceverify.tuning.trials import Line, State, Trial
from ray_jobs.engine import training_group
from ray_jobs.engine.cluster import Cluster
from ray_jobs.engine.session import storage_sentence
from ray_jobs.engine.shards import beside_driver
from ray_jobs.engine.signals import check_stopped

if TYPE_CHECKING:
    from ray_jobs.train import Ready, TrainConfig
    from ray_jobs.tune import TuneConfig

ALIVE_SECONDS = 10.0  # between signs of life of a trial
POLL_SECONDS = 0.2  # while a trial waits for others to come as far
QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # our own files say all of it
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the job has handlers
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # nothing is resumed from Tune's own notes
}


@dataclass(frozen=True)
class Room:
    """How many trials run at once, of how many workers each, and what of the cluster each may use."""

    trials: int
    workers: int
    share: Cluster


def room(cluster: Cluster, config: "TuneConfig", total: int) -> Room:
    """As many of `total` trials as have what they need, all at the same time, with something left for batches."""
    workers = config.workers or 1
    slots = min(cluster.gpus, max(1, cluster.cpus - 1)) if cluster.gpus else cluster.cpus
    limits = [total, max(1, slots // workers)]
    limits += [config.search.window] if config.search.algorithm == "optuna" else []
    trials = min(limits + ([config.concurrent] if config.concurrent else []))
    smallest = min(cluster.cpus_of_nodes, default=cluster.cpus)  # a worker has to fit on one node
    cpus = max(1, min(cluster.cpus // trials, smallest * workers))
    share = replace(cluster, cpus=cpus, cpus_of_nodes=(), gpus=workers if cluster.gpus else 0)
    return Room(trials, workers, share)


class Referee:
    """An actor: hears of all trials, and says of each whether it goes on."""

    def __init__(self, config: SearchConfig, validation_every: int) -> None:
        self._judge = judging.build(config, validation_every)
        self._stopped: set[int] = set()
        self._faults: dict[int, str] = {}

    def begun(self, number: int, generation: int) -> None:
        """See `Judge`."""
        self._stopped.discard(number)
        self._judge.begun(number, generation)

    def alive(self, number: int) -> None:
        """See `Judge`."""
        self._judge.alive(number)

    def ended(self, trial: Trial) -> None:
        """See `Judge`."""
        self._judge.ended(trial)

    def goes_on(self, number: int, validations: Sequence[Line]) -> bool | None:
        """See `Judge`."""
        answer = self._judge.goes_on(number, validations)
        if answer is False:
            self._stopped.add(number)
        return answer

    def stopped(self, number: int) -> bool:
        """Whether a trial was told to end."""
        return number in self._stopped

    def failed(self, number: int, sentence: str) -> None:
        """A trial's process ends, and says why."""
        self._faults[number] = sentence

    def fault(self, number: int) -> str:
        """Why a trial's process ended; one that was killed could not say."""
        return self._faults.get(number, "its process was killed again and again; too little memory may be why")


@dataclass(frozen=True)
class Given:
    """What every trial is given."""

    training: "TrainConfig"
    search: SearchConfig
    out: Location
    room: Room
    referee: Any
    ready: Any  # reference
    images: Any


@dataclass(frozen=True)
class Asking:
    """Asks the referee whether a trial goes on, and waits where others have to come as far first."""

    referee: Any
    number: int

    def __call__(self, validations: list[Line]) -> bool:
        """See `Training`."""
        import ray

        while (answer := ray.get(self.referee.goes_on.remote(self.number, validations))) is None:
            time.sleep(POLL_SECONDS)
        return answer


def run_trial(config: dict[str, Any], given: Given) -> dict[str, Any]:
    """What Tune runs: a training like any other, in a folder of its own; run again, it goes on from its checkpoint."""
    import ray

    from faceverify.training.loop import Diverged

    task, start = Task(**config), time.perf_counter()
    folder = records.folder_of(given.out, task.number)
    state: State = "finished"
    reason = ""
    try:
        _train(replaced(given.training, {**task.values, "out": folder.uri}, f"trial {task.number}"), task, given)
        if ray.get(given.referee.stopped.remote(task.number)):
            state = "waiting" if given.search.scheduler == "pbt" else "pruned"
    except Diverged as error:
        state, reason = "diverged", str(error)
    except UserError as error:
        state, reason = "failed", str(error)
    except Exception as error:
        sentence = storage_sentence(error) if isinstance(error, OSError) else first_line(error)
        ray.get(given.referee.failed.remote(task.number, sentence))
        raise
    earlier = records.find(given.out, task.number) if task.generation else None
    seconds = time.perf_counter() - start + (earlier.seconds if earlier else 0.0)
    trial = _judged(folder, task, state, reason, seconds)
    records.write(given.out, trial)
    return {"trial": task.number, "eer": trial.score("eer")}


def _train(training: "TrainConfig", task: Task, given: Given) -> None:
    import ray

    from faceverify.training.loop import check_shares
    from faceverify.training.network import check_initial, check_network, initial_network

    ready: Ready = ray.get(given.ready)
    base, share, workers = given.training, given.room.share, given.room.workers
    if (training.start, training.network, training.batches.seed) != (base.start, base.network, base.batches.seed):
        network, card = initial_network(training.start, training.network, training.batches.seed)
        ready = replace(ready, network=network, card=card)
    check_shares(training.batches.size, workers, training.batches.accumulate)
    check_network(ready.network, training.network, share.gpus > 0)
    check_initial(ready.network, training.network, training.losses)
    plan = training_group.plan(training, ready, given.images)
    out, asking = Location(training.out), Asking(given.referee, task.number)
    if workers > 1:
        training_group.Group(training, out, share, workers, asking).run(plan)
    else:  # in this process, which spares the start of a worker group
        told = _Alive(given.referee, task.number)
        training_group.train_here(training, plan, out, training_group.threads_of(share, 1), told, asking)


class _Alive:
    """Tells the referee now and then that a trial is running."""

    def __init__(self, referee: Any, number: int) -> None:
        self._referee, self._number, self._told = referee, number, 0.0

    def __call__(self, step: int, steps: int, line: dict[str, Any]) -> None:
        """After every step."""
        if time.monotonic() - self._told > ALIVE_SECONDS:
            self._told = time.monotonic()
            self._referee.alive.remote(self._number)


def _judged(folder: Location, task: Task, state: State, reason: str, seconds: float) -> Trial:
    from faceverify.training.checkpoints import CheckpointManager
    from faceverify.training.metrics_log import MetricsLog

    log = MetricsLog(folder, [])
    log.resume()
    found = [one for one in CheckpointManager(folder, 1).complete() if "eer" in one.facts]
    best = min(found, key=lambda one: (one.facts["eer"], one.step), default=None)
    return Trial(
        number=task.number,
        values=task.values,
        state=state,
        reason=reason,
        validations=log.validations,
        best_step=best.step if best else None,
        seconds=seconds,
        generation=task.generation,
    )


class Runs:
    """Runs what a search gives out until it is over.

    Args:
        config: of the job.
        training: trial 0.
        dimensions: what is searched.
        search: says what comes next.
        out: folder of the run.
        room: for how many trials.
    """

    def __init__(
        self,
        config: "TuneConfig",
        training: "TrainConfig",
        dimensions: Sequence[Dimension],
        search: Search,
        out: Location,
        room: Room,
    ) -> None:
        self.config, self.training, self.dimensions = config, training, dimensions
        self.search, self.out, self.room = search, out, room

    def run(self, ready: "Ready", ended: Sequence[Trial]) -> None:
        """Run all trials but those that ended in an earlier run.

        Raises:
            PlatformError: the processes of some trials died too often.
        """
        import ray

        from ray_jobs.engine.face_store import store_images

        os.environ.update(QUIET)
        referee = beside_driver(Referee).remote(self.config.search, self.config.validation.every)
        ray.get([referee.ended.remote(trial) for trial in ended])
        images = store_images(ready.faces)
        given = Given(self.training, self.config.search, self.out, self.room, referee, ray.put(ready), images)
        done = sum(trial.state != "waiting" for trial in ended)
        steward = _Steward(self.search, self.dimensions, self.out, referee, done)
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}
        try:
            self._fit(given, steward)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)  # Tune leaves its own, which swallows the first Ctrl-C after the search
            check_stopped()  # a signal strikes inside of Ray, which makes another exception of it
        if steward.lost:
            number, reason = next(iter(steward.lost.items()))
            raise PlatformError(
                f"{len(steward.lost)} of {self.search.total} trials could not be run (trial {number}: "
                f"{reason.removesuffix('.')}); the same command tries them again, and no other."
            )

    def _fit(self, given: Given, steward: "_Steward") -> None:
        import pyarrow.fs as pafs
        from ray import tune

        one = training_group.worker_needs(self.room.share, self.room.workers)
        needs = {"cpu": 0.01} if self.room.workers > 1 else one  # a group's workers ask for themselves
        work = self.out / ".work"
        tune.Tuner(
            tune.with_resources(tune.with_parameters(run_trial, given=given), needs),
            tune_config=tune.TuneConfig(
                search_alg=steward,
                num_samples=-1,  # the search says when it is over
                max_concurrent_trials=self.room.trials,
                reuse_actors=True,  # most of a trial's start is loading PyTorch
            ),
            run_config=tune.RunConfig(
                name=f"ray-{uuid.uuid4().hex[:8]}",  # what has to last is in the trials' folders
                storage_path=work.path,
                storage_filesystem=pafs.LocalFileSystem() if work.is_local else work.fs,
                failure_config=tune.FailureConfig(max_failures=self.config.max_failures),
                verbose=0,
            ),
        ).fit()


class _Steward(Searcher):
    """Stands between Tune, which asks what to run, and the search, which knows; says how each trial ended.

    lost: trials whose processes died too often, and why.
    """

    def __init__(self, search: Search, dimensions: Sequence[Dimension], out: Location, referee: Any, done: int) -> None:
        super().__init__(metric="eer", mode="min")
        self.search, self.out, self.referee, self.dimensions = search, out, referee, dimensions
        self.running: dict[str, Task] = {}
        self.lost: dict[int, str] = {}
        self.done = done

    def suggest(self, trial_id: str) -> Any:
        """The next trial; None = not yet."""
        import ray

        check_stopped()
        task = self.search.next()
        if task is None:
            return Searcher.FINISHED if self.search.over else None
        ray.get(self.referee.begun.remote(task.number, task.generation))
        self.running[trial_id] = task
        return asdict(task)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell search and referee what came of a trial."""
        import ray

        task = self.running.pop(trial_id)
        trial = records.find(self.out, task.number)
        if error or trial is None or trial.generation != task.generation:
            self.lost[task.number] = ray.get(self.referee.fault.remote(task.number))
            trial = Trial(number=task.number, values=task.values, state="failed", generation=task.generation)
        self.search.ended(trial)
        self.referee.ended.remote(trial)
        if trial.state != "waiting":
            self.done += 1
            print(f"{self.done}/{self.search.total} {_line(trial, self.dimensions)}", flush=True)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the trials' folders are what is resumed from."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing."""


def _line(trial: Trial, dimensions: Sequence[Dimension]) -> str:
    values = ", ".join(f"{one.name.rpartition('.')[2]} {shown(trial.values[one.name])}" for one in dimensions)
    reached = f"EER {trial.best['eer']:.2%}" if trial.best else first_line(UserError(trial.reason))
    return f"trial {trial.number}: {trial.state}, {reached}; {values}"
