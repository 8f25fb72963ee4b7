"""Optimisers and learning-rate schedules by name."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from faceverify.training.config import OptimiserConfig

MOMENTUM = 0.9
_CONFIGURED = ("base", "weight_decay")
_STATE = ("scale", "best", "bad", "since_best")


def build_optimiser(network: nn.Module, objective: nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    """Build the optimiser: network weights with and without decay, and class centres, as parameter groups.

    Each group keeps its highest learning rate as `base`, from which `Schedule.apply` sets `lr` before each step.
    """
    trainable = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "base": config.learning_rate},
        {"params": [p for p in trainable if p.ndim <= 1], "base": config.learning_rate, "weight_decay": 0.0},
        {"params": list(objective.parameters()), "base": config.class_learning_rate or config.learning_rate},
    ]
    groups = [group for group in groups if group["params"]]
    common: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    fused = any(p.is_cuda for p in trainable)
    if config.name == "sgd":
        return torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True, fused=fused, **common)
    return torch.optim.AdamW(groups, fused=fused, **common)


def load_optimiser_state(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load moments and step counts of a checkpoint; learning rates and decay stay those of the configuration."""
    configured = [{name: group[name] for name in _CONFIGURED} for group in optimiser.param_groups]
    optimiser.load_state_dict(state)
    for group, own in zip(optimiser.param_groups, configured, strict=True):
        group.update(own)


@dataclass
class Schedule:
    """The learning-rate schedule, by step and by the validation EERs so far.

    "plateau" equals PyTorch's ReduceLROnPlateau(mode="min", threshold_mode="rel").
    """

    config: OptimiserConfig
    steps: int
    scale: float = 1.0
    best: float = math.inf
    bad: int = 0  # validations without a better EER since the rate was lowered
    since_best: int = 0  # validations without a better EER since the best

    def multiplier(self, step: int) -> float:
        """Multiplier of the base learning rate at `step` (0-based)."""
        warm = min(1.0, (step + 1) / self.config.warmup_steps) if self.config.warmup_steps else 1.0
        if self.config.schedule == "cosine":
            after = max(step - self.config.warmup_steps, 0) / max(self.steps - self.config.warmup_steps, 1)
            return warm * 0.5 * (1 + math.cos(math.pi * min(after, 1.0)))
        return warm * self.scale

    def apply(self, optimiser: torch.optim.Optimizer, step: int) -> float:
        """Set the learning rates of all groups for `step` (0-based); returns that of the network's weights."""
        for group in optimiser.param_groups:
            group["lr"] = group["base"] * self.multiplier(step)
        return self.config.learning_rate * self.multiplier(step)

    def record_validation(self, eer: float) -> None:
        """Take note of a validation's EER."""
        if eer < self.best * (1 - self.config.threshold):
            self.best, self.bad, self.since_best = eer, 0, 0
        else:
            self.bad, self.since_best = self.bad + 1, self.since_best + 1
        if self.config.schedule == "plateau" and self.bad > self.config.patience:
            self.scale, self.bad = self.scale * self.config.factor, 0

    def state_dict(self) -> dict[str, float]:
        """The state that a checkpoint keeps."""
        return {name: value for name, value in asdict(self).items() if name in _STATE}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore the state that `state_dict` gave."""
        for name in _STATE:
            setattr(self, name, state[name])
