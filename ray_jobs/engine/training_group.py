"""The workers of a training as Ray Train runs them: started, restarted, reporting metrics and checkpoints."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ray.train import UserCallback

from faceverify.errors import FaceverifyError, PlatformError, UserError
from faceverify.redaction import first_line
from faceverify.storage import Location
from ray_jobs.engine.cluster import Cluster
from ray_jobs.engine.session import storage_sentence
from ray_jobs.engine.shards import beside_driver
from ray_jobs.engine.training_progress import LOOK_SECONDS, Board, shown

if TYPE_CHECKING:
    from ray.train import Result

    from faceverify.training.checkpoints import PendingCheckpoint
    from faceverify.training.distributed import DistributedContext
    from faceverify.training.task import Task
    from ray_jobs.forensic import ForensicConfig
    from ray_jobs.train import Ready, TrainConfig

HEALTH_SECONDS = "0.5"  # between looks at the workers: how soon a dead one is noticed
FOLDER = "checkpoints"  # of the run; Ray Train takes it for its own and leaves notes there, which are deleted


ShouldContinue = Callable[[list[dict[str, Any]]], bool] | None  # validations so far -> whether to go on; None = always
OnStep = Callable[[int, int, dict[str, Any]], None]  # step, steps, line
OnCheckpoint = Callable[[dict[str, Any], "PendingCheckpoint | None"], None]


@dataclass(frozen=True)
class Plan:
    """What every worker is given: references into the object store, and small facts.

    Args:
        builder, images, network: references to what makes batches and to the network; what fetches pictures.
        card: the network's.
        pairs: how many are learnt from.
        task: makes the task of a worker, see `Work`.
    """

    builder: Any
    images: Any
    network: Any
    card: Any
    pairs: int
    task: "Callable[[Work], Task]"


@dataclass(frozen=True)
class Work:
    """What a worker makes its task of: config of the job; builder, images, network and card of the plan; the worker."""

    config: Any
    builder: Any
    images: Any
    network: Any
    card: Any
    context: "DistributedContext"


def plan(config: "TrainConfig", ready: "Ready", images: Any = None) -> Plan:
    """Put into the object store what the workers share; `images` if they are there already."""
    import ray

    from faceverify.training.batches import BatchBuilder
    from ray_jobs.engine.face_store import store_images

    train = ready.material.train
    builder = BatchBuilder(ready.material, config.batches, config.augment)
    pairs = len(train) if train is not None else 0
    images = images or store_images(ready.faces)
    return Plan(ray.put(builder), images, ray.put(ready.network), ready.card, pairs, recogniser_task)


def recogniser_task(work: Work) -> "Task":
    """The training of a recogniser."""
    import copy

    from faceverify.losses import build
    from faceverify.training import network as networks
    from faceverify.training.learner import Learner
    from faceverify.training.task import RecogniserTask

    config, context, material = work.config, work.context, work.builder.material
    original = copy.deepcopy(work.network).to(context.device).eval() if config.losses.needs_reference else None
    people = int(material.classes.max()) + 1 if len(material.train_faces) else 0
    objective = build(config.losses, dim=work.card.dim, people=people, seed=config.batches.seed).to(context.device)
    prepared = networks.prepare_network(work.network, config.network, context)
    precision = networks.precision_of(config.network.precision, context.device)
    learner = Learner(prepared, objective, work.card, precision).to(context.device)
    return RecogniserTask(learner, work.card, original, work.builder, work.images, config.validation, context)


def worker_needs(cluster: Cluster, workers: int) -> dict[str, float]:
    """What each of `workers` workers asks for; half a CPU beside it is for the tasks that prepare its batches."""
    if cluster.gpus:
        return {"cpu": 1, "gpu": 1}
    return {"cpu": max(0.1, cluster.share(workers) - 0.5)}


def threads_of(cluster: Cluster, workers: int) -> int:
    """Of PyTorch, on CPUs."""
    return max(1, int(cluster.share(workers)))


class Group:
    """Runs the workers to the end.

    Args:
        config: of the job.
        out: folder of the run.
        cluster: what Ray offers.
        workers: how many.
        should_continue: see `Training`.
    """

    def __init__(
        self,
        config: "TrainConfig | ForensicConfig",
        out: Location,
        cluster: Cluster,
        workers: int,
        should_continue: ShouldContinue = None,
    ) -> None:
        self.config, self.out, self.cluster, self.workers = config, out, cluster, workers
        self.should_continue = should_continue

    def run(self, plan: Plan) -> dict[str, Any]:
        """Train; returns facts for the manifest.

        Raises:
            FaceverifyError: a worker's mistake of the user, storage, or divergence; or workers died too often.
        """
        import os

        from ray.train import ControllerError, TrainingFailedError

        os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", HEALTH_SECONDS)
        # An actor of each training that would tell its workers of a node about to go: they ask nobody.
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
        board = beside_driver(Board).remote()
        self._delete_notes()
        try:
            shown(board, self._needs(), self.workers, lambda: self._fit(plan, board))
        except TrainingFailedError as error:
            if isinstance(error, ControllerError) and isinstance(error.controller_failure, FaceverifyError):
                raise error.controller_failure from None
            raise PlatformError(
                f"workers died {self.config.max_failures + 1} times ({_reason(error)}); too little memory may be "
                "why; the same command goes on from the last checkpoint."
            ) from None
        finally:
            self._delete_notes()
        return facts(self.out, plan.pairs)

    def _needs(self) -> dict[str, float]:
        return {name.upper(): amount for name, amount in worker_needs(self.cluster, self.workers).items()}

    def _delete_notes(self) -> None:
        """Delete what Ray Train wrote beside the checkpoints: it would miss those that were superseded and deleted."""
        folder = self.out / FOLDER
        for entry in folder.files(recursive=False):
            (folder / entry.path).delete()

    def _fit(self, plan: Plan, board: Any) -> "Result":
        import pyarrow.fs as pafs
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer

        gpu = self.cluster.gpus > 0
        trainer = TorchTrainer(
            train_worker,
            train_loop_config={
                "config": self.config,
                "plan": plan,
                "board": board,
                "out": self.out.uri,
                "threads": threads_of(self.cluster, self.workers),
                "should_continue": self.should_continue,
            },
            torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
            scaling_config=ScalingConfig(num_workers=self.workers, use_gpu=gpu, resources_per_worker=self._needs()),
            run_config=RunConfig(
                name=FOLDER,  # a checkpoint must lie in the folder of Ray's run, or Ray would copy it there
                storage_path=self.out.path,
                storage_filesystem=pafs.LocalFileSystem() if self.out.is_local else self.out.fs,
                failure_config=FailureConfig(max_failures=self.config.max_failures),
                callbacks=[EndAtOwnErrors()],
            ),
        )
        return trainer.fit()


def _reason(error: Exception) -> str:
    """The last line of what the first worker that failed says; Ray puts a traceback before it."""
    failures = list(getattr(error, "worker_failures", {}).values())
    lines = [line for line in str(failures[0] if failures else error).splitlines() if line.strip()]
    return first_line(PlatformError(lines[-1])) if lines else type(error).__name__


class EndAtOwnErrors(UserCallback):
    """Ends a run at the first error that has a sentence for the user: another attempt would end in the same way.

    Ray Train starts the workers again after any exception but one of a callback.
    """

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Raise the error of a worker, if it is one of ours."""
        for error in worker_exceptions.values():
            own = getattr(error, "_base_exc", error)  # Ray wraps it to keep its traceback
            if isinstance(own, FaceverifyError):
                raise own


