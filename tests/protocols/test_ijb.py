"""IJB 1:1 against numbers of insightface, CVLface, AdaFace and MagFace on one synthetic set."""

import json
from pathlib import Path

import numpy as np
import pytest

from faceverify.errors import UserError
from faceverify.protocols import ijb
from faceverify.protocols.fusion import fuse
from faceverify.protocols.ijb import Switches, Templates, angular, build_templates, pair_scores
from faceverify.protocols.tar import TarAtFar, tar_at_far
from faceverify.vectors import lengths

ADAFACE = {
    "pre_norm_vector_add": Switches(detector=False),
    "norm_weighted_avg": Switches(norm=False, detector=False),
    "average": Switches(norm=False, detector=False, flip="average"),
    "concat": Switches(norm=False, detector=False, flip="concat"),
}
NAMES = [f"N{n}D{d}F{f}" for n in (1, 0) for d in (1, 0) for f in (1, 0)]


@pytest.fixture(scope="module")
def data(golden: Path) -> dict[str, np.ndarray]:
    with np.load(golden / "zoo/ijb_synth.npz") as archive:
        return dict(archive)


@pytest.fixture(scope="module")
def expected(golden: Path) -> dict:
    return json.loads((golden / "zoo/ijb_synth.json").read_text())


def built(data: dict[str, np.ndarray], switches: Switches, flip: bool = True) -> Templates:
    mirrored = data["features_flip"] if flip else None
    images = data["templates"], data["medias"], data["features"], mirrored, data["faceness_scores"]
    return build_templates(*images, switches)


def scored(data: dict[str, np.ndarray], templates: Templates) -> np.ndarray:
    return pair_scores(templates.vectors, templates.rows(data["p1"]), templates.rows(data["p2"]))


def rates(data: dict[str, np.ndarray], scores: np.ndarray) -> list[TarAtFar]:
    return tar_at_far(scores[data["label"] == 1], scores[data["label"] == 0])


def check_nearest(found: list[TarAtFar], want: dict, threshold: float = 1e-12) -> None:
    for one, (tar, far, score) in zip(found, want["tar_nearest_fpr [tar, fpr, threshold]"], strict=True):
        assert (one.nearest.tar, one.nearest.far) == (tar, far)
        assert one.nearest.threshold == pytest.approx(score, abs=threshold)


@pytest.mark.parametrize("at_a_time", [1, 100, 512])
@pytest.mark.parametrize("name", NAMES)
def test_insightface(name: str, at_a_time: int, data: dict, expected: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ijb, "_IMAGES_AT_A_TIME", at_a_time)
    templates = built(data, Switches(norm=name[1] == "1", detector=name[3] == "1"), flip=name[5] == "1")
    np.testing.assert_array_equal(templates.numbers, data["template_ids"])
    np.testing.assert_allclose(templates.vectors, data[f"{name}_template"], rtol=0, atol=1e-12)
    scores = scored(data, templates)
    np.testing.assert_allclose(scores, data[f"{name}_score"], rtol=0, atol=1e-12)
    found, want = rates(data, scores), expected["insightface_eval_ijbc"][name]
    check_nearest(found, want)
    assert [one.within.tar for one in found] == want["tar_last_fpr_not_above"]


@pytest.mark.parametrize(("norm", "detector"), [(True, True), (True, False), (False, True)])
def test_cvlface(norm: bool, detector: bool, data: dict, expected: dict) -> None:
    found = rates(data, scored(data, built(data, Switches(norm=norm, detector=detector))))
    for one, far in zip(found, ("1e-06", "1e-05", "0.0001", "0.001", "0.01", "0.1"), strict=True):
        names = (f"Norm:{norm}_Det:{detector}_{what}_at_fpr_{far}" for what in ("tpr", "thresh"))
        percent, threshold = (expected["cvlface"][name] for name in names)
        assert 100 * one.nearest.tar == pytest.approx(percent, abs=1e-10)
        assert one.nearest.threshold == pytest.approx(threshold, abs=1e-7)  # a run in float32


@pytest.mark.parametrize("method", ADAFACE)
def test_adaface(method: str, data: dict, expected: dict) -> None:
    scores = scored(data, built(data, ADAFACE[method]))
    np.testing.assert_allclose(scores, data[f"adaface_{method}_score"], rtol=0, atol=1e-12)
    check_nearest(rates(data, scores), expected["adaface"][method])


def test_the_sum_keeps_the_norm_of_adaface(data: dict) -> None:
    joint = lengths(fuse(data["features"], data["features_flip"]))
    np.testing.assert_allclose(joint, data["adaface_pre_norm_vector_add_fused_norm"].ravel(), rtol=1e-6)


@pytest.mark.parametrize("quality", [0, 1])
def test_magface(quality: int, data: dict, expected: dict) -> None:
    switches = Switches(detector=False, unit_media=not quality)
    scores = angular(scored(data, built(data, switches, flip=False)))
    np.testing.assert_allclose(scores, data[f"magface_qlt{quality}_score"], rtol=0, atol=3e-7)
    check_nearest(rates(data, scores), expected["magface"][f"magface_qlt{quality}"], threshold=3e-7)


@pytest.mark.parametrize("dense", [0.0, 0.2, 2.0])
@pytest.mark.parametrize("firsts", [1, 7, 512])
def test_pairs_score_the_same_by_blocks_and_one_by_one(
    dense: float, firsts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ijb, "_DENSE", dense)
    monkeypatch.setattr(ijb, "_FIRSTS_AT_A_TIME", firsts)
    monkeypatch.setattr(ijb, "_PAIRS_AT_A_TIME", 5)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(60, 8))
    first, second = rng.integers(0, 60, (2, 500))
    want = (vectors[first] * vectors[second]).sum(axis=1)
    np.testing.assert_allclose(pair_scores(vectors, first, second), want, rtol=0, atol=1e-13)
    assert pair_scores(vectors, first[:0], second[:0]).size == 0


def test_an_image_without_a_face_takes_no_part() -> None:
    template, medium = np.array([7, 7, 7, 9]), np.array([1, 1, 2, 1])
    features = np.array([[4.0, 0.0], [np.nan, np.nan], [0.0, 4.0], [np.nan, np.nan]])
    found = build_templates(template, medium, features, switches=Switches(detector=False))
    np.testing.assert_allclose(found.vectors, [[0.5**0.5, 0.5**0.5], [0, 0]])  # the medium's mean is [4, 0], not [2, 0]
    assert found.images.tolist() == [2, 0]


def test_what_does_not_fit_is_a_sentence() -> None:
    images = np.array([1, 2]), np.array([1, 1])
    vectors = np.eye(2)
    with pytest.raises(UserError, match=r"detector: .* not given"):
        build_templates(*images, vectors)
    with pytest.raises(UserError, match="there are 3 for 2 images"):
        build_templates(*images, np.eye(3), switches=Switches(detector=False))
    with pytest.raises(UserError, match="forgets the norm"):
        build_templates(*images, vectors, vectors, switches=Switches(detector=False, flip="concat"))
    with pytest.raises(UserError, match="do not go with"):
        build_templates(*images, vectors, vectors[:, :1], switches=Switches(detector=False))
    found = build_templates(*images, vectors, switches=Switches(detector=False))
    with pytest.raises(UserError, match=r"1 templates have no image .* \(3\)"):
        found.rows(np.array([1, 3]))
