"""Before and after: counted by hand on pairs whose scores are given."""

import numpy as np
import pyarrow as pa
import pytest

from faceverify.errors import UserError
from faceverify.evaluation.comparison import Change, Comparison, compare
from faceverify.evaluation.measure import EvaluationConfig, evaluate
from faceverify.tables import SCORES

CONFIG = EvaluationConfig(replicates=0, fmr_targets=())
GENUINE = [0.9, 0.8, 0.7, 0.6]
IMPOSTOR = [0.1, 0.2, 0.3, 0.0]


def scores(genuine: list[float], impostor: list[float], ghost: list[float], twin: list[float]) -> pa.Table:
    rows = [
        {
            "pair": f"{kind}{by}{i}",
            "photo_a": f"{kind}{i}/a",
            "photo_b": f"{kind}{by}{i}/b",
            "label": int(kind == "genuine"),
            "kind": kind,
            "generator": by or None,
            "person_a": "p",
            "person_b": "q",
            "similarity": value,
            "status": "no_face" if value is None else "ok",
        }
        for kind, by, values in (
            ("genuine", "", genuine),
            ("impostor", "", impostor),
            ("deepfake", "ghost", ghost),
            ("deepfake", "twin", twin),
        )
        for i, value in enumerate(values)
    ]
    return pa.Table.from_pylist(rows, schema=SCORES)


def compared(before: pa.Table, after: pa.Table, examples: int = 5) -> Comparison:
    found = compare((before, evaluate(before, CONFIG)), (after, evaluate(after, CONFIG)), examples)
    assert found is not None
    return found


def test_what_was_fixed_what_was_not_and_what_was_lost() -> None:
    before = scores(GENUINE, IMPOSTOR, [0.9, 0.85, 0.1], [0.7, 0.95])
    after = scores([0.9, 0.8, 0.7, 0.05], [0.1, 0.2, 0.3, 0.0], [0.0, 0.9, 0.95], [0.1, 0.2])
    found = compared(before, after)
    assert found.fixed.pairs == 3 and found.not_fixed.pairs == 2
    # The most similar one of each generator first.
    assert [(pair.generator, pair.before) for pair in found.fixed.shown] == [
        ("twin", pytest.approx(0.95)),
        ("ghost", pytest.approx(0.9)),
        ("twin", pytest.approx(0.7)),
    ]
    assert [pair.after for pair in found.not_fixed.shown] == pytest.approx([0.95, 0.9])
    assert found.lost.pairs == 1 and found.lost.shown[0].photo_a == "genuine3/a" and found.won.pairs == 0
    assert found.photos == sorted(
        {p for o in (found.fixed, found.not_fixed, found.lost) for s in o.shown for p in (s.photo_a, s.photo_b)}
    )
    rows = {row.generator or row.kind: row for row in found.rows}
    assert list(rows) == ["all negatives", "impostor", "deepfake", "ghost", "twin", "genuine"]
    assert rows["deepfake"].accepted == Change(pytest.approx(4 / 5), pytest.approx(2 / 5))
    assert rows["ghost"].accepted == Change(pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert rows["twin"].accepted == Change(1.0, 0.0)
    assert rows["impostor"].eer.before == 0 and rows["genuine"].accepted == Change(1.0, 0.75)
    assert rows["all negatives"].eer == Change(found.before.eer, found.after.eer)
    assert rows["twin"].eer.after < rows["twin"].eer.before


def test_each_network_is_judged_at_its_own_threshold() -> None:
    before = scores(GENUINE, IMPOSTOR, [0.8], [0.8])
    shifted = scores(*([value - 0.5 for value in some] for some in (GENUINE, IMPOSTOR, [0.8], [0.8])))
    found = compared(before, shifted)
    assert (found.fixed.pairs, found.not_fixed.pairs, found.lost.pairs, found.won.pairs) == (0, 2, 0, 0)
    assert found.before.threshold != found.after.threshold


def test_a_pair_that_one_of_them_could_not_score_is_no_change() -> None:
    before = scores(GENUINE, IMPOSTOR, [0.8, None], [0.8])
    found = compared(before, scores(GENUINE, IMPOSTOR, [0.0, 0.9], [None]))
    assert (found.fixed.pairs, found.not_fixed.pairs) == (1, 0)


def test_few_examples_and_no_threshold() -> None:
    many = np.linspace(0.7, 0.9, 20).tolist()
    before, after = scores(GENUINE, IMPOSTOR, many, many), scores(GENUINE, IMPOSTOR, [0.0] * 20, [0.0] * 20)
    found = compared(before, after, examples=4)
    assert found.fixed.pairs == 40 and [p.generator for p in found.fixed.shown] == ["ghost", "twin"] * 2
    alone = scores(GENUINE, [], [], [])
    assert compare((alone, evaluate(alone, CONFIG)), (alone, evaluate(alone, CONFIG)), 3) is None


def test_other_pairs_are_refused() -> None:
    before, after = scores(GENUINE, IMPOSTOR, [0.8], [0.8]), scores(GENUINE, IMPOSTOR, [0.8], [0.8, 0.9])
    with pytest.raises(UserError, match="before: its scores are of other pairs"):
        compare((before, evaluate(before, CONFIG)), (after, evaluate(after, CONFIG)), 3)
