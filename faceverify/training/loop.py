"""The training loop as each worker runs it: steps, validations, checkpoints, and resuming from one.

The same configuration and data give the same losses, whether or not the run was interrupted: the order of the pairs,
their augmentation and dropout depend on the seed and the step alone.
"""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from faceverify.errors import PlatformError, UserError
from faceverify.forensics.config import ForensicNetworkConfig
from faceverify.training.batches import BatchLoader
from faceverify.training.checkpoints import CheckpointManager, PendingCheckpoint, load_network, load_state
from faceverify.training.config import CheckpointConfig, NetworkConfig, OptimiserConfig
from faceverify.training.distributed import DistributedContext
from faceverify.training.learner import Tensors
from faceverify.training.metrics_log import METRICS, MetricsLog
from faceverify.training.network import set_mode
from faceverify.training.optimiser import Schedule, build_optimiser, load_optimiser_state
from faceverify.training.task import Task

LOG_EVERY = 10  # steps between lines of metrics.jsonl, once the first few are over
READ_EVERY = 10  # steps at most whose losses stay on the device before they are read


class Diverged(PlatformError):
    """The loss is not finite; the text names the step, the learning rate and the photos."""


@dataclass
class Training:
    """What one worker trains, and with what.

    Args:
        task: network, objective, data and how the network is judged.
        loader: gives this worker its batches.
        context: this worker among the others.
        checkpoints, log: written to by the main worker only.
        on_step: called with (step, steps, line) on the main worker after every step and validation; the line of a step
            has its losses only if it is logged.
        on_checkpoint: called on every worker, always equally often, with the metrics of each validation and of each
            checkpoint, and on the main worker with the checkpoint being written, if there is one.
        should_continue: called on the main worker with the lines of all validations so far, after each validation and
            on resuming; False ends the training there, with its checkpoints as they are. All that was learnt by then is
            on disk, so that it may also end the process. None = always continue.
        log_every: steps between lines of metrics.jsonl.
        results: results of the last validation.
    """

    task: Task
    network: NetworkConfig | ForensicNetworkConfig
    optimiser: OptimiserConfig
    validation: CheckpointConfig
    loader: BatchLoader
    context: DistributedContext
    checkpoints: CheckpointManager
    log: MetricsLog
    on_step: Callable[[int, int, dict[str, Any]], None] = lambda step, steps, line: None
    on_checkpoint: Callable[[dict[str, Any], PendingCheckpoint | None], None] = lambda metrics, checkpoint: None
    should_continue: Callable[[list[dict[str, Any]]], bool] | None = None
    log_every: int = LOG_EVERY
    results: dict[str, Any] = field(default_factory=dict)

    def run(self) -> None:
        """Train to the end, from the last checkpoint if there is one.

        Raises:
            Diverged: the loss is not finite.
            UserError: the workers cannot share a batch evenly, or a picture is damaged.
            OSError: a checkpoint cannot be written.
        """
        Trainer(self).run()


class _Unread(NamedTuple):
    """What a step left on the device: its loss and components [1 + C] of this worker, and the gradient's norm."""

    step: int
    rate: float
    rows: np.ndarray  # of the faces table, to name the photos if the loss is not finite
    values: Tensor
    norm: Tensor


