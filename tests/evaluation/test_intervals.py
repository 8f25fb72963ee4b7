"""The bootstrap: against the plain metrics, a loop over pairs, and by how often its intervals hold the truth."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceverify.evaluation import intervals, metrics
from faceverify.evaluation.intervals import Binned, Persons

SCORES = st.lists(st.integers(-20, 20).map(lambda tenth: tenth / 20), min_size=1, max_size=40)


def histogram(genuine: np.ndarray, negative: np.ndarray, edges: np.ndarray) -> np.ndarray:
    bins = [np.searchsorted(edges, scores, side="right") - 1 for scores in (genuine, negative)]
    return np.stack([np.bincount(places, minlength=edges.size) for places in bins])


def draw(
    group: np.ndarray,
    bins: np.ndarray,
    people: tuple[np.ndarray, np.ndarray, int],
    count: int,
    seed: int,
    parts: int = 1,
) -> list[np.ndarray]:
    """Replicates of pairs that are given in `parts`."""
    shape = (int(group.max()) + 1, int(bins.max()) + 1)
    cell, (first, second, persons) = group * shape[1] + bins, people

    def pairs() -> Iterator[Binned]:
        for some in np.array_split(np.arange(len(cell)), parts):
            order = some[np.argsort(cell[some], kind="stable")]
            yield Binned(np.searchsorted(cell[order], np.arange(shape[0] * shape[1] + 1)), first[order], second[order])

    counts = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
    return list(intervals.person_replicates(pairs, counts, Persons(persons, np.arange(persons)), count, seed))


@given(SCORES, SCORES, st.floats(-1, 1))
def test_binned_numbers_equal_the_exact_ones(genuine: list[float], negative: list[float], threshold: float) -> None:
    scores = metrics.sort_scores(np.array(genuine), np.array(negative))
    edges = intervals.bin_edges(scores, (threshold,))
    counts = histogram(scores.genuine, scores.negative, edges)
    tpr, fmr = intervals.accepted_share(counts)
    assert intervals.binned_eer(tpr, fmr) == pytest.approx(metrics.equal_error_rate(scores).eer, abs=1e-12)
    assert intervals.binned_auc(*counts) == pytest.approx(metrics.auc(scores), abs=1e-12)
    assert intervals.binned_fnmr_at_fmr(tpr, fmr, 1.0) == pytest.approx(metrics.fnmr_at_fmr(scores, 1.0).fnmr)
    at = int(np.searchsorted(edges, threshold))
    assert fmr[at] == scores.fmr(threshold)
    assert tpr[at] == pytest.approx(1 - scores.fnmr(threshold))


@given(SCORES, SCORES, st.floats(0.05, 1))
def test_binned_fnmr_keeps_the_target_like_the_exact_one(genuine: list, negative: list, target: float) -> None:
    scores = metrics.sort_scores(np.array(genuine), np.array(negative))
    edges = intervals.bin_edges(scores)
    tpr, fmr = intervals.accepted_share(histogram(scores.genuine, scores.negative, edges))
    if target * len(negative) >= 1:
        want = metrics.fnmr_at_fmr(scores, target).fnmr
        assert intervals.binned_fnmr_at_fmr(tpr, fmr, target) == pytest.approx(want, abs=1e-12)


def test_many_scores_are_binned_finely_where_errors_are_rare() -> None:
    rng = np.random.default_rng(1)
    scores = metrics.sort_scores(rng.normal(0.6, 0.15, 100_000), rng.normal(0, 0.12, 400_000))
    edges = intervals.bin_edges(scores, (0.3,))
    assert edges.size < 20_000
    counts = histogram(scores.genuine, scores.negative, edges)
    tpr, fmr = intervals.accepted_share(counts)
    assert counts.sum() == 500_000
    assert intervals.binned_eer(tpr, fmr) == pytest.approx(metrics.equal_error_rate(scores).eer, rel=1e-3)
    assert intervals.binned_auc(*counts) == pytest.approx(metrics.auc(scores), abs=1e-4)
    for target in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5):
        want = metrics.fnmr_at_fmr(scores, target).fnmr
        assert intervals.binned_fnmr_at_fmr(tpr, fmr, target) == pytest.approx(want, rel=3e-3)
    assert fmr[np.searchsorted(edges, 0.3)] == scores.fmr(0.3)


@settings(max_examples=25)
@given(st.integers(0, 1000))
def test_a_pair_counts_as_often_as_its_persons_were_drawn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 5, 30), rng.integers(0, 5, 30)
    group, bins = rng.integers(0, 2, 30), rng.integers(0, 3, 30)
    group[0], bins[0] = 1, 2
    (result,) = draw(group, bins, (first, second, 5), 1, seed)
    drawn = np.bincount(np.random.default_rng(seed).integers(0, 5, 5), minlength=5)
    want = np.zeros((2, 3))
    for pair in range(30):
        a, b = first[pair], second[pair]
        want[group[pair], bins[pair]] += drawn[a] if a == b else drawn[a] * drawn[b]
    np.testing.assert_array_equal(result, want)


@pytest.mark.parametrize(("persons", "pairs", "bins"), [(7, 5000, 1), (3, 60, 60), (400, 3000, 50)])
def test_replicates_do_not_depend_on_how_they_are_computed(
    persons: int, pairs: int, bins: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever number of pairs, rows, threads and replicates is taken at once; long bins are added up in steps."""
    rng = np.random.default_rng(0)
    people = (rng.integers(0, persons, pairs), rng.integers(0, persons, pairs), persons)
    group, cells = rng.integers(0, 2, pairs), rng.integers(0, bins, pairs)
    group[:2], cells[:2] = 1, bins - 1
    want = []
    again = np.random.default_rng(3)
    for _ in range(9):
        drawn = np.bincount(again.integers(0, persons, persons), minlength=persons)
        weight = np.where(people[0] == people[1], drawn[people[0]], drawn[people[0]] * drawn[people[1]])
        want.append(np.bincount(group * bins + cells, weight, minlength=2 * bins).reshape(2, bins))
    for memory, rows, threads, parts in ((1 << 28, 4096, 2, 1), (0, 17, 1, 4), (8 * 2 * bins * 4, 700, 8, 3)):
        monkeypatch.setattr(intervals, "_MEMORY", memory)
        monkeypatch.setattr(intervals, "_ROWS", rows)
        monkeypatch.setattr(intervals, "_THREADS", threads)
        np.testing.assert_array_equal(draw(group, cells, people, 9, 3, parts), want)


