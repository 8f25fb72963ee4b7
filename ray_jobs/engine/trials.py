"""Trials on Ray Tune: trainings that report their validations to its schedulers, with values from its searchers.

A trial that has ended is known by its `trial.json`. In a search that is resumed it runs again for a moment and only
reports what it found before, so that Tune's searcher, scheduler and result grid come to know everything by the way they
know it in an undisturbed search; of Tune's own pickled state nothing is read.
"""

import logging
import os
import signal
import sys
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune
from ray.tune.experiment import Trial as TuneTrial

from faceverify.config import replaced
from faceverify.errors import PlatformError, UserError
from faceverify.redaction import first_line
from faceverify.storage import Location
from faceverify.tuning import trials as records
from faceverify.tuning.options import SearchConfig
from faceverify.tuning.space import Dimension, Values, shown, values_of
from faceverify.tuning.trials import WORST, Line, State, Trial, judged, so_far
from ray_jobs.engine import training_group
from ray_jobs.engine.cluster import Cluster
from ray_jobs.engine.session import storage_sentence
from ray_jobs.engine.signals import check_stopped
from ray_jobs.engine.tuner import SCORE, TIME, build_tuner

if TYPE_CHECKING:
    from ray_jobs.train import Ready, TrainConfig
    from ray_jobs.tune import TuneConfig

