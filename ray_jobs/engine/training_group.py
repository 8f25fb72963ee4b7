"""The workers of a training as Ray Train runs them, and what the driver hears of them meanwhile."""

import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from faceverify.errors import FaceverifyError, PlatformError, UserError
from faceverify.redaction import first_line
from faceverify.storage import Location
from ray_jobs.engine.cluster import Cluster
from ray_jobs.engine.session import storage_sentence
from ray_jobs.engine.shards import beside_driver
from ray_jobs.engine.training_board import Board, Watch

if TYPE_CHECKING:
    from faceverify.models.card import ModelCard
    from ray_jobs.train import Ready, TrainConfig

HEALTH_SECONDS = "0.5"  # between looks at the workers: how soon a dead one is noticed


# The validations so far -> whether the training goes on; None asks nobody.
ShouldContinue = Callable[[list[dict[str, Any]]], bool] | None
OnStep = Callable[[int, int, dict[str, Any]], None]  # step, steps, line


@dataclass(frozen=True)
class Plan:
    """What every worker is given: references into the object store, and small facts."""

    builder: Any
    images: Any
    network: Any
    card: "ModelCard"
    pairs: int


def plan(config: "TrainConfig", ready: "Ready", images: Any = None) -> Plan:
    """Put into the object store what the workers share; `images` if they are there already."""
    import ray

    from faceverify.training.batches import BatchBuilder
    from ray_jobs.engine.face_store import store_images

    train = ready.material.train
    builder = BatchBuilder(ready.material, config.batches, config.augment)
    pairs = len(train) if train is not None else 0
    return Plan(ray.put(builder), images or store_images(ready.faces), ray.put(ready.network), ready.card, pairs)


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
        should_continue: as `Training` asks.
    """

    def __init__(
        self,
        config: "TrainConfig",
        out: Location,
        cluster: Cluster,
        workers: int,
        should_continue: ShouldContinue = None,
    ) -> None:
        self.config, self.out, self.cluster, self.workers, self.should_continue = (
            config,
            out,
            cluster,
            workers,
            should_continue,
        )

    def run(self, plan: Plan) -> dict[str, Any]:
        """Train; returns facts for the manifest.

        Raises:
            FaceverifyError: a worker's mistake of the user, storage, or divergence; or workers died too often.
        """
        import os

        import ray

        os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", HEALTH_SECONDS)
        # An actor of each training that would tell its workers of a node about to go: they ask nobody.
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
        board = beside_driver(Board).remote()
        watch = Watch(board, self._needs(), self.workers)
        try:
            with watch:
                self._fit(plan, board)
        except Exception as error:
            _raise_fault(ray.get(board.read.remote())[1])
            raise PlatformError(
                f"workers died {self.config.max_failures + 1} times ({first_line(error)}); too little memory may be "
                "why; the same command goes on from the last checkpoint."
            ) from None
        _raise_fault(ray.get(board.read.remote())[1])
        return facts(self.out, plan.pairs)

    def _needs(self) -> dict[str, float]:
        return {name.upper(): amount for name, amount in worker_needs(self.cluster, self.workers).items()}

    def _fit(self, plan: Plan, board: Any) -> None:
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
                name=f"ray-{uuid.uuid4().hex[:8]}",  # checkpoints are ours; Ray only keeps its own notes there
                storage_path=(self.out / ".work").path,
                storage_filesystem=pafs.LocalFileSystem() if self.out.is_local else self.out.fs,
                failure_config=FailureConfig(max_failures=self.config.max_failures),
            ),
        )
        trainer._register_sigint_handler = lambda controller: None  # it would take Ctrl-C for itself, and exit with 0
        trainer.fit()


def _raise_fault(fault: tuple[str, str] | None) -> None:
    if fault is not None:
        from faceverify.training.loop import Diverged

        kind, sentence = fault
        raise {"UserError": UserError, "Diverged": Diverged}.get(kind, PlatformError)(sentence)


def train_worker(given: dict[str, Any]) -> None:
    """What each worker runs; started again after a death, it goes on from the last checkpoint."""
    import ray

    board = given["board"]
    if ray.get(board.start.remote()) is not None:
        return  # it would end in the same way
    on_step = lambda step, steps, line: board.told.remote(step, steps, line)  # noqa: E731
    try:
        train_here(
            given["config"], given["plan"], Location(given["out"]), given["threads"], on_step, given["should_continue"]
        )
    except FaceverifyError as error:
        kind = "UserError" if isinstance(error, UserError) else type(error).__name__
        ray.get(board.failed.remote(kind, str(error)))
        raise
    except OSError as error:
        ray.get(board.failed.remote("PlatformError", storage_sentence(error)))
        raise


def train_here(
    config: "TrainConfig",
    plan: Plan,
    out: Location,
    threads: int,
    on_step: OnStep,
    should_continue: ShouldContinue = None,
) -> None:
    """The training, as one worker of those that torch.distributed knows, or as the only one.

    Args:
        config: of the job.
        plan: what the workers share.
        out: folder of the run.
        threads: of PyTorch.
        on_step, should_continue: see `Training`.
    """
    import copy

    import ray
    import torch

    from faceverify.losses import build
    from faceverify.training import network as networks
    from faceverify.training.batches import BatchLoader
    from faceverify.training.checkpoints import CheckpointManager
    from faceverify.training.distributed import DistributedContext
    from faceverify.training.learner import Learner
    from faceverify.training.loop import Training
    from faceverify.training.metrics_log import MetricsLog

    torch.set_num_threads(threads)
    context = DistributedContext.current()
    builder, network = ray.get([plan.builder, plan.network])
    material = builder.material
    original = copy.deepcopy(network).to(context.device).eval() if config.losses.needs_reference else None
    people = int(material.classes.max()) + 1 if len(material.train_faces) else 0
    objective = build(config.losses, dim=plan.card.dim, people=people, seed=config.batches.seed).to(context.device)
    prepared = networks.prepare_network(network, config.network, context)
    precision = networks.precision_of(config.network.precision, context.device)
    with MetricsLog(out, _trackers(config, out) if context.is_main else []) as log:
        Training(
            learner=Learner(prepared, objective, plan.card, precision).to(context.device),
            card=plan.card,
            original=original,
            builder=builder,
            network=config.network,
            optimiser=config.optimiser,
            validation=config.validation,
            loader=BatchLoader(builder, plan.images, context.rank, context.size, config.decoders),
            images=plan.images,
            context=context,
            checkpoints=CheckpointManager(out, config.validation.keep),
            log=log,
            on_step=on_step,
            should_continue=should_continue,
            log_every=config.tell_every,
        ).run()


def _trackers(config: "TrainConfig", out: Location) -> list[Any]:
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
