"""Forensic thresholds cost no more than is allowed, and refuse as much as that leaves; naive loops say the same."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceverify import tables
from faceverify.errors import UserError
from faceverify.evaluation.forensic import (
    COLUMNS,
    LEAST_PHOTOS,
    JudgedPairs,
    choose_thresholds,
    judge,
    model_of,
    read_pairs,
)
from faceverify.forensics.bands import BANDS, band_of
from faceverify.forensics.thresholds import ForensicThresholds

T = 0.3


def drawn(seed: int, pairs: int = 300, ties: bool = False) -> JudgedPairs:
    """Genuine pairs of photos, each in several pairs, whose eyes are 20 to 100 pixels apart; some are not accepted."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 1, pairs).astype(np.float32)
    scores = np.round(scores, 1) if ties else scores
    eyes = rng.uniform(20, 100, pairs).astype(np.float32)
    scores[rng.random(pairs) < 0.02] = np.nan
    at = rng.integers(0, pairs, (pairs, 2))
    similarity = rng.normal(0.5, 0.15, pairs).astype(np.float32)
    return JudgedPairs(similarity, scores[at], eyes[at], np.full(pairs, "", object))


def cost_of(pairs: JudgedPairs, limits: ForensicThresholds) -> float:
    """A naive loop."""
    lost = 0
    for similarity, scores, eyes in zip(pairs.similarity, pairs.scores, pairs.eyes, strict=True):
        bad = False
        for score, eye in zip(scores, eyes, strict=True):
            value = limits.values[band_of(np.array([eye]))[0]] if eye >= 32 else None
            bad = bad or (value is not None and not np.isnan(score) and score >= value)
        lost += similarity >= T and bad
    return lost / len(pairs)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 0.3), st.booleans())
def test_what_is_chosen_costs_no_more_than_is_allowed(seed: int, cost: float, ties: bool) -> None:
    pairs = drawn(seed, ties=ties)
    assert cost_of(pairs, choose_thresholds(pairs, T, "m", cost)) <= cost + 1e-12


@pytest.mark.parametrize("refused", [1, 2, 3, 4, 5])
def test_as_many_photos_are_refused_as_the_cost_allows_though_scores_are_neighbours(refused: int) -> None:
    """Of 60 photos with scores next to each other in float32; each is in one pair, which all are accepted."""
    scores = np.arange(60, dtype=np.int32) + np.float32(1).view(np.int32)
    both = np.stack([scores.view(np.float32), np.full(60, np.nan, np.float32)], axis=1)
    pairs = JudgedPairs(np.full(60, 0.9, np.float32), both, np.full((60, 2), 70, np.float32), np.full(60, "", object))
    limits = choose_thresholds(pairs, T, "m", refused / 60)
    assert limits.bpcer[2] == refused / 60 == cost_of(pairs, limits)


def test_a_larger_bpcer_would_cost_too_much() -> None:
    pairs = drawn(1)
    limits = choose_thresholds(pairs, T, "m", 0.05)
    scores, eyes = pairs.real_photos()
    share = max(value for value in limits.bpcer if value is not None)
    finer = 1 / max(limits.photos)
    values = []
    for number in range(len(BANDS)):
        some = np.sort(scores[band_of(eyes) == number])[::-1]
        more = int(np.floor((share + 2 * finer) * len(some)))
        values.append(float(some[more]) + 1e-6)
    wider = ForensicThresholds(model="m", values=tuple(values), bpcer=(None,) * 3, photos=limits.photos, cost=0.05)
    assert cost_of(pairs, limits) <= 0.05 < cost_of(pairs, wider)
    assert cost_of(pairs, limits) > 0.03


def test_all_bands_have_one_bpcer_as_near_as_their_photos_allow() -> None:
    limits = choose_thresholds(drawn(2, 2000), T, "m", 0.05)
    assert all(value is not None for value in limits.values)
    assert np.ptp(np.array(limits.bpcer, float)) <= 1.5 / min(limits.photos)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 0.2), st.floats(0, 0.2))
def test_whoever_allows_more_refuses_no_less(seed: int, one: float, other: float) -> None:
    pairs = drawn(seed)
    low, high = (choose_thresholds(pairs, T, "m", cost) for cost in sorted((one, other)))
    assert all(b <= a for a, b in zip(low.values, high.values, strict=True) if a is not None and b is not None)


def test_the_order_of_pairs_and_of_photos_changes_nothing() -> None:
    pairs, rng = drawn(3), np.random.default_rng(0)
    order = rng.permutation(len(pairs))
    turned = JudgedPairs(
        pairs.similarity[order], pairs.scores[order][:, ::-1], pairs.eyes[order][:, ::-1], pairs.generator
    )
    assert choose_thresholds(pairs, T, "m", 0.05) == choose_thresholds(turned, T, "m", 0.05)


def test_a_band_of_too_few_photos_is_not_judged() -> None:
    pairs = drawn(4, 400)
    few = pairs.eyes >= 64
    few &= ~np.isin(pairs.eyes, np.unique(pairs.eyes[few])[: LEAST_PHOTOS - 1])
    small = JudgedPairs(pairs.similarity, pairs.scores, np.where(few, 20, pairs.eyes), pairs.generator)
    limits = choose_thresholds(small, T, "m", 0.05)
    assert limits.values[2] is None and limits.bpcer[2] is None and limits.photos[2] < LEAST_PHOTOS
    assert limits.values[0] is not None
    assert choose_thresholds(pairs.of(np.zeros(400, bool)), T, "m", 0.05).values == (None, None, None)