def train_worker(given: dict[str, Any]) -> None:
    """What each worker runs; started again after a death, it goes on from the last checkpoint."""
    board = given["board"]
    board.start.remote()
    out, ask = Location(given["out"]), given["should_continue"]
    try:
        train_here(given["config"], given["plan"], out, given["threads"], BoardUpdates(board), ask, report)
    except OSError as error:
        raise PlatformError(storage_sentence(error)) from error


class BoardUpdates:
    """Tells the board of steps as often as it is read: each call delays all workers, which wait for each other."""

    def __init__(self, board: Any) -> None:
        self._board, self._sent = board, 0.0

    def __call__(self, step: int, steps: int, line: dict[str, Any]) -> None:
        """See `Training.on_step`."""
        if step == steps or time.monotonic() - self._sent >= LOOK_SECONDS:
            self._sent = time.monotonic()
            self._board.update.remote(step, steps, line)


def report(metrics: dict[str, Any], pending: "PendingCheckpoint | None") -> None:
    """Report metrics and a checkpoint to Ray Train, once that is complete; it stays where it is, and nobody waits."""
    from ray import train

    def completed(checkpoint: train.Checkpoint, _name: str) -> train.Checkpoint:
        assert pending is not None
        try:
            pending.written.result()
        except OSError as error:
            raise PlatformError(storage_sentence(error)) from error
        return checkpoint

    storage = train.get_context().get_storage()
    checkpoint = train.Checkpoint(pending.folder.path, storage.storage_filesystem) if pending else None
    train.report(
        metrics,
        checkpoint=checkpoint,
        checkpoint_upload_mode=train.CheckpointUploadMode.ASYNC,
        checkpoint_upload_fn=completed,
        delete_local_checkpoint_after_upload=False,
    )