class Trainer:
    """One run of the loop; holds optimiser, schedule, scaler and step.

    Losses stay on the device and are read every few steps, so that a GPU need not wait for this process. A step whose
    loss or gradient is not finite changes no weight, nor does any step after it; reading it ends the run.
    """

    def __init__(self, job: Training) -> None:
        self.job, self.task, self.context = job, job.task, job.context
        self.learner = self.task.learner
        order = self.task.builder.order()
        all_epochs = self.task.builder.batches.epochs * order.per_epoch
        self.steps = min(self.task.builder.batches.max_steps or all_epochs, all_epochs)
        self.per_epoch = order.per_epoch
        self.optimiser = build_optimiser(self.learner.network, self.learner.objective, job.optimiser)
        self.schedule = Schedule(job.optimiser, self.steps)
        self.scaler = torch.amp.GradScaler(self.context.device.type, enabled=self.learner.precision == torch.float16)
        self.trainable = [p for group in self.optimiser.param_groups for p in group["params"]]
        self.step = 0
        self.stopped = False
        self.components: list[str] = []
        self.unread: list[_Unread] = []
        self.timing: list[tuple[float, float]] = []  # seconds and seconds waited of the steps since the last line
        # A fused optimiser skips a step on the device, by the flag that GradScaler sets too; others wait for the norm.
        self.skips_on_device = bool(self.optimiser.defaults.get("fused")) and not self.scaler.is_enabled()
        self.bad = torch.zeros((), device=self.context.device)  # 1 once a gradient was not finite

    def run(self) -> None:
        """See `Training.run`."""
        resumed = self._resume()
        if not resumed:
            self.task.start()
        model: nn.Module = self.learner
        if self.context.size > 1:
            model = DistributedDataParallel(self.learner)
        if self.job.network.compile:
            self.learner.network.compile()
        if resumed:
            self._ask()
        else:
            self._validate()
            self.job.on_checkpoint({"step": 0, **self.job.results}, None)
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
            self._one(model, batch)
            validates = self._is_due(self.job.validation.every) or self.step == self.steps
            saves = validates or self._is_due(self.job.validation.checkpoint_every)
            line = self._read() if saves or self._is_logged() or len(self.unread) >= READ_EVERY else {}
            now = time.perf_counter()
            self._log(line, now - clock, waited)
            clock = now
            if validates:
                self._validate()
            if saves:
                self._save(self.job.results if validates else {})
            if validates:
                self._ask()
                set_mode(self.learner, self.job.network.bn)
            if saves:
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

    def _one(self, model: nn.Module, batch: Any) -> None:
        _seed(self.task.builder.batches.seed, self.step, self.context.rank)
        rate = self.schedule.apply(self.optimiser, self.step)
        parts = self.task.split(self.task.tensors(batch), self.task.builder.batches.accumulate)
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
        self.components = list(components)
        values = torch.stack([torch.stack(losses).sum(), *components.values()]).float()
        self.unread.append(_Unread(self.step + 1, rate, batch.rows, values, norm))
        if self.skips_on_device:
            self.bad = torch.maximum(self.bad, (~torch.isfinite(norm)).float())
            self.optimiser.found_inf = self.bad  # type: ignore[attr-defined]
        elif not self.scaler.is_enabled() and not math.isfinite(norm):
            self._read()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.step += 1

    def _backward(self, model: nn.Module, part: Tensors, count: int, last: bool) -> tuple[Tensor, Tensors]:
        """Add the gradients of a part; workers exchange them with the last part only."""
        exchanging = not isinstance(model, DistributedDataParallel) or last
        with nullcontext() if exchanging else model.no_sync():
            total, values = model(part)
            # Times 1, or times NaN if the loss is not finite: the gradients of all workers are then not finite either.
            finite = total.detach() * 0 + 1
            self.scaler.scale(total * finite / count).backward()
        return total.detach() / count, values

    def _read(self) -> dict[str, Any]:
        """Read the losses of the steps since the last reading; returns the line of the last step.

        A collective call: every worker makes it at the same steps.

        Raises:
            Diverged: a loss or gradient was not finite.
        """
        unread, self.unread = self.unread, []
        means = self.context.all_reduce_mean(torch.stack([one.values for one in unread])).tolist()
        norms = torch.stack([one.norm for one in unread]).tolist()
        for one, (loss, *_), norm in zip(unread, means, norms, strict=True):
            if not (math.isfinite(loss) and (math.isfinite(norm) or self.scaler.is_enabled())):
                self._diverge(one, loss, norm)
        loss, *parts = means[-1]
        named = dict(zip(self.components, parts, strict=True)) if len(parts) > 1 else {}
        line = {"step": unread[-1].step, "epoch": unread[-1].step / self.per_epoch, "loss": loss, "lr": unread[-1].rate}
        return line | {"grad_norm": norms[-1]} | {f"loss_{name}": value for name, value in named.items()}

    def _diverge(self, bad: _Unread, loss: float, norm: float) -> None:
        """End the run at a step whose loss or gradient is not finite, and name its photos."""
        names = self.task.photos(bad.rows)
        photos = list(dict.fromkeys(name for some in self.context.gather_texts(names) for name in some))
        if self.context.is_main:
            self.job.log.add({"step": bad.step, "diverged": str(loss), "lr": bad.rate, "photos": photos})
            self.job.log.write()
        raise Diverged(
            f"the loss of step {bad.step} is {loss} (gradient {norm:g}) at learning rate {bad.rate:g}; its "
            f"{len(photos)} photos ('{photos[0]}' first) are in the last line of {METRICS}, the last checkpoint is "
            "from before it: lower optimiser.learning_rate, or look at the photos."
        )

    # -- around the steps ------------------------------------------------------------------------------------------

    def _is_logged(self) -> bool:
        return self.step <= self.job.log_every or self.step % self.job.log_every == 0 or self.step == self.steps

    def _log(self, line: dict[str, Any], seconds: float, waited: float) -> None:
        """Log the line of a logged step, with the mean time of the steps since the line before."""
        if not self.context.is_main:
            return
        self.timing.append((seconds, waited))
        if self._is_logged():
            mean, mean_waited = np.mean(self.timing, axis=0).tolist()
            self.timing = []
            self.job.log.add(line | {"seconds": mean, "wait": mean_waited})
        # A step's own time: of a step that is not read, a GPU is still at work.
        self.job.on_step(self.step, self.steps, line | {"step": self.step, "seconds": seconds, "wait": waited})

    def _validate(self) -> None:
        job = self.job
        results = self.task.validate()
        if self.step:
            self.schedule.record_validation(results["eer"])
        job.results = {"epoch": self.step / self.per_epoch, **results}
        if self.context.is_main:
            line = {"step": self.step, **job.results}
            job.log.add(line)
            job.on_step(self.step, self.steps, line)

    def _save(self, results: dict[str, Any]) -> None:
        pending: PendingCheckpoint | None = None
        if self.context.is_main:
            self.job.log.write()
            state = {
                "step": self.step,
                "optimiser": self.optimiser.state_dict(),
                "schedule": self.schedule.state_dict(),
                "scaler": self.scaler.state_dict(),
                "objective": self.learner.objective.state_dict(),
            }
            pending = self.job.checkpoints.save(self.step, self.learner.network, self.task.card, state, results)
        self.job.on_checkpoint({"step": self.step, **results}, pending)

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
