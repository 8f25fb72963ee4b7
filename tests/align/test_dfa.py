"""Aligner `dfa`: real photos with a stand-in of its weights, both crops, batches, weights in all containers."""

import re

import numpy as np
import pytest
import safetensors.torch
import torch

from faceverify.align import AlignConfig, AlignedFace, build
from faceverify.align.dfa import DfaAligner
from faceverify.align.dfa_network import DfaNetwork
from faceverify.align.dfa_start import start_network
from faceverify.align.geometry import ARCFACE_112, fit_similarity, transform_points
from faceverify.align.retinaface import KINDS
from faceverify.align.weights import state_dict
from faceverify.errors import BadData, Reason, UserError

PREFIXES = ("model.net.", "net.", "")


@pytest.fixture(scope="module")
def stand_in(shared_data):
    """A network that finds faces, though it is not the published one."""
    data = (shared_data / "models" / "pytorch_retinaface_mobilenet0.25_Final.pth").read_bytes()
    return start_network(state_dict(data), KINDS["pytorch_retinaface"]).requires_grad_(False)


@pytest.fixture
def golden_aligner(published_dfa):
    return lambda **options: DfaAligner(published_dfa("mobile0.25").net, "dfa", min_score=0, **options)


def test_finds_the_faces_that_a_detector_finds(stand_in, make_aligner, lfw_photos):
    photos = [*lfw_photos[:4], lfw_photos[4][:, 20:230], lfw_photos[5][30:]]
    found = DfaAligner(stand_in, "dfa").align(photos, [None] * len(photos))
    for one, other in zip(found, make_aligner("scrfd").align(photos, [None] * len(photos)), strict=True):
        matrix = fit_similarity(other.landmarks[None])[0]
        both = transform_points(matrix, one.landmarks), transform_points(matrix, other.landmarks)
        assert np.linalg.norm(both[0] - both[1], axis=1).mean() < 6  # pixels of the crop
        assert one.score > 0.9 and one.faces_found is None and one.landmarks.dtype == np.float32


@pytest.mark.parametrize("crop_from", ["original", "network"])
def test_crops_are_aligned(stand_in, make_aligner, lfw_photos, crop_from):
    """SCRFD finds the landmarks of the crops on the template."""
    found = DfaAligner(stand_in, "dfa", crop_from=crop_from).align(lfw_photos, [None] * len(lfw_photos))
    again = make_aligner("scrfd").align([face.image for face in found], [None] * len(found))
    assert np.abs(np.mean([face.landmarks for face in again], axis=0) - ARCFACE_112).max() < 4


def test_photos_without_a_face_are_rejected(stand_in, lfw_photos):
    aligner = DfaAligner(stand_in, "dfa")
    grey, face, black = aligner.align(
        [np.full((90, 70, 3), 127, np.uint8), lfw_photos[0], np.zeros((16, 9000, 3), np.uint8)], []
    )
    assert isinstance(face, AlignedFace)
    for fault in (grey, black):
        assert isinstance(fault, BadData) and fault.reason is Reason.NO_FACE
    assert re.fullmatch(r"score 0\.\d{3} is below 0\.5", grey.detail)


def test_both_crops_show_the_same(golden_aligner, recipe):
    """On smooth pictures the copy loses no detail: the crops differ by what is lost at the black edge only."""
    photos = [recipe.image(seed, *size) for seed, size in ((1, (160, 160)), (2, (480, 480)), (3, (300, 410)))]
    from_photo, from_copy = (golden_aligner(crop_from=way).align(photos, []) for way in ("original", "network"))
    for one, other in zip(from_photo, from_copy, strict=True):
        np.testing.assert_array_equal(one.landmarks, other.landmarks)
        difference = np.abs(one.image.astype(int) - other.image)
        assert np.percentile(difference, 95) <= 3


def test_the_crop_of_the_network_is_the_published_one(golden_aligner, published_dfa, recipe):
    photo = recipe.image(24, 200, 140)
    [face] = golden_aligner(crop_from="network").align([photo], [])
    want = published_dfa("mobile0.25")(torch.from_numpy(photo).permute(2, 0, 1)[None] / 127.5 - 1)
    pixels = (want.aligned_x[0].permute(1, 2, 0).numpy() + 1) * 127.5
    assert np.abs(face.image - pixels).max() <= 0.6
    assert face.score == pytest.approx(want.score.item(), abs=1e-5)


def test_landmarks_are_in_pixels_of_the_photo(golden_aligner, published_dfa, recipe):
    photo = recipe.image(23, 250, 250)
    [face] = golden_aligner().align([photo], [])
    want = published_dfa("mobile0.25")(torch.from_numpy(photo).permute(2, 0, 1)[None] / 127.5 - 1)
    np.testing.assert_allclose(face.landmarks, want.orig_pred_ldmks[0] * 249, atol=2e-3)


