"""Figures per generator: naive loops over units say the same, and no figure depends on the order of rows."""

import tracemalloc
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceverify.evaluation.deepfakes import (
    LEAST_UNITS,
    Claims,
    GeneratorResult,
    Pictures,
    Share,
    bpcer_by_source,
    judge_generator,
    judge_genuine,
    overall,
    paired_wins,
    share_of_all,
    share_of_units,
    shortcut,
    too_small,
    wins,
)
from faceverify.evaluation.forensic import JudgedPairs, choose_thresholds
from faceverify.forensics.bands import BANDS, band_of
from faceverify.forensics.thresholds import ForensicThresholds

T = 0.3
LIMITS = ForensicThresholds(model="m", values=(0.5, None, 1.0), bpcer=(0.1, None, 0.1), photos=(60, 9, 60), cost=0.05)


def pictures(rng: np.random.Generator, count: int, units: int, shift: float = 0.0) -> Pictures:
    """With ties, scores and hosts that are unknown, and sizes of all bands."""
    scores = np.round(rng.normal(shift, 1, count), 1).astype(np.float32)
    hosts = np.round(scores - rng.normal(0.3, 0.5, count), 1).astype(np.float32)
    hosts[rng.random(count) < 0.3] = np.nan
    scores[rng.random(count) < 0.05] = np.nan
    names = np.array([f"unit {i}" for i in rng.integers(0, units, count)], object)
    return Pictures(scores, rng.uniform(20, 100, count).astype(np.float32), names, hosts)


def claims(rng: np.random.Generator, fakes: int, count: int) -> Claims:
    scores, eyes = rng.normal(0, 1, count).astype(np.float32), rng.uniform(20, 100, count).astype(np.float32)
    return Claims(rng.integers(0, fakes, count), rng.normal(0.4, 0.2, count).astype(np.float32), scores, eyes)


def counts_as_manipulated(score: float, eyes: float) -> bool:
    """LIMITS by hand: from 32 to 48 pixels 0.5, from 64 on 1.0, nothing else is judged."""
    limit = 0.5 if 32 <= eyes < 48 else 1.0 if eyes >= 64 else None
    return limit is not None and bool(score >= limit)


def mean_of_units(values: list[tuple[str, float]]) -> float | None:
    by: dict[str, list[float]] = {}
    for unit, value in values:
        if not np.isnan(value):
            by.setdefault(unit, []).append(value)
    return sum(sum(some) / len(some) for some in by.values()) / len(by) if by else None


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([None, 0, 1, 2]))
def test_naive_loops_give_the_same_figures(seed: int, band: int | None) -> None:
    rng = np.random.default_rng(seed)
    fakes, real = pictures(rng, 40, 15, 1.0), pictures(rng, 60, 60)
    pairs = claims(rng, 40, 90)
    found = judge_generator(fakes, pairs, real, LIMITS, T, band)

    def inside(eyes: float) -> bool:
        return band is None or bool(BANDS[band].least <= eyes < BANDS[band].below)

    chosen = [i for i in range(40) if inside(fakes.eyes[i])]
    hit = [counts_as_manipulated(fakes.scores[i], fakes.eyes[i]) for i in range(40)]
    both, alone = [], []
    for at, similarity, score, eyes in zip(pairs.fake, pairs.similarity, pairs.scores, pairs.eyes, strict=True):
        if at in chosen:
            near = bool(similarity >= np.float32(T))
            alone.append((fakes.units[at], float(near)))
            both.append((fakes.units[at], float(near and not hit[at] and not counts_as_manipulated(score, eyes))))
    beside = [s for s, e in zip(real.scores, real.eyes, strict=True) if inside(e) and not np.isnan(s)]
    auc, paired = [], []
    for i in chosen:
        score, host = float(fakes.scores[i]), float(fakes.hosts[i])
        above = [1.0 if score > other else 0.5 if score == other else 0.0 for other in beside]
        auc.append((fakes.units[i], np.nan if np.isnan(score) or not above else sum(above) / len(above)))
        known = not (np.isnan(score) or np.isnan(host))
        paired.append((fakes.units[i], (score > host) + 0.5 * (score == host) if known else np.nan))
    for share, expected in (
        (found.iapar, both),
        (found.iapar_alone, alone),
        (found.apcer, [(fakes.units[i], float(not hit[i])) for i in chosen]),
        (found.auc, auc),
        (found.paired_auc, paired),
    ):
        assert share.value == pytest.approx(mean_of_units(expected), abs=1e-12)
    judged = sum(not np.isnan(fakes.scores[i]) and band_of(fakes.eyes[[i]])[0] in (0, 2) for i in chosen)
    assert (found.pictures, found.not_judged) == (len(chosen), len(chosen) - judged)
    assert found.units == len({fakes.units[i] for i in chosen})


