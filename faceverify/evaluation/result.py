"""The numbers of an evaluation, and their form as `metrics.json` and `metrics.csv`.

All rates are shares in [0, 1]; all intervals are 95 % intervals [low, high]; null means that the data cannot tell, and
`notes` says why.
"""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from faceverify.evaluation.calibration import Calibration
from faceverify.evaluation.forensic import ForensicResult
from faceverify.evaluation.scored_pairs import Failures, Moments
from faceverify.protocols.lfw import FoldAccuracy

Bounds = tuple[float, float] | None


class FmrRow(NamedTuple):
    """FNMR at one FMR target; `fmr` is what is reached, `threshold` None if only accepting nothing keeps the target."""

    target: float
    threshold: float | None
    fmr: float
    fnmr: float
    interval: Bounds


class RefusedTarget(NamedTuple):
    """An FMR target that the data cannot support: it has `have` negative pairs and needs `needed`."""

    target: float
    have: int
    needed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class KindResult:
    """One kind of pair at the operating threshold. An error is a rejected genuine pair or an accepted other one."""

    pairs: int
    accepted: int | None
    errors: int | None
    error_rate: float | None
    interval: Bounds
    mean: float | None
    std: float | None

    @classmethod
    def of(
        cls, pairs: int, moments: Moments | None, accepted: int | None, interval: Bounds, genuine: bool
    ) -> "KindResult":
        """Turn the accepted pairs and the interval of their share into those of errors."""
        if genuine and interval is not None:
            interval = (1 - interval[1], 1 - interval[0])
        errors = accepted if accepted is None or not genuine else pairs - accepted
        return cls(
            pairs=pairs,
            accepted=accepted,
            errors=errors,
            error_rate=None if errors is None else errors / pairs,
            interval=interval,
            mean=moments.mean if moments else None,
            std=moments.std if moments else None,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneratorResult:
    """The fakes of one generator: accept rate at the operating threshold (IAPAR), EER and AUC against genuine pairs."""

    pairs: int
    accepted: int | None
    accept_rate: float | None
    accept_interval: Bounds
    eer: float | None
    eer_interval: Bounds
    auc: float | None
    mean: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """Pairs per score bin; `edges` [B + 1], `counts` [B]; `generator` is empty unless kind is deepfake."""

    kind: str
    generator: str
    edges: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True, slots=True)
class Curve:
    """Error rates of the genuine pairs against one attack, at ascending thresholds [P]."""

    kind: str
    generator: str
    threshold: np.ndarray
    fmr: np.ndarray
    fnmr: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True)
