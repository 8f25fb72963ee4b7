"""A decision threshold with its meaning: by what rule, on which data, for which model, and what errors it makes there.

A threshold is a file and never a constant in code. It belongs to one model and one way of cutting out faces:
`check_fits` refuses any other.
"""

import dataclasses
import datetime
import json
import math
from dataclasses import dataclass
from typing import Any

from faceverify.errors import BadData, UserError
from faceverify.forensics.thresholds import ForensicThresholds
from faceverify.provenance import crop_difference
from faceverify.reading import MalformedError, parse_json, shown
from faceverify.storage import Location

_MAX_BYTES = 1 << 20
FORENSIC = "forensic"  # the field that only files have that were made with a forensic model


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """A threshold and how it was found. Pairs with similarity >= threshold are accepted."""

    threshold: float
    """Cosine similarity."""
    rule: str
    """`eer`, or `fmr=<target>` such as `fmr=0.001`."""
    fmr: float
    """False match rate reached on the impostor pairs of the calibration data."""
    fnmr: float
    """False non-match rate on its genuine pairs."""
    interval: tuple[float, float] | None
    """95 % interval of `fmr`; null if none was computed."""
    n_genuine: int
    """Genuine pairs behind these numbers."""
    n_impostor: int
    """Impostor pairs (real people) behind these numbers; deepfakes take no part."""
    model: str
    """Digest of the model card."""
    crop: dict[str, Any] | None
    """How the faces were cut out: aligner, its weights and options (see `faceverify.provenance`); null if unknown."""
    data: str
    """Which pairs: a path, a URI or a name."""
    created: str
    """ISO date, such as 2026-11-24."""
    version: str
    """Version of faceverify that wrote the file."""
    forensic: ForensicThresholds | None = None
    """From which forensic score on a photo counts as manipulated; null where no forensic model was there."""

    def to_json(self) -> str:
        """The file's text: one JSON object with exactly the fields of this class."""
        values = {one.name: getattr(self, one.name) for one in dataclasses.fields(self) if one.name != FORENSIC}
        forensic = {FORENSIC: self.forensic.to_dict()} if self.forensic else {}
        return json.dumps({**values, **forensic}, indent=2, allow_nan=False) + "\n"

    def sentence(self) -> str:
        """What the threshold means, for people; one line."""
        return (
            f"Threshold {self.threshold:.4f} by rule {self.rule}: FMR {self.fmr:.2%}, FNMR {self.fnmr:.2%} on "
            f"{self.data or 'unnamed data'} ({self.n_genuine:,} genuine, {self.n_impostor:,} impostor pairs), "
            f"{self.created}."
        )

    @classmethod
    def read(cls, location: Location) -> "Calibration":
        """Read the file at `location`.

        Raises:
            UserError: the file is missing or is no calibration; names it.
        """
        try:
            text = location.read_bytes(_MAX_BYTES).decode("utf-8")
        except BadData as error:
            raise UserError(f"Cannot read the calibration '{location.uri}' ({error}): check the path.") from None
        except UnicodeDecodeError:
            raise UserError(f"{location.uri} is not JSON: give a calibration.json written by `evaluate`.") from None
        return cls.from_json(text, location.uri)

    @classmethod
    def from_json(cls, text: str, file: str) -> "Calibration":
        """Read what `to_json` wrote.

        Args:
            text: content of the file.
            file: its name, for messages.

        Raises:
            UserError: not JSON, or a field that is missing, unknown, of a wrong type or out of range; names it.
        """
        try:
            values = parse_json(text)
        except MalformedError as error:
            raise UserError(f"{file} is not JSON ({error}): give a calibration.json written by `evaluate`.") from None
        if not isinstance(values, dict):
            raise UserError(f"{file} must hold one JSON object: give a calibration.json written by `evaluate`.")
        forensic = values.pop(FORENSIC, None)
        _check_names(values, file)
        for name, value in values.items():
            if not _FIELDS[name][1](value):
                raise UserError(f"{file}: field '{name}' must be {_FIELDS[name][0]}, not {shown(value)}.")
        if values["interval"] is not None:
            values["interval"] = tuple(values["interval"])
        limits = None if forensic is None else ForensicThresholds.from_dict(forensic, file)
        return cls(**values, forensic=limits)


def check_similarity_alone(calibration: Calibration, file: str) -> None:
    """Check that a job that has similarities only can decide by a calibration.

    Raises:
        UserError: it has forensic thresholds, without which its error rates do not hold.
    """
    if calibration.forensic:
        raise UserError(
            f"The calibration '{file}' decides by forensic scores too, and here there are similarities only: give one "
            "that `evaluate` made of scores without a forensic model, or --threshold."
        )


def check_fits(calibration: Calibration, digest: str, crop: dict[str, Any] | None) -> None:
    """Refuse a threshold that was found with another model, or with faces cut out in another way.

    Args:
        calibration: the threshold.
        digest: of the model card behind the scores.
        crop: of the photos behind the scores; None if unknown.

    Raises:
        UserError: names both models, or what of the crop differs.
    """
    if calibration.model != digest:
        raise UserError(
            f"The calibration was made for model {calibration.model[:12] or 'unknown'} and the scores come from "
            f"{digest[:12] or 'an unknown model'}: a threshold means nothing for another model, so calibrate this one."
        )
    if differs := crop_difference(crop, calibration.crop):
        raise UserError(
            f"The calibration was made with faces cut out in another way ({differs}): its threshold means nothing "
            "here; set the alignment to what it was, or calibrate with this one."
        )


def threshold_sentence(own: float | None, calibration: Calibration | None) -> str:
    """What the threshold of a run means: of a calibration, the user's own, or none; one line."""
    if calibration is not None:
        return calibration.sentence()
    if own is not None:
        return f"Threshold {own:g}, given by --threshold: no error rate is known for it."
    return "No threshold: without --calibration or --threshold nothing is accepted or refused."


def _check_names(values: dict[str, Any], file: str) -> None:
    missing = sorted(_FIELDS.keys() - values.keys())
    unknown = sorted(shown(name)[1:-1] for name in values.keys() - _FIELDS.keys())[:5]
    faults = [f"field '{name}' is missing" for name in missing] + [f"field '{name}' is unknown" for name in unknown]
    if faults:
        raise UserError(f"{file}: {'; '.join(faults)}: give a calibration.json written by `evaluate`.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_rate(value: object) -> bool:
    return _is_number(value) and 0 <= value <= 1  # pyrefly: ignore


def _is_interval(value: object) -> bool:
    return value is None or (isinstance(value, list) and len(value) == 2 and all(_is_rate(end) for end in value))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_crop(value: object) -> bool:
    return value is None or (isinstance(value, dict) and isinstance(value.get("aligner"), str))


def _is_date(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(datetime.date.fromisoformat(value))
    except ValueError:
        return False


# What each field must be, in words and as a check.
_FIELDS = {
    "threshold": ("a number", _is_number),
    "rule": ("text", _is_text),
    "fmr": ("a number in [0, 1]", _is_rate),
    "fnmr": ("a number in [0, 1]", _is_rate),
    "interval": ("null or two numbers in [0, 1]", _is_interval),
    "n_genuine": ("a whole number >= 0", _is_count),
    "n_impostor": ("a whole number >= 0", _is_count),
    "model": ("text", _is_text),
    "crop": ("null or an object with an aligner", _is_crop),
    "data": ("text", _is_text),
    "created": ("an ISO date such as 2026-11-24", _is_date),
    "version": ("text", _is_text),
}
