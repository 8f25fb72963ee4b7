"""The options of every loss, and `LossConfig`, which says which losses are in use and with which weights.

Nothing here loads PyTorch, so `--help` of a job that trains stays instant. Formulas are in the losses' own files, and
in docs/losses.md.
"""

import math
from dataclasses import asdict, dataclass
from typing import Literal

from faceverify.errors import UserError

# Losses that own a vector per person, those that only ask who is in the photos, and those that compare with the
# original network.
PERSON_LOSSES = ("arcface", "adaface", "center")
NEED_IDENTITIES = (*PERSON_LOSSES, "triplet")
NEED_REFERENCE = ("distill",)
NEED_SCORES = ("detection",)


def _at_least(name: str, value: float, low: float, *, above: bool = False) -> None:
    if not math.isfinite(value) or value < low or (above and value == low):
        raise UserError(f"losses.{name} is {value}: give a number {'above' if above else 'of at least'} {low}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaptiveMarginOptions:
    """Options of the loss `adaptive_margin`: a margin that grows as the photos of a pair differ."""

    scale: float = 64.0
    """s: logit per unit of cosine."""
    margin: float = 0.35
    """m_b: how much a genuine pair's cosine has to exceed zero, in cosine."""
    slope: float = 0.1
    """a: by how much the margin grows per unit of 1 - cosine."""

    def __post_init__(self) -> None:
        _at_least("adaptive_margin.scale", self.scale, 0, above=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class ContrastiveOptions:
    """Options of the loss `contrastive`: distances of pairs."""

    distance: Literal["euclidean", "cosine"] = "euclidean"
    """D: euclidean = the length of the difference of the unit vectors, 0 to 2; cosine = 1 - cosine, 0 to 2."""
    margin: float = 1.3
    """m: pairs of different people farther apart than this cost nothing, in the distance's own unit; euclidean 1.3 is
    cosine 0.155."""

    def __post_init__(self) -> None:
        _at_least("contrastive.margin", self.margin, 0, above=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class CircleOptions:
    """Options of the loss `circle`: cosines of the pairs of a batch."""

    scale: float = 256.0
    """gamma: sharpness; 256 as published for faces."""
    margin: float = 0.25
    """m, in cosine: genuine pairs are drawn above 1 - m, others below m."""

    def __post_init__(self) -> None:
        _at_least("circle.scale", self.scale, 0, above=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class TripletOptions:
    """Options of the loss `triplet`: distances to the own and to other people."""

    mining: Literal["batch_hard", "semi_hard"] = "semi_hard"
    """batch_hard = the least similar photo of the person against the most similar of anyone else; semi_hard = the
    photo it is paired with against the most similar photo that is less similar than that."""
    margin: float = 0.2
    """m, in squared distance of unit vectors (2 - 2 cosine, 0 to 4)."""

    def __post_init__(self) -> None:
        _at_least("triplet.margin", self.margin, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class HardNegativeOptions:
    """Which pairs adaptive_margin, contrastive and circle learn from."""

    share: float = 1.0
    """Share of the batch's impostor pairs, and of its deepfake pairs, that count: the most similar ones. 1 = all."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise UserError(f"losses.hard_negatives.share is {self.share}: give a number above 0, up to 1.")


@dataclass(frozen=True, kw_only=True, slots=True)
class ArcFaceOptions:
    """Options of the loss `arcface`: a classifier of people with an angular margin."""

    scale: float = 64.0
    """s: logit per unit of cosine."""
    margin: float = 0.5
    """m, added to the angle to the person's own vector, in radians (0.5 = 28.6 degrees)."""

    def __post_init__(self) -> None:
        _at_least("arcface.scale", self.scale, 0, above=True)
        if not 0 <= self.margin < math.pi / 2:
            raise UserError(f"losses.arcface.margin is {self.margin}: give radians from 0 to below pi / 2.")


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaFaceOptions:
    """Options of the loss `adaface`: a classifier of people with a margin that follows the photo quality."""

    scale: float = 64.0
    """s: logit per unit of cosine."""
    margin: float = 0.4
    """m: in radians where it is added to the angle, in cosine where it is taken from the cosine."""
    concentration: float = 0.333
    """h: how far an embedding's length, in standard deviations, moves the margin."""
    ema_rate: float = 0.01
    """t_alpha, 0 to 1: share of the batch's own mean and standard deviation in the running ones, per step."""
    start_mean: float = 20.0
    """Running mean of the lengths to start from; 22.099 when fine-tuning the published IR-101 of WebFace12M."""
    start_std: float = 100.0
    """Running standard deviation to start from; 3.86 when fine-tuning. From 100 it takes some 550 steps to get there,
    and until then the loss is CosFace."""
    gradient: Literal["true", "straight_through"] = "true"
    """true = of the formula, as AdaFace trains; straight_through = the margin changes the value only, as in CVLface."""
    ema_in_eval: bool = False
    """Move the running statistics in evaluation mode too, as published."""

    def __post_init__(self) -> None:
        _at_least("adaface.scale", self.scale, 0, above=True)
        _at_least("adaface.start_std", self.start_std, 0)
        if not 0 <= self.ema_rate <= 1:
            raise UserError(f"losses.adaface.ema_rate is {self.ema_rate}: give a number from 0 to 1.")


@dataclass(frozen=True, kw_only=True, slots=True)
class CenterOptions:
    """Options of the loss `center`: distances to the centre of each person."""

    rate: float = 0.5
    """alpha, 0 to 1: how far a person's centre moves per step towards its embeddings of the batch."""

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise UserError(f"losses.center.rate is {self.rate}: give a number from 0 to 1.")


@dataclass(frozen=True, kw_only=True, slots=True)
class DistillOptions:
    """Options of the loss `distill`: distances to the embeddings of the original network."""

    squared: float = 0.0
    """Weight of the squared difference of the raw embeddings, as a share of the original's squared length; it also
    keeps the lengths. 0 = only the direction is kept."""

    def __post_init__(self) -> None:
        _at_least("distill.squared", self.squared, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class LossWeights:
    """How much each loss counts; 0 = it is not computed."""

    adaptive_margin: float = 0.0
    """Pairs: binary cross entropy with a margin that grows as the photos differ. What this platform is built around."""
    contrastive: float = 0.0
    """Pairs: genuine ones together, others at least a margin apart."""
    circle: float = 0.0
    """Pairs: every genuine one above every other one of the batch."""
    triplet: float = 0.0
    """Pairs and people: each photo nearer to its person's than to others'."""
    arcface: float = 0.0
    """People: softmax with a margin on the angle."""
    adaface: float = 0.0
    """People: softmax with a margin that depends on the photo's quality."""
    center: float = 0.0
    """People: each photo near its person's centre; only beside another loss."""
    distill: float = 0.0
    """Real photos stay where the original network puts them."""
    detection: float = 0.0
    """Which photos are deepfakes; teaches the branch of `network.detail`, and needs it."""

    def __post_init__(self) -> None:
        for name, weight in asdict(self).items():
            _at_least(f"weights.{name}", weight, 0)

    def in_use(self) -> dict[str, float]:
        """Names and weights of those above 0."""
        return {name: weight for name, weight in asdict(self).items() if weight}


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """What is minimised: the weighted sum of losses."""

    weights: LossWeights = LossWeights(adaptive_margin=1.0)
    """Which losses. A file that gives weights names all that are used; the command line changes single ones."""
    fakes_as_own_class: bool = False
    """For arcface, adaface and center: the deepfakes of a person are a class of their own; false = left out."""
    hard_negatives: HardNegativeOptions = HardNegativeOptions()
    """Which pairs count, for adaptive_margin, contrastive and circle."""
    adaptive_margin: AdaptiveMarginOptions = AdaptiveMarginOptions()
    contrastive: ContrastiveOptions = ContrastiveOptions()
    circle: CircleOptions = CircleOptions()
    triplet: TripletOptions = TripletOptions()
    arcface: ArcFaceOptions = ArcFaceOptions()
    adaface: AdaFaceOptions = AdaFaceOptions()
    center: CenterOptions = CenterOptions()
    distill: DistillOptions = DistillOptions()

    def __post_init__(self) -> None:
        if not self.weights.in_use():
            raise UserError("losses.weights has no weight above 0: give at least one loss one.")

    @property
    def needs_identities(self) -> bool:
        """Whether a loss in use has to know who is in the photos (`PairBatch.person_a`, `person_b`)."""
        return not self.weights.in_use().keys().isdisjoint(NEED_IDENTITIES)

    @property
    def needs_reference(self) -> bool:
        """Whether a loss in use compares with the original network (`PairBatch.reference_a`, `reference_b`)."""
        return not self.weights.in_use().keys().isdisjoint(NEED_REFERENCE)

    @property
    def needs_scores(self) -> bool:
        """Whether a loss in use asks the network which photos are deepfakes (`PairBatch.scores_a`, `scores_b`)."""
        return not self.weights.in_use().keys().isdisjoint(NEED_SCORES)

    @property
    def needs_embeddings(self) -> bool:
        """Whether a loss in use looks at embeddings; if none does, they may be anything."""
        return not self.weights.in_use().keys() <= set(NEED_SCORES)
