"""What is trained and how: the options of `train`. They decide the result; where it runs does not.

Free of PyTorch, so that command lines are quick.
"""

from dataclasses import dataclass
from typing import Literal

from faceverify.errors import UserError


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchConfig:
    """What a step sees. Batches are counted over all workers, so their number does not change the training."""

    kind: Literal["pairs", "identities"] = "pairs"
    """pairs: those of the table, for pair losses; identities: faces of the training split, for identity losses alone
    (two per "pair" of `size`)."""
    size: int = 32
    """Pairs per step, over all workers."""
    accumulate: int = 1
    """Each worker's share of a step is gone through in so many pieces; their gradients add up to that of the whole."""
    epochs: int = 2
    """Passes over the pairs; an incomplete last batch of a pass is left out."""
    max_steps: int = 0
    """Stop after so many steps; 0 = when the epochs are over."""
    seed: int = 0
    """EpochOrder of the pairs, augmentation, dropout, fresh weights."""

    def __post_init__(self) -> None:
        for name in ("size", "accumulate", "epochs"):
            _at_least(f"batches.{name}", getattr(self, name), 1)
        _at_least("batches.max_steps", self.max_steps, 0)
        if self.size % self.accumulate:
            raise UserError(f"batches.accumulate is {self.accumulate}: give a divisor of batches.size, {self.size}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkConfig:
    """What of the network learns, and how it is run."""

    architecture: str = ""
    """Of a fresh network, where `start` is empty: tiny, ir_18, ir_34, ir_50, ir_101, mobilefacenet."""
    dim: int = 512
    """Numbers in an embedding of a fresh network."""
    bn: Literal["frozen", "batch", "sync"] = "frozen"
    """Statistics of BatchNorm: frozen = those it came with (for fine-tuning); batch = of each worker's share of a step,
    both photos of a pair at once; sync = of the whole step, over all workers (GPUs)."""
    train_last: int = 0
    """Only the last so many stages learn (1 = the output layer, or the branch `detail` alone); 0 = all of it."""
    attention: bool = False
    """Put an attention branch between the last stage and the output; it begins as doing nothing."""
    detail: bool = False
    """Put a branch beside the network that looks for traces of swaps in the photo and turns such a photo's embedding
    away; with `train_last: 1` it alone learns, and real people keep what the network knew. Wants `bn: batch`."""
    recompute: bool = False
    """Activations are computed a second time instead of kept (gradient checkpointing): less memory, a third more time;
    needs bn: frozen."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Of the network; losses are always fp32. auto = bf16 on GPUs that have it, fp16 on others, fp32 on CPUs."""
    compile: bool = False
    """torch.compile: minutes at the start, then faster steps on GPUs."""

    def __post_init__(self) -> None:
        _at_least("network.train_last", self.train_last, 0)
        if self.recompute and self.bn != "frozen":
            raise UserError("network.recompute needs network.bn: frozen, for it would count every batch twice.")


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimiserConfig:
    """Who moves the weights, and how far."""

    name: Literal["adamw", "sgd"] = "adamw"
    """adamw (Loshchilov and Hutter, 2019), or sgd with Nesterov's momentum of 0.9."""
    learning_rate: float = 5e-6
    """The highest that is reached."""
    class_learning_rate: float = 0.0
    """Of the class centres of identity losses, which begin from nothing; 0 = the same."""
    weight_decay: float = 1e-2
    """Of weights of two dimensions and more; biases, BatchNorm and PReLU are left alone."""
    clip_norm: float = 5.0
    """Longest gradient over all weights; longer ones are shortened to it; 0 = none is."""
    schedule: Literal["plateau", "cosine", "constant"] = "plateau"
    """plateau: times `factor` when the validation EER has not fallen for `patience` validations; cosine: to zero over
    all steps."""
    factor: float = 0.5
    """Of plateau."""
    patience: int = 10
    """Of plateau, in validations."""
    threshold: float = 1e-4
    """Of plateau: a fall by less than this share of the best EER is none."""
    warmup_steps: int = 0
    """So many first steps rise evenly from zero."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "class_learning_rate", "weight_decay", "clip_norm", "threshold"):
            _at_least(f"optimiser.{name}", getattr(self, name), 0)
        for name in ("patience", "warmup_steps"):
            _at_least(f"optimiser.{name}", getattr(self, name), 0)
        if not 0 < self.factor < 1:
            raise UserError(f"optimiser.factor is {self.factor}: give a number between 0 and 1.")


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationConfig:
    """When the network is judged, and what is kept of it."""

    every: int = 100
    """Steps between validations; after the last step there is one in any case."""
    pairs: int = 20_000
    """Validation pairs at most, drawn at random, the kinds in their shares; 0 = all."""
    threshold: float = 0.2
    """Cosine at which accuracy is counted (the reference's); errors by kind are counted at the EER of real people."""
    mistaken: float = 0.005
    """BatchPlan by which the branch `detail` may turn real validation faces away on average, which sets the score from
    which it does; 0 = the score that it came with."""
    replicates: int = 200
    """Bootstrap replicates behind the interval of the EER; 0 = none."""
    keep: int = 5
    """So many checkpoints are kept for their accuracy, as many for their EER, and the last one."""
    checkpoint_every: int = 0
    """Steps between further checkpoints, from which a killed run goes on; 0 = at validations only."""
    stop_after: int = 0
    """Stop when so many validations in a row brought no better EER; 0 = never."""

    def __post_init__(self) -> None:
        for name in ("every", "keep"):
            _at_least(f"validation.{name}", getattr(self, name), 1)
        for name in ("pairs", "replicates", "checkpoint_every", "stop_after"):
            _at_least(f"validation.{name}", getattr(self, name), 0)
        if not 0 <= self.mistaken < 1:
            raise UserError(f"validation.mistaken is {self.mistaken}: give a share from 0 to below 1.")


def _at_least(name: str, value: float, least: int) -> None:
    if not value >= least:
        raise UserError(f"{name} is {value}: give {least} or more.")
