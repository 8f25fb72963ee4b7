"""Several networks on the same sets of pairs: a row for each network and set, and which differences are real.

Whether one network makes fewer errors than another on the same pairs is judged by a paired bootstrap: persons (pairs,
where the lists do not name them) are drawn with replacement, the same ones for both, and the difference of the EERs is
taken each time. A difference is called real if 0 lies outside the middle 95 % of these.
"""

import json
from collections.abc import Iterator, Sequence
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
from faceverify.protocols.sets import EvaluationSet, Result
from faceverify.storage import Location
from faceverify.wording import count_of

CURVE_POINTS = 400
Figure = tuple[str, str, float | None, tuple[float, float] | None, int | None]  # figure, of, value, interval, pairs


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
        return _curve(self.similarity[usable & self.genuine], self.similarity[usable & self.impostor])

    @property
    def rows(self) -> int:
        """Pairs of the set."""
        return len(self.similarity)

    @property
    def figures(self) -> list[Figure]:
        """What is shown of it."""
        return figures(self.metrics)


@dataclass(frozen=True, eq=False)
class ProtocolResult:
    """One network on one set that is measured by its protocol, as JSON can hold it.

    Args:
        network, set_name: of which.
        rows: photos of the set.
        figures: what is shown of it.
        fmr, fnmr: see `curve`; empty where the protocol has no pairs.
    """

    network: str
    set_name: str
    rows: int
    figures: list[Figure]
    fmr: list[float]
    fnmr: list[float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "figures", [tuple(figure) for figure in self.figures])  # JSON has lists

    @classmethod
    def of(cls, network: str, measured: EvaluationSet, found: Result) -> "ProtocolResult":
        """Of what a set found in a network's features."""
        fmr, fnmr = np.zeros(0), np.zeros(0)
        if found.similarity is not None and found.label is not None:
            kept = np.isfinite(found.similarity)
            fmr, fnmr = _curve(found.similarity[kept & found.label], found.similarity[kept & ~found.label])
        rows = [row for name, value in found.numbers.items() for row in _of_protocol(name, value, found.counts)]
        return cls(network, measured.name, len(measured.photos), rows, fmr.tolist(), fnmr.tolist())

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """FMR and FNMR of the pairs at some thresholds, both [K], FMR falling; empty where there are none."""
        return np.array(self.fmr), np.array(self.fnmr)


_TITLES = {"tar_within": "TAR at FAR", "tar_nearest": "TAR nearest to FAR", "rank": "rank", "tpir": "TPIR at FPIR"}


def _of_protocol(name: str, value: float, counts: dict[str, int]) -> Iterator[Figure]:
    """The figure of a number of `faceverify.protocols.sets`, with how many comparisons or searches it rests on."""
    if name == "eer":
        yield "EER", "", value, None, counts["genuine"] + counts["impostor"]
        return
    form = next((form for form in ("joined", "apart") if name.startswith(f"{form}_")), "")
    kind = next((kind for kind in _TITLES if name.removeprefix(f"{form}_").startswith(kind)), None)
    if kind is None:
        return  # AUC says nothing that the curve does not show
    of = name.rpartition("@" if "@" in name else "_")[2]
    rests_on = counts["genuine"] if kind.startswith("tar") else counts.get("mated", counts.get("probes"))
    yield _TITLES[kind] + (f", {form}" if form else ""), of, value, None, rests_on


def _curve(genuine: np.ndarray, impostor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """FMR and FNMR at some thresholds, both [K], FMR falling; empty without both classes."""
    genuine, impostor = np.sort(genuine), np.sort(impostor)
    if not len(genuine) or not len(impostor):
        return np.zeros(0), np.zeros(0)
    # As many thresholds in the tail of the impostors as elsewhere: it is what low error rates are about.
    shares = np.concatenate([np.linspace(0, 1, CURVE_POINTS // 2), 1 - np.logspace(-6, 0, CURVE_POINTS // 2)])
    at = np.unique(
        np.concatenate(
            [
                np.quantile(np.concatenate([genuine, impostor]), np.linspace(0, 1, 50)),
                np.quantile(impostor, np.sort(shares)),
            ]
        )
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
        drawn.add("pairs" if (units < 0).any() else "persons")
        ranked = [_Ranked(one.similarity[common], genuine) for one in of_set]
        eers = [[one.eer for one in ranked]]
        # One replicate at a time: all of them would not fit the memory where there are many pairs.
        eers += [[one.weighted_eer(weights) for one in ranked] for weights in _drawn(units, replicates, seed)]
        eers = np.array(eers).T  # [M, 1 + R]
        for a, b in combinations(range(len(of_set)), 2):
            better, worse = (a, b) if eers[a, 0] <= eers[b, 0] else (b, a)
            gaps = eers[worse] - eers[better]
            low, high = np.quantile(gaps[1:], [0.025, 0.975])
            names = of_set[better].network, of_set[worse].network
            found.append(Difference(name, *names, float(gaps[0]), (float(low), float(high))))
    return ComparedNetworks(tuple(found), " and ".join(sorted(drawn)))


def _drawn(units: np.ndarray, count: int, seed: int) -> Iterator[np.ndarray]:
    """How often each pair counts, float64 [P], in each replicate."""
    rng = np.random.default_rng(seed)
    if (units < 0).any():
        for _ in range(count):
            yield np.bincount(rng.integers(0, len(units), len(units)), minlength=len(units)).astype(float)
        return
    persons, other = int(units.max()) + 1, units[:, 0] != units[:, 1]
    for _ in range(count):
        times = np.bincount(rng.integers(0, persons, persons), minlength=persons).astype(float)
        yield times[units[:, 0]] * np.where(other, times[units[:, 1]], 1)


class _Ranked:
    """Pairs in the order of one network's similarities.

    eer: of the pairs as they are.
    """

    def __init__(self, similarity: np.ndarray, genuine: np.ndarray) -> None:
        self.eer = equal_error_rate(sort_scores(similarity[genuine], similarity[~genuine])).eer
        self._order = np.argsort(-similarity, kind="stable")
        ranked, self._genuine = similarity[self._order], genuine[self._order]
        # Equal similarities are decided together.
        self._last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))

    def weighted_eer(self, weights: np.ndarray) -> float:
        """The EER if each pair counts as often as `weights` [P] says."""
        row = weights[self._order]
        genuine = np.cumsum(np.where(self._genuine, row, 0))[self._last]
        impostor = np.cumsum(np.where(self._genuine, 0, row))[self._last]
        if not genuine[-1] or not impostor[-1]:
            return self.eer  # a replicate without one of the classes says nothing
        fnmr, fmr = 1 - genuine / genuine[-1], impostor / impostor[-1]
        at = int(np.argmax(fmr >= fnmr))
        return float((fmr[at] + fnmr[at]) / 2)


def results_table(results: Sequence[NetworkResult | ProtocolResult]) -> pa.Table:
    """One row for each network, set and figure: network, set, figure, of, value, low, high, pairs."""
    rows = []
    for one in results:
        for figure, of, value, interval, pairs in one.figures:
            low, high = interval or (None, None)
            rows.append((one.network, one.set_name, figure, of, value, low, high, pairs))
    names = ("network", "set", "figure", "of", "value", "low", "high", "pairs")
    kinds = (*[pa.string()] * 4, *[pa.float64()] * 3, pa.int64())
    return pa.table(
        {name: pa.array(column, kind) for name, kind, column in zip(names, kinds, zip(*rows, strict=True), strict=True)}
    )


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