class WorstPair:
    """One pair to look at; `wrong` says whether the operating threshold decides it wrongly."""

    pair: str
    photo_a: str
    photo_b: str
    person_a: str
    person_b: str
    generator: str
    similarity: float
    wrong: bool | None

    @classmethod
    def of(cls, row: dict[str, Any], threshold: float | None) -> "WorstPair":
        """From a row of the scores table."""
        texts = {name: row[name] or "" for name in ("pair", "photo_a", "photo_b", "person_a", "person_b", "generator")}
        wrong = None if threshold is None else (row["similarity"] >= threshold) != bool(row["label"])
        return cls(**texts, similarity=row["similarity"], wrong=wrong)


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """Everything measured on one scores table; field names are the keys of `metrics.json`."""

    eer: float | None
    eer_interval: Bounds
    eer_threshold: float | None
    eer_real: float | None
    eer_real_interval: Bounds
    eer_real_threshold: float | None
    auc: float | None
    auc_interval: Bounds
    auc_real: float | None
    threshold: float | None
    threshold_rule: str | None
    accuracy: float | None
    best_accuracy: float | None
    best_accuracy_threshold: float | None
    fnmr_at_fmr: tuple[FmrRow, ...]
    fmr_measured_on: str | None
    refused_targets: tuple[RefusedTarget, ...]
    by_kind: dict[str, KindResult]
    by_generator: dict[str, GeneratorResult]
    folds: FoldAccuracy | None
    failures: Failures
    interval_method: str
    replicates: int
    seed: int
    notes: tuple[str, ...]
    calibration: Calibration | None
    used_calibration: Calibration | None
    eer_fakes: float | None  # genuine pairs against all deepfakes
    histograms: tuple[Histogram, ...]
    curves: tuple[Curve, ...]
    worst: dict[str, tuple[WorstPair, ...]]
    forensic: ForensicResult | None = None  # where photos have forensic scores

    @property
    def photos(self) -> list[str]:
        """The photos of the worst pairs, for thumbnails; sorted, each once."""
        pairs = [pair for worst in self.worst.values() for pair in worst]
        return sorted({photo for pair in pairs for photo in (pair.photo_a, pair.photo_b)})

    @property
    def including_failures(self) -> dict[str, float | None]:
        """FRR and FAR of a system that rejects every pair without a score (ISO/IEC 19795-1: FTA counted in)."""
        genuine, impostor = self.by_kind["genuine"], self.by_kind["impostor"]
        lost = self.failures.by_kind
        frr = None if genuine.errors is None else (genuine.errors + lost["genuine"]) / (genuine.pairs + lost["genuine"])
        far = None if impostor.errors is None else impostor.errors / (impostor.pairs + lost["impostor"])
        return {"frr": frr, "far": far}

    def to_dict(self) -> dict[str, Any]:
        """The content of `metrics.json`: the numbers, without what only the report shows."""
        values = asdict(replace(self, calibration=None, used_calibration=None, forensic=None))
        for drawn in ("eer_fakes", "histograms", "curves", "worst", "calibration", "used_calibration", "forensic"):
            del values[drawn]
        values["fnmr_at_fmr"] = {f"{row.target:g}": row._asdict() for row in self.fnmr_at_fmr}
        values["refused_targets"] = {f"{row.target:g}": row._asdict() for row in self.refused_targets}
        values["including_failures"] = self.including_failures
        if self.forensic:
            values["forensic"] = self.forensic.to_dict()
        return values

    def to_json(self) -> str:
        """The text of `metrics.json`."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"

    def to_csv(self) -> str:
        """The text of `metrics.csv`: one number per line, with its interval and its meaning."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["metric", "of", "value", "low", "high", "pairs", "meaning"])
        for metric, of, value, interval, pairs, meaning in self._csv_rows():
            low, high = interval or ("", "")
            writer.writerow([metric, of, "" if value is None else value, low, high, pairs, meaning])
        return text.getvalue()

    def _csv_rows(self) -> Iterator[tuple[str, str, float | None, Bounds, int | str, str]]:
        yield "eer", "all", self.eer, self.eer_interval, "", "genuine against all negatives; lower is better"
        yield "eer", "impostor", self.eer_real, self.eer_real_interval, "", "genuine against real people"
        yield "auc", "all", self.auc, self.auc_interval, "", "genuine scores above a negative; higher is better"
        yield "threshold", "all", self.threshold, None, "", f"accept from here on; {self.threshold_rule}"
        yield "accuracy", "all", self.accuracy, None, "", "right decisions at the threshold; higher is better"
        for row in self.fnmr_at_fmr:
            meaning = "genuine pairs rejected where this share of negatives is accepted; lower is better"
            yield "fnmr_at_fmr", f"{row.target:g}", row.fnmr, row.interval, "", meaning
        for refused in self.refused_targets:
            yield (
                "fnmr_at_fmr",
                f"{refused.target:g}",
                None,
                None,
                refused.have,
                f"refused: needs {refused.needed}",
            )
        for name, kind in self.by_kind.items():
            yield (
                "error_rate",
                name,
                kind.error_rate,
                kind.interval,
                kind.pairs,
                "wrong decisions; lower is better",
            )
        for name, result in self.by_generator.items():
            meaning = "fakes accepted at the threshold; lower is better"
            yield "accept_rate", name, result.accept_rate, result.accept_interval, result.pairs, meaning
            yield "eer", name, result.eer, result.eer_interval, result.pairs, "genuine against these fakes"
        if self.folds:
            yield "fold_accuracy", "all", self.folds.mean, None, "", "k-fold accuracy; higher is better"
        for status, count in self.failures.by_status.items():
            yield "failures", status, float(count), None, count, "pairs without a score"
