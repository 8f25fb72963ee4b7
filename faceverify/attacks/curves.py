"""Error rates over the strength of each attack, with intervals."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from faceverify import tables
from faceverify.attacks.options import Condition
from faceverify.errors import Reason
from faceverify.evaluation.measure import EvaluationConfig, evaluate
from faceverify.evaluation.result import Evaluation, KindResult
from faceverify.scoring.similarity import OK
from faceverify.spreadsheet import escaped_cell


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """Error rates under one attack at one strength; shares in [0, 1], None where the pairs cannot tell.

    `*_low` and `*_high` are 95 % intervals. fnmr, fmr and iapar (fakes accepted as the person) are at the threshold
    found on the photos as they are.
    """

    attack: str
    """Name of the attack; `none` for the photos as they are."""
    strength: float | None
    """See `options.UNITS`; None for the photos as they are."""
    scored: int
    """Pairs with a similarity and a label."""
    failed: int
    """Pairs without a similarity."""
    eer: float | None
    """Genuine against all negatives."""
    eer_low: float | None
    eer_high: float | None
    eer_real: float | None
    """Genuine against impostors alone."""
    eer_real_low: float | None
    eer_real_high: float | None
    fnmr: float | None
    fnmr_low: float | None
    fnmr_high: float | None
    fmr: float | None
    fmr_low: float | None
    fmr_high: float | None
    iapar: float | None
    iapar_low: float | None
    iapar_high: float | None
    genuine_mean: float | None
    """Mean similarity of genuine pairs."""
    impostor_mean: float | None


SCHEMA = pa.schema(
    [
        (f.name, pa.string() if f.name == "attack" else pa.int64() if f.name in ("scored", "failed") else pa.float64())
        for f in fields(Point)
    ]
)


@dataclass(frozen=True)
class Curves:
    """What was measured.

    Args:
        threshold: of a similarity, found on the photos as they are; None if there are no genuine or impostor pairs.
        rule: how it was found.
        points: that of the photos as they are, then one per condition.
        notes: sentences of the evaluation.
    """

    threshold: float | None
    rule: str
    points: list[Point]
    notes: tuple[str, ...]

    def of(self, attack: str) -> list[Point]:
        """The points of one attack, that of the photos as they are before them."""
        return [self.points[0], *(point for point in self.points if point.attack == attack)]


def measure(
    scores: pa.Table, conditions: Sequence[Condition], calibrate_at: Literal["eer"] | float, replicates: int, seed: int
) -> Curves:
    """Evaluate the pairs as they are and under every condition.

    Args:
        scores: see `pairs.attacked_pairs`.
        conditions: whose columns are read.
        calibrate_at: rule of the threshold, see `EvaluationConfig`.
        replicates: of the bootstrap behind the intervals; all conditions are given the same people.
        seed: of the bootstrap.

    Raises:
        UserError: no pair with a label, or a threshold that the pairs do not support.
    """
    config = EvaluationConfig(
        fmr_targets=(),
        calibrate_at=calibrate_at,
        replicates=replicates,
        seed=seed,
        worst_pairs=0,
    )
    clean = evaluate(scores.select(_plain(scores)), config)
    points = [_point("none", None, clean, clean.calibration is not None)]
    for condition in conditions:
        found = evaluate(_under(scores, condition), config, clean.calibration)
        points.append(_point(condition.attack, condition.strength, found, clean.calibration is not None))
    found = clean.calibration
    return Curves(found.threshold if found else None, found.rule if found else "", points, clean.notes)


def _plain(scores: pa.Table) -> list[str]:
    return [name for name in scores.column_names if name in tables.SCORES.names]


def _under(scores: pa.Table, condition: Condition) -> pa.Table:
    """The scores table of one condition: pairs that have lost their similarity have lost their face."""
    similarity, status = scores[condition.name], scores["status"]
    lost = pc.and_(pc.equal(status, OK), similarity.is_null())
    columns = {"similarity": similarity, "status": pc.if_else(lost, Reason.NO_FACE.value, status)}
    table = scores.select(_plain(scores))
    for name, values in columns.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(place), values.cast(table.schema.field(place).type))
    return table


def _point(attack: str, strength: float | None, found: Evaluation, calibrated: bool) -> Point:
    kinds = found.by_kind

    def rates(name: str, value: float | None, interval: Sequence[float] | None) -> dict[str, float | None]:
        low, high = interval or (None, None)
        return {name: value, f"{name}_low": low, f"{name}_high": high}

    def errors(name: str, kind: KindResult) -> dict[str, float | None]:
        return rates(name, kind.error_rate, kind.interval) if calibrated else rates(name, None, None)

    values = rates("eer", found.eer, found.eer_interval) | rates("eer_real", found.eer_real, found.eer_real_interval)
    values |= errors("fnmr", kinds["genuine"]) | errors("fmr", kinds["impostor"]) | errors("iapar", kinds["deepfake"])
    return Point(
        attack=attack,
        strength=strength,
        scored=sum(kind.pairs for kind in kinds.values()),
        failed=found.failures.failed,
        genuine_mean=kinds["genuine"].mean,
        impostor_mean=kinds["impostor"].mean,
        **values,  # pyrefly: ignore
    )


def as_table(curves: Curves) -> pa.Table:
    """One row per point, columns as `Point`."""
    return pa.Table.from_pylist([asdict(point) for point in curves.points], schema=SCHEMA)


def as_csv(curves: Curves) -> str:
    """The same as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SCHEMA.names)
    writer.writerows([escaped_cell(value) for value in asdict(point).values()] for point in curves.points)
    return text.getvalue()