def train_here(
    config: "TrainConfig | ForensicConfig",
    plan: Plan,
    out: Location,
    threads: int,
    on_step: OnStep,
    should_continue: ShouldContinue = None,
    on_checkpoint: OnCheckpoint = lambda metrics, checkpoint: None,
) -> None:
    """The training, as one worker of those that torch.distributed knows, or as the only one.

    Args:
        config: of the job.
        plan: what the workers share.
        out: folder of the run.
        threads: of PyTorch.
        on_step, should_continue, on_checkpoint: see `Training`.
    """
    import ray
    import torch

    from faceverify.training.batches import BatchLoader
    from faceverify.training.checkpoints import CheckpointManager
    from faceverify.training.distributed import DistributedContext
    from faceverify.training.loop import Training
    from faceverify.training.metrics_log import MetricsLog

    torch.set_num_threads(threads)
    context = DistributedContext.current()
    builder, network = ray.get([plan.builder, plan.network])
    task = plan.task(Work(config, builder, plan.images, network, plan.card, context))
    with MetricsLog(out, _trackers(config, out) if context.is_main else []) as log:
        Training(
            task=task,
            network=config.network,
            optimiser=config.optimiser,
            validation=config.validation,
            loader=BatchLoader(builder, plan.images, context.rank, context.size, config.decoders),
            context=context,
            checkpoints=CheckpointManager(out, config.validation.keep),
            log=log,
            on_step=on_step,
            should_continue=should_continue,
            on_checkpoint=on_checkpoint,
            log_every=config.tell_every,
        ).run()


def _trackers(config: "TrainConfig | ForensicConfig", out: Location) -> list[Any]:
    from faceverify.training.metrics_log import MLflow, TensorBoard

    match config.track:
        case "tensorboard":
            if not out.is_local:
                raise UserError(f"track is tensorboard, which writes to local folders only, and out is {out}.")
            return [TensorBoard((out / "tensorboard").path)]
        case "mlflow":
            return [MLflow(out, asdict(config))]
    return []


def facts(out: Location, pairs: int) -> dict[str, Any]:
    """What the manifest says of a finished training."""
    from statistics import median

    from faceverify.training.checkpoints import CheckpointManager
    from faceverify.training.metrics_log import MetricsLog

    log = MetricsLog(out, [])
    log.resume()
    steps = [line for line in log.lines if "seconds" in line]
    waited = sum(line["wait"] for line in steps) / max(sum(line["seconds"] for line in steps), 1e-9)
    names = {one.step: one.folder.name for one in CheckpointManager(out, 1).complete()}
    judged = [line for line in log.validations if line["step"] in names]
    best = min(judged, key=lambda line: (line["eer"], line["step"]))
    return {
        "pairs": pairs,
        "steps": log.lines[-1]["step"],
        "first": log.validations[0],
        "best": {"checkpoint": names[best["step"]], **best},
        "wait_share": waited,
        "step_seconds": median([line["seconds"] for line in steps]) if steps else 0.0,
        "rows_out": {"checkpoints": len(names)},
    }
