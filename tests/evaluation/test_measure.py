"""From a scores table to numbers: against the plain metrics, and where classes or pairs are missing."""

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from faceverify.errors import UserError
from faceverify.evaluation import metrics
from faceverify.evaluation.calibration import Calibration
from faceverify.evaluation.measure import EvaluationConfig, evaluate
from faceverify.evaluation.metrics import UnsupportedTarget
from faceverify.tables import SCORES

QUICK = EvaluationConfig(replicates=60, worst_pairs=3)
NO_INTERVALS = EvaluationConfig(replicates=0)


def rows(kind: str, similarity: np.ndarray, generator: str | None = None, prefix: str = "") -> list[dict[str, Any]]:
    """Pairs of one kind among 30 persons."""
    return [
        {
            "pair": f"{prefix}{kind}{generator or ''}{index}",
            "photo_a": f"{index % 30}/real.jpg",
            "photo_b": f"{index % 30}/{generator or kind}.jpg",
            "label": int(kind == "genuine"),
            "kind": kind,
            "generator": generator,
            "person_a": f"person {index % 30}",
            "person_b": f"person {(index * 7 + 1) % 30 if kind == 'impostor' else index % 30}",
            "similarity": float(score),
            "status": "ok",
        }
        for index, score in enumerate(similarity)
    ]


def table(*parts: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([row for part in parts for row in part], schema=SCORES)


@pytest.fixture
def draws() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "genuine": rng.normal(0.6, 0.15, 600).astype(np.float32),
        "impostor": rng.normal(0.0, 0.15, 500).astype(np.float32),
        "ghost": rng.normal(0.5, 0.15, 200).astype(np.float32),
        "roop": rng.normal(0.3, 0.15, 100).astype(np.float32),
    }


@pytest.fixture
def scores(draws: dict[str, np.ndarray]) -> pa.Table:
    return table(
        rows("genuine", draws["genuine"]),
        rows("impostor", draws["impostor"]),
        rows("deepfake", draws["ghost"], "ghost"),
        rows("deepfake", draws["roop"], "roop"),
    )


def test_numbers_are_the_plain_metrics_of_each_comparison(scores: pa.Table, draws: dict[str, np.ndarray]) -> None:
    result = evaluate(scores, NO_INTERVALS)
    genuine, impostor = draws["genuine"], draws["impostor"]
    negative = np.concatenate([impostor, draws["ghost"], draws["roop"]])
    every, real = metrics.sort_scores(genuine, negative), metrics.sort_scores(genuine, impostor)
    crossing = metrics.equal_error_rate(real)
    assert result.eer == metrics.equal_error_rate(every).eer
    assert (result.eer_real, result.threshold) == crossing
    assert result.auc == metrics.auc(every)
    assert result.accuracy == pytest.approx(metrics.accuracy(every, crossing.threshold))
    for name in ("ghost", "roop"):
        of = result.by_generator[name]
        against = metrics.sort_scores(genuine, draws[name])
        assert of.eer == metrics.equal_error_rate(against).eer
        assert of.accept_rate == float(against.fmr(crossing.threshold))
        assert of.pairs == draws[name].size
    kinds = result.by_kind
    assert kinds["genuine"].error_rate == pytest.approx(float(real.fnmr(crossing.threshold)))
    assert kinds["impostor"].error_rate == pytest.approx(float(real.fmr(crossing.threshold)))
    assert kinds["deepfake"].errors == sum(generator.accepted or 0 for generator in result.by_generator.values())
    assert [row.target for row in result.fnmr_at_fmr] == [0.1, 0.01]
    assert result.fnmr_at_fmr[1].fnmr == metrics.fnmr_at_fmr(real, 0.01).fnmr
    assert [(row.target, row.needed) for row in result.refused_targets][:2] == [(0.001, 1000), (0.0001, 10000)]


def test_every_rate_lies_in_its_interval(scores: pa.Table) -> None:
    result = evaluate(scores, QUICK)
    pairs = [
        (result.eer, result.eer_interval),
        (result.eer_real, result.eer_real_interval),
        (result.auc, result.auc_interval),
        *((row.fnmr, row.interval) for row in result.fnmr_at_fmr),
        *((kind.error_rate, kind.interval) for kind in result.by_kind.values()),
        *((of.accept_rate, of.accept_interval) for of in result.by_generator.values()),
        *((of.eer, of.eer_interval) for of in result.by_generator.values()),
    ]
    for value, interval in pairs:
        assert value is not None
        assert interval is not None
        assert interval[0] <= value <= interval[1]
        assert interval[0] < interval[1]
    assert result.interval_method == "bootstrap over 30 persons"


