"""Pairs of faces in, a network that tells people and deepfakes apart out; Ray Train, on one CPU or many GPUs.

python -m ray_jobs.train configs/finetune.yaml --faces runs/all_faces --pairs runs/pairs --start MODEL --out runs/train
"""

import json
import sys
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Interval

from faceverify import tables
from faceverify.config import Input, JobConfig, digest, plan_of
from faceverify.errors import UserError
from faceverify.faces import Stopwatch
from faceverify.inputs import fingerprint, open_table
from faceverify.losses import LossConfig
from faceverify.run_folder import RunFolder
from faceverify.storage import Location, check_readable, check_writable, open_location
from faceverify.training.augment import AugmentConfig
from faceverify.training.config import BatchConfig, NetworkConfig, OptimiserConfig, ValidationConfig
from faceverify.wording import count_of
from ray_jobs.engine.cluster import Cluster, check_shared, connect
from ray_jobs.engine.dry_run import is_dry
from ray_jobs.engine.session import run_job

if TYPE_CHECKING:
    from torch import nn

    from faceverify.models.card import ModelCard
    from faceverify.training.cost import Cost
    from faceverify.training.material import Material

OUTPUTS = ("checkpoints", "leaderboard.csv", "metrics.jsonl", "report.html", "tensorboard")
VALIDATION = "the validation pairs"
RUN_ONLY = ("track", "max_failures", "decoders", "tell_every")


