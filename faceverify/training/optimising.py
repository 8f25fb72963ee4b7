"""Optimisers and learning-rate schedules by name."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from faceverify.training.recipe import OptimiserConfig

MOMENTUM = 0.9
_GIVEN = ("base", "weight_decay")
_STATE = ("scale", "best", "bad", "since_best")


def build_optimiser(network: nn.Module, objective: nn.Module, config: OptimiserConfig) -> torch.optim.Optimizer:
    """The optimiser of what learns: weights of the network with decay and without, class centres.

    Every group has its highest rate as `base`; `Schedule` sets `lr` from it before each step.
    """
    learning = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learning if p.ndim > 1], "base": config.learning_rate},
        {"params": [p for p in learning if p.ndim <= 1], "base": config.learning_rate, "weight_decay": 0.0},
        {"params": list(objective.parameters()), "base": config.class_learning_rate or config.learning_rate},
    ]
    groups = [group for group in groups if group["params"]]
    common: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    fused = any(p.is_cuda for p in learning)
    if config.name == "sgd":
        return torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True, fused=fused, **common)
    return torch.optim.AdamW(groups, fused=fused, **common)


def resume_optimiser(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Take over moments and counts of a checkpoint; rates and decay are those of the configuration."""
    given = [{name: group[name] for name in _GIVEN} for group in optimiser.param_groups]
    optimiser.load_state_dict(state)
    for group, own in zip(optimiser.param_groups, given, strict=True):
        group.update(own)


@dataclass
class Schedule:
    """The learning rate as a share of the highest, by step and by the validation EERs so far.

    plateau is ReduceLROnPlateau(mode="min", threshold_mode="rel") of PyTorch, whose state this is.
    """

    config: OptimiserConfig
    steps: int
    scale: float = 1.0
    best: float = math.inf
    bad: int = 0  # validations without a better EER, since the rate was lowered
    since_best: int = 0  # likewise, since the best

    def share(self, step: int) -> float:
        """Of the step, counted from 0."""
        warm = min(1.0, (step + 1) / self.config.warmup_steps) if self.config.warmup_steps else 1.0
        if self.config.schedule == "cosine":
            after = max(step - self.config.warmup_steps, 0) / max(self.steps - self.config.warmup_steps, 1)
            return warm * 0.5 * (1 + math.cos(math.pi * min(after, 1.0)))
        return warm * self.scale

    def set(self, optimiser: torch.optim.Optimizer, step: int) -> float:
        """Set the rates of a step; returns that of the network's weights."""
        for group in optimiser.param_groups:
            group["lr"] = group["base"] * self.share(step)
        return self.config.learning_rate * self.share(step)

    def validated(self, eer: float) -> None:
        """Hear of a validation's EER."""
        if eer < self.best * (1 - self.config.threshold):
            self.best, self.bad, self.since_best = eer, 0, 0
        else:
            self.bad, self.since_best = self.bad + 1, self.since_best + 1
        if self.config.schedule == "plateau" and self.bad > self.config.patience:
            self.scale, self.bad = self.scale * self.config.factor, 0

    def state(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {name: value for name, value in asdict(self).items() if name in _STATE}

    def load(self, state: dict[str, float]) -> None:
        """Go on from what `state` gave."""
        for name in _STATE:
            setattr(self, name, state[name])
