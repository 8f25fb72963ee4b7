"""Error rates over strength: each point is the evaluation of its condition, at the clean threshold."""

import csv
import io

import numpy as np
import pyarrow as pa
import pytest

from faceverify import tables
from faceverify.attacks.curves import SCHEMA, as_csv, as_table, measure
from faceverify.attacks.options import Condition
from faceverify.errors import UserError

CONDITIONS = [Condition("noise", 8), Condition("noise", 16)]
KINDS = ["genuine", "impostor", "deepfake"]


def scores(counts: tuple[int, int, int] = (200, 300, 100)) -> pa.Table:
    random = np.random.default_rng(0)
    kind = np.repeat(KINDS, counts)
    clean = random.normal(np.repeat([0.6, 0.0, 0.5], counts), 0.12)
    noise = random.normal(0, 0.1, len(kind))
    weak, strong = clean - 0.15 * (kind == "genuine") + noise, clean - 0.5 * (kind == "genuine") + noise
    lost = np.arange(len(kind)) % 10 == 0
    columns = {f.name: pa.nulls(len(kind), f.type) for f in tables.SCORES} | {
        "pair": pa.array([str(at) for at in range(len(kind))]),
        "photo_a": pa.array([f"{at}.a" for at in range(len(kind))]),
        "photo_b": pa.array([f"{at}.b" for at in range(len(kind))]),
        "label": pa.array((kind == "genuine").astype(np.int8)),
        "kind": pa.array(kind.tolist()),
        "generator": pa.array(["swap" if one == "deepfake" else None for one in kind]),
        "person_a": pa.array([str(at % 50) for at in range(len(kind))]),
        "person_b": pa.array([str((at + (kind[at] == "impostor")) % 50) for at in range(len(kind))]),
        "similarity": pa.array(clean.astype(np.float32)),
        "status": pa.array(["ok"] * len(kind)),
    }
    table = pa.table(columns, schema=tables.SCORES)
    table = table.append_column("noise_8", pa.array(weak.astype(np.float32)))
    return table.append_column("noise_16", pa.array(strong.astype(np.float32), mask=lost))


def test_points_are_evaluations_at_the_clean_threshold() -> None:
    table = scores()
    curves = measure(table, CONDITIONS, 0.1, 40, 0)
    assert [(point.attack, point.strength) for point in curves.points] == [("none", None), ("noise", 8), ("noise", 16)]
    assert curves.threshold is not None and curves.rule == "fmr=0.1"
    kind = np.array(table["kind"].to_pylist())
    for point, name in zip(curves.points, ("similarity", "noise_8", "noise_16"), strict=True):
        values = np.array(table[name].to_pylist(), float)
        there = np.isfinite(values)
        assert (point.scored, point.failed) == (there.sum(), (~there).sum())
        accepted = {one: (values[there & (kind == one)] >= curves.threshold).mean() for one in KINDS}
        assert point.fnmr == pytest.approx(1 - accepted["genuine"]) and point.fmr == pytest.approx(accepted["impostor"])
        assert point.iapar == pytest.approx(accepted["deepfake"])
        for rate in ("eer", "eer_real", "fnmr", "fmr", "iapar"):
            value, low, high = (getattr(point, f"{rate}{end}") for end in ("", "_low", "_high"))
            assert low <= value <= high
    assert curves.points[0].fmr <= 0.1
    eers = [point.eer_real for point in curves.points]
    assert eers == sorted(eers) and eers[2] > 0.2
    assert [point.attack for point in curves.of("noise")] == ["none", "noise", "noise"]


def test_without_impostors_there_is_no_threshold() -> None:
    table = scores()
    table = table.filter(pa.array([kind != "impostor" for kind in table["kind"].to_pylist()]))
    curves = measure(table, CONDITIONS, "eer", 0, 0)
    assert curves.threshold is None
    assert all(point.fnmr is None and point.iapar is None and point.eer is not None for point in curves.points)


def test_a_rate_that_the_pairs_do_not_support_is_refused() -> None:
    with pytest.raises(UserError):
        measure(scores((200, 30, 0)), CONDITIONS, 0.001, 0, 0)


def test_as_a_table_and_as_csv() -> None:
    curves = measure(scores(), CONDITIONS, "eer", 0, 0)
    table = as_table(curves)
    assert table.schema == SCHEMA
    rows = list(csv.DictReader(io.StringIO(as_csv(curves))))
    assert [float(row["eer"]) for row in rows] == table["eer"].to_pylist()
    assert rows[0]["strength"] == "" and rows[0]["eer_low"] == ""
