"""Several networks on the same sets of pairs: a row for each network and set, and which differences are real.

Whether one network makes fewer errors than another on the same pairs is judged by a paired bootstrap: persons (pairs,
where the lists do not name them) are drawn with replacement, the same ones for both, and the difference of the EERs is
taken each time. A difference is called real if 0 lies outside the middle 95 % of these.
"""

import json
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify import tables
from faceverify.errors import UserError
from faceverify.evaluation.metrics import equal_error_rate, sort_scores
from faceverify.inputs import open_table, stream_table
from faceverify.storage import Location
from faceverify.wording import count_of

COLUMNS = ("similarity", "status", "label", "is_fake", "person_a", "person_b", "kind")
CURVE_POINTS = 400


@dataclass(frozen=True, eq=False)
class NetworkResult:
    """One network on one set.

    Args:
        network, set_name: of which.
        metrics: the content of its `metrics.json`.
        similarity: float32 [P] of all pairs of the list in order; NaN where there is none.
        genuine: bool [P]; impostor: bool [P]: of two real photos.
        units: int64 [P, 2]: numbers of both persons; -1 where the list does not name them.
    """

    network: str
    set_name: str
    metrics: dict[str, Any]
    similarity: np.ndarray
    genuine: np.ndarray
    impostor: np.ndarray
    units: np.ndarray

    @classmethod
    def read(cls, network: str, set_name: str, scores: Location, evaluation: Location) -> "NetworkResult":
        """Of what `score` and `evaluate` wrote.

        Raises:
            UserError: there is no such table.
        """
        metrics = json.loads((evaluation / "metrics.json").read_bytes())
        files = open_table(scores, "scores", tables.SCORES, "scores")
        columns = ["similarity", "label", "kind", "person_a", "person_b"]
        rows = pa.concat_tables(stream_table(files, columns))
        label = rows["label"].fill_null(-1).to_numpy()
        similarity = rows["similarity"].to_numpy().astype(np.float32)
        fake = pc.fill_null(pc.equal(rows["kind"], "deepfake"), False).to_numpy(zero_copy_only=False)
        return cls(network, set_name, metrics, similarity, label == 1, (label == 0) & ~fake, _persons(rows))

    @property
    def usable(self) -> np.ndarray:
        """Pairs that count for the EER of real photos: bool [P]."""
        return np.isfinite(self.similarity) & (self.genuine | self.impostor)

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """FMR and FNMR of real photos at some thresholds, both [K], FMR falling; empty without both classes."""
        usable = self.usable
        genuine = np.sort(self.similarity[usable & self.genuine])
        impostor = np.sort(self.similarity[usable & self.impostor])
        if not len(genuine) or not len(impostor):
            return np.zeros(0), np.zeros(0)
        every = np.concatenate([genuine, impostor])
        # As many thresholds in the tail of the impostors as elsewhere: it is what low error rates are about.
        shares = np.concatenate([np.linspace(0, 1, CURVE_POINTS // 2), 1 - np.logspace(-6, 0, CURVE_POINTS // 2)])
        at = np.unique(
            np.concatenate([np.quantile(every, np.linspace(0, 1, 50)), np.quantile(impostor, np.sort(shares))])
        )
        fmr = 1 - np.searchsorted(impostor, at, side="left") / len(impostor)
        return fmr, np.searchsorted(genuine, at, side="left") / len(genuine)


def _persons(rows: pa.Table) -> np.ndarray:
    both = pa.chunked_array([*rows["person_a"].chunks, *rows["person_b"].chunks], pa.string())
    numbers = pc.index_in(both, value_set=both.unique().drop_null()).fill_null(-1).to_numpy().astype(np.int64)
    return np.stack([numbers[: rows.num_rows], numbers[rows.num_rows :]], axis=1)


@dataclass(frozen=True)
class Difference:
    """How much larger the EER of `worse` is than that of `better` on a set, with its 95 % interval."""

    set_name: str
    better: str
    worse: str
    difference: float
    interval: tuple[float, float]

    @property
    def is_real(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.interval[0] > 0

    def __str__(self) -> str:
        low, high = self.interval
        verdict = "a real difference" if self.is_real else "no difference that these pairs can show"
        return (
            f"On {self.set_name}, {self.better} has an EER {100 * self.difference:.2f} points below {self.worse} (95 % "
            f"interval {100 * low:.2f} to {100 * high:.2f}): {verdict}."
        )


@dataclass(frozen=True)
class ComparedNetworks:
    """All differences, and what they come to."""

    differences: tuple[Difference, ...]
    drawn: str  # what was drawn in the bootstrap

    @property
    def summary(self) -> str:
        """In a sentence."""
        real = sum(one.is_real for one in self.differences)
        if not self.differences:
            return "There is nothing to compare: one network, no interval, or no set with genuine and impostor pairs."
        found = f"{real} of {count_of(len(self.differences), 'difference')}"
        return f"More than chance on these pairs: {found} between networks."


def compare_networks(results: list[NetworkResult], replicates: int, seed: int) -> ComparedNetworks:
    """The differences of every two networks on every set.

    Args:
        results: each network on each set.
        replicates: draws of the bootstrap; 0 = no differences.
        seed: of the draws; the same seed gives the same intervals.

    Raises:
        UserError: two results of a set are not of the same pairs.
    """
    found, drawn = list[Difference](), set[str]()
    for name in dict.fromkeys(one.set_name for one in results) if replicates else ():
        of_set = [one for one in results if one.set_name == name]
        if any(len(one.similarity) != len(of_set[0].similarity) for one in of_set):
            raise UserError(f"sets: the networks scored different pairs of '{name}'; give --overwrite to score again.")
        common = np.logical_and.reduce([one.usable for one in of_set])  # pairs that every network could score
        genuine, units = of_set[0].genuine[common], of_set[0].units[common]
        if len(of_set) < 2 or genuine.all() or not genuine.any():
            continue
        weights, what = _drawn(units, replicates, seed)
        drawn.add(what)
        eers = np.array([_eers(one.similarity[common], genuine, weights) for one in of_set])  # [M, 1 + R]
        for a, b in combinations(range(len(of_set)), 2):
            better, worse = (a, b) if eers[a, 0] <= eers[b, 0] else (b, a)
            gaps = eers[worse] - eers[better]
            low, high = np.quantile(gaps[1:], [0.025, 0.975])
            names = of_set[better].network, of_set[worse].network
            found.append(Difference(name, *names, float(gaps[0]), (float(low), float(high))))
    return ComparedNetworks(tuple(found), " and ".join(sorted(drawn)))


def _drawn(units: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, str]:
    """How often each pair counts in each replicate, float32 [R, P], and what was drawn."""
    rng = np.random.default_rng(seed)
    pairs = len(units)
    if (units < 0).any():
        return rng.multinomial(pairs, np.full(pairs, 1 / pairs), count).astype(np.float32), "pairs"
    persons = int(units.max()) + 1
    times = rng.multinomial(persons, np.full(persons, 1 / persons), count).astype(np.float32)
    weights = times[:, units[:, 0]]
    other = units[:, 0] != units[:, 1]
    weights[:, other] *= times[:, units[other, 1]]
    return weights, "persons"


def _eers(similarity: np.ndarray, genuine: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The EER of the pairs as they are, then of each replicate: [1 + R]."""
    order = np.argsort(-similarity, kind="stable")
    ranked, is_genuine = similarity[order], genuine[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # equal similarities are decided together
    exact = equal_error_rate(sort_scores(similarity[genuine], similarity[~genuine])).eer
    found = [exact]
    for row in weights[:, order]:
        accepted = np.cumsum(np.where(is_genuine, row, 0))[last], np.cumsum(np.where(is_genuine, 0, row))[last]
        if not accepted[0][-1] or not accepted[1][-1]:
            found.append(exact)  # a replicate without one of the classes says nothing
            continue
        fnmr, fmr = 1 - accepted[0] / accepted[0][-1], accepted[1] / accepted[1][-1]
        at = int(np.argmax(fmr >= fnmr))
        found.append(float((max(fmr[at], fnmr[at]) + min(fmr[at], fnmr[at])) / 2))
    return np.array(found)


def results_table(results: list[NetworkResult]) -> pa.Table:
    """One row for each network, set and figure: network, set, figure, of, value, low, high, pairs."""
    rows = []
    for one in results:
        for figure, of, value, interval, pairs in figures(one.metrics):
            low, high = interval or (None, None)
            rows.append((one.network, one.set_name, figure, of, value, low, high, pairs))
    names = ("network", "set", "figure", "of", "value", "low", "high", "pairs")
    kinds = (*[pa.string()] * 4, *[pa.float64()] * 3, pa.int64())
    return pa.table(
        {name: pa.array(column, kind) for name, kind, column in zip(names, kinds, zip(*rows, strict=True), strict=True)}
    )


Figure = tuple[str, str, float | None, tuple[float, float] | None, int | None]


def figures(metrics: dict[str, Any]) -> list[Figure]:
    """What is shown of a `metrics.json`: figure, of what, value, interval, pairs; only what there is."""
    kinds = metrics["by_kind"]
    genuine, impostor = kinds["genuine"]["pairs"], kinds["impostor"]["pairs"]
    rows: list[Figure] = [("EER", "", metrics["eer_real"], metrics["eer_real_interval"], genuine + impostor)]
    if metrics["folds"]:
        rows.append(("accuracy", "10 folds", metrics["folds"]["mean"], None, genuine + impostor))
    rows.append(("accuracy", "best threshold", metrics["best_accuracy"], None, genuine + impostor))
    for point in metrics["fnmr_at_fmr"].values():
        bounds = point["interval"] and (1 - point["interval"][1], 1 - point["interval"][0])
        rows.append(("TAR at FAR", f"{point['target']:g}", 1 - point["fnmr"], bounds, genuine))
    for generator, fakes in metrics["by_generator"].items():
        rows.append(("fakes accepted", generator, fakes["accept_rate"], fakes["accept_interval"], fakes["pairs"]))
    return [row for row in rows if row[2] is not None]
