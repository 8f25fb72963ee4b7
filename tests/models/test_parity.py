"""What proves an export: unit embeddings, the EER over pairs, and what is refused."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch

from faceverify.errors import BadData, PlatformError
from faceverify.evaluation.metrics import equal_error_rate, sort_scores
from faceverify.models import checkpoints, engines
from faceverify.models.export import export_half, export_onnx, prove_eer
from faceverify.models.loading import load_module
from faceverify.models.parity import (
    FLOAT16,
    FLOAT16_DETAIL,
    FLOAT32,
    FLOAT32_DETAIL,
    PairFaces,
    check_deviation,
    check_eer,
    float16_of,
    float32_of,
    proof_faces,
    unit_embeddings,
)


class Colours(engines.Engine):
    """The mean of each channel."""

    def __init__(self, card):
        super().__init__(card, "colours", 7)

    def forward(self, x):
        return x.mean((2, 3))


@pytest.fixture
def colours(make_card):
    return Colours(make_card(dim=3, mean=[0, 0, 0], std=[1, 1, 1]))


def test_unit_embeddings_come_in_order_and_are_told(colours):
    faces = np.random.default_rng(0).integers(0, 256, (130, 112, 112, 3), dtype=np.uint8)
    told = []
    units = unit_embeddings(colours, faces, told.append)
    means = faces.mean((1, 2))
    np.testing.assert_allclose(units, means / np.linalg.norm(means, axis=1, keepdims=True), rtol=1e-6)
    assert sum(told) == 130 and len(told) == 3
    assert np.isnan(unit_embeddings(colours, np.zeros((1, 112, 112, 3), np.uint8))).all()


def test_the_eer_of_pairs_is_that_of_their_cosines():
    rng = np.random.default_rng(0)
    units = rng.normal(size=(30, 8))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    a, b = rng.integers(0, 30, (2, 80))
    label = rng.integers(0, 2, 80)
    pairs = PairFaces(np.zeros((30, 1, 1, 3), np.uint8), a, b, label)
    cosines = [float(units[i] @ units[j]) for i, j in zip(a, b, strict=True)]
    genuine, negative = ([c for c, given in zip(cosines, label, strict=True) if given == one] for one in (1, 0))
    assert pairs.eer(units) == equal_error_rate(sort_scores(np.array(genuine), np.array(negative))).eer
    assert pairs.fewest == min(len(genuine), len(negative))


def test_proof_faces_are_of_the_size_of_the_card(make_card):
    batches = proof_faces(make_card())
    assert [batch.shape for batch in batches] == [(n, 112, 112, 3) for n in (1, 3, 8, 8)]
    assert all(np.array_equal(one, other) for one, other in zip(batches, proof_faces(make_card()), strict=True))
    assert 20 < batches[-1].std() < 100 and len(np.unique(batches[-1].reshape(8, -1), axis=0)) == 8
    assert [batch.shape for batch in proof_faces(make_card(input_size=[64, 48]))] == [(n, 64, 48, 3) for n in (1, 3, 8)]


@pytest.mark.parametrize("tolerance", [FLOAT32, FLOAT32_DETAIL, FLOAT16, FLOAT16_DETAIL])
def test_a_deviation_beyond_the_tolerance_is_refused(tolerance):
    one = np.eye(3)
    near, far = one.copy(), one.copy()
    near[1, 2], far[1, 2] = 0.9 * tolerance.deviation, 1.1 * tolerance.deviation
    assert check_deviation("m.onnx", [one, near], [one, one], tolerance) == pytest.approx(0.9 * tolerance.deviation)
    with pytest.raises(PlatformError, match=r"m\.onnx gives other embeddings than PyTorch"):
        check_deviation("m.onnx", [far, one], [one, one], tolerance)
    far[0, 0] = np.nan
    with pytest.raises(PlatformError, match="65,504" if tolerance.half else "by nan; allowed"):
        check_deviation("m.onnx", [one, far], [one, one], tolerance)


def test_the_eer_may_differ_by_a_tenth_of_a_point_or_one_pair_in_half_and_not_at_all_in_full():
    assert FLOAT32.of_eer(10) == 0
    assert FLOAT32_DETAIL.deviation > FLOAT32.deviation and FLOAT32_DETAIL.of_eer(10) == 0
    assert FLOAT16.of_eer(5000) == 0.001 and FLOAT16.of_eer(200) == 1 / 200
    check_eer("m.onnx", 0.018, 0.018, 200, FLOAT32)
    check_eer("m.onnx", 0.025, 0.02, 200, FLOAT16)
    with pytest.raises(
        PlatformError, match=r"m\.onnx has an EER of 2\.100%, PyTorch has 1\.800%.*0\.100%.*half: false"
    ):
        check_eer("m.onnx", 0.021, 0.018, 5000, FLOAT16)
    with pytest.raises(PlatformError, match="EER"):
        check_eer("m.onnx", 0.0181, 0.018, 200, FLOAT32)


@pytest.fixture(scope="module")
def exports(exported, tmp_path_factory):
    """A network, its float32 and its float16 file."""
    network, full = exported
    return network, [full, export_half(network, full, tmp_path_factory.mktemp("exports") / "half.onnx")]


@pytest.fixture(scope="module")
def pairs(make_card):
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 20, (2, 60))
    return PairFaces(np.concatenate(proof_faces(make_card())), a, b, rng.integers(0, 2, 60))


def test_files_of_the_network_have_its_eer(exports, pairs):
    network, files = exports
    told = []
    truth, (full, halved) = prove_eer(network, files, pairs, told.append)
    assert full.eer == truth and abs(halved.eer - truth) <= FLOAT16.of_eer(pairs.fewest)
    assert 0 < full.deviation <= FLOAT32.deviation < halved.deviation <= FLOAT16.deviation
    assert sum(told) == 4 * len(pairs.faces) == (1 + sum(file.runs for file in files)) * len(pairs.faces)


def test_a_file_of_another_network_is_refused(exports, pairs):
    torch.manual_seed(1)
    with pytest.raises(PlatformError, match=r"model\.onnx gives other embeddings"):
        prove_eer(checkpoints.build("tiny", 32).eval(), exports[1], pairs, lambda _: None)


def test_an_eer_that_moved_is_refused_though_the_embeddings_are_near(exports, pairs, monkeypatch):
    network, files = exports
    eers = iter([0.1, 0.11])
    monkeypatch.setattr(PairFaces, "eer", lambda self, units: next(eers))
    with pytest.raises(PlatformError, match=r"model\.onnx has an EER of 11\.000%"):
        prove_eer(network, files, pairs, lambda _: None)


def test_real_faces(shared_data, tmp_path):
    from faceverify.align import AlignConfig, build
    from faceverify.datasets.pair_lists import open_pairs
    from faceverify.images import decode
    from faceverify.storage import open_location

    view = shared_data / "lfw" / "view1"
    [piece] = open_pairs(open_location(str(view / "pairs.txt")))
    rows = piece.to_pylist()
    rows = rows[:12] + rows[-12:]
    names = sorted({row[side] for row in rows for side in ("photo_a", "photo_b")})
    photos = [decode((view / "images" / name).read_bytes()) for name in names]
    weights = str(shared_data / "models" / "face_detection_yunet_2026may.onnx")
    aligned = build(AlignConfig(method="yunet", weights=weights)).align(photos, [None] * len(photos))
    assert not any(isinstance(face, BadData) for face in aligned)
    at = {name: place for place, name in enumerate(names)}
    a, b = (np.array([at[row[side]] for row in rows]) for side in ("photo_a", "photo_b"))
    pairs = PairFaces(np.stack([face.image for face in aligned]), a, b, np.array([row["label"] for row in rows]))
    # A copy, since no card is to be written beside the data.
    network, card = load_module(shutil.copy(shared_data / "models" / "mobilefacenet_foamliu.pt", tmp_path))
    full = export_onnx(network, card, tmp_path / "model.onnx")
    halved = export_half(network, full, tmp_path / "half.onnx")
    truth, (one, other) = prove_eer(network, [full, halved], pairs, lambda _: None)
    assert truth <= 1 / 12 and one.eer == truth and abs(other.eer - truth) <= 1 / 12
    assert max(full.max_deviation, one.deviation) < 2e-6
    assert 1e-4 < max(halved.max_deviation, other.deviation) < 3e-3
    assert dataclasses.replace(full.card, sha256=None) == dataclasses.replace(card, sha256=None, norm_output=True)


@pytest.mark.parametrize("architecture, detail", [("ir_18", False), ("ir_18_attention", False), ("tiny_detail", True)])
def test_only_the_branch_is_allowed_more(make_card, architecture, detail):
    card = make_card(architecture=architecture)
    assert float32_of(card) is (FLOAT32_DETAIL if detail else FLOAT32)
    assert float16_of(card) is (FLOAT16_DETAIL if detail else FLOAT16)