def table_of(rows: list[dict[str, object]]) -> pa.Table:
    schema = pa.schema([*tables.SCORES, *tables.FORENSIC_SCORES])
    blank = {field.name: None for field in schema} | {"photo_a": "a", "photo_b": "b", "status": "ok"}
    return pa.Table.from_pylist([blank | {"pair": str(i)} | row for i, row in enumerate(rows)], schema)


def test_pairs_are_read_by_kind_and_judged_by_both_numbers() -> None:
    limits = ForensicThresholds(model="m", values=(2.0, 2.0, 2.0), bpcer=(0.0,) * 3, photos=(9,) * 3, cost=0.0)
    clear = {"similarity": 0.9, "forensic_a": 0.0, "forensic_b": 0.0, "eyes_a": 70.0, "eyes_b": 40.0}
    rows = [
        clear | {"kind": "genuine", "label": 1},
        clear | {"label": 1, "forensic_b": 2.0},  # without a kind, by its label
        clear | {"kind": "genuine", "label": 1, "similarity": 0.1, "forensic_a": 5.0},
        clear | {"kind": "genuine", "label": 1, "similarity": None},
        clear | {"kind": "genuine", "label": 1, "eyes_a": 20.0, "forensic_a": 9.0},
        clear | {"kind": "impostor", "label": 0},
        clear | {"kind": "deepfake", "label": 0, "generator": "ghost"},
        clear | {"kind": "deepfake", "label": 0, "generator": "ghost", "forensic_a": 3.0},
        clear | {"kind": "deepfake", "label": 0, "generator": "swap", "similarity": 0.2},
        clear | {"kind": "deepfake", "label": 0, "eyes_b": None, "forensic_b": None},
    ]
    table = table_of(rows)
    found = judge(read_pairs([table[:4].select(COLUMNS), table[4:].select(COLUMNS)], len(rows)), T, "m", 0.05, limits)
    assert (found.genuine, found.rejected_alone, found.rejected, found.unjudged) == (4, 1, 2, 1)
    told = {name: (one.pairs, one.accepted_alone, one.accepted) for name, one in found.by_generator.items()}
    assert told == {"ghost": (2, 2, 1), "swap": (1, 0, 0), "unknown": (1, 1, 1)}
    assert not found.same_pairs and judge(read_pairs([table.select(COLUMNS)], 9), T, "m", 0.05, None).same_pairs


def test_kinds_and_labels_are_read_as_the_rest_of_an_evaluation_reads_them() -> None:
    """Without a kind a negative pair with a generator is a deepfake; pairs without label or score enter no rate."""
    clear = {"similarity": 0.9, "forensic_a": 0.0, "forensic_b": 0.0, "eyes_a": 70.0, "eyes_b": 70.0}
    rows = [
        clear | {"label": 0, "generator": "ghost"},
        clear | {"label": 0},
        clear | {"kind": "genuine", "label": None},
        clear | {"kind": "genuine", "label": 1, "status": "no_face"},
        clear | {"kind": "genuine", "label": 1},
    ]
    found = read_pairs([table_of(rows).select(COLUMNS)], len(rows))
    assert [len(found[kind]) for kind in ("genuine", "deepfake")] == [1, 1]
    assert found["deepfake"].generator.tolist() == ["ghost"]


def test_the_model_is_that_of_any_row_and_two_are_refused() -> None:
    rows = [{"forensic_with": digest} for digest in (None, "", "abc")]
    table = table_of(rows)
    assert model_of([table[:1], table[1:]]) == "abc" and model_of([table[:2]]) == ""
    two = table_of([*rows, {"forensic_with": "def"}])
    with pytest.raises(UserError, match=r"2 models .abc and def.*score all pairs with one"):
        model_of([two])


def test_intervals_draw_the_claimed_people_and_few_have_none() -> None:
    limits = ForensicThresholds(model="m", values=(2.0, 2.0, 2.0), bpcer=(0.0,) * 3, photos=(9,) * 3, cost=0.0)
    clear = {"similarity": 0.9, "forensic_a": 0.0, "eyes_a": 70.0, "eyes_b": 70.0}
    rows = [
        clear | {"kind": kind, "label": label, "person_a": f"{i % people}", "generator": name, "forensic_b": i % 3.0}
        for kind, label, name, people in (
            ("genuine", 1, None, 20),
            ("deepfake", 0, "many", 30),
            ("deepfake", 0, "few", 9),
        )
        for i in range(90)
    ]
    found = judge(read_pairs([table_of(rows).select(COLUMNS)], len(rows)), T, "m", 0.05, limits)
    many, few = found.by_generator["many"], found.by_generator["few"]
    assert (many.persons, few.persons, few.interval) == (30, 9, None)
    assert many.interval and many.interval.low < many.accepted / many.pairs < many.interval.high
    assert found.interval and found.interval.low < found.rejected / found.genuine < found.interval.high
    assert found.interval_alone and found.interval_alone.low == 0 < found.interval_alone.high
    nameless = [row | {"person_a": None} for row in rows]
    found = judge(read_pairs([table_of(nameless).select(COLUMNS)], len(rows)), T, "m", 0.05, limits)
    assert found.interval is None and found.by_generator["many"].interval is None


def test_of_many_pairs_every_second_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from faceverify.evaluation import forensic

    table = table_of([{"kind": "genuine", "label": 1, "similarity": 0.01 * i} for i in range(20)])
    monkeypatch.setattr(forensic, "MOST_PAIRS", 10)
    found = read_pairs([table.select(COLUMNS)], 20)["genuine"]
    np.testing.assert_allclose(found.similarity, 0.01 * np.arange(0, 20, 2), atol=1e-6)
