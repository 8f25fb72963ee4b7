"""The training loop as each worker runs it: steps, validations, checkpoints, and resuming from one.

The same configuration and data give the same losses, whether or not the run was interrupted: the order of the pairs,
their augmentation and dropout depend on the seed and the step alone.
"""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from faceverify.errors import PlatformError, UserError
from faceverify.models.card import ModelCard
from faceverify.training.batches import Batch, BatchBuilder, BatchLoader, FetchImages
from faceverify.training.checkpoints import CheckpointManager, load_network, load_state
from faceverify.training.config import NetworkConfig, OptimiserConfig, ValidationConfig
from faceverify.training.distributed import DistributedContext
from faceverify.training.learner import Learner, Tensors, split_batch, to_tensors
from faceverify.training.material import Material
from faceverify.training.metrics_log import METRICS, MetricsLog
from faceverify.training.network import set_mode
from faceverify.training.optimiser import Schedule, build_optimiser, load_optimiser_state
from faceverify.training.validation import calibrate_threshold, embed_rows, validate

LOG_EVERY = 10  # steps between lines of metrics.jsonl, once the first few are over


class Diverged(PlatformError):
    """The loss is not finite; the text names the step, the learning rate and the photos."""


@dataclass
class Training:
    """What one worker trains, and with what.

    Args:
        learner: network and objective, on the worker's device and in its precision, with their initial weights.
        card: the network's card.
        original: the frozen network that `distill` compares with; None if no loss needs it.
        builder: data, batches, augmentation.
        loader: gives this worker its batches.
        images: fetches the encoded pictures of faces, for validation.
        context: this worker among the others.
        checkpoints, log: written to by the main worker only.
        on_step: called with (step, steps, line) after every step on the main worker.
        should_continue: called on the main worker with the lines of all validations so far, after each validation and
            on resuming; False ends the training there, with its checkpoints as they are.
        log_every: steps between lines of metrics.jsonl.
        results: results of the last validation.
    """

    learner: Learner
    card: ModelCard
    original: nn.Module | None
    builder: BatchBuilder
    network: NetworkConfig
    optimiser: OptimiserConfig
    validation: ValidationConfig
    loader: BatchLoader
    images: FetchImages
    context: DistributedContext
    checkpoints: CheckpointManager
    log: MetricsLog
    on_step: Callable[[int, int, dict[str, Any]], None] = lambda step, steps, line: None
    should_continue: Callable[[list[dict[str, Any]]], bool] | None = None
    log_every: int = LOG_EVERY
    results: dict[str, Any] = field(default_factory=dict)

    @property
    def material(self) -> Material:
        """Faces and pairs."""
        return self.builder.material

    def run(self) -> None:
        """Train to the end, from the last checkpoint if there is one.

        Raises:
            Diverged: the loss is not finite.
            UserError: the workers cannot share a batch evenly, or a picture is damaged.
            OSError: a checkpoint cannot be written.
        """
        Trainer(self).run()


