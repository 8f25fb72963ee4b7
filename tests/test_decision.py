"""Which threshold decides, and what a decision means in words."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from faceverify import decision
from faceverify.decision import Threshold, find_threshold, in_words
from faceverify.errors import UserError
from faceverify.evaluation.calibration import Calibration
from faceverify.models import card, registry
from faceverify.models.card import ModelCard

CROP = {"aligner": "yunet-0123456789ab", "policy": "most_central"}


@pytest.fixture(scope="module")
def model() -> ModelCard:
    return card.build(name="m", architecture="onnx", colour="RGB", mean=[0] * 3, std=[1] * 3, dim=8, sha256="ab" * 32)


@pytest.fixture(scope="module")
def made(model: ModelCard) -> Calibration:
    return Calibration(
        threshold=0.3,
        rule="fmr=0.001",
        fmr=0.001,
        fnmr=0.02,
        interval=(0.0005, 0.002),
        n_genuine=500,
        n_impostor=100_000,
        model=model.digest,
        crop=CROP,
        data="some people",
        created="2026-11-30",
        version="0.1.0",
    )


@pytest.mark.parametrize(
    ("rate", "pairs", "high", "words"),
    [
        (0.001, 10**6, None, "1 in 1,000"),
        (0.0009994, 10**6, None, "1 in 1,000"),  # as measured: 1,341 of 1,341,836
        (0.0009, 10**6, None, "1 in 1,100"),
        (1 / 44.4, 1000, None, "1 in 44"),
        (1e-6, 10**7, None, "1 in 1,000,000"),
        (0.099, 1000, None, "1 in 10"),
        (0.12, 1000, None, "12 in 100"),
        (1.0, 10, None, "100 in 100"),
        (0.0, 1000, None, "fewer than 1 in 330"),  # rule of three
        (0.0, 1000, 0.02, "fewer than 1 in 50"),  # pairs of few people tell less than as many pairs of strangers
        (0.0, 1, None, "fewer than 1 in 1"),
        (0.0, 0, None, "an unknown share of"),
    ],
)
def test_a_rate_in_words(rate: float, pairs: int, high: float | None, words: str) -> None:
    assert in_words(rate, pairs, high) == words


def test_the_meaning_states_the_error_that_this_decision_can_be(made: Calibration) -> None:
    threshold = Threshold(0.3, "calibration", made)
    assert threshold.meaning(True) == "accepted; 1 in 1,000 pairs of strangers would be"
    assert threshold.meaning(False) == "refused; 1 in 50 pairs of one person would be"
    unseen = Threshold(0.3, "calibration", dataclasses.replace(made, fmr=0.0, interval=(0.0, 0.01)))
    assert unseen.meaning(True) == "accepted; fewer than 1 in 100 pairs of strangers would be"
    assert Threshold(0.3, "own").meaning(False) == "refused at your own threshold"
    published = Threshold(0.363, "published", publisher="a zoo")
    assert "not measured by us" in published.meaning(True)
    assert str(published) == "0.3630, published with the model (a zoo), not measured by us"
    assert all(part in str(threshold) for part in ("0.3000", "2026-11-30", "some people", "0.10%", "100,000", "2.00%"))


def test_at_the_threshold_itself_it_decides_as_score_does() -> None:
    """A similarity is a float32, and a threshold in a file a float64: score compares as NumPy does, in float32."""
    similarities = np.random.default_rng(0).uniform(-1, 1, 500).astype(np.float32)
    at = [*similarities.astype(float), *np.nextafter(similarities.astype(float), 2), *np.nextafter(similarities, 2)]
    for value in map(float, at):
        threshold = Threshold(value, "own")
        assert [threshold.accepts(float(one)) for one in similarities[:20]] == list(similarities[:20] >= value)
    for similarity in similarities:
        assert Threshold(float(similarity) + 1e-12, "own").accepts(float(similarity))


def test_the_order_of_sources(model: ModelCard, made: Calibration, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {"m": SimpleNamespace(card=model, published_threshold=0.4, threshold_source="a paper")}
    monkeypatch.setattr(registry, "entries", lambda: entries)
    assert find_threshold(model, CROP)[0] == Threshold(0.4, "published", publisher="a paper")
    monkeypatch.setattr(decision, "shipped", lambda digest: [made] if digest == model.digest else [])
    assert find_threshold(model, CROP) == (Threshold(0.3, "shipped", made), "")
    of_file = dataclasses.replace(made, threshold=0.5)
    assert find_threshold(model, CROP, of_file) == (Threshold(0.5, "calibration", of_file), "")
    assert find_threshold(model, CROP, own=-0.2) == (Threshold(-0.2, "own"), "")


def test_a_published_threshold_is_of_this_very_model(model: ModelCard, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown_hash = dataclasses.replace(model, sha256=None)
    for entry, found in ((model, True), (unknown_hash, True), (dataclasses.replace(model, sha256="cd" * 32), False)):
        entries = {"m": SimpleNamespace(card=entry, published_threshold=0.4, threshold_source="")}
        monkeypatch.setattr(registry, "entries", lambda entries=entries: entries)
        assert (find_threshold(model, CROP)[0] is not None) == found
    entries = {
        "m": SimpleNamespace(
            card=dataclasses.replace(unknown_hash, colour="BGR"), published_threshold=0.4, threshold_source=""
        )
    }
    monkeypatch.setattr(registry, "entries", lambda: entries)
    assert find_threshold(model, CROP)[0] is None


def test_without_any_it_says_why_and_what_to_do(
    model: ModelCard, made: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    threshold, why = find_threshold(model, CROP)
    assert threshold is None and why.startswith("Not calibrated: there is no threshold for m; run `faceverify score`")
    monkeypatch.setattr(decision, "shipped", lambda digest: [made])
    threshold, why = find_threshold(model, {**CROP, "policy": "largest"})
    assert threshold is None and "(policy largest, not most_central)" in why


@pytest.mark.parametrize("own", [1.5, -2.0, float("nan")])
def test_a_threshold_that_is_no_cosine_is_refused(own: float, model: ModelCard) -> None:
    with pytest.raises(UserError, match=f"threshold is {own}"):
        find_threshold(model, CROP, own=own)


def test_two_thresholds_are_refused(model: ModelCard, made: Calibration) -> None:
    with pytest.raises(UserError, match="Both a threshold and a calibration"):
        find_threshold(model, CROP, made, 0.3)


def test_a_calibration_of_another_model_or_crop_is_refused(model: ModelCard, made: Calibration) -> None:
    with pytest.raises(UserError, match="for another model"):
        find_threshold(dataclasses.replace(model, dim=9), CROP, made)
    with pytest.raises(UserError, match="policy largest, not most_central"):
        find_threshold(model, {**CROP, "policy": "largest"}, made)
