"""Rendered people as faces and pairs, and trainings of the tiny network on them, alone or as one of several workers."""

import itertools
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from faceverify.align import AlignConfig
from faceverify.align import build as build_aligner
from faceverify.faces import Stopwatch, crop_photos, encode_faces
from faceverify.images import ImageLimits
from faceverify.losses import LossConfig, LossWeights
from faceverify.losses import build as build_losses
from faceverify.models import card as cards
from faceverify.models import checkpoints
from faceverify.pairs.people import gather
from faceverify.pairs.quotas import quotas
from faceverify.pairs.rows import pairs_of
from faceverify.rendered import RenderedConfig, write
from faceverify.storage import Location
from faceverify.training.augment import AugmentConfig
from faceverify.training.batches import BatchBuilder, BatchLoader, MemoryImages
from faceverify.training.checkpoints import CheckpointManager
from faceverify.training.config import BatchConfig, NetworkConfig, OptimiserConfig, ValidationConfig
from faceverify.training.distributed import DistributedContext
from faceverify.training.learner import Learner, to_tensors
from faceverify.training.loop import Diverged, Trainer, Training
from faceverify.training.material import Material, build_material, read_faces, read_pairs
from faceverify.training.metrics_log import MetricsLog
from faceverify.training.network import prepare_network
from faceverify.training.task import RecogniserTask


@dataclass(frozen=True)
class Data:
    """Two table files."""

    faces: Path
    pairs: Path

    def material(self, identities: bool = False) -> Material:
        faces = read_faces([Location(str(self.faces))])
        return build_material(read_pairs([Location(str(self.pairs))], faces), faces, identities)

    def images(self) -> MemoryImages:
        return MemoryImages(pq.read_table(self.faces)["image"])


def run_options(data: Data, out: Path, **more: object) -> list[str]:
    """Command line of a short run of `train` or `tune`: the tiny network, 8 pairs a step, every step told."""
    named = {
        "faces": data.faces,
        "pairs": data.pairs,
        "network.architecture": "tiny",
        "network.dim": 32,
        "network.bn": "batch",
        "batches.size": 8,
        "optimiser.learning-rate": 1e-3,
        "validation.replicates": 0,
        "tell-every": 1,
        "out": out,
    }
    return [part for name, value in (named | more).items() for part in (f"--{name}", str(value))]


def draw(home: Path) -> Data:
    """12 persons with 4 photos and 2 fakes each; 3 of them to validate with."""
    config = RenderedConfig(persons=12, photos_per_person=4, fakes_per_person=2, photo_size=96)
    photos = write(config, Location(str(home / "photos"))).photos
    photos = photos.set_column(photos.schema.get_field_index("split"), "split", pa.nulls(len(photos), pa.string()))
    crops = crop_photos(photos, build_aligner(AlignConfig(method="annotated")), ImageLimits(), Stopwatch())
    pq.write_table(encode_faces(crops, Stopwatch()), home / "faces.parquet")
    people = gather(photos, 0, 0.25)
    pairs = pairs_of(people, quotas(people, True), range(config.persons))
    pq.write_table(pairs, home / "pairs.parquet", store_schema=False)
    return Data(home / "faces.parquet", home / "pairs.parquet")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What of a training differs from the usual one."""

    batches: BatchConfig = field(default_factory=lambda: BatchConfig(size=8, epochs=50, max_steps=8))
    weights: LossWeights = field(default_factory=lambda: LossWeights(adaptive_margin=1.0))
    network: NetworkConfig = field(default_factory=lambda: NetworkConfig(bn="batch"))
    optimiser: OptimiserConfig = field(default_factory=lambda: OptimiserConfig(learning_rate=1e-3))
    validation: ValidationConfig = field(default_factory=lambda: ValidationConfig(every=3, keep=2, replicates=0))
    architecture: str = "tiny"

    def of(self, **more: Any) -> "Asked":
        """The same with some of it changed."""
        return replace(self, **more)


def make(data: Data, out: Path, asked: Asked) -> Training:
    """A training as its only worker, or as one of those that torch.distributed knows."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    context = DistributedContext.current()
    material = data.material(asked.batches.kind == "identities")
    network, original = (checkpoints.build(asked.architecture, 32) for _ in range(2))
    original.load_state_dict(network.state_dict())
    half: list[Any] = [127.5] * 3
    card = cards.build(
        name="tiny", architecture=asked.architecture, colour="RGB", mean=half, std=half, dim=32, source="test"
    )
    config = LossConfig(weights=asked.weights)
    objective = build_losses(config, dim=32, people=int(material.classes.max()) + 1)
    builder = BatchBuilder(material, asked.batches, AugmentConfig())
    prepared = prepare_network(network, asked.network, context)
    learner = Learner(prepared, objective, card, torch.float32)
    before = original.eval() if config.needs_reference else None
    return Training(
        task=RecogniserTask(learner, card, before, builder, data.images(), asked.validation, context),
        network=asked.network,
        optimiser=asked.optimiser,
        validation=asked.validation,
        loader=BatchLoader(builder, data.images(), context.rank, context.size),
        context=context,
        checkpoints=CheckpointManager(Location(str(out)), asked.validation.keep),
        log=MetricsLog(Location(str(out)), []),
        log_every=1,
    )


