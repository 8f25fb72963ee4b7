"""What an evaluation shows besides numbers: score histograms, DET curves, the most wrong pairs."""

import numpy as np
import pyarrow as pa

from faceverify.evaluation import metrics
from faceverify.evaluation.result import Curve, Histogram, WorstPair
from faceverify.evaluation.scored_pairs import GENUINE, IMPOSTOR, ScoredPairs

_HISTOGRAM_BINS = 80


def _named_groups(pairs: ScoredPairs) -> list[tuple[str, str, int]]:
    """(kind, generator, group) of the groups that have pairs."""
    named = [("genuine", "", GENUINE), ("impostor", "", IMPOSTOR)]
    named += [("deepfake", name, 2 + index) for index, name in enumerate(pairs.generators)]
    return [entry for entry in named if (pairs.group == entry[2]).any()]


def histograms(pairs: ScoredPairs) -> tuple[Histogram, ...]:
    """Score counts of every group over common bins, whose ends are multiples of 0.05."""
    low = np.floor(float(pairs.similarity.min()) * 20) / 20
    high = max(np.ceil(float(pairs.similarity.max()) * 20) / 20, low + 0.05)
    edges = np.linspace(low, high, _HISTOGRAM_BINS + 1)
    return tuple(
        Histogram(kind, generator, edges, np.histogram(pairs.of(group), edges)[0])
        for kind, generator, group in _named_groups(pairs)
    )


def det_curves(pairs: ScoredPairs) -> tuple[Curve, ...]:
    """One DET curve per attack, thinned for drawing."""
    genuine = pairs.of(GENUINE)
    curves = []
    for kind, generator, group in _named_groups(pairs) if genuine.size else ():
        if group != GENUINE:
            scores = metrics.sort_scores(genuine, pairs.of(group))
            thresholds = metrics.thin_thresholds(scores)
            curves.append(Curve(kind, generator, thresholds, scores.fmr(thresholds), scores.fnmr(thresholds)))
    return tuple(curves)


def worst_pairs(pairs: ScoredPairs, kind: int, threshold: float | None, count: int) -> tuple[WorstPair, ...]:
    """The genuine pairs with the lowest scores, or the negatives with the highest; ties in the table's order."""
    rows = np.flatnonzero(pairs.kind == kind)
    wrongness = pairs.similarity[rows] * (1 if kind == GENUINE else -1)
    if rows.size > count > 0:
        limit = np.partition(wrongness, count - 1)[count - 1]
        keep = wrongness <= limit
        rows, wrongness = rows[keep], wrongness[keep]
    order = rows[np.argsort(wrongness, kind="stable")[:count]]
    return tuple(WorstPair.of(row, threshold) for row in pairs.table.take(pa.array(order)).to_pylist())