EXPERIMENT = "ray_tune"  # the folder, in that of the run, with what Tune writes
ENDED = "ended"  # in a trial's last report: its state
QUIET = {
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the job has handlers
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}
END_SECONDS = "120"  # for a stopped trial to end, before its process is given to the next
KILLED = "its process was killed again and again; too little memory may be why"


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
    trials = min(limits + ([config.concurrent] if config.concurrent else []))
    smallest = min(cluster.cpus_of_nodes, default=cluster.cpus)  # a worker has to fit on one node
    cpus = max(1, min(cluster.cpus // trials, smallest * workers))
    share = replace(cluster, cpus=cpus, cpus_of_nodes=(), gpus=workers if cluster.gpus else 0)
    return Room(trials, workers, share)


@dataclass(frozen=True)
class Given:
    """What every trial is given; `ready` and `images` are references into the object store."""

    training: "TrainConfig"
    search: SearchConfig
    dimensions: tuple[Dimension, ...]
    base: Values | None
    out: Location
    room: Room
    ready: Any
    images: Any


class Reporter:
    """Reports the validations of one trial to Tune, each once; called by the training to hear whether it goes on.

    Args:
        goal: what is minimised.
        reported: validations that Tune knows already.
        checkpoints: folder of the training's checkpoints, if Tune is to have a copy of each.
    """

    def __init__(self, goal: str, reported: int = 0, checkpoints: Location | None = None) -> None:
        self.goal, self.reported, self.checkpoints = goal, reported, checkpoints
        self.stopped = False

    def __call__(self, validations: list[Line]) -> bool:
        """Report what is new; False if Tune stops the trial."""
        self.tell(validations)
        return not self.stopped

    def tell(self, validations: Sequence[Line], ended: State | None = None, reason: str = "") -> None:
        """Report what is new, and with the last of it how the trial ended."""
        lines, scores = judged(validations), so_far(validations, self.goal)
        done = False
        while self.reported < len(lines) and not self.stopped:
            place = self.reported
            last = place == len(lines) - 1
            done = last and ended == "finished"
            self._report(place + 1, scores[place], lines[place], ended if done else None, with_checkpoint=last)
            self.reported += 1
        if ended is not None and not done and not self.stopped:
            kept = ended == "finished" and lines
            facts = {**(lines[-1] if lines else {}), "reason": reason}
            self._report(len(lines) + (not kept), scores[-1] if kept else WORST, facts, ended)

    def _report(
        self, number: int, score: float, line: Line, ended: State | None, with_checkpoint: bool = False
    ) -> None:
        metrics = {name: value for name, value in line.items() if value is not None and value != ""}
        metrics |= {TIME: number, SCORE: score}
        if ended:  # done: no scheduler is asked any more, so no population hands this trial another checkpoint
            metrics |= {ENDED: ended, "done": True}
        checkpoint = None
        if self.checkpoints is not None and with_checkpoint:
            place = self.checkpoints / f"step-{line['step']:08d}"
            checkpoint = tune.Checkpoint(place.path, place.fs)
        try:
            tune.report(metrics, checkpoint=checkpoint)
        except SystemExit:  # so Tune ends a trial; the training ends in its own way, with all files in order
            self.stopped = True


def run_trial(config: dict[str, Any], given: Given) -> None:
    """What Tune runs: a training like any other, in a folder of its own; run again, it goes on from its checkpoint."""
    os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = END_SECONDS
    number = int(tune.get_context().get_trial_name())
    record = records.find(given.out, number)
    if record is not None:
        of_population = given.search.scheduler == "pbt"
        reporter = Reporter(given.search.goal, max(0, len(judged(record.validations)) - 1) if of_population else 0)
        reporter.tell(record.validations, None if record.state == "pruned" else record.state, record.reason)
    else:
        reporter = _run_training(number, values_of(config, given.dimensions, given.base), given)
    if reporter.stopped:
        sys.exit(0)  # nothing may be reported any more, not even that the function returned


def _run_training(number: int, values: Values, given: Given) -> Reporter:
    from faceverify.training.loop import Diverged

    folder = records.folder_of(given.out, number)
    state: State = "finished"
    reason = ""
    reporter = _reporter(number, folder, given)
    try:
        _train(replaced(given.training, {**values, "out": folder.uri}, f"trial {number}"), given, reporter)
    except Diverged as error:
        state, reason = "diverged", str(error)
    except UserError as error:
        state, reason = "failed", str(error)
    except OSError as error:
        raise PlatformError(storage_sentence(error)) from None
    if not reporter.stopped:
        reporter.tell(_validations(folder), state, reason)
    return reporter


def _reporter(number: int, folder: Location, given: Given) -> Reporter:
    """A population's trial goes on from the checkpoint that Tune gives it, which may be another trial's."""
    _, reported = records.read_given(given.out, number)
    if given.search.scheduler != "pbt":
        return Reporter(given.search.goal, reported)
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as path:
            records.adopt(folder, Location(path))
    known = len(judged(_validations(folder)))
    # A search that is resumed begins with the last validation of each.
    reported = known if checkpoint is not None else max(reported, known - 1)
    return Reporter(given.search.goal, reported, folder / "checkpoints")


def _validations(folder: Location) -> list[Line]:
    from faceverify.training.metrics_log import MetricsLog

    log = MetricsLog(folder, [])
    log.resume()
    return log.validations


def _train(training: "TrainConfig", given: Given, reporter: Reporter) -> None:
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
    out = Location(training.out)
    if workers > 1:
        run = lambda asking: training_group.Group(training, out, share, workers, asking).run(plan)  # noqa: E731
        _answer(run, reporter)
    else:  # in this process, which spares the start of a worker group
        threads = training_group.threads_of(share, 1)
        training_group.train_here(training, plan, out, threads, lambda step, steps, line: None, reporter)


@dataclass(frozen=True)
class Asking:
    """Given to the first worker of a group: asks its trial, which is another process, whether the training goes on."""

    questions: Any  # queues
    answers: Any

    def __call__(self, validations: list[Line]) -> bool:
        """See `Training.should_continue`."""
        name = uuid.uuid4().hex
        self.questions.put((name, validations))
        while True:  # a worker that died may have left an answer behind
            asked, goes_on = self.answers.get()
            if asked == name:
                return goes_on


def _answer(run: Callable[[Asking], Any], reporter: Reporter) -> None:
    """Run a worker group in a thread, and report for it in this one, which is the one that Tune listens to."""
    from ray.util.queue import Empty, Queue

    asking = Asking(*(Queue(actor_options={"num_cpus": 0}) for _ in range(2)))
    with ThreadPoolExecutor(1) as pool:
        group = pool.submit(run, asking)
        while not group.done():
            try:
                name, validations = asking.questions.get(timeout=0.2)
            except Empty:
                continue
            asking.answers.put((name, reporter(validations)))
    group.result()


class Recorder(tune.Callback):
    """Writes on the driver what each trial is given and how it ended, and tells the user.

    lost: trials whose processes died too often, and why.
    """

    def __init__(self, given: Given, total: int, done: int) -> None:
        self.search, self.dimensions, self.base, self.out = given.search, given.dimensions, given.base, given.out
        self.total, self.done = total, done
        self.lost: dict[int, str] = {}

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        """Tune swallows exceptions of signal handlers."""
        check_stopped()

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Before the trial does anything, also when it starts again or has been given other values."""
        if records.find(self.out, int(str(trial))) is None:
            reported = (trial.last_result or {}).get(TIME, 0)
            records.write_given(self.out, int(str(trial)), self._values(trial), reported)

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """All that the trial has learnt is on disk since before its last report."""
        number, found = int(str(trial)), trial.last_result
        if records.find(self.out, number) is not None:
            return  # it ended in an earlier run
        state = found.get(ENDED, "pruned")
        values, seconds = self._values(trial), found.get("time_total_s", 0.0)
        ended = records.conclude(self.out, number, values, state, found.get("reason", ""), seconds)
        self.done += 1
        print(f"{self.done}/{self.total} {_line(ended, self.dimensions)}", flush=True)

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Its process died too often, or failed for a reason that is not the trial's."""
        self.lost[int(str(trial))] = _fault(Path(trial.error_file or ""))

    def _values(self, trial: TuneTrial) -> Values:
        return values_of(trial.config, self.dimensions, self.base)


def _fault(file: Path) -> str:
    """The last line of the last traceback, without the name of the exception."""
    lines = file.read_text().splitlines() if file.is_file() else []
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    kind, found, said = last.partition(": ")
    if not found or not kind.replace(".", "").replace("_", "").isalnum() or any("ActorDied" in line for line in lines):
        return KILLED
    return first_line(PlatformError(said)) if said else kind


def _line(trial: Trial, dimensions: Sequence[Dimension]) -> str:
    values = ", ".join(f"{one.name.rpartition('.')[2]} {shown(trial.values[one.name])}" for one in dimensions)
    reached = f"EER {trial.best['eer']:.2%}" if trial.best else first_line(UserError(trial.reason))
    return f"trial {trial.number}: {trial.state}, {reached}; {values}"


def search_trials(config: "TuneConfig", given: Given, total: int, ended: Sequence[Trial]) -> None:
    """Run all trials but those that ended in an earlier run, which only report what they found.

    Args:
        config: of the job.
        given: to every trial.
        total: how many trials the search consists of.
        ended: those of an earlier run.

    Raises:
        PlatformError: the processes of some trials died too often.
    """
    os.environ.update(QUIET)
    if not config.verbose:
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what has to be told is told in a sentence
    recorder = Recorder(given, total, len(ended))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}
    try:
        _fit(config, given, total, recorder)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)  # Tune leaves its own, which swallows the first Ctrl-C after the search
        check_stopped()  # a signal strikes inside of Ray, which makes another exception of it
    if recorder.lost:
        number, reason = next(iter(recorder.lost.items()))
        raise PlatformError(
            f"{len(recorder.lost)} of {total} trials could not be run (trial {number}: "
            f"{reason.removesuffix('.')}); the same command tries them again, and no other."
        )
    if config.search.scheduler == "pbt":
        for trial in (given.out / EXPERIMENT).folders():  # copies; `trials` holds those that are kept
            for folder in trial.folders():
                folder.delete()


def _fit(config: "TuneConfig", given: Given, total: int, recorder: Recorder) -> None:
    import pyarrow.fs as pafs

    search, out = config.search, given.out
    one = training_group.worker_needs(given.room.share, given.room.workers)
    needs = {"cpu": 0.01} if given.room.workers > 1 else one  # a group's workers ask for themselves
    (out / EXPERIMENT).delete()  # of an interrupted run; it is made again
    kept = 3 * search.perturb_every + 1 if search.scheduler == "pbt" else None  # as far as others may lag behind
    run_config = tune.RunConfig(
        name=EXPERIMENT,
        storage_path=out.path,
        storage_filesystem=pafs.LocalFileSystem() if out.is_local else out.fs,
        failure_config=tune.FailureConfig(max_failures=config.max_failures),
        checkpoint_config=tune.CheckpointConfig(num_to_keep=kept),
        callbacks=[recorder],
        verbose=0,
    )
    trainable = tune.with_resources(tune.with_parameters(run_trial, given=given), needs)
    found = records.started(out)
    build_tuner(trainable, search, given.dimensions, given.base, total, given.room.trials, run_config, found).fit()
