"""Which threshold decides about a pair, where it comes from, and what a decision means in words.

In order: a threshold of the user's own, a calibration file, a calibration that ships with the package for this model
and this way of cutting out faces, the threshold that the model's authors publish. If there is none of these, nothing is
decided.
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from faceverify.errors import UserError
from faceverify.evaluation.calibration import Calibration, check_fits
from faceverify.evaluation.shipped import shipped
from faceverify.models import registry
from faceverify.models.card import ModelCard
from faceverify.provenance import crop_difference

Source = Literal["own", "calibration", "shipped", "published"]
LEVEL = 0.95  # of the bound that is stated where no error was seen


@dataclass(frozen=True, slots=True)
class Threshold:
    """A decision threshold and what is known of it. A pair is accepted if its similarity is >= `value`."""

    value: float
    """Cosine similarity, -1 to 1."""
    source: Source
    """own = given by the user; calibration = a calibration file; shipped = a calibration that comes with faceverify;
    published = stated by the model's authors."""
    calibration: Calibration | None = None
    """False match rate, false non-match rate and the pairs that they were measured on; None for own and published."""
    publisher: str = ""
    """Who published it, and where; empty for the other sources."""

    def accepts(self, similarity: float) -> bool:
        """Whether a pair with this similarity is accepted; compared in float32, as `score` does."""
        return bool(np.float32(similarity) >= np.float32(self.value))

    def meaning(self, accepted: bool) -> str:
        """A decision in words: "accepted; 1 in 1,000 pairs of strangers would be".

        For a refused pair it states the other error: how many pairs of one person would be refused.
        """
        word = "accepted" if accepted else "refused"
        known = self.calibration
        if known is None:
            whose = (
                "the published threshold, not measured by us" if self.source == "published" else "your own threshold"
            )
            return f"{word} at {whose}"
        if accepted:
            high = known.interval[1] if known.interval else None
            return f"accepted; {in_words(known.fmr, known.n_impostor, high)} pairs of strangers would be"
        return f"refused; {in_words(known.fnmr, known.n_genuine)} pairs of one person would be"

    def __str__(self) -> str:
        known = self.calibration
        if known is None:
            theirs = f"published with the model ({self.publisher}), not measured by us"
            whose = theirs if self.source == "published" else "your own, whose error rates are not known"
            return f"{self.value:.4f}, {whose}"
        origin = f"calibrated {known.created} on {known.data or 'unnamed data'}"
        errors = (
            f"it accepts {known.fmr:.2%} of {known.n_impostor:,} pairs of strangers and refuses {known.fnmr:.2%} of "
            f"{known.n_genuine:,} pairs of one person"
        )
        return f"{self.value:.4f}, {origin}; {errors}"

    def to_dict(self) -> dict[str, Any]:
        """Values that JSON can hold."""
        return asdict(self)


def in_words(rate: float, pairs: int, high: float | None = None) -> str:
    """A share of pairs in words: `1 in 1,000`, `12 in 100`, `fewer than 1 in 330`.

    Args:
        rate: share in [0, 1] that was measured.
        pairs: on how many pairs.
        high: upper end of its 95 % interval; stated where none was seen. Without it the exact binomial bound is,
            about 3 / pairs ("rule of three").
    """
    if pairs == 0:
        return "an unknown share of"
    if rate == 0:
        bound = high or 1 - (1 - LEVEL) ** (1 / pairs)
        return f"fewer than 1 in {_short(1 / bound)}"
    return f"{rate * 100:.0f} in 100" if rate >= 0.1 else f"1 in {_short(1 / rate)}"


def _short(number: float) -> str:
    """Two significant digits: 1,000 for 1,003; 44 for 44.4."""
    digits = 1 - math.floor(math.log10(number))
    return f"{round(number, digits):,.0f}"


def find_threshold(
    card: ModelCard, crop: dict[str, Any], calibration: Calibration | None = None, own: float | None = None
) -> tuple[Threshold | None, str]:
    """The threshold for a model and a way of cutting out faces, or None and a sentence why there is none.

    Args:
        card: of the model.
        crop: what `provenance.describe_crop` says of the aligner.
        calibration: the user's calibration.
        own: the user's threshold, a cosine.

    Raises:
        UserError: both are given, the threshold is no cosine, or the calibration is of another model or crop.
    """
    if own is not None:
        if calibration is not None:
            raise UserError(
                "Both a threshold and a calibration are given, and only one can decide: leave one of them out."
            )
        if not -1 <= own <= 1:
            raise UserError(f"threshold is {own}: give a cosine similarity, -1 to 1.")
        return Threshold(own, "own"), ""
    if calibration is not None:
        check_fits(calibration, card.digest, crop)
        return Threshold(calibration.threshold, "calibration", calibration), ""
    candidates = shipped(card.digest)
    for candidate in candidates:
        if candidate.crop == crop:
            return Threshold(candidate.threshold, "shipped", candidate), ""
    if (published := _published(card)) is not None:
        return published, ""
    why = f"there is no threshold for {card.name}"
    if candidates:
        nearest = min((crop_difference(crop, one.crop) for one in candidates), key=len)
        why = (
            f"the calibration of {card.name} that comes with faceverify is for faces cut out in another way ({nearest})"
        )
    return None, (
        f"Not calibrated: {why}; run `faceverify score` on pairs with labels, `faceverify evaluate` on its scores, and "
        "give the calibration.json that this makes."
    )


def _published(card: ModelCard) -> Threshold | None:
    """The threshold that the registry notes for this model; where it knows no hash, the rest of the card decides."""
    for entry in registry.entries().values():
        value = entry.published_threshold
        if value is not None and entry.card in (card, replace(card, sha256=None)):
            return Threshold(value, "published", publisher=entry.threshold_source)
    return None