def test_same_seed_same_file_and_the_seed_matters(scores: pa.Table) -> None:
    first, again = evaluate(scores, QUICK), evaluate(scores, QUICK)
    assert first.to_json() == again.to_json()
    other = evaluate(scores, dataclasses.replace(QUICK, seed=1))
    assert other.eer == first.eer
    assert other.eer_interval != first.eer_interval


def test_without_deepfakes_both_equal_error_rates_agree(draws: dict[str, np.ndarray]) -> None:
    result = evaluate(table(rows("genuine", draws["genuine"]), rows("impostor", draws["impostor"])), QUICK)
    assert result.eer == result.eer_real
    assert result.eer_interval == result.eer_real_interval
    assert result.by_generator == {}
    assert result.by_kind["deepfake"].error_rate is None


def test_the_file_holds_the_agreed_keys_and_plain_json(scores: pa.Table) -> None:
    values = json.loads(evaluate(scores, QUICK).to_json())
    for key in ("eer", "eer_interval", "auc", "fnmr_at_fmr", "by_kind", "by_generator", "eer_real", "eer_threshold"):
        assert values[key], key
    assert {"accuracy", "threshold", "threshold_rule", "refused_targets", "folds", "failures"} <= values.keys()
    assert values["fnmr_at_fmr"]["0.01"]["target"] == 0.01
    assert values["refused_targets"]["1e-06"] == {"target": 1e-6, "have": 500, "needed": 1_000_000}
    assert not {"curves", "histograms", "worst"} & values.keys()


def test_the_csv_holds_the_same_numbers_with_their_meaning(scores: pa.Table) -> None:
    result = evaluate(scores, QUICK)
    lines = list(csv.DictReader(io.StringIO(result.to_csv())))
    by_name = {(line["metric"], line["of"]): line for line in lines}
    assert float(by_name["eer", "all"]["value"]) == result.eer
    assert result.eer_interval is not None
    assert float(by_name["eer", "all"]["high"]) == result.eer_interval[1]
    assert float(by_name["accept_rate", "ghost"]["value"]) == result.by_generator["ghost"].accept_rate
    assert by_name["fnmr_at_fmr", "0.0001"]["value"] == ""
    assert "10000" in by_name["fnmr_at_fmr", "0.0001"]["meaning"]
    assert all(line["meaning"] for line in lines)


def test_a_calibration_sets_the_threshold_and_must_be_of_this_model(scores: pa.Table) -> None:
    own = evaluate(scores, QUICK, model="m1", data="set A", created="2026-11-24").calibration
    assert own is not None
    assert (own.rule, own.model, own.data, own.n_genuine, own.n_impostor) == ("eer", "m1", "set A", 600, 500)
    assert Calibration.from_json(own.to_json(), "calibration.json") == dataclasses.replace(
        own, interval=tuple(own.interval or ())
    )
    strict = dataclasses.replace(own, threshold=0.55, rule="fmr=0.0001")
    result = evaluate(scores, QUICK, strict, model="m1")
    assert result.threshold == 0.55
    assert result.threshold_rule == "calibration (fmr=0.0001 on set A, 2026-11-24)"
    assert result.calibration is not None
    assert result.calibration.threshold == own.threshold  # what is written is found on this data
    with pytest.raises(UserError, match="for model m1 and the scores come from m2"):
        evaluate(scores, QUICK, strict, model="m2")


def test_the_threshold_can_be_set_at_a_false_match_rate(scores: pa.Table) -> None:
    result = evaluate(scores, dataclasses.replace(QUICK, calibrate_at=0.01))
    assert result.calibration is not None
    assert (result.calibration.rule, result.calibration.fmr) == ("fmr=0.01", 0.01)
    assert result.threshold == result.calibration.threshold
    assert result.by_kind["impostor"].errors == 5
    with pytest.raises(UnsupportedTarget, match="10,000"):
        evaluate(scores, dataclasses.replace(QUICK, calibrate_at=1e-4))