def losses(training: Training) -> list[float]:
    """Of each step."""
    return [line["loss"] for line in training.log.lines if "loss" in line]


BRANCH = {  # the branch `detail` learns alone
    "architecture": "tiny_detail",
    "weights": LossWeights(detection=1.0),
    "network": NetworkConfig(bn="frozen", train_last=1),
}
FROZEN = Asked(
    batches=BatchConfig(size=8, epochs=50, max_steps=5),
    network=NetworkConfig(bn="frozen"),
    optimiser=OptimiserConfig(learning_rate=1e-3, clip_norm=0),
    validation=ValidationConfig(every=1000, replicates=0),
)


def first_gradient(training: Training) -> torch.Tensor:
    """The gradient of the first batch, over all workers, of a network in evaluation mode."""
    model: torch.nn.Module = training.task.learner.eval()
    if training.context.size > 1:
        model = torch.nn.parallel.DistributedDataParallel(model)
    model(to_tensors(next(iter(training.loader.batches(0, 1))), training.context.device))[0].backward()
    return torch.cat([p.grad.flatten() for p in training.task.learner.network.parameters() if p.grad is not None])


def raise_loss(training: Training, at: int) -> None:
    """Let the loss of a step be infinite, its gradient as it is."""
    calls, forward = itertools.count(1), training.task.learner.objective.forward

    def raised(batch: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        total, values = forward(batch)
        return (total + float("inf") if next(calls) == at else total), values

    training.task.learner.objective.forward = raised


def worker(rank: int, size: int, faces: str, pairs: str, home: str) -> None:
    """One gloo worker: the gradient of the first batch, a training, one that goes on from another's checkpoint, one of
    the branch alone, one whose last worker has an infinite loss."""
    store = f"file://{home}/store{size}"
    torch.distributed.init_process_group("gloo", store, rank=rank, world_size=size)
    data, place = Data(Path(faces), Path(pairs)), Path(home)
    gradient = first_gradient(make(data, place / "gradient", FROZEN))
    if rank == 0:
        torch.save(gradient, place / "gradient.pt")
    for name, asked in (("out", FROZEN), ("resumed", FROZEN), ("branch", FROZEN.of(**BRANCH))):
        make(data, place / name, asked).run()
    diverged(data, place, rank, raises=rank == size - 1)
    torch.distributed.destroy_process_group()


def diverged(data: Data, place: Path, rank: int, raises: bool) -> None:
    """Write down how a training ended whose loss was infinite on a worker in step 3."""
    training, before = make(data, place / "diverged", FROZEN), dict[str, torch.Tensor]()
    if raises:
        raise_loss(training, at=3)
    training.log_every = 1
    step = Trainer._one

    def one(trainer: Trainer, *given: Any) -> None:
        if trainer.step == 2:
            before.update({name: p.detach().clone() for name, p in training.task.learner.named_parameters()})
        step(trainer, *given)

    Trainer._one = one  # type: ignore[method-assign]
    try:
        training.run()
        sentence = "it did not end"
    except Diverged as error:
        sentence = str(error)
    unchanged = all(torch.equal(p, before[name]) for name, p in training.task.learner.named_parameters())
    (place / f"diverged{rank}.json").write_text(json.dumps({"sentence": sentence, "unchanged": unchanged}))
