"""TinyFace against numbers of AdaFace and CVLface on one synthetic set."""

import json
from pathlib import Path

import numpy as np
import pytest

from faceverify.errors import UserError
from faceverify.protocols.fusion import Flip, unit_features
from faceverify.protocols.tinyface import DISTRACTOR, TinyFaceResult, tinyface_ranks

METHODS: dict[str, tuple[Flip, bool, int]] = {
    "adaface_pre_norm_vector_add": ("sum", True, 1),
    "adaface_norm_weighted_avg": ("sum", True, 1),  # has the direction of the sum
    "adaface_average": ("average", True, 1),
    "adaface_concat": ("concat", True, 1),
    "cvlface_percent": ("sum", True, 100),
    "cvlface_noflip_percent": ("sum", False, 100),
}


@pytest.fixture(scope="module")
def expected(golden: Path) -> dict:
    return json.loads((golden / "zoo/tinyface_synth.json").read_text())


def ranked(golden: Path, expected: dict, flip: Flip, mirrored: bool) -> TinyFaceResult:
    with np.load(golden / "zoo/tinyface_synth.npz") as data:
        vectors = unit_features(data["features"], data["features_flip"] if mirrored else None, flip)
    row = {path.partition("/")[2]: index for index, path in enumerate(expected["image_order"])}
    matches, distractors = expected["gallery_match"], expected["gallery_distractor"]
    probe_person, match_person = (
        np.array([int(name.partition("_")[0]) for name in names]) for names in (expected["probe"], matches)
    )
    probes, gallery = (vectors[[row[name] for name in names]] for names in (expected["probe"], matches + distractors))
    entry_person = np.concatenate([match_person, np.full(len(distractors), DISTRACTOR)])
    return tinyface_ranks(probes, probe_person, gallery, entry_person)


@pytest.mark.parametrize("method", METHODS)
def test_rates(method: str, golden: Path, expected: dict) -> None:
    flip, mirrored, scale = METHODS[method]
    found = ranked(golden, expected, flip, mirrored)
    want = expected["expected"][method]
    assert {f"rank-{k}": share for k, share in found.ranks.items()} == pytest.approx(
        {name: share / scale for name, share in want.items()}, abs=1e-6
    )
    assert found.mated == len(expected["probe"]) - 1  # one probe has no mate and is not counted


def test_rank_of_every_probe(golden: Path, expected: dict) -> None:
    found = ranked(golden, expected, "sum", mirrored=True)
    assert found.rank.tolist() == expected["best_rank_per_probe"]


def test_a_distractor_wins_a_tie() -> None:
    vectors = np.eye(2, dtype=np.float32)
    found = tinyface_ranks(vectors[:1], np.array([4]), vectors[[0, 0, 1]], np.array([4, DISTRACTOR, DISTRACTOR]))
    assert found.rank.tolist() == [2] and found.ranks == {1: 0.0, 5: 1.0, 20: 1.0}


def test_a_probe_without_a_face_is_a_miss() -> None:
    vectors = unit_features(np.array([[np.nan, np.nan], [3.0, 4.0]]))
    np.testing.assert_array_equal(vectors, np.array([[0, 0], [0.6, 0.8]], np.float32))
    gallery = np.concatenate([vectors[1:], np.full((30, 2), 0.5**0.5, np.float32)])
    found = tinyface_ranks(vectors, np.array([1, 1]), gallery, np.array([1] + [DISTRACTOR] * 30))
    assert found.rank.tolist() == [31, 1]


def test_no_mate_at_all_is_a_sentence() -> None:
    vectors = np.eye(2, dtype=np.float32)
    with pytest.raises(UserError, match="no probe has a photo of its person"):
        tinyface_ranks(vectors, np.array([1, 2]), vectors, np.array([3, DISTRACTOR]))
