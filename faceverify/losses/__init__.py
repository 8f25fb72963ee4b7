"""What a face-verification network is fine-tuned to minimise: one file per loss, added up by `Objective`.

    objective = build(LossConfig(weights=LossWeights(adaptive_margin=1.0, distill=0.1)), dim=512)
    total, components = objective(batch)                # a faceverify.losses.batch.PairBatch
    total.backward()

Importing this package does not load PyTorch; `build` does. docs/losses.md lists formulas, options and when
to use which.
"""

from typing import TYPE_CHECKING

from faceverify.losses.options import (
    AdaFaceOptions,
    AdaptiveMarginOptions,
    ArcFaceOptions,
    CenterOptions,
    CircleOptions,
    ContrastiveOptions,
    DistillOptions,
    HardNegativeOptions,
    LossConfig,
    LossWeights,
    TripletOptions,
)

if TYPE_CHECKING:
    from faceverify.losses.objective import Objective

__all__ = [
    "AdaFaceOptions",
    "AdaptiveMarginOptions",
    "ArcFaceOptions",
    "CenterOptions",
    "CircleOptions",
    "ContrastiveOptions",
    "DistillOptions",
    "HardNegativeOptions",
    "LossConfig",
    "LossWeights",
    "TripletOptions",
    "build",
]


def build(config: LossConfig, *, dim: int, people: int = 0, seed: int = 0) -> "Objective":
    """The objective that `config` describes.

    Args:
        config: which losses, with which weights and options.
        dim: D, length of the embeddings.
        people: how many persons are trained on; for the losses over people only.
        seed: of the class vectors.

    Raises:
        UserError: a loss over people is asked for, and there are no people.
    """
    from faceverify.losses.objective import Objective

    return Objective(config, dim=dim, people=people, seed=seed)
