"""How a forensic network is trained: options that decide the result. Free of PyTorch, so that help is quick."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from faceverify.errors import UserError
from faceverify.training.config import CheckpointConfig, StepConfig

Share = Annotated[float, Interval(ge=0)]


@dataclass(frozen=True, kw_only=True, slots=True)
class MixConfig:
    """Which fakes are learnt from. Each photo of each pass gets one, drawn again each time; shares are relative."""

    self_blend: Share = 0.35
    """The photo blended with an altered copy of itself."""
    landmark_swap: Share = 0.2
    """The face of another person warped in."""
    autoencoder_swap: Share = 0.45
    """The face of another person drawn by small networks, which are trained on the same photos first."""
    given: Share = 0.5
    """Fakes of the photos table, if it has any: other programs' (their original is the photo that `target_photo` names,
    else any real one)."""

    def __post_init__(self) -> None:
        if self.self_blend + self.landmark_swap + self.autoencoder_swap <= 0:
            raise UserError("mix: no generator has a share above 0, so no fakes would be made: give one.")


@dataclass(frozen=True, kw_only=True, slots=True)
class ForensicNetworkConfig:
    """The network and its arithmetic."""

    dct: bool = True
    """Fixed filters (energies of a cosine transform) as further channels."""
    bn: Literal["batch", "sync"] = "batch"
    """BatchNorm statistics: of each worker's share of a step, or (sync) of the whole step over all GPUs."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the network; losses and fixed filters are always fp32. auto = bf16 on GPUs that have it, fp16 on
    others, fp32 on CPUs (of which some compute bf16 twice as fast)."""
    compile: bool = False
    """Use torch.compile: minutes at the start, then faster steps on GPUs."""
    recompute: Literal[False] = False
    """Not for this network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ForensicLossConfig:
    """The sum that is minimised."""

    photo: Share = 1.0
    """Weight of the cross-entropy of the photo's score."""
    fields: Share = 1.0
    """Weight of the cross-entropy of each of 16x16 fields against the share of it that was manipulated."""
    ranking: Share = 1.0
    """Weight of softplus(score of the real photo - score of the fake made of it)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ForensicSteps(StepConfig):
    """The steps. Each row is a real photo and a fake, stored again alike."""

    size: int = 8
    """Pairs of a real photo and its fake per step, over all workers."""
    epochs: int = 4
    """Passes over the real photos; the incomplete last batch of a pass is dropped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ForensicValidation(CheckpointConfig):
    """Validations, on people who are not learnt from, and the checkpoints that are kept."""

    every: int = 500
    """Steps between validations; there is always one after the last step."""
    keep: int = 2
    """Number of checkpoints kept for their accuracy, and as many for their EER; the last one is always kept."""
    share: Annotated[float, Interval(gt=0, lt=1)] = 0.2
    """Share of the people whose photos are validated with."""
    photos: Annotated[int, Interval(ge=2)] = 300
    """Maximum number of real photos, each with a fake."""
