"""From which forensic score on a photo counts as manipulated: one threshold for each band of face size."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from faceverify.errors import UserError
from faceverify.forensics.bands import BANDS, TOO_SMALL, band_of


@dataclass(frozen=True, kw_only=True, slots=True)
class ForensicThresholds:
    """Thresholds of one forensic model, and what they were chosen by. A photo with a score >= its band's threshold
    counts as manipulated."""

    model: str
    """Digest of the forensic model's card."""
    values: tuple[float | None, ...]
    """One for each of BANDS; None where too few real photos of the band were there to choose one: such photos are not
    judged."""
    bpcer: tuple[float | None, ...]
    """For each band the share of real photos that count as manipulated, on the data of the calibration."""
    photos: tuple[int, ...]
    """For each band the number of those real photos."""
    cost: float
    """By how much the false non-match rate of the whole system may exceed the recogniser's, 0..1."""

    @classmethod
    def of_own(cls, value: float, model: str) -> "ForensicThresholds":
        """A user's own threshold for all bands, of which no error rate is known."""
        nothing = (None,) * len(BANDS)
        return cls(model=model, values=(value,) * len(BANDS), bpcer=nothing, photos=(0,) * len(BANDS), cost=0.0)

    def judge(self, scores: np.ndarray, eyes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which photos count as manipulated, and which are judged at all.

        Args:
            scores: [N] float32 of the model; NaN is not judged.
            eyes: [N] eye distances in pixels of the photo.

        Returns:
            manipulated [N] bool, judged [N] bool; what is not judged is not manipulated.
        """
        band, scores = band_of(eyes), np.asarray(scores, np.float32)
        limits = np.array([np.nan if value is None else value for value in (*self.values, None)], np.float32)
        limit = limits[np.where(band == TOO_SMALL, len(BANDS), band)]
        judged = ~(np.isnan(limit) | np.isnan(scores))
        return judged & (scores >= limit), judged

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it: the bands by name."""
        bands = {
            band.name: {"threshold": value, "bpcer": bpcer, "photos": photos}
            for band, value, bpcer, photos in zip(BANDS, self.values, self.bpcer, self.photos, strict=True)
        }
        return {"model": self.model, "cost": self.cost, "bands": bands}

    @classmethod
    def from_dict(cls, given: Any, where: str) -> "ForensicThresholds":
        """What `to_dict` gave.

        Raises:
            UserError: it is not that; `where` names the file.
        """
        wrong = UserError(f"{where}: field 'forensic' is not as `evaluate` writes it: calibrate again.")
        try:
            bands = [given["bands"][band.name] for band in BANDS]
            found = cls(
                model=given["model"],
                values=tuple(None if one["threshold"] is None else float(one["threshold"]) for one in bands),
                bpcer=tuple(None if one["bpcer"] is None else float(one["bpcer"]) for one in bands),
                photos=tuple(int(one["photos"]) for one in bands),
                cost=float(given["cost"]),
            )
        except (KeyError, TypeError, ValueError):
            raise wrong from None
        numbers = (*found.values, *found.bpcer, found.cost)
        finite = all(value is None or np.isfinite(value) for value in numbers)
        if not (finite and isinstance(found.model, str) and len(given["bands"]) == len(BANDS)):
            raise wrong
        return found


def check_same_model(thresholds: ForensicThresholds, digest: str) -> None:
    """Check that thresholds belong to a forensic model.

    Raises:
        UserError: they were chosen for another.
    """
    if thresholds.model != digest:
        raise UserError(
            f"The calibration's forensic thresholds were chosen for the model {thresholds.model[:12]}, and the "
            f"scores come from {digest[:12] or 'none'}: calibrate this one."
        )
