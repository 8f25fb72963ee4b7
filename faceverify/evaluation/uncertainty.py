"""Bootstrap replicates of every number of an evaluation, drawn together so that all numbers share the same persons."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from faceverify.evaluation import intervals, metrics
from faceverify.evaluation.columns import keys, release
from faceverify.evaluation.intervals import Binned, Interval
from faceverify.evaluation.scored_pairs import GENUINE, IMPOSTOR, ScoredPairs

# Below this many persons the bootstrap's own quantiles are guesses.
FEW_PERSONS = 20


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """Replicates by name, and how they were made.

    Attributes:
        samples: name of a statistic -> its replicates, float64 [R].
        units: group -> independent units in it: persons, or pairs where pairs were drawn.
        method: a clause for people, such as "bootstrap over 412 persons".
    """

    samples: dict[tuple[str, object], np.ndarray]
    units: dict[int, int]
    method: str

    def interval(self, statistic: str, of: object, estimate: float | None, *groups: int) -> Interval | None:
        """The 95 % interval of `statistic`, whose value is `estimate` and rests on `groups`; None if there is none."""
        samples = self.samples.get((statistic, of))
        if samples is None or estimate is None:
            return None
        return intervals.limits(samples, estimate, min(self.units[group] for group in groups))


def draw(
    pairs: ScoredPairs,
    every: metrics.Scores | None,
    by_group: list[np.ndarray],
    thresholds: tuple[float, ...],
    targets: tuple[float, ...],
    count: int,
    seed: int,
) -> Uncertainty:
    """Draw `count` replicates of the error rates.

    Statistics: ("accepted", (group, threshold)), ("eer", group) of the genuine pairs against one group,
    ("eer", "all"), ("auc", "all"), ("accepted", ("fakes", threshold)), ("fnmr_at_fmr", target) against `real`, which
    are the impostors or, without any, all negatives.

    Args:
        pairs: the pairs.
        every: sorted scores of the genuine pairs and all negatives; None (a class is missing) draws nothing.
        by_group: sorted scores of each group.
        thresholds: at which accepted shares are drawn.
        targets: FMR targets that the data supports.
        count: number of replicates; 0 draws nothing.
        seed: of the random numbers.
    """
    if not count or every is None:
        return Uncertainty({}, {}, "none: no replicates drawn")
    edges = intervals.bin_edges(every, thresholds)
    counts = np.stack([_histogram(scores, edges) for scores in by_group])
    release([every.genuine, every.negative, *by_group])  # what follows needs the memory
    rows: dict[tuple[str, object], list[float]] = {}
    at = {threshold: int(np.searchsorted(edges, threshold)) for threshold in thresholds}
    if pairs.persons is None:
        drawn = intervals.pair_replicates(counts, count, seed)
    else:
        drawn = intervals.person_replicates(lambda: _binned(pairs, edges), counts, pairs.persons, count, seed)
    for histogram in drawn:
        for key, value in _statistics(histogram, at, targets).items():
            rows.setdefault(key, []).append(value)
    samples = {key: np.array(values) for key, values in rows.items()}
    return Uncertainty(samples, _units(pairs), _method(pairs))


def _histogram(ascending: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Scores in each bin [edges[b], edges[b + 1]); none lies below the first edge."""
    below = metrics.count_below(ascending, edges)
    return np.diff(np.append(below, ascending.size))


def _binned(pairs: ScoredPairs, edges: np.ndarray) -> Iterator[Binned]:
    """All pairs in the order of group and bin, some at a time, the next ones made ready meanwhile."""
    groups = np.arange(pairs.counts.size, dtype=np.uint64)[:, None] << np.uint64(32)
    cells = (groups | keys(metrics.rounded_up(edges, np.dtype(np.float32)))).ravel()

    def ready(chunk: tuple[np.ndarray, ...]) -> Binned:
        similarity, group, first, second = chunk
        place = group.astype(np.uint64) << np.uint64(32) | keys(similarity)
        order = np.argsort(place)
        starts = np.append(np.searchsorted(place[order], cells), len(order))
        return Binned(starts, first[order], second[order])

    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for chunk in pairs.chunks_with_persons():
            following = pool.submit(ready, chunk)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


def _statistics(
    histogram: np.ndarray, at: dict[float, int], targets: tuple[float, ...]
) -> dict[tuple[str, object], float]:
    """Every statistic of one replicate, [groups, bins]."""
    shares = intervals.accepted_share(histogram)
    everyone, fakes = histogram[1:].sum(axis=0), histogram[2:].sum(axis=0)
    all_share, fake_share = intervals.accepted_share(np.stack([everyone, fakes]))
    tpr = shares[GENUINE]
    real = shares[IMPOSTOR] if histogram[IMPOSTOR].any() else all_share
    result: dict[tuple[str, object], float] = {
        ("eer", "all"): intervals.binned_eer(tpr, all_share),
        ("auc", "all"): intervals.binned_auc(histogram[GENUINE], everyone),
    }
    for group in range(1, len(histogram)):
        result["eer", group] = intervals.binned_eer(tpr, shares[group])
    for target in targets:
        result["fnmr_at_fmr", target] = intervals.binned_fnmr_at_fmr(tpr, real, target)
    for threshold, edge in at.items():
        result["accepted", ("fakes", threshold)] = float(fake_share[edge])
        for group in range(len(histogram)):
            result["accepted", (group, threshold)] = float(shares[group, edge])
    return result


def _units(pairs: ScoredPairs) -> dict[int, int]:
    if pairs.persons is None:
        return dict(enumerate(pairs.counts.tolist()))
    seen = np.zeros((pairs.counts.size, pairs.persons.count), bool)
    for _, group, first, second in pairs.chunks_with_persons():
        seen[group, first] = seen[group, second] = True
    return dict(enumerate(seen.sum(axis=1).tolist()))


def _method(pairs: ScoredPairs) -> str:
    if pairs.persons is None:
        return f"bootstrap over pairs, because {pairs.no_persons}; too narrow where pairs share people"
    few = "; few persons, so the interval itself is rough" if pairs.persons.count < FEW_PERSONS else ""
    return f"bootstrap over {pairs.persons.count:,} persons{few}"
