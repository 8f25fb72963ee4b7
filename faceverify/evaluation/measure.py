"""From a scores table to every number that a verifier is judged by.

    eer          genuine against all negatives, impostors and deepfakes together (as the deepfake challenges measure)
    eer_real     genuine against impostors only: real people (as face recognition measures)
    by_generator genuine against the fakes of one generator, and their accept rate at the operating threshold
                 (IAPAR of ISO/IEC 30107-3 for this attack)

Only pairs with status `ok` and a label enter a rate. Pairs without a score are counted apart (`failures`), and
`including_failures` gives the rates of a system that rejects them.
"""

import datetime
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

import faceverify
from faceverify.errors import UserError
from faceverify.evaluation import metrics, uncertainty
from faceverify.evaluation.calibration import Calibration, check_fits
from faceverify.evaluation.enough import too_few
from faceverify.evaluation.result import Evaluation, FmrRow, GeneratorResult, KindResult, RefusedTarget
from faceverify.evaluation.score_rows import ScoreRows
from faceverify.evaluation.scored_pairs import GENUINE, IMPOSTOR, Moments, Reading, ScoredPairs
from faceverify.evaluation.uncertainty import Uncertainty
from faceverify.evaluation.views import det_curves, histograms, worst_pairs
from faceverify.protocols.lfw import FoldAccuracy


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig:
    """What to measure."""

    fmr_targets: tuple[float, ...] = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
    """False match rates at which the FNMR is given; those that the data cannot support are refused by name."""
    calibrate_at: Literal["eer"] | float = "eer"
    """Where to put the threshold of calibration.json: `eer`, or an FMR such as 0.001. Found on impostors, not on fakes.
    It is also the operating threshold of this evaluation, unless a calibration is given."""
    replicates: int = 500
    """Bootstrap replicates behind each interval; 0 = no intervals."""
    seed: int = 0
    """Seed of the bootstrap."""
    worst_pairs: int = 12
    """Most wrong pairs to show, per kind."""

    def __post_init__(self) -> None:
        for name in ("replicates", "worst_pairs"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} is {getattr(self, name)}: give 0 or more.")


def evaluate(
    scores: pa.Table | ScoreRows,
    config: EvaluationConfig,
    calibration: Calibration | None = None,
    *,
    model: str = "",
    data: str = "",
    created: str = "",
    max_failed: float = 1.0,
) -> Evaluation:
    """Measure everything, in memory that does not grow with the number of pairs; large tables need room in TMPDIR.

    Args:
        scores: a table of `tables.SCORES`; an extra column `fold` adds k-fold accuracy.
        config: what to measure.
        calibration: sets the operating threshold; without it the threshold is found on these very pairs.
        model: digest of the model card behind the scores, where their column `scored_with` does not say; if known,
            `calibration` has to be of the same model, and of the same crop.
        data: what these pairs are, for the calibration that is written.
        created: ISO date of the calibration that is written; today if empty.
        max_failed: share of the pairs that may lack a score for one reason.

    Raises:
        UserError: too many pairs without a score, no usable pair, an unusable row, a calibration that does not fit,
            `calibrate_at` not supported, scores of several models or crops.
    """
    rows = scores if isinstance(scores, ScoreRows) else ScoreRows(scores)
    with Reading(rows, config.worst_pairs) as reading:
        reading.check_failed(max_failed)
        noted, crop = reading.scored_with()
        model = noted or model
        if calibration is not None and model:
            check_fits(calibration, model, crop)
        return _evaluate(reading.pairs(), config, calibration, (model, crop, data, created))


