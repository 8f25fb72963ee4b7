"""What is trained and how: the options of `train`. They decide the result; where it runs does not.

Free of PyTorch, so that command lines are quick.
"""

from dataclasses import dataclass
from typing import Literal

from faceverify.errors import UserError


@dataclass(frozen=True, kw_only=True, slots=True)
class StepConfig:
    """The steps. Sizes are totals over all workers, so the number of workers does not change the training."""

    size: int = 32
    """Pairs per step, over all workers."""
    accumulate: int = 1
    """Gradient accumulation: parts into which each worker's share of a step is split; their gradients are summed."""
    epochs: int = 2
    """Passes over what is learnt from; the incomplete last batch of a pass is dropped."""
    max_steps: int = 0
    """Maximum number of steps; 0 = until the epochs are over."""
    seed: int = 0
    """Seed of the order, augmentation, dropout and fresh weights."""

    def __post_init__(self) -> None:
        for name in ("size", "accumulate", "epochs"):
            _at_least(f"batches.{name}", getattr(self, name), 1)
        _at_least("batches.max_steps", self.max_steps, 0)
        if self.size % self.accumulate:
            raise UserError(f"batches.accumulate is {self.accumulate}: give a divisor of batches.size, {self.size}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchConfig(StepConfig):
    """The batches. Sizes are totals over all workers, so the number of workers does not change the training."""

    kind: Literal["pairs", "identities"] = "pairs"
    """pairs: those of the table, for pair losses; identities: faces of the training split, for identity losses alone
    (two per "pair" of `size`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkConfig:
    """The network: architecture, branches, which parts learn, precision."""

    architecture: str = ""
    """Architecture of a fresh network, where `start` is empty: tiny, ir_18, ir_34, ir_50, ir_101, mobilefacenet."""
    dim: int = 512
    """Embedding size of a fresh network."""
    bn: Literal["frozen", "batch", "sync"] = "frozen"
    """BatchNorm statistics: frozen = the stored ones (for fine-tuning); batch = of each worker's share of a step, both
    photos of a pair together; sync = of the whole step over all workers (GPUs only)."""
    train_last: int = 0
    """Number of last stages that learn (1 = the output layer, or the branch `detail` alone); 0 = the whole network."""
    attention: bool = False
    """Add an attention branch between the last stage and the output; it starts as the identity."""
    detail: bool = False
    """Put a branch beside the network that looks for traces of swaps in the photo and turns such a photo's embedding
    away; with `train_last: 1` it alone learns, and real people keep what the network knew. Wants `bn: batch`."""
    recompute: bool = False
    """Gradient checkpointing: recompute activations instead of keeping them; less memory, a third more time; needs
    bn: frozen."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the network; losses are always fp32. auto = bf16 on GPUs that have it, fp16 on others, fp32 on
    CPUs."""
    compile: bool = False
    """Use torch.compile: minutes at the start, then faster steps on GPUs."""

    def __post_init__(self) -> None:
        _at_least("network.train_last", self.train_last, 0)
        if self.recompute and self.bn != "frozen":
            raise UserError("network.recompute needs network.bn: frozen, for it would count every batch twice.")


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimiserConfig:
    """Optimizer, learning rate and schedule."""

    name: Literal["adamw", "sgd"] = "adamw"
    """adamw (Loshchilov and Hutter, 2019), or sgd with a Nesterov momentum of 0.9."""
    learning_rate: float = 5e-6
    """Base learning rate, the highest of the schedule."""
    class_learning_rate: float = 0.0
    """Base learning rate of the class centres of identity losses; 0 = `learning_rate`."""
    weight_decay: float = 1e-2
    """Weight decay of parameters of two or more dimensions; biases, BatchNorm and PReLU have none."""
    clip_norm: float = 5.0
    """Maximum norm to which the gradient of all weights is clipped; 0 = no clipping."""
    schedule: Literal["plateau", "cosine", "constant"] = "plateau"
    """plateau: multiply the rate by `factor` when the validation EER has not fallen for `patience` validations; cosine:
    decay to zero over all steps."""
    factor: float = 0.5
    """plateau: factor by which the rate is multiplied."""
    patience: int = 10
    """plateau: number of validations without a better EER before the rate is lowered."""
    threshold: float = 1e-4
    """plateau: smallest fall of the EER that counts, as a share of the best EER."""
    warmup_steps: int = 0
    """Number of first steps over which the rate rises linearly from zero."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "class_learning_rate", "weight_decay", "clip_norm", "threshold"):
            _at_least(f"optimiser.{name}", getattr(self, name), 0)
        for name in ("patience", "warmup_steps"):
            _at_least(f"optimiser.{name}", getattr(self, name), 0)
        if not 0 < self.factor < 1:
            raise UserError(f"optimiser.factor is {self.factor}: give a number between 0 and 1.")


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointConfig:
    """When the network is judged, and which checkpoints are kept."""

    every: int = 100
    """Steps between validations; there is always one after the last step."""
    keep: int = 5
    """Number of checkpoints kept for their accuracy, and as many for their EER; the last one is always kept."""
    checkpoint_every: int = 0
    """Steps between further checkpoints from which a killed run resumes; 0 = at validations only."""
    stop_after: int = 0
    """Early stopping: number of validations in a row without a better EER; 0 = never."""

    def __post_init__(self) -> None:
        for name in ("every", "keep"):
            _at_least(f"validation.{name}", getattr(self, name), 1)
        for name in ("checkpoint_every", "stop_after"):
            _at_least(f"validation.{name}", getattr(self, name), 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationConfig(CheckpointConfig):
    """Validations and the checkpoints that are kept."""

    pairs: int = 20_000
    """Maximum number of validation pairs, a random sample stratified by kind; 0 = all."""
    threshold: float = 0.2
    """Cosine threshold of the accuracy (the reference's); errors by kind are taken at the EER of real people."""
    mistaken: float = 0.005
    """Highest mean suppression of real validation faces (0-1) by the branch `detail`, which sets its threshold at each
    validation; 0 = keep the stored threshold."""
    replicates: int = 200
    """Bootstrap replicates of the interval of the EER; 0 = no interval."""

    def __post_init__(self) -> None:
        CheckpointConfig.__post_init__(self)
        for name in ("pairs", "replicates"):
            _at_least(f"validation.{name}", getattr(self, name), 0)
        if not 0 <= self.mistaken < 1:
            raise UserError(f"validation.mistaken is {self.mistaken}: give a share from 0 to below 1.")


def _at_least(name: str, value: float, least: int) -> None:
    if not value >= least:
        raise UserError(f"{name} is {value}: give {least} or more.")
