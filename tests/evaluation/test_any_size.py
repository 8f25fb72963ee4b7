"""Large tables are read in batches and sorted in pieces; no number of an evaluation may show that.

The sizes from which that happens are set so low here that small tables go the way of large ones.
"""

import dataclasses
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceverify.errors import UserError
from faceverify.evaluation import columns, intervals
from faceverify.evaluation.comparison import compare
from faceverify.evaluation.measure import EvaluationConfig, evaluate
from faceverify.evaluation.result import Evaluation
from faceverify.evaluation.score_rows import ScoreRows
from faceverify.storage import open_location
from faceverify.tables import SCORES

TARGETS = (1.0, 0.5, 0.1, 0.03)
# Neighbours, zeros of both signs, numbers too small to be normal, and the largest ones.
ODD = [0.0, -0.0, 1e-45, -1e-45, 0.1, float(np.nextafter(np.float32(0.1), np.float32(1))), 1.0, -1.0, 3.4e38, -3.4e38]
SCORES_OF = st.lists(st.one_of(st.sampled_from(ODD), st.floats(-1, 1, width=32)), max_size=40)


@contextmanager
def sizes(batch: int, chunk: int, piece: int) -> Iterator[None]:
    """Batches of that many rows, columns kept in memory up to `chunk`, sorted `piece` scores at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScoreRows.batches, "__defaults__", (batch,))
        patch.setattr(columns, "CHUNK", chunk)
        patch.setattr(columns, "PIECE", piece)
        yield


def table(genuine: list[float], impostor: list[float], ghost: list[float], twin: list[float]) -> pa.Table:
    groups = (("genuine", None, genuine), ("impostor", None, impostor), ("deepfake", "twin", twin))
    rows = [
        {
            "pair": f"{kind}{made_by}{number}",
            "photo_a": f"a{number}",
            "photo_b": f"b{number}",
            "label": int(kind == "genuine"),
            "kind": kind,
            "generator": made_by,
            "person_a": f"p{number % 7}",
            "person_b": f"p{(number * 3 + 1) % 8 if kind == 'impostor' else number % 7}",
            "similarity": score,
            "status": "ok",
        }
        for kind, made_by, scores in (*groups, ("deepfake", "ghost", ghost))
        for number, score in enumerate(scores)
    ]
    order = np.random.default_rng(0).permutation(len(rows))
    return pa.Table.from_pylist([rows[place] for place in order], schema=SCORES)


def equal_error_rate(genuine: np.ndarray, negative: np.ndarray) -> tuple[float, float]:
    """EER and threshold: every score looked at, from the highest down, until FMR >= FNMR."""
    fmr_above, gap_above, above = 0.0, -1.0, math.inf
    for score in np.unique(np.concatenate([genuine, negative]))[::-1].tolist():
        fmr = np.count_nonzero(negative >= score) / negative.size
        gap = fmr - np.count_nonzero(genuine < score) / genuine.size
        if gap >= 0:
            step = -gap_above / (gap - gap_above)
            threshold = score if math.isinf(above) else above + step * (score - above)
            return fmr_above + step * (fmr - fmr_above), threshold
        fmr_above, gap_above, above = fmr, gap, score
    raise AssertionError("the curves always cross")


def fnmr_at_fmr(genuine: np.ndarray, negative: np.ndarray, target: float) -> tuple[float | None, float, float] | None:
    """Threshold, FMR and FNMR at the lowest score whose FMR keeps the target; None where none can be accepted."""
    if 1 / negative.size > target:
        return None
    kept: tuple[float | None, float, float] = (None, 0.0, 1.0)
    for score in np.unique(np.concatenate([genuine, negative]))[::-1].tolist():
        fmr = np.count_nonzero(negative >= score) / negative.size
        if fmr > target:
            break
        kept = (score, fmr, np.count_nonzero(genuine < score) / genuine.size)
    return kept


def check(found: Evaluation, genuine: list[float], impostor: list[float], fakes: dict[str, list[float]]) -> None:
    """Every error rate is, to the last bit, what comparing all scores with each other gives."""
    real, person = np.float32(genuine).astype(float), np.float32(impostor).astype(float)
    every = np.concatenate([person, *(np.float32(scores).astype(float) for scores in fakes.values())])
    assert (found.eer, found.eer_threshold) == (
        equal_error_rate(real, every) if real.size and every.size else (None, None)
    )
    both = real.size and person.size
    assert (found.eer_real, found.eer_real_threshold) == (equal_error_rate(real, person) if both else (None, None))
    for name, scores in fakes.items():
        if scores:
            want = equal_error_rate(real, np.float32(scores).astype(float))[0] if genuine else None
            assert found.by_generator[name].eer == want
    if not real.size or not every.size:
        assert found.fnmr_at_fmr == ()
        return
    points = {target: fnmr_at_fmr(real, person if person.size else every, target) for target in TARGETS}
    got = {row.target: (row.threshold, row.fmr, row.fnmr) for row in found.fnmr_at_fmr}
    assert got == {target: point for target, point in points.items() if point}
    assert {row.target for row in found.refused_targets} == {target for target, point in points.items() if not point}


@settings(max_examples=60)
@given(SCORES_OF, SCORES_OF, SCORES_OF, SCORES_OF, st.tuples(*[st.integers(1, 9)] * 3))
def test_error_rates_are_exact_on_any_scores(
    genuine: list[float], impostor: list[float], ghost: list[float], twin: list[float], small: tuple[int, int, int]
) -> None:
    if not (genuine or impostor or ghost or twin):
        return
    with sizes(*small):
        found = evaluate(
            table(genuine, impostor, ghost, twin), EvaluationConfig(fmr_targets=TARGETS, replicates=0, worst_pairs=1)
        )
    check(found, genuine, impostor, {"ghost": ghost, "twin": twin})


def test_one_score_for_all_pairs_is_exact_too() -> None:
    """More equal scores than are sorted at once are counted."""
    with sizes(16, 8, 8):
        found = evaluate(table([0.5] * 60, [0.5] * 60, [], [0.5]), EvaluationConfig(fmr_targets=TARGETS, replicates=9))
    check(found, [0.5] * 60, [0.5] * 60, {"twin": [0.5]})
    assert (found.eer, found.auc) == (0.5, 0.5)


@pytest.fixture(scope="module")
def scores() -> pa.Table:
    """Pairs with failures, without labels, with folds, and with scores that occur often."""
    rng = np.random.default_rng(4)
    drawn = [
        rng.normal(mean, 0.2, count).round(2).tolist() for mean, count in ((0.6, 300), (0, 400), (0.4, 90), (0.5, 80))
    ]
    whole = table(*drawn).append_column("fold", pa.array(rng.integers(0, 3, 870), pa.int8()))
    rows = whole.to_pylist()
    for row in rows[::9]:
        row.update(status="no_face" if row["label"] else "corrupt", similarity=None)
    for row in rows[5::50]:
        row.update(label=None, kind=None)
    return pa.Table.from_pylist(rows, schema=whole.schema)


CONFIG = EvaluationConfig(replicates=40, fmr_targets=TARGETS, worst_pairs=5)


def same(found: Evaluation, want: Evaluation) -> None:
    """Equal in everything but the last digits of means, whose sums are taken in another order."""
    facts = [dataclasses.asdict(one) for one in (found, want)]
    for one in facts:
        for result in (*one["by_kind"].values(), *one["by_generator"].values()):
            result["mean"], result["std"] = (
                round(result[name], 12) if name in result else 0 for name in ("mean", "std")
            )
    for name, value in facts[1].items():
        np.testing.assert_equal(facts[0][name], value, err_msg=name)


@pytest.mark.parametrize("small", [(100, 64, 50), (7, 1000, 1000), (1000, 10, 1000)])
def test_files_in_batches_and_pieces_give_what_the_table_at_once_gives(
    scores: pa.Table, tmp_path: Path, small: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    want = evaluate(scores, CONFIG, created="2026-11-24")
    for number, start in enumerate((0, 400)):
        pq.write_table(scores[start : (400, 870)[number]], tmp_path / f"{number}.parquet", row_group_size=150)
    files = ScoreRows([open_location(str(tmp_path / f"{number}.parquet")) for number in range(2)])
    monkeypatch.setattr(intervals, "_MEMORY", 100_000)
    with sizes(*small):
        found = evaluate(files, CONFIG, created="2026-11-24")
    same(found, want)
    assert found.folds is not None and found.failures.failed == 97


def test_intervals_of_more_scores_than_have_bins_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bins then follow the error rates, of sorted pieces as of the whole."""
    rng = np.random.default_rng(1)
    many = table(*(rng.normal(mean, 0.2, 300).tolist() for mean in (0.6, 0, 0.4, 0.5)))
    monkeypatch.setattr(intervals, "_EXACT_SCORES", 100)
    monkeypatch.setattr(intervals, "_EXACT_RANKS", 20)
    want = evaluate(many, CONFIG, created="2026-11-24")
    with sizes(100, 64, 50):
        same(evaluate(many, CONFIG, created="2026-11-24"), want)