def in_other_order(rng: np.random.Generator, fakes: Pictures, pairs: Claims) -> tuple[Pictures, Claims]:
    order, rows = rng.permutation(len(fakes)), rng.permutation(len(pairs.fake))
    at = np.argsort(order)[pairs.fake[rows]]
    return fakes.of(order), Claims(at, pairs.similarity[rows], pairs.scores[rows], pairs.eyes[rows])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_the_order_of_rows_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    fakes, real, pairs = pictures(rng, 60, 20), pictures(rng, 50, 50), claims(rng, 60, 120)
    first = judge_generator(fakes, pairs, real, LIMITS, T)
    second = judge_generator(*in_other_order(rng, fakes, pairs), real.of(rng.permutation(50)), LIMITS, T)
    np.testing.assert_allclose(flat(first), flat(second), atol=1e-12)


def flat(result: GeneratorResult) -> np.ndarray:
    """All numbers of a result."""
    numbers: list[float] = [result.not_judged, result.pictures, result.units]
    for share in (result.iapar, result.iapar_alone, result.apcer, result.auc, result.paired_auc):
        value, interval, *rest = astuple(share)
        numbers += [np.nan if value is None else value, *(interval or (np.nan, np.nan)), *rest]
    return np.array(numbers, float)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 0.2), st.floats(0, 0.2))
def test_thresholds_keep_their_cost_and_a_larger_cost_catches_no_less(seed: int, one: float, other: float) -> None:
    """The whole way: thresholds chosen on genuine pairs, judged on those pairs and on fakes."""
    rng = np.random.default_rng(seed)
    scores, eyes = np.round(rng.normal(0, 1, 300), 1).astype(np.float32), rng.uniform(20, 100, 300).astype(np.float32)
    at = rng.integers(0, 300, (400, 2))
    similarity = rng.normal(0.5, 0.15, 400).astype(np.float32)
    genuine = JudgedPairs(similarity, scores[at], eyes[at], np.full(400, "", object))
    persons = np.array([f"{i % 30}" for i in range(400)], object)
    fakes, real, pairs = pictures(rng, 60, 20, 1.0), pictures(rng, 50, 50), claims(rng, 60, 120)
    caught = []
    for cost in sorted((one, other)):
        limits = choose_thresholds(genuine, T, "m", cost)
        paid = judge_genuine(similarity, scores[at], eyes[at], persons, limits, T)
        assert paid.system.total - paid.alone.total == paid.cost.total
        assert paid.cost.total <= cost * 400 + 1e-9
        caught.append(judge_generator(fakes, pairs, real, limits, T))
    assert caught[1].apcer.value <= caught[0].apcer.value + 1e-12  # pyrefly: ignore
    assert caught[1].iapar.value <= caught[0].iapar.value + 1e-12  # pyrefly: ignore


def test_units_weigh_equally_however_many_frames_they_have() -> None:
    values = np.array([1, 1, 1, 1, 1, 1, 1, 1, 0.0])
    units = np.array(["long"] * 8 + ["short"])
    assert share_of_units(values, units) == Share(0.5, None, 8.0, 9, 2)
    assert share_of_all(values, units).value == pytest.approx(8 / 9)


def test_below_ten_units_there_is_a_count_and_no_interval() -> None:
    few = share_of_units(np.array([1, 1, 1, 0, 0]), np.array(list("abcde")))
    assert few.interval is None and str(few) == "3 of 5 (5 units)"
    assert str(share_of_units(np.array([0.25, 0.5]), np.array(["a", "b"]))) == "37.5% of 2 (2 units)"
    names = np.array([f"{i}" for i in range(LEAST_UNITS)])
    enough = share_of_units(np.arange(LEAST_UNITS) % 2, names)
    assert enough.interval is not None and enough.interval.low < 0.5 < enough.interval.high
    assert str(share_of_units(np.zeros(0), np.zeros(0, object))) == "-"


def test_intervals_draw_units_and_are_wider_than_if_frames_were_drawn() -> None:
    rng = np.random.default_rng(0)
    units = np.repeat([f"{i}" for i in range(20)], 30)
    values = np.repeat(rng.integers(0, 2, 20), 30).astype(float)  # frames of a clip go together
    clips, frames = share_of_units(values, units), share_of_units(values, np.arange(600))
    assert clips.interval and frames.interval and clips.value == pytest.approx(frames.value)
    wide, narrow = (one.interval.high - one.interval.low for one in (clips, frames))  # pyrefly: ignore
    assert wide > 4 * narrow
    assert clips == share_of_units(values, units)