def _evaluate(
    pairs: ScoredPairs,
    config: EvaluationConfig,
    calibration: Calibration | None,
    origin: tuple[str, dict[str, Any] | None, str, str],
) -> Evaluation:
    notes = list(pairs.notes)
    if pairs.persons and (warning := too_few(pairs.persons.count, "these pairs")):
        notes.insert(0, warning)
    groups = list(range(pairs.counts.size))
    negative, fakes, *by_group = pairs.sorted(groups[1:], groups[2:], *([group] for group in groups))
    every, real = _classes(by_group, negative, notes)
    own = _operating_point(real or every, config.calibrate_at)
    threshold = calibration.threshold if calibration else own.threshold if own else None
    reached, refused = _targets(real or every, config.fmr_targets)
    thresholds = tuple(sorted({t for t in (threshold, own.threshold if own else None) if t is not None}))
    targets = tuple(row[0] for row in reached)
    spread = uncertainty.draw(pairs, every, by_group, thresholds, targets, config.replicates, config.seed)
    measure = _Measure(pairs, every, by_group, threshold, spread)
    crossing = metrics.equal_error_rate(every) if every else None
    crossing_real = metrics.equal_error_rate(real) if real else None
    best = metrics.best_accuracy(every) if every else None
    area = metrics.auc(every) if every else None
    everyone = measure.groups()
    by_kind, by_generator = measure.by_kind_and_generator()
    return Evaluation(
        eer=crossing.eer if crossing else None,
        eer_interval=spread.interval("eer", "all", crossing.eer, *everyone) if crossing else None,
        eer_threshold=crossing.threshold if crossing else None,
        eer_real=crossing_real.eer if crossing_real else None,
        eer_real_interval=measure.interval("eer", IMPOSTOR, crossing_real.eer if crossing_real else None, IMPOSTOR),
        eer_real_threshold=crossing_real.threshold if crossing_real else None,
        auc=area,
        auc_interval=spread.interval("auc", "all", area, *everyone) if every else None,
        auc_real=metrics.auc(real) if real else None,
        threshold=threshold,
        threshold_rule=_rule_text(calibration, config, real is not None) if threshold is not None else None,
        accuracy=metrics.accuracy(every, threshold) if every and threshold is not None else None,
        best_accuracy=best.accuracy if best else None,
        best_accuracy_threshold=best.threshold if best and np.isfinite(best.threshold) else None,
        fnmr_at_fmr=tuple(
            FmrRow(target, *point, measure.interval("fnmr_at_fmr", target, point.fnmr, IMPOSTOR))
            for target, point in reached
        ),
        fmr_measured_on=None if every is None else "impostor" if real else "all negatives",
        refused_targets=refused,
        by_kind=by_kind,
        by_generator=by_generator,
        folds=_folds(pairs, notes),
        failures=pairs.failures,
        interval_method=spread.method,
        replicates=config.replicates if spread.samples else 0,
        seed=config.seed,
        notes=tuple(notes),
        calibration=_calibration(own, real, config, spread, *origin),
        used_calibration=calibration,
        eer_fakes=_eer(by_group[GENUINE], fakes),
        histograms=histograms(pairs, by_group),
        curves=det_curves(pairs, by_group),
        worst=worst_pairs(pairs, threshold),
    )


def _classes(
    by_group: list[np.ndarray], negative: np.ndarray, notes: list[str]
) -> tuple[metrics.Scores | None, metrics.Scores | None]:
    """Genuine against all negatives, and against impostors; None, with a note, where a class has no pairs."""
    genuine, impostor = by_group[GENUINE], by_group[IMPOSTOR]
    if not genuine.size:
        notes.append("There are no genuine pairs: no EER, FNMR or AUC.")
    if not negative.size:
        notes.append("There are no negative pairs: no EER, FMR or AUC.")
    elif not impostor.size:
        notes.append("There are no impostor pairs: no `eer_real` and no calibration; FMR is taken on deepfakes.")
    every = metrics.Scores(genuine, negative) if genuine.size and negative.size else None
    real = metrics.Scores(genuine, impostor) if genuine.size and impostor.size else None
    return every, real


def _eer(genuine: np.ndarray, negative: np.ndarray) -> float | None:
    both = genuine.size and negative.size
    return metrics.equal_error_rate(metrics.Scores(genuine, negative)).eer if both else None


def _operating_point(scores: metrics.Scores | None, rule: str | float) -> metrics.OperatingPoint | None:
    """The threshold by `calibrate_at`, with the rates that it reaches."""
    if scores is None:
        return None
    if rule == "eer":
        threshold = metrics.equal_error_rate(scores).threshold
        return metrics.OperatingPoint(threshold, float(scores.fmr(threshold)), float(scores.fnmr(threshold)))
    point = metrics.fnmr_at_fmr(scores, float(rule))
    if point.threshold is None:
        raise UserError(f"calibrate_at: FMR {rule:g} is only kept by accepting nothing: choose a larger one or `eer`.")
    return point


def _rule(config: EvaluationConfig) -> str:
    return "eer" if config.calibrate_at == "eer" else f"fmr={config.calibrate_at:g}"


def _rule_text(calibration: Calibration | None, config: EvaluationConfig, real: bool) -> str:
    if calibration:
        return f"calibration ({calibration.rule} on {calibration.data or 'unnamed data'}, {calibration.created})"
    return f"{_rule(config)} on these {'genuine and impostor' if real else 'genuine and deepfake'} pairs"


