"""The loop of a training, as each worker runs it: steps, validations, checkpoints, and going on from one.

The same recipe and data give the same losses, whether or not the run was interrupted: the order of the pairs, their
augmentation and dropout depend on the seed and the step alone.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from faceverify.errors import PlatformError, UserError
from faceverify.models.card import ModelCard
from faceverify.training import freezing
from faceverify.training.batches import Batch, Feed, GetImages, Recipe
from faceverify.training.calibrating import calibrate
from faceverify.training.keeping import Keeper, load_network, load_state
from faceverify.training.learner import Learner, Tensors, pieces, tensors_of
from faceverify.training.log import METRICS, Log
from faceverify.training.material import Material
from faceverify.training.optimising import Schedule, build_optimiser, resume_optimiser
from faceverify.training.recipe import NetworkConfig, OptimiserConfig, ValidationConfig
from faceverify.training.validation import embed_rows, validate
from faceverify.training.world import World

TELL_EVERY = 10  # steps between lines of metrics.jsonl, once the first few are over


class Diverged(PlatformError):
    """The loss is not a number; the text names the step, the learning rate and the photos."""


@dataclass
class Training:
    """Everything that one worker needs.

    Args:
        learner: placed and in the right precision; `learner.network` holds the weights to begin with.
        card: of the network.
        original: the frozen network that `distill` compares with; None if no loss does.
        recipe: data, batches, augmentation.
        feed: gives this worker its batches.
        images: pictures of the faces, for validation.
        keeper, log: only the first worker writes.
        told: called with (step, steps, line) after every step on the first worker.
        goes_on: asked by the first worker, with all validations so far, whenever one is saved and when a run is taken
            up again; if not, the training ends there, its checkpoints as they are. All that was learnt by then is on
            disk, so that whoever is asked may also end the process. None = nobody is asked.
    """

    learner: Learner
    card: ModelCard
    original: nn.Module | None
    recipe: Recipe
    network: NetworkConfig
    optimiser: OptimiserConfig
    validation: ValidationConfig
    feed: Feed
    images: GetImages
    world: World
    keeper: Keeper
    log: Log
    told: Callable[[int, int, dict[str, Any]], None] = lambda step, steps, line: None
    goes_on: Callable[[list[dict[str, Any]]], bool] | None = None
    tell_every: int = TELL_EVERY
    found: dict[str, Any] = field(default_factory=dict)  # by the last validation

    @property
    def material(self) -> Material:
        """The data."""
        return self.recipe.material

    def run(self) -> None:
        """Train to the end, from the last checkpoint if there is one.

        Raises:
            Diverged: the loss is not a number.
            UserError: the batch cannot be shared by the workers.
        """
        _Run(self).go()


class _Run:
    """One go at it: the moving parts."""

    def __init__(self, job: Training) -> None:
        self.job, self.learner, self.world = job, job.learner, job.world
        order = job.recipe.order()
        whole = job.recipe.batches.epochs * order.per_epoch
        self.steps = min(job.recipe.batches.max_steps or whole, whole)
        self.per_epoch = order.per_epoch
        self.optimiser = build_optimiser(self.learner.network, self.learner.objective, job.optimiser)
        self.schedule = Schedule(job.optimiser, self.steps)
        self.scaler = torch.amp.GradScaler(self.world.device.type, enabled=self.learner.precision == torch.float16)
        self.learning = [p for group in self.optimiser.param_groups for p in group["params"]]
        self.step = 0
        self.stopped = False

    def go(self) -> None:
        resumed = self._resume()
        if not resumed:
            self._start_classes()
        model: nn.Module = self.learner
        if self.world.size > 1:
            model = DistributedDataParallel(self.learner)
        if self.job.network.compile:
            self.learner.network.compile()
        if resumed:
            self._ask()
        else:
            self._validate()
        self._train(model)
        if self.world.first:
            self.job.keeper.write_leaderboard(self.job.log.validations)
            self.job.log.write()

    def _train(self, model: nn.Module) -> None:
        batches = self.job.feed.batches(self.step, self.steps)
        freezing.set_mode(self.learner, self.job.network.bn)
        clock = time.perf_counter()
        while self.step < self.steps and not self._gives_up():
            batch = next(batches)
            waited = time.perf_counter() - clock
            line = self._one(model, batch)
            now = time.perf_counter()
            self._tell(line | {"seconds": now - clock, "wait": waited})
            clock = now
            if self._is_due(self.job.validation.every) or self.step == self.steps:
                self._validate()
                self._save(self.job.found)
                self._ask()
                freezing.set_mode(self.learner, self.job.network.bn)
                clock = time.perf_counter()
            elif self._is_due(self.job.validation.checkpoint_every):
                self._save({})
                clock = time.perf_counter()
        if self.world.first:
            self.job.keeper.wait()

    def _is_due(self, every: int) -> bool:
        return every > 0 and self.step % every == 0

    def _ask(self) -> None:
        """Hear on all workers whether it goes on; after the last step there is nothing to ask."""
        if self.step < self.steps and self.job.goes_on is not None:
            going = True
            if self.world.first:
                self.job.keeper.wait()
                going = self.job.goes_on(self.job.log.validations)
            self.stopped = bool(self.world.largest(int(not going)))

    def _gives_up(self) -> bool:
        return self.stopped or 0 < self.job.validation.stop_after <= self.schedule.since_best

    # -- a step ----------------------------------------------------------------------------------------------------

    def _one(self, model: nn.Module, batch: Batch) -> dict[str, Any]:
        _seed(self.job.recipe.batches.seed, self.step, self.world.rank)
        rate = self.schedule.set(self.optimiser, self.step)
        parts = pieces(self._tensors(batch), self.job.recipe.batches.accumulate)
        self.optimiser.zero_grad(set_to_none=True)
        losses = []
        components: Tensors = {}
        for number, part in enumerate(parts):
            loss, values = self._backward(model, part, len(parts), last=number == len(parts) - 1)
            losses.append(loss)
            for name, value in values.items():
                components[name] = components.get(name, torch.zeros_like(value)) + value / len(parts)
        self.scaler.unscale_(self.optimiser)
        norm = nn.utils.clip_grad_norm_(self.learning, self.job.optimiser.clip_norm or float("inf"))
        means = self.world.mean(torch.stack([torch.stack(losses).sum(), *components.values()]).float())
        self._check(float(means[0]), float(norm), rate, batch)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.step += 1
        line = {"step": self.step, "epoch": self.step / self.per_epoch, "loss": float(means[0]), "lr": rate}
        named = dict(zip(components, means[1:].tolist(), strict=True)) if len(components) > 1 else {}
        return line | {"grad_norm": float(norm)} | {f"loss_{name}": value for name, value in named.items()}

    def _backward(self, model: nn.Module, part: Tensors, count: int, last: bool) -> tuple[torch.Tensor, Tensors]:
        """Add the gradients of a piece; workers exchange them with the last piece only."""
        exchanging = not isinstance(model, DistributedDataParallel) or last
        with nullcontext() if exchanging else model.no_sync():
            total, values = model(part)
            self.scaler.scale(total / count).backward()
        return total.detach() / count, values

    def _tensors(self, batch: Batch) -> Tensors:
        """The batch on the device, with what the original network makes of the real faces if a loss asks for it."""
        tensors = tensors_of(batch, self.world.device)
        if self.job.original is None:
            return tensors
        real = torch.from_numpy(np.flatnonzero(~batch.is_fake)).to(self.world.device)
        with torch.inference_mode():
            found = self.learner.embed(tensors["faces"][real], self.job.original)
        reference = torch.zeros(len(batch.is_fake), found.shape[1], device=found.device)
        reference[real] = found  # no loss looks at those of fakes
        return tensors | {"reference": reference}

    def _check(self, loss: float, norm: float, rate: float, batch: Batch) -> None:
        """Stop before a step that would spoil the weights; the mean over the workers is bad if one of them is."""
        if np.isfinite(loss) and (np.isfinite(norm) or self.scaler.is_enabled()):
            return
        names = self.job.material.faces.photos.take(pa.array(batch.rows)).to_pylist()
        photos = list(dict.fromkeys(name for some in self.world.gather(names) for name in some))
        if self.world.first:
            self.job.log.add({"step": self.step + 1, "diverged": str(loss), "lr": rate, "photos": photos})
            self.job.log.write()
        raise Diverged(
            f"the loss of step {self.step + 1} is {loss} (gradient {norm:g}) at learning rate {rate:g}; its "
            f"{len(photos)} photos ('{photos[0]}' first) are in the last line of {METRICS}, the last checkpoint is "
            "from before it: lower optimiser.learning_rate, or look at the photos."
        )

    # -- around the steps ------------------------------------------------------------------------------------------

    def _tell(self, line: dict[str, Any]) -> None:
        if self.world.first:
            if self.step <= self.job.tell_every or self.step % self.job.tell_every == 0 or self.step == self.steps:
                self.job.log.add(line)
            self.job.told(self.step, self.steps, line)

    def _validate(self) -> None:
        job = self.job
        turned = calibrate(self.learner, job.material, job.images, job.validation.mistaken, self.world)
        found = turned | validate(self.learner, job.material, job.images, job.validation, self.world)
        if self.step:
            self.schedule.validated(found["eer"])
        self.job.found = {"epoch": self.step / self.per_epoch, **found}
        if self.world.first:
            line = {"step": self.step, **self.job.found}
            self.job.log.add(line)
            self.job.told(self.step, self.steps, line)

    def _save(self, found: dict[str, Any]) -> None:
        if not self.world.first:
            return
        self.job.log.write()
        state = {
            "step": self.step,
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state(),
            "scaler": self.scaler.state_dict(),
            "objective": self.learner.objective.state_dict(),
        }
        self.job.keeper.save(self.step, self.learner.network, self.job.card, state, found)

    def _resume(self) -> bool:
        saved = self.job.keeper.saved()
        if not saved:
            return False
        last = saved[-1]
        state = load_state(last.place)
        load_network(last.place, self.learner.network)
        self.learner.objective.load_state_dict(state["objective"])
        resume_optimiser(self.optimiser, state["optimiser"])
        self.schedule.load(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
        self.step = last.step
        self.job.log.resume(last.step)
        return True

    def _start_classes(self) -> None:
        """Class centres begin at the mean embedding of their person; a fresh network has no embeddings worth it."""
        objective, material = self.learner.objective, self.job.material
        if not objective.state_dict() or self.job.card.source == "":
            return
        units = embed_rows(self.learner, material.taught, self.job.images, self.world)
        classes = material.classes[material.taught]
        total = np.zeros((int(classes.max()) + 1, units.shape[1]), np.float32)
        np.add.at(total, classes, units)
        objective.start_from(torch.from_numpy(total).to(self.world.device))


def _seed(seed: int, step: int, rank: int) -> None:
    """Of dropout: by seed, step and worker alone, so that a resumed run draws what it would have drawn."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> np.uint64(1)))


def check_shares(size: int, workers: int, accumulate: int) -> None:
    """Check that so many workers can share a batch evenly.

    Raises:
        UserError: names the field.
    """
    if size % (workers * accumulate):
        raise UserError(
            f"batches.size is {size}, which {workers} workers with batches.accumulate {accumulate} cannot share: "
            f"give a multiple of {workers * accumulate}."
        )
