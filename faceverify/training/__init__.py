"""Everything of training that is not Ray."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class IdentityTraining:
    """How the classifier is trained."""

    epochs: int = 16
    """Passes over the faces."""
    batch: int = 32
    """Faces per step."""
    learning_rate: float = 5e-3
    """Peak of the one-cycle schedule (AdamW)."""
    weight_decay: float = 5e-3
    """Of AdamW."""
    scale: float = 20.0
    """s: sharpness of the softmax."""
    margin: float = 0.15
    """m: by how much the true class has to win, in cosine."""
    seed: int = 0
    """Order of the faces, augmentation, class centres."""