def _targets(
    scores: metrics.Scores | None, targets: tuple[float, ...]
) -> tuple[list[tuple[float, metrics.OperatingPoint]], tuple[RefusedTarget, ...]]:
    """Operating points of the targets that the data supports, and the others, largest target first."""
    reached, refused = [], []
    for target in sorted(set(targets), reverse=True) if scores else ():
        try:
            reached.append((target, metrics.fnmr_at_fmr(scores, target)))  # pyrefly: ignore
        except metrics.UnsupportedTarget as error:
            refused.append(RefusedTarget(target, error.have, error.needed))
    return reached, tuple(refused)


def _calibration(
    own: metrics.OperatingPoint | None,
    real: metrics.Scores | None,
    config: EvaluationConfig,
    spread: Uncertainty,
    model: str,
    crop: dict[str, Any] | None,
    data: str,
    created: str,
) -> Calibration | None:
    if own is None or real is None or own.threshold is None:
        return None
    return Calibration(
        threshold=own.threshold,
        rule=_rule(config),
        fmr=own.fmr,
        fnmr=own.fnmr,
        interval=spread.interval("accepted", (IMPOSTOR, own.threshold), own.fmr, IMPOSTOR),
        n_genuine=real.genuine.size,
        n_impostor=real.negative.size,
        model=model,
        crop=crop,
        data=data,
        created=created or datetime.date.today().isoformat(),
        version=faceverify.__version__,
    )


@dataclass(frozen=True, slots=True)
class _Measure:
    """Rates of groups at the operating threshold, with their intervals."""

    pairs: ScoredPairs
    every: metrics.Scores | None
    by_group: list[np.ndarray]  # sorted scores
    threshold: float | None
    spread: Uncertainty

    def groups(self) -> list[int]:
        """The groups that have pairs."""
        return np.flatnonzero(self.pairs.counts).tolist()

    def interval(self, statistic: str, of: object, estimate: float | None, group: int) -> tuple[float, float] | None:
        """Interval of a number that rests on the genuine pairs and on `group`, or on all if that is empty."""
        present = self.groups()
        return self.spread.interval(statistic, of, estimate, *([GENUINE, group] if group in present else present))

    def accepted(self, groups: list[int]) -> int | None:
        """How many are accepted."""
        if self.threshold is None:
            return None
        some = [self.by_group[group] for group in groups]
        return sum(scores.size - int(metrics.count_below(scores, self.threshold)) for scores in some)

    def by_kind_and_generator(self) -> tuple[dict[str, KindResult], dict[str, GeneratorResult]]:
        """Right and wrong decisions per kind; each generator's fakes against the genuine pairs."""
        fakes = list(range(2, self.pairs.counts.size))
        groups: dict[str, list[int]] = {"genuine": [GENUINE], "impostor": [IMPOSTOR], "deepfake": fakes}
        moments = self.pairs.moments(*groups.values(), *([fake] for fake in fakes))
        kinds = {
            kind: self._kind("fakes" if kind == "deepfake" else some[0], some, known)
            for (kind, some), known in zip(groups.items(), moments[: len(groups)], strict=True)
        }
        each = zip(self.pairs.generators, fakes, moments[len(groups) :], strict=True)
        return kinds, {name: self._generator(group, known.mean if known else 0.0) for name, group, known in each}

    def _kind(self, of: int | str, groups: list[int], moments: Moments | None) -> KindResult:
        pairs = int(self.pairs.counts[groups].sum())
        accepted = self.accepted(groups) if pairs else None
        share = accepted / pairs if accepted is not None else None
        groups = [group for group in groups if group in self.groups()]
        interval = self.spread.interval("accepted", (of, self.threshold), share, *groups) if groups else None
        return KindResult.of(pairs, moments, accepted, interval, genuine=of == GENUINE)

    def _generator(self, group: int, mean: float) -> GeneratorResult:
        scores = self.by_group[group]
        accepted = self.accepted([group])
        rate = accepted / scores.size if accepted is not None else None
        against = metrics.Scores(self.every.genuine, scores) if self.every else None
        eer = metrics.equal_error_rate(against).eer if against else None
        return GeneratorResult(
            pairs=scores.size,
            accepted=accepted,
            accept_rate=rate,
            accept_interval=self.spread.interval("accepted", (group, self.threshold), rate, group),
            eer=eer,
            eer_interval=self.interval("eer", group, eer, group),
            auc=metrics.auc(against) if against else None,
            mean=mean,
        )


def _folds(pairs: ScoredPairs, notes: list[str]) -> FoldAccuracy | None:
    """k-fold accuracy over the pairs that have a fold, if the table has that column."""
    if pairs.folds is None:
        return None
    if len(pairs.folds) < 2:
        notes.append("The column `fold` holds fewer than two folds: no k-fold accuracy.")
        return None
    return pairs.folds.accuracy()