@dataclass(frozen=True, kw_only=True)
class TrainConfig(JobConfig):
    """Train or fine-tune a face-verification network."""

    faces: Input = ""
    """The faces table made by align of the photos that the pairs were formed of, deepfakes included. Required."""
    pairs: Input = ""
    """The pairs table made by pairs. Required."""
    start: Input = ""
    """The network to begin with: a published name, a weights file, a checkpoint, or the folder of an earlier training
    (its best checkpoint); empty = a fresh one of `network.architecture`."""
    batches: BatchConfig = field(default_factory=BatchConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    track: Literal["none", "tensorboard", "mlflow"] = "none"
    """Where metrics go besides metrics.jsonl: tensorboard = event files in the output; mlflow = MLFLOW_TRACKING_URI."""
    max_failures: int = 3
    """Number of times a worker may die; all workers then restart from the last checkpoint."""
    decoders: Annotated[int, Interval(ge=0)] = 2
    """Processes per worker that prepare batches; 0 = the worker prepares them itself."""
    tell_every: int = 10
    """Steps between lines of metrics.jsonl."""


def run(config: TrainConfig) -> None:
    """Check, say what it will cost, train, report."""
    ready = prepare(config)
    if config.dry_run:
        print(cost_of(config, ready, 1))
    out, plan = open_location(config.out), plan_of("train", config, ready.inputs, RUN_ONLY)
    if is_dry(config, out, plan, OUTPUTS):
        return
    folder = RunFolder(out, plan, OUTPUTS, config.overwrite)
    if not folder.complete:
        finish(config, folder, ready)
    summarise(folder)


@dataclass(frozen=True)
class Ready:
    """The checked inputs of a training: faces, material, network with its card, and digests of them all."""

    faces: list[Location]
    material: "Material"
    network: "nn.Module"
    card: "ModelCard"
    inputs: dict[str, str]


def prepare(config: TrainConfig) -> Ready:
    """Open and check all inputs of a training.

    Raises:
        UserError: an input, or what `read_material` refuses; there is no such network.
        PlatformError: the storage refuses.
    """
    places = {"faces": open_location(config.faces), "pairs": open_location(config.pairs)}
    for name, place in places.items():
        check_readable(place, name)
    files = {
        "faces": open_table(places["faces"], "faces", tables.FACES, "faces"),
        "pairs": open_table(places["pairs"], "pairs", tables.PAIRS, "pairs"),
    }
    check_writable(open_location(config.out), "out")
    material = read_material(config, files)
    from faceverify.aligned import require_crop
    from faceverify.training.network import check_initial, initial_network

    network, card = initial_network(config.start, config.network, config.batches.seed)
    check_initial(network, config.network, config.losses)
    require_crop(files["faces"], card.shown, "faces")
    inputs = {name: fingerprint(place) for name, place in places.items()} | {"start": digest(asdict(card))}
    return Ready(files["faces"], material, network, card, inputs)


def check_losses(config: TrainConfig) -> None:
    """Check that losses and batches go together.

    Raises:
        UserError: losses of pairs with batches of identities.
    """
    wrong = set(config.losses.weights.in_use()) - {"arcface", "adaface", "center", "distill"}
    if wrong and config.batches.kind == "identities":
        raise UserError(
            f"losses.weights has {', '.join(sorted(wrong))}, which learn from pairs, but batches.kind is identities: "
            "set batches.kind to pairs, or take arcface or adaface."
        )


def read_material(config: TrainConfig, files: dict[str, list[Location]]) -> "Material":
    """Faces and pairs, checked.

    Raises:
        UserError: what `faceverify.training.material` refuses; losses and batches that do not go together.
    """
    from dataclasses import replace

    check_losses(config)
    from faceverify.aligned import remedy_for_pairs
    from faceverify.training.material import (
        build_material,
        read_faces,
        read_pairs,
        relabel_by_pairs,
        sample_pairs,
    )

    identities = config.batches.kind == "identities"
    faces = read_faces(files["faces"])
    splits = read_pairs(files["pairs"], faces, lambda: remedy_for_pairs(config.pairs, config.faces))
    named = relabel_by_pairs(faces, files["pairs"], identities)
    if named.changed:
        print(named.sentence())
    material = build_material(splits, named.faces, identities)
    return replace(material, val=sample_pairs(material.val, config.validation.pairs, config.batches.seed))


def cost_of(config: TrainConfig, ready: Ready, workers: int) -> "Cost":
    """Estimate the cost of a training by `workers` workers."""
    from faceverify.training.batches import BatchBuilder
    from faceverify.training.cost import estimate_cost

    order = BatchBuilder(ready.material, config.batches, config.augment).order()
    whole = config.batches.epochs * order.per_epoch
    steps = min(config.batches.max_steps or whole, whole)
    half = config.network.precision in ("bf16", "fp16")
    faces = 2 * config.batches.size
    return estimate_cost(ready.network, ready.card, steps, faces, workers, half, config.losses.needs_embeddings)


def finish(config: TrainConfig, folder: RunFolder, ready: Ready) -> None:
    """All the work that is not yet done."""
    from faceverify.training.loop import check_shares
    from faceverify.training.network import check_network
    from ray_jobs.engine import training_group

    if folder.resumed:
        print("Going on where an earlier run stopped.")
    clock = Stopwatch()
    with clock("connect"):
        cluster = connect(config)
        check_shared(cluster, folder.work, *ready.faces)
    workers = workers_of(config, cluster)
    with folder.planning() if not folder.resumed else clock("plan"):
        check_shares(config.batches.size, workers, config.batches.accumulate)
        check_network(ready.network, config.network, cluster.gpus > 0)
        cost = cost_of(config, ready, workers)
    print(f"Ray: {cluster}; {count_of(workers, 'GPU worker' if cluster.gpus else 'CPU worker')}")
    print(f"To do: {cost}")
    with clock("train"):
        group = training_group.Group(config, folder.out, cluster, workers)
        ended = group.run(training_group.plan(config, ready))
    with clock("report"):
        report(config, folder.out, str(cost), ready.material.people_judged)
    facts = {"job": "train", "config": asdict(config), "rows_in": {"pairs": ended["pairs"]}, "rejects": {}}
    facts |= {"model": model_of(ready), "workers": workers, "people_judged": ready.material.people_judged}
    folder.finish({**facts, **ended, "seed": config.batches.seed, "seconds": clock.seconds})


def workers_of(config: JobConfig, cluster: Cluster) -> int:
    """One worker per GPU; on CPUs one, which uses all of them, unless told otherwise."""
    return config.workers or max(1, cluster.gpus)


def model_of(ready: Ready) -> dict[str, Any]:
    """The card of the network that is trained, as manifests have it."""
    return json.loads(ready.card.to_json())


def report(config: TrainConfig, out: Location, cost: str, people: int) -> None:
    """Write the page with the curves; `people` are in the validation pairs."""
    from datetime import UTC, datetime
    from importlib.metadata import version

    from faceverify.config import command_line
    from faceverify.evaluation.enough import too_few
    from faceverify.report.page import ReportAbout
    from faceverify.report.training import render_training
    from faceverify.training.metrics_log import MetricsLog

    log = MetricsLog(out, [])
    log.resume()
    about = ReportAbout(
        title=f"Training {out.name}",
        command=command_line(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        summary=f"{cost}. Losses: {config.losses.weights.in_use()}. {too_few(people, VALIDATION)}".strip(),
        inputs={"faces": config.faces, "pairs": config.pairs, "start": config.start or "fresh weights"},
        versions={name: version(name) for name in ("faceverify", "ray", "torch", "numpy")},
    )
    (out / "report.html").write_bytes(render_training(log.lines, about, asdict(config)).encode())


def summarise(folder: RunFolder) -> None:
    """The last lines: the best, the last, the share of waiting, where."""
    from faceverify.evaluation.enough import too_few

    facts = folder.manifest()
    best, first = facts["best"], facts["first"]
    print(
        f"EER {first['eer']:.2%} before, {best['eer']:.2%} at step {best['step']:,} of {facts['steps']:,} "
        f"(95 % {best['eer_low']:.2%} to {best['eer_high']:.2%}); deepfakes accepted "
        f"{_share(first['deepfake_accepted'])} before, {_share(best['deepfake_accepted'])} then."
        if best["eer_low"] is not None
        else f"EER {first['eer']:.2%} before, {best['eer']:.2%} at step {best['step']:,} of {facts['steps']:,}."
    )
    if warning := too_few(facts["people_judged"], VALIDATION):
        print(warning)
    print(f"Waiting for data: {facts['wait_share']:.1%} of the step time, which is {facts['step_seconds']:.3f} s.")
    print(f"Best checkpoint: {folder.out / 'checkpoints'}/{best['checkpoint']}")
    print(f"Report: {folder.out / 'report.html'}")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def main() -> int:
    """Entry point."""
    return run_job("train", TrainConfig, run, __doc__ or "", ("faces", "pairs", "out"))


if __name__ == "__main__":
    sys.exit(main())
