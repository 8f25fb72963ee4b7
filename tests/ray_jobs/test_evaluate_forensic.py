"""`evaluate` on scores with forensic columns: thresholds, both rates, the page; old tables as before."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceverify import tables
from faceverify.errors import UserError
from faceverify.evaluation.calibration import Calibration
from faceverify.report.forensic import TITLE
from faceverify.storage import open_location
from ray_jobs.evaluate import EvaluateConfig, run

MODEL = "f" * 64


def scores_table(seed: int, model: str | None = MODEL, pairs: int = 900) -> pa.Table:
    """Genuine pairs, impostors and fakes of 30 people; fakes look like the person, and mostly manipulated."""
    rng, rows = np.random.default_rng(seed), []
    schema = pa.schema([*tables.SCORES, *tables.FORENSIC_SCORES]) if model else tables.SCORES
    blank = {field.name: None for field in schema}
    for number in range(pairs):
        kind = ("genuine", "impostor", "deepfake")[number % 3]
        row = blank | {"pair": f"{number}", "photo_a": f"a{number}", "photo_b": f"b{number}", "status": "ok"}
        row |= {
            "kind": kind,
            "label": int(kind == "genuine"),
            "person_a": f"p{number % 30}",
            "person_b": f"p{number % 30}",
        }
        row |= {"generator": "swap" if kind == "deepfake" else None}
        row |= {"similarity": float(rng.normal(0.0 if kind == "impostor" else 0.6, 0.12))}
        if model:
            row |= {"forensic_a": float(rng.normal()), "forensic_b": float(rng.normal(3 * (kind == "deepfake")))}
            row |= {"eyes_a": float(rng.uniform(25, 90)), "eyes_b": float(rng.uniform(35, 90)), "forensic_with": model}
        rows.append(row)
    return pa.Table.from_pylist(rows, schema)


def evaluated(tmp_path: Path, name: str, table: pa.Table, **options: object) -> dict[str, object]:
    (tmp_path / f"{name}-scores").mkdir()
    pq.write_table(table, tmp_path / f"{name}-scores" / "scores.parquet")
    given = {"replicates": 0, "calibrate_at": 0.01, "scores": str(tmp_path / f"{name}-scores" / "scores.parquet")}
    run(EvaluateConfig(out=str(tmp_path / name), **(given | options)))  # pyrefly: ignore
    return json.loads((tmp_path / name / "metrics.json").read_text())


def test_thresholds_are_chosen_written_and_judged_on_other_pairs(tmp_path: Path) -> None:
    found = evaluated(tmp_path, "first", scores_table(0))["forensic"]
    assert found["same_pairs"] and found["genuine"] == 300  # pyrefly: ignore
    assert 0 < found["rejected"] - found["rejected_alone"] <= 0.05 * 300  # pyrefly: ignore
    swap = found["by_generator"]["swap"]  # pyrefly: ignore
    assert swap["accepted"] < 0.6 * swap["accepted_alone"] and swap["persons"] == 10
    file = tmp_path / "first" / "calibration.json"
    kept = Calibration.read(open_location(str(file)))
    assert kept.forensic is not None and kept.forensic.model == MODEL
    page = (tmp_path / "first" / "report.html").read_text()
    for words in (TITLE, "ISO/IEC 30107-3", "BPCER", "IAPAR", "chosen on these very pairs, so the figures flatter"):
        assert words in page
    other = evaluated(tmp_path, "second", scores_table(1), calibration=str(file))["forensic"]
    assert not other["same_pairs"] and other["thresholds"] == kept.forensic.to_dict()  # pyrefly: ignore
    assert "flatter: judge others" not in (tmp_path / "second" / "report.html").read_text()


def test_a_larger_cost_refuses_more_fakes(tmp_path: Path) -> None:
    accepted = [
        evaluated(tmp_path, f"cost{cost}", scores_table(0), forensic_cost=cost)["forensic"]["by_generator"]["swap"][
            "accepted"
        ]  # pyrefly: ignore
        for cost in (0.0, 0.05, 0.2)
    ]
    assert accepted[0] > accepted[1] > accepted[2]


def test_tables_without_forensic_scores_are_measured_as_before(tmp_path: Path) -> None:
    plain = scores_table(0, None)
    empty = pa.table(
        {
            name: pa.nulls(plain.num_rows, kind)
            for name, kind in zip(tables.FORENSIC_SCORES.names, tables.FORENSIC_SCORES.types, strict=True)
        }
    )
    unscored = pa.Table.from_arrays(
        [*plain.columns, *empty.columns], schema=pa.schema([*tables.SCORES, *tables.FORENSIC_SCORES])
    )
    old, blank = evaluated(tmp_path, "old", plain), evaluated(tmp_path, "blank", unscored)
    assert "forensic" not in old and old == blank
    for name in ("old", "blank"):
        assert json.loads((tmp_path / name / "calibration.json").read_text()).get("forensic") is None
        assert TITLE not in (tmp_path / name / "report.html").read_text()


def test_scores_of_two_forensic_models_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    mixed = pa.concat_tables([scores_table(0), scores_table(1, "a" * 64)])
    with pytest.raises(UserError, match="2 models"):
        evaluated(tmp_path, "mixed", mixed)
    assert not (tmp_path / "mixed" / "metrics.json").exists()


def test_thresholds_of_another_forensic_model_are_refused(tmp_path: Path) -> None:
    evaluated(tmp_path, "first", scores_table(0))
    with pytest.raises(UserError, match="calibrate this one"):
        evaluated(
            tmp_path, "other", scores_table(1, "a" * 64), calibration=str(tmp_path / "first" / "calibration.json")
        )