def test_before_and_after_are_compared_some_rows_at_a_time(scores: pa.Table) -> None:
    shifted = pa.array(np.roll(scores["similarity"].to_numpy(), 9), pa.float32(), from_pandas=True)
    ok = pa.array(["ok" if value.is_valid else "no_face" for value in shifted])
    later = scores.set_column(9, "similarity", shifted).set_column(11, "status", ok)
    facts = [(one, evaluate(one, CONFIG, created="2026-11-24")) for one in (scores, later)]
    want = compare(*facts, 4)
    with sizes(13, 1 << 22, 1 << 25):
        found = compare(*facts, 4)
        with pytest.raises(UserError, match="of other pairs"):
            compare((scores[:869], facts[0][1]), facts[1], 4)
    assert want is not None and want.fixed.pairs > 4 and want.lost.pairs > 4 and found is not None
    for name in ("rows", "fixed", "not_fixed", "lost", "won"):
        assert getattr(found, name) == getattr(want, name)


def test_a_fault_is_told_with_its_first_row_wherever_it_stands(scores: pa.Table, tmp_path: Path) -> None:
    rows = scores.to_pylist()
    for place in (700, 701, 860):
        rows[place].update(kind="morph", label=0)
    pq.write_table(pa.Table.from_pylist(rows, schema=scores.schema), tmp_path / "0.parquet", row_group_size=100)
    name = rows[700]["pair"]
    with sizes(64, 64, 64), pytest.raises(UserError, match=rf"kind is none of .* in 3 rows, first in pair '{name}'"):
        evaluate(ScoreRows([open_location(str(tmp_path / "0.parquet"))]), CONFIG)


def test_the_job_stops_where_most_pairs_failed_for_one_reason(scores: pa.Table) -> None:
    with sizes(64, 64, 64), pytest.raises(UserError, match=r"of 870 pairs failed with corrupt \('.*', '.*', '.*'\)"):
        evaluate(scores, CONFIG, max_failed=0.02)


def test_nothing_temporary_is_left_behind(scores: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    pq.write_table(scores, tmp_path / "0.parquet", row_group_size=100)
    whole = (tmp_path / "0.parquet").read_bytes()
    rows = ScoreRows([open_location(str(tmp_path / "0.parquet"))])
    with sizes(64, 64, 64):
        evaluate(rows, CONFIG)
        (tmp_path / "0.parquet").write_bytes(whole[:2000] + bytes(2000) + whole[4000:])
        with pytest.raises(UserError, match=r"0\.parquet"):
            evaluate(rows, CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["0.parquet"]