class Trainer:
    """One run of the loop; holds optimiser, schedule, scaler and step."""

    def __init__(self, job: Training) -> None:
        self.job, self.learner, self.context = job, job.learner, job.context
        order = job.builder.order()
        all_epochs = job.builder.batches.epochs * order.per_epoch
        self.steps = min(job.builder.batches.max_steps or all_epochs, all_epochs)
        self.per_epoch = order.per_epoch
        self.optimiser = build_optimiser(self.learner.network, self.learner.objective, job.optimiser)
        self.schedule = Schedule(job.optimiser, self.steps)
        self.scaler = torch.amp.GradScaler(self.context.device.type, enabled=self.learner.precision == torch.float16)
        self.trainable = [p for group in self.optimiser.param_groups for p in group["params"]]
        self.step = 0
        self.stopped = False

    def run(self) -> None:
        """See `Training.run`."""
        resumed = self._resume()
        if not resumed:
            self._start_classes()
        model: nn.Module = self.learner
        if self.context.size > 1:
            model = DistributedDataParallel(self.learner)
        if self.job.network.compile:
            self.learner.network.compile()
        if resumed:
            self._ask()
        else:
            self._validate()
        self._train(model)
        if self.context.is_main:
            self.job.checkpoints.write_leaderboard(self.job.log.validations)
            self.job.log.write()

    def _train(self, model: nn.Module) -> None:
        batches = self.job.loader.batches(self.step, self.steps)
        set_mode(self.learner, self.job.network.bn)
        clock = time.perf_counter()
        while self.step < self.steps and not self._is_over():
            batch = next(batches)
            waited = time.perf_counter() - clock
            line = self._one(model, batch)
            now = time.perf_counter()
            self._log(line | {"seconds": now - clock, "wait": waited})
            clock = now
            if self._is_due(self.job.validation.every) or self.step == self.steps:
                self._validate()
                self._save(self.job.results)
                self._ask()
                set_mode(self.learner, self.job.network.bn)
                clock = time.perf_counter()
            elif self._is_due(self.job.validation.checkpoint_every):
                self._save({})
                clock = time.perf_counter()
        if self.context.is_main:
            self.job.checkpoints.wait()

    def _is_due(self, every: int) -> bool:
        return every > 0 and self.step % every == 0

    def _ask(self) -> None:
        """Agree among all workers whether to continue; after the last step there is nothing to ask."""
        if self.step < self.steps and self.job.should_continue is not None:
            continues = True
            if self.context.is_main:
                self.job.checkpoints.wait()
                continues = self.job.should_continue(self.job.log.validations)
            self.stopped = bool(self.context.all_reduce_max(int(not continues)))

    def _is_over(self) -> bool:
        return self.stopped or 0 < self.job.validation.stop_after <= self.schedule.since_best

    # -- a step ----------------------------------------------------------------------------------------------------

    def _one(self, model: nn.Module, batch: Batch) -> dict[str, Any]:
        _seed(self.job.builder.batches.seed, self.step, self.context.rank)
        rate = self.schedule.apply(self.optimiser, self.step)
        parts = split_batch(self._tensors(batch), self.job.builder.batches.accumulate)
        self.optimiser.zero_grad(set_to_none=True)
        losses = []
        components: Tensors = {}
        for number, part in enumerate(parts):
            loss, values = self._backward(model, part, len(parts), last=number == len(parts) - 1)
            losses.append(loss)
            for name, value in values.items():
                components[name] = components.get(name, torch.zeros_like(value)) + value / len(parts)
        self.scaler.unscale_(self.optimiser)
        norm = nn.utils.clip_grad_norm_(self.trainable, self.job.optimiser.clip_norm or float("inf"))
        means = self.context.all_reduce_mean(torch.stack([torch.stack(losses).sum(), *components.values()]).float())
        self._check(float(means[0]), float(norm), rate, batch)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.step += 1
        line = {"step": self.step, "epoch": self.step / self.per_epoch, "loss": float(means[0]), "lr": rate}
        named = dict(zip(components, means[1:].tolist(), strict=True)) if len(components) > 1 else {}
        return line | {"grad_norm": float(norm)} | {f"loss_{name}": value for name, value in named.items()}

    def _backward(self, model: nn.Module, part: Tensors, count: int, last: bool) -> tuple[Tensor, Tensors]:
        """Add the gradients of a part; workers exchange them with the last part only."""
        exchanging = not isinstance(model, DistributedDataParallel) or last
        with nullcontext() if exchanging else model.no_sync():
            total, values = model(part)
            self.scaler.scale(total / count).backward()
        return total.detach() / count, values

    def _tensors(self, batch: Batch) -> Tensors:
        """The batch on the device, with the original network's embeddings of the real faces if a loss needs them."""
        tensors = to_tensors(batch, self.context.device)
        if self.job.original is None:
            return tensors
        real = torch.from_numpy(np.flatnonzero(~batch.is_fake)).to(self.context.device)
        with torch.inference_mode():
            embeddings = self.learner.embed(tensors["faces"][real], self.job.original)
        reference = torch.zeros(len(batch.is_fake), embeddings.shape[1], device=embeddings.device)
        reference[real] = embeddings  # no loss looks at those of fakes
        return tensors | {"reference": reference}

    def _check(self, loss: float, norm: float, rate: float, batch: Batch) -> None:
        """Stop before a step that would spoil the weights; the mean over the workers is bad if one of them is."""
        if math.isfinite(loss) and (math.isfinite(norm) or self.scaler.is_enabled()):
            return
        names = self.job.material.faces.photos.take(pa.array(batch.rows)).to_pylist()
        photos = list(dict.fromkeys(name for some in self.context.gather_texts(names) for name in some))
        if self.context.is_main:
            self.job.log.add({"step": self.step + 1, "diverged": str(loss), "lr": rate, "photos": photos})
            self.job.log.write()
        raise Diverged(
            f"the loss of step {self.step + 1} is {loss} (gradient {norm:g}) at learning rate {rate:g}; its "
            f"{len(photos)} photos ('{photos[0]}' first) are in the last line of {METRICS}, the last checkpoint is "
            "from before it: lower optimiser.learning_rate, or look at the photos."
        )

    # -- around the steps ------------------------------------------------------------------------------------------

    def _log(self, line: dict[str, Any]) -> None:
        if self.context.is_main:
            if self.step <= self.job.log_every or self.step % self.job.log_every == 0 or self.step == self.steps:
                self.job.log.add(line)
            self.job.on_step(self.step, self.steps, line)

    def _validate(self) -> None:
        job = self.job
        threshold = calibrate_threshold(self.learner, job.material, job.images, job.validation.mistaken, self.context)
        results = threshold | validate(self.learner, job.material, job.images, job.validation, self.context)
        if self.step:
            self.schedule.record_validation(results["eer"])
        job.results = {"epoch": self.step / self.per_epoch, **results}
        if self.context.is_main:
            line = {"step": self.step, **job.results}
            job.log.add(line)
            job.on_step(self.step, self.steps, line)

    def _save(self, results: dict[str, Any]) -> None:
        if not self.context.is_main:
            return
        self.job.log.write()
        state = {
            "step": self.step,
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "objective": self.learner.objective.state_dict(),
        }
        self.job.checkpoints.save(self.step, self.learner.network, self.job.card, state, results)

    def _resume(self) -> bool:
        complete = self.job.checkpoints.complete()
        if not complete:
            return False
        last = complete[-1]
        state = load_state(last.folder)
        load_network(last.folder, self.learner.network)
        self.learner.objective.load_state_dict(state["objective"])
        load_optimiser_state(self.optimiser, state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
        self.step = last.step
        self.job.log.resume(last.step)
        return True

    def _start_classes(self) -> None:
        """Start class centres at the mean embedding of their person, unless the network is fresh."""
        objective, material = self.learner.objective, self.job.material
        if not objective.state_dict() or self.job.card.source == "":
            return
        units = embed_rows(self.learner, material.train_faces, self.job.images, self.context)
        classes = material.classes[material.train_faces]
        total = np.zeros((int(classes.max()) + 1, units.shape[1]), np.float32)
        np.add.at(total, classes, units)
        objective.start_from(torch.from_numpy(total).to(self.context.device))


def _seed(seed: int, step: int, rank: int) -> None:
    """Seed dropout from seed, step and worker alone, so that a resumed run draws the same numbers."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> np.uint64(1)))


def check_shares(size: int, workers: int, accumulate: int) -> None:
    """Check that `workers` workers can share a batch evenly.

    Raises:
        UserError: batches.size is no multiple of workers times batches.accumulate.
    """
    if size % (workers * accumulate):
        raise UserError(
            f"batches.size is {size}, which {workers} workers with batches.accumulate {accumulate} cannot share: "
            f"give a multiple of {workers * accumulate}."
        )
