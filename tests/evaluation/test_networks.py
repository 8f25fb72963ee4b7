"""Networks on the same pairs: EERs as everywhere else, differences by chance told from real ones."""

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from faceverify.errors import UserError
from faceverify.evaluation.metrics import equal_error_rate, sort_scores
from faceverify.evaluation.networks import NetworkResult, ProtocolResult, compare_networks, figures, results_table
from faceverify.protocols.sets import GallerySet, Result

PERSONS = 40


def metrics(eer: float) -> dict[str, Any]:
    """The entries of `metrics.json` that are read."""
    kinds = {"genuine": {"pairs": 90}, "impostor": {"pairs": 110}}
    point = {"target": 0.01, "fnmr": 0.125, "interval": (0.1, 0.25)}
    fakes = {"accept_rate": 0.5, "accept_interval": None, "pairs": 8}
    folds = {"mean": 0.75}
    rest = {"eer_real": eer, "eer_real_interval": (0.0, 0.5), "best_accuracy": None, "by_kind": kinds, "folds": folds}
    return rest | {"fnmr_at_fmr": {"0.01": point}, "by_generator": {"swap": fakes}}


def result(network: str, noise: float, persons: bool = True, seed: int = 0) -> NetworkResult:
    """Genuine pairs about .6 and impostors about 0, as noisy as asked for; some pairs have no score."""
    shared = np.random.default_rng(7)
    genuine = np.arange(1200) % 3 == 0
    a = shared.integers(0, PERSONS, 1200)
    b = np.where(genuine, a, (a + shared.integers(1, PERSONS, 1200)) % PERSONS)
    similarity = 0.6 * genuine + np.random.default_rng(seed).normal(0, noise, 1200)
    similarity[::50] = np.nan
    units = np.stack([a, b], axis=1) if persons else np.full((1200, 2), -1)
    return NetworkResult(network, "set", metrics(0.1), similarity.astype(np.float32), genuine, ~genuine, units)


@pytest.mark.parametrize("persons", [True, False])
def test_a_better_network_is_told_from_an_equal_one(persons: bool) -> None:
    good, bad, same = result("good", 0.15, persons), result("bad", 0.45, persons, 1), result("same", 0.15, persons, 2)
    compared = compare_networks([bad, good, same], 300, 0)
    assert compared.drawn == ("persons" if persons else "pairs")
    found = {frozenset((one.better, one.worse)): one for one in compared.differences}
    assert len(found) == 3
    assert found[frozenset(("good", "bad"))].is_real and found[frozenset(("good", "bad"))].better == "good"
    assert not found[frozenset(("good", "same"))].is_real
    assert "no difference that these pairs can show" in str(found[frozenset(("good", "same"))])
    assert compare_networks([bad, good, same], 300, 0) == compared
    assert not compare_networks([bad, good], 0, 0).differences


def test_the_difference_is_that_of_the_eers() -> None:
    one, other = result("one", 0.2), result("other", 0.4, seed=1)
    [difference] = compare_networks([one, other], 50, 0).differences
    usable = one.usable & other.usable
    eers = [
        equal_error_rate(sort_scores(r.similarity[usable & r.genuine], r.similarity[usable & r.impostor])).eer
        for r in (one, other)
    ]
    assert difference.difference == pytest.approx(abs(eers[0] - eers[1]))
    low, high = difference.interval
    assert low <= difference.difference <= high


def test_a_network_compared_with_itself_does_not_differ() -> None:
    one = result("one", 0.3)
    [difference] = compare_networks([one, replace(one, network="two")], 50, 0).differences
    assert (difference.difference, difference.interval, difference.is_real) == (0.0, (0.0, 0.0), False)


def test_other_pairs_are_refused() -> None:
    one = result("one", 0.3)
    short = replace(
        one, similarity=one.similarity[:-1], genuine=one.genuine[:-1], impostor=one.impostor[:-1], units=one.units[:-1]
    )
    with pytest.raises(UserError, match="different pairs of 'set'"):
        compare_networks([one, short], 10, 0)


def test_figures_become_rows() -> None:
    table = results_table([result("one", 0.3)])
    rows = {(row["figure"], row["of"]): row for row in table.to_pylist()}
    assert list(rows) == [("EER", ""), ("accuracy", "10 folds"), ("TAR at FAR", "0.01"), ("fakes accepted", "swap")]
    tar = rows["TAR at FAR", "0.01"]
    assert (tar["value"], tar["low"], tar["high"], tar["pairs"]) == (0.875, 0.75, 0.9, 90)
    assert len(figures(metrics(0.1))) == 4


def test_a_curve_falls_and_meets_the_rates() -> None:
    one = result("one", 0.3)
    fmr, fnmr = one.curve()
    assert (np.diff(fmr) <= 0).all() and (np.diff(fnmr) >= 0).all() and fmr[0] == 1 and fnmr[0] == 0
    none = replace(one, genuine=np.zeros(1200, bool))
    assert all(len(rate) == 0 for rate in none.curve())


def test_what_a_protocol_found_becomes_figures_and_a_curve() -> None:
    rng = np.random.default_rng(0)
    label = np.arange(400) % 2 == 0
    similarity = np.where(label, 0.6, 0.0) + 0.2 * rng.normal(size=400)
    similarity[7] = np.nan
    numbers = {"eer": 0.07, "auc": 0.98, "tar_within@0.01": 0.7, "tar_nearest@0.01": 0.72}
    numbers |= {"joined_rank_1": 0.8, "apart_tpir@0.1": 0.5, "rank_20": 0.9, "tpir@0.1": 0.4}
    counts = {"genuine": 200, "impostor": 199, "left_out": 1, "probes": 30}
    own = GallerySet("c", ["a", "b", "d"], np.arange(2), np.arange(1))
    found = ProtocolResult.of("n", own, Result(numbers, counts, similarity, label))
    assert (found.network, found.set_name, found.rows) == ("n", "c", 3)
    assert found.figures == [
        ("EER", "", 0.07, None, 399),
        ("TAR at FAR", "0.01", 0.7, None, 200),
        ("TAR nearest to FAR", "0.01", 0.72, None, 200),
        ("rank, joined", "1", 0.8, None, 30),
        ("TPIR at FPIR, apart", "0.1", 0.5, None, 30),
        ("rank", "20", 0.9, None, 30),
        ("TPIR at FPIR", "0.1", 0.4, None, 30),
    ]
    kept = ProtocolResult(**json.loads(json.dumps(asdict(found))))
    assert kept.figures == found.figures
    fmr, fnmr = kept.curve()
    assert (np.diff(fmr) <= 0).all() and (np.diff(fnmr) >= 0).all() and fmr[0] > 0.9 and fnmr[-1] > 0.9
    rows = results_table([kept]).to_pylist()
    assert [(row["figure"], row["of"], row["value"], row["low"]) for row in rows][:2] == [
        ("EER", "", 0.07, None),
        ("TAR at FAR", "0.01", 0.7, None),
    ]
    bare = ProtocolResult.of("n", own, Result({"rank_1": 1.0}, {"mated": 2}))
    assert bare.figures == [("rank", "1", 1.0, None, 2)] and not len(bare.curve()[0])