def test_pairs_are_drawn_within_their_group() -> None:
    group, bins = np.repeat([0, 1], [40, 10]), np.tile([0, 2], 25)
    counts = np.bincount(group * 3 + bins, minlength=6).reshape(2, 3)
    results = list(intervals.pair_replicates(counts, 200, 7))
    assert {tuple(result.sum(axis=1)) for result in results} == {(40, 10)}
    assert all((result[:, 1] == 0).all() for result in results)
    assert np.mean([result[0, 0] for result in results]) == pytest.approx(20, abs=1)


def test_same_seed_same_replicates() -> None:
    people = (np.arange(9) % 3, np.arange(9) % 2, 3)
    runs = [draw(np.zeros(9, int), np.arange(9), people, 3, seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def rejection_rate_intervals(rng: np.random.Generator, by_person: bool) -> intervals.Interval | None:
    """The interval of a rate whose truth is 0.2, from 40 persons that each have a rate of their own."""
    rejected = rng.random((40, 12)) < rng.beta(1, 4, size=(40, 1))
    who = np.repeat(np.arange(40), 12)
    bins, seed = rejected.ravel().astype(int), int(rng.integers(1 << 30))
    if by_person:
        drawn = iter(draw(np.zeros(480, int), bins, (who, who, 40), 200, seed))
    else:
        drawn = intervals.pair_replicates(np.bincount(bins, minlength=2)[None], 200, seed)
    return intervals.limits(np.array([result[0, 1] / result.sum() for result in drawn]), rejected.mean(), 40)


def test_intervals_over_persons_hold_the_truth_and_those_over_pairs_do_not() -> None:
    rng = np.random.default_rng(5)
    hits = {True: 0, False: 0}
    for _ in range(200):
        for by_person in hits:
            interval = rejection_rate_intervals(rng, by_person)
            assert interval is not None
            hits[by_person] += interval.low <= 0.2 <= interval.high
    assert 0.89 <= hits[True] / 200 <= 0.99
    assert hits[False] / 200 < 0.85


def test_no_errors_seen_is_not_certainty() -> None:
    none = intervals.limits(np.zeros(100), 0.0, 30)
    assert none is not None
    assert none.low == 0
    assert none.high == pytest.approx(3 / 30, rel=0.06)
    everything = intervals.limits(np.ones(100), 1.0, 30)
    assert everything is not None
    assert (everything.low, everything.high) == (pytest.approx(1 - none.high), 1)


def test_replicates_that_miss_a_group_are_left_out() -> None:
    with_gaps = intervals.limits(np.array([np.nan, 0.1, 0.2, 0.3, np.nan]), 0.2, 5)
    assert with_gaps == intervals.limits(np.array([0.1, 0.2, 0.3]), 0.2, 5)
    assert intervals.limits(np.full(4, np.nan), 0.2, 5) is None
    empty = intervals.accepted_share(np.zeros((2, 3)))
    assert np.isnan(empty).all()
    assert np.isnan(intervals.binned_eer(empty[0], empty[1]))
    assert np.isnan(intervals.binned_fnmr_at_fmr(empty[0], empty[1], 0.1))
    assert np.isnan(intervals.binned_auc(np.zeros(3), np.ones(3)))