def test_the_same_bits_whatever_is_beside_a_photo(golden_aligner, recipe):
    sizes = [(160, 160), (90, 200), (250, 250), (64, 64), (301, 200)] * 2
    photos = [recipe.image(seed, *size) for seed, size in enumerate(sizes)]
    aligner = golden_aligner(crop_from="network")
    alone = [aligner.align([photo], [])[0] for photo in photos]
    for order in (range(len(photos)), range(len(photos))[::-1], range(1, len(photos), 2)):
        for i, face in zip(order, aligner.align([photos[i] for i in order], []), strict=True):
            assert isinstance(face, AlignedFace) and face.score == alone[i].score
            np.testing.assert_array_equal(face.landmarks, alone[i].landmarks)
            np.testing.assert_array_equal(face.image, alone[i].image)
    assert aligner.align([], []) == []


def test_landmarks_outside_the_photo_are_rejected(dfa_tensors, recipe):
    network = DfaNetwork("mobile0.25").eval().requires_grad_(False)
    network.load_state_dict(dfa_tensors("mobile0.25"))
    for head in network.LandmarkHead:
        head.conv1x1.bias += 300
    [fault] = DfaAligner(network, "dfa", min_score=0).align([recipe.image(1, 99, 80)], [])
    assert isinstance(fault, BadData) and fault.reason is Reason.BAD_LANDMARKS
    assert "no landmark lies in the photo of 80x99 pixels" in fault.detail


def save(tensors, prefix, path):
    named = {f"{prefix}{name}": value for name, value in tensors.items()}
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(named, path)
    else:
        torch.save(named, path)
    return str(path)


@pytest.mark.parametrize("architecture", ["mobile0.25", "resnet50"])
def test_every_container_gives_the_same_network(dfa_tensors, recipe, tmp_path, architecture):
    tensors, photo = dfa_tensors(architecture), recipe.image(22, 160, 160)
    files = [
        save(tensors, prefix, tmp_path / f"{i}{suffix}")
        for i, (prefix, suffix) in enumerate(zip(PREFIXES, (".safetensors", ".pt", ".pt"), strict=True))
    ]
    aligners = [build(AlignConfig(method="dfa", weights=file, min_score=0, device="cpu")) for file in files]
    assert len({aligner.name for aligner in aligners}) == 3  # three files, though one network
    assert all(re.fullmatch("dfa-[0-9a-f]{12}", aligner.name) for aligner in aligners)
    first, *others = (aligner.align([photo], [None])[0] for aligner in aligners)
    assert isinstance(first, AlignedFace)
    for other in others:
        np.testing.assert_array_equal(first.image, other.image)


def refusal(weights, **options):
    with pytest.raises(UserError, match=r"^align\.[^\n]*\.$") as caught:
        build(AlignConfig(method="dfa", weights=str(weights), **options))
    return str(caught.value)


def test_unfit_weights_are_refused_with_a_sentence(dfa_tensors, tmp_path):
    tensors = dfa_tensors("mobile0.25")
    headless = {name: value for name, value in tensors.items() if not name.startswith("aggregator.")}
    other = tensors | {"aggregator.3.weight": torch.zeros(1, 17)}
    assert "is not a file" in refusal(tmp_path / "absent.pt")
    assert re.search(
        r"\(missing: (aggregator\.[\w.]+, ){2}aggregator\.[\w.]+ and \d+ more\)",
        refusal(save(headless, "net.", tmp_path / "headless.pt")),
    )
    assert "(of another shape: aggregator.3.weight (1, 17), not " in refusal(
        save(other, "model.net.", tmp_path / "other.safetensors")
    )
    assert "neither body.stage1 nor body.layer1" in refusal(save({"x": torch.zeros(1)}, "", tmp_path / "x.pt"))
    for content in (b"", b"no network " * 100, (1 << 40).to_bytes(8, "little") + b"{broken"):
        (tmp_path / "broken.safetensors").write_bytes(content)
        assert "is not a dfa network" in refusal(tmp_path / "broken.safetensors")


def test_weights_of_a_detector_are_named(shared_data):
    models = shared_data / "models"
    assert "holds the weights of retinaface" in refusal(models / "pytorch_retinaface_mobilenet0.25_Final.pth")
    assert "is not a dfa network" in refusal(models / "mobilefacenet_foamliu.pt")


def test_several_faces_cannot_be_refused(tmp_path):
    assert "does not count the faces" in refusal(tmp_path, policy="refuse")


def test_min_score_is_obeyed(dfa_tensors, recipe, tmp_path):
    file, photo = save(dfa_tensors("mobile0.25"), "", tmp_path / "dfa.pt"), recipe.image(22, 160, 160)
    [face], [fault] = (
        build(AlignConfig(method="dfa", weights=file, min_score=score)).align([photo], [None]) for score in (-1, 0.9)
    )
    assert face.score == pytest.approx(0.8652, abs=1e-3) and fault.reason is Reason.NO_FACE