def test_missing_classes_give_nulls_with_their_reason(draws: dict[str, np.ndarray]) -> None:
    genuine, fakes = rows("genuine", draws["genuine"]), rows("deepfake", draws["ghost"], "ghost")
    only_genuine = evaluate(table(genuine), QUICK)
    assert (only_genuine.eer, only_genuine.threshold, only_genuine.calibration) == (None, None, None)
    assert "no negative pairs" in only_genuine.notes[0]
    only_fakes = evaluate(table(fakes), QUICK)
    assert (only_fakes.eer, only_fakes.by_generator["ghost"].eer) == (None, None)
    assert "no genuine pairs" in only_fakes.notes[0]
    no_impostors = evaluate(table(genuine, fakes), QUICK)
    assert no_impostors.eer == no_impostors.by_generator["ghost"].eer
    assert (no_impostors.eer_real, no_impostors.calibration) == (None, None)
    assert no_impostors.fmr_measured_on == "all negatives"
    for result in (only_genuine, only_fakes, no_impostors):
        json.loads(result.to_json())
        result.to_csv()


def test_failures_are_reported_and_counted_in_on_request(draws: dict[str, np.ndarray]) -> None:
    parts = [rows("genuine", np.array([0.9, 0.8, 0.7, 0.0])), rows("impostor", np.array([0.1, 0.2, 0.0, 0.75]))]
    failed = [row | {"status": "no_face", "similarity": None} for row in rows("genuine", np.zeros(4), prefix="x")]
    result = evaluate(table(*parts, failed), NO_INTERVALS)
    assert result.by_kind["genuine"].error_rate == 0.25
    assert result.failures.by_status == {"no_face": 4}
    assert result.including_failures == {"frr": 5 / 8, "far": 0.25}


def test_worst_pairs_come_worst_first_and_name_their_photos(scores: pa.Table, draws: dict[str, np.ndarray]) -> None:
    result = evaluate(scores, QUICK)
    lowest = np.sort(draws["genuine"])[:3]
    assert [pair.similarity for pair in result.worst["genuine"]] == pytest.approx(lowest.tolist())
    highest = np.sort(np.concatenate([draws["ghost"], draws["roop"]]))[::-1][:3]
    assert [pair.similarity for pair in result.worst["deepfake"]] == pytest.approx(highest.tolist())
    assert all(pair.wrong for pair in result.worst["deepfake"])
    assert {pair.photo_a for pair in result.worst["impostor"]} <= set(result.photos)
    none = evaluate(scores, dataclasses.replace(NO_INTERVALS, worst_pairs=0))
    assert none.photos == []


def test_tied_worst_pairs_keep_the_order_of_the_table() -> None:
    result = evaluate(table(rows("genuine", np.full(9, 0.5)), rows("impostor", np.zeros(2))), QUICK)
    assert [pair.pair for pair in result.worst["genuine"]] == ["genuine0", "genuine1", "genuine2"]


def test_pairs_without_persons_are_drawn_one_by_one(scores: pa.Table) -> None:
    nameless = scores.set_column(
        scores.schema.get_field_index("person_a"), "person_a", pa.nulls(scores.num_rows, pa.string())
    )
    result = evaluate(nameless, QUICK)
    assert result.interval_method.startswith("bootstrap over pairs, because 1,400 pairs do not name both persons")
    assert result.eer_interval is not None


def test_folds_give_the_accuracy_of_the_lfw_protocol(golden: Path) -> None:
    with np.load(golden / "verification_lfw.npz") as archive:
        lfw = dict(archive)
    similarity = lfw["scores_noflip"]
    order = [
        rows("genuine" if label else "impostor", np.array([s]))
        for s, label in zip(similarity, lfw["labels"], strict=True)
    ]
    result = evaluate(table(*order).append_column("fold", pa.array(lfw["fold"])), NO_INTERVALS)
    want = json.loads((golden / "verification_lfw.json").read_text())
    assert result.folds is not None
    assert result.folds.mean == pytest.approx(
        want["insightface_10fold_3000"]["noflip"]["natural_5folds"]["accuracy_mean"], abs=1e-12
    )
    assert result.eer == pytest.approx(want["folds1to5_3000"]["noflip"]["eer"], abs=1e-9)
    one = evaluate(table(*order).append_column("fold", pa.array(np.zeros(3000, dtype=np.int8))), NO_INTERVALS)
    assert one.folds is None
    assert "Only 2 people in these pairs: too few to tell anything" in one.notes[0]
    assert "fewer than two folds" in one.notes[1]


@pytest.mark.parametrize("field", ["replicates", "worst_pairs"])
def test_negative_settings_are_refused(field: str) -> None:
    with pytest.raises(UserError, match=field):
        EvaluationConfig(**{field: -1})
