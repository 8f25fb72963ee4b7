"""What an evaluation shows besides numbers: score histograms, DET curves, the most wrong pairs."""

from collections.abc import Sequence

import numpy as np

from faceverify.evaluation import metrics
from faceverify.evaluation.result import Curve, Histogram, WorstPair
from faceverify.evaluation.scored_pairs import GENUINE, KINDS, ScoredPairs

_HISTOGRAM_BINS = 80
_SHOWN = ("pair", "photo_a", "photo_b", "label", "person_a", "person_b", "generator", "similarity")


def _named_groups(pairs: ScoredPairs) -> list[tuple[str, str, int]]:
    """(kind, generator, group) of the groups that have pairs."""
    named = [("genuine", ""), ("impostor", ""), *(("deepfake", name) for name in pairs.generators)]
    return [(*name, group) for group, name in enumerate(named) if pairs.counts[group]]


def histograms(pairs: ScoredPairs, by_group: Sequence[np.ndarray]) -> tuple[Histogram, ...]:
    """Score counts of every group over common bins, whose ends are multiples of 0.05.

    Args:
        pairs: the pairs.
        by_group: sorted scores of each group.
    """
    present = [scores for scores in by_group if scores.size]
    low = np.floor(min(float(scores[0]) for scores in present) * 20) / 20
    high = max(np.ceil(max(float(scores[-1]) for scores in present) * 20) / 20, low + 0.05)
    edges = np.linspace(low, high, _HISTOGRAM_BINS + 1)
    inside = edges.copy()
    inside[-1] = np.nextafter(high, np.inf)  # the last bin holds its upper edge too
    return tuple(
        Histogram(kind, generator, edges, np.diff(metrics.count_below(by_group[group], inside)))
        for kind, generator, group in _named_groups(pairs)
    )


def det_curves(pairs: ScoredPairs, by_group: Sequence[np.ndarray]) -> tuple[Curve, ...]:
    """One DET curve per attack, thinned for drawing; arguments as of `histograms`."""
    genuine = by_group[GENUINE]
    curves = []
    for kind, generator, group in _named_groups(pairs) if genuine.size else ():
        if group != GENUINE:
            scores = metrics.Scores(genuine, by_group[group])
            thresholds = metrics.thin_thresholds(scores)
            curves.append(Curve(kind, generator, thresholds, scores.fmr(thresholds), scores.fnmr(thresholds)))
    return tuple(curves)


def worst_pairs(pairs: ScoredPairs, threshold: float | None) -> dict[str, tuple[WorstPair, ...]]:
    """Of each kind the genuine pairs with the lowest scores, or the negatives with the highest; ties in the table's
    order."""
    rows = pairs.rows.take([number for worst in pairs.worst for number in worst], _SHOWN)
    return {
        kind: tuple(WorstPair.of(rows[number], threshold) for number in worst)
        for kind, worst in zip(KINDS, pairs.worst, strict=True)
    }