def test_one_long_name_does_not_make_all_of_them_long() -> None:
    """With numpy's strings 50,000 names would take as many times 4 bytes for each of its letters: 800 MB."""
    names = np.array([f"{i % 50}" for i in range(50_000)], object)
    short = share_of_units(np.arange(50_000) % 3 == 0, names)
    names[names == "7"] = "7" * 4000
    tracemalloc.start()
    try:
        long = share_of_units(np.arange(50_000) % 3 == 0, names)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100 << 20
    assert (long.value, long.units) == (pytest.approx(short.value), 50)


def test_many_units_are_drawn_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    values, names = np.random.default_rng(0).random(300), np.array([f"{i}" for i in range(300)])
    at_once = share_of_units(values, names)
    monkeypatch.setattr("faceverify.evaluation.deepfakes._DRAWN", 7 * 300)
    np.testing.assert_allclose(share_of_units(values, names).interval, at_once.interval, rtol=1e-12)


def test_where_nothing_went_wrong_the_interval_is_still_open() -> None:
    none = share_of_units(np.zeros(20), np.array([f"{i}" for i in range(20)]))
    assert none.value == 0 and none.interval is not None
    assert none.interval.high == pytest.approx(1 - 0.05 ** (1 / 20))


def test_wins_counts_ties_half() -> None:
    np.testing.assert_array_equal(wins(np.array([1.0, 2.0, 3.0, np.nan]), np.array([2.0, 2.0, np.nan, 1.0])), [
        1 / 6, 2 / 3, 1.0, np.nan,
    ])  # fmt: skip
    assert np.isnan(wins(np.array([1.0]), np.array([np.nan]))).all()
    found = paired_wins(np.array([1.0, 1.0, 1.0, np.nan]), np.array([0.0, 1.0, 2.0, 0.0]))
    np.testing.assert_array_equal(found, [1, 0.5, 0, np.nan])


def test_bpcer_is_given_by_source_over_judged_photos_alone() -> None:
    rng = np.random.default_rng(5)
    photos, sources = pictures(rng, 200, 40), np.array(["web", "lab"])[rng.integers(0, 2, 200)]
    found = bpcer_by_source(photos, sources, LIMITS)
    for name in ("lab", "web"):
        some = [
            counts_as_manipulated(s, e)
            for s, e, source in zip(photos.scores, photos.eyes, sources, strict=True)
            if source == name and not np.isnan(s) and (32 <= e < 48 or e >= 64)
        ]
        assert (found[name].total, found[name].of) == (sum(some), len(some))
    assert list(found) == ["lab", "web"]


def test_overall_weighs_generators_equally_and_names_the_worst() -> None:
    shares = {"a": Share(0.2, None, 2, 10, 3), "b": Share(0.6, None, 600, 1000, 90), "c": Share(None, None, 0, 0, 0)}
    found = overall(shares)
    assert (found.mean, found.worst, found.highest, found.generators) == (pytest.approx(0.4), "b", 0.6, 2)
    assert overall({}).mean is None


@pytest.mark.parametrize(("caught", "holds"), [((50, 50, 45), True), ((50, 52, 44), False), ((50, 56, 50), False)])
def test_a_shortcut_is_seen_in_either_direction(caught: tuple[int, ...], holds: bool) -> None:
    ways = {f"way {i}": np.arange(100) < hits for i, hits in enumerate(caught)}
    assert shortcut(ways, 0.05).holds is holds
    assert shortcut(ways, 0.05).shares["way 0"] == 0.5


def test_too_small_counts_unknown_sizes_too() -> None:
    assert too_small(np.array([31.9, 32.0, np.nan, 80.0], np.float32)) == 2


def test_a_score_at_its_threshold_counts_as_manipulated() -> None:
    eyes = np.array([40.0, 40.0], np.float32)
    scores = np.array([0.5, np.nextafter(np.float32(0.5), np.float32(0))], np.float32)
    fakes = Pictures(scores, eyes, np.array(["a", "b"], object), np.full(2, np.nan, np.float32))
    pairs = Claims(np.array([0, 1]), np.full(2, 0.9, np.float32), np.zeros(2, np.float32), np.full(2, 70, np.float32))
    assert judge_generator(fakes, pairs, fakes, LIMITS, T).iapar.total == 1
