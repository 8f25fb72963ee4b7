"""MTCNN against the published detections and crops; the same bits however photos are put together; weights refused."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from faceverify.align import AlignConfig
from faceverify.align.crops import parse
from faceverify.align.geometry import fit_similarity, warp
from faceverify.align.mtcnn import Mtcnn, build, load
from faceverify.align.weights import state_dict
from faceverify.errors import BadData, Reason, UserError
from faceverify.storage import open_location

NETWORKS = ("pnet.pt", "rnet.pt", "onet.pt")


@pytest.fixture(scope="session")
def models(shared_data):
    return shared_data / "models"


@pytest.fixture(scope="session")
def detector(models):
    """As published: photos of any size are searched whole."""
    tensors = [state_dict((models / f"mtcnn_{name}").read_bytes()) for name in NETWORKS]
    return Mtcnn(load(tensors, torch.device("cpu")), "mtcnn")


@pytest.fixture
def make(models):
    return lambda **options: build(AlignConfig(method="mtcnn", weights=str(models), device="cpu", **options))


def by_size(found):
    """Indices of the detections, largest box first."""
    return np.argsort(-(found.boxes[:, 2:] - found.boxes[:, :2]).prod(axis=1))


def test_published_detections(golden, golden_photos, detector):
    expected = json.loads((golden / "mtcnn_facenet_pytorch.json").read_text())["detections"]
    for name, photo in golden_photos(expected).items():
        (found,) = detector.detect([photo])
        faces = expected[name]["faces"]
        assert len(found) == len(faces)
        order = by_size(found)
        np.testing.assert_allclose(found.boxes[order], [face["box_xyxy"] for face in faces], atol=0.01)
        np.testing.assert_allclose(found.landmarks[order], [face["landmarks"] for face in faces], atol=0.01)
        np.testing.assert_allclose(found.scores[order], [face["prob"] for face in faces], atol=1e-4)


@pytest.mark.parametrize("margin", [0, 14])
def test_published_crops(shared_data, golden, golden_photos, detector, margin):
    """facenet-pytorch's own crop (the box with a margin, resized) around the box that is found here."""
    want = shared_data.parent / "golden" / f"mtcnn_crop160_margin{margin}.png"
    if not want.exists():
        pytest.skip("the published crops are not in the shared data")
    name = json.loads((golden / "mtcnn_facenet_pytorch.json").read_text())["crop_photo"]
    photo = golden_photos([name])[name]
    (found,) = detector.detect([photo])
    x1, y1, x2, y2 = found.boxes[by_size(found)[0]]
    more_x, more_y = margin * (x2 - x1) / (160 - margin) / 2, margin * (y2 - y1) / (160 - margin) / 2
    height, width = photo.shape[:2]
    sides = max(x1 - more_x, 0), max(y1 - more_y, 0), min(x2 + more_x, width), min(y2 + more_y, height)
    crop = Image.fromarray(photo).crop(tuple(int(side) for side in sides)).resize((160, 160), Image.Resampling.BILINEAR)
    assert np.abs(np.asarray(crop).astype(int) - np.asarray(Image.open(want))).max() <= 1


def same(one, other):
    return all(np.array_equal(getattr(one, part), getattr(other, part)) for part in ("boxes", "scores", "landmarks"))


def test_together_or_alone_the_same_bits(detector, lfw_photos):
    """Many photos of one size, and photos of all sizes, whose levels share batches with others'."""
    odd = [photo[: 250 - 7 * i, 3 * i :] for i, photo in enumerate(lfw_photos)]
    photos = [*lfw_photos * 2, *odd, np.full((90, 70, 3), 127, np.uint8), np.zeros((5, 300, 3), np.uint8)]
    alone = [detector.detect([photo])[0] for photo in photos]
    for order in (range(len(photos)), range(len(photos))[::-1], range(5, len(photos), 3)):
        together = detector.detect([photos[i] for i in order])
        assert all(same(found, alone[i]) for found, i in zip(together, order, strict=True))
    assert sum(map(len, alone)) >= 3 * len(lfw_photos)
    assert [len(found) for found in alone[-2:]] == [0, 0]


def test_equal_scores_do_not_make_the_company_matter(models, lfw_photos):
    tensors = [state_dict((models / f"mtcnn_{name}").read_bytes()) for name in NETWORKS]
    tensors[0]["conv4_1.bias"] = torch.tensor([0.0, 100.0])  # every window is a face with probability 1
    detector = Mtcnn(load(tensors, torch.device("cpu")), "mtcnn")
    photos = [lfw_photos[0][60:190, 60:190], lfw_photos[1][40:210, 80:170], lfw_photos[2][90:160, 50:200]]
    alone = [detector.detect([photo])[0] for photo in photos]
    for found, want in zip(detector.detect(photos[::-1])[::-1], alone, strict=True):
        assert len(want) and same(found, want)


def test_nothing_to_detect(detector):
    assert detector.detect([]) == []


def test_policies(make, odd_photo):
    two, many = odd_photo("two_faces"), odd_photo("many_faces")
    for policy in ("largest", "most_central"):
        first, second = make(policy=policy).align([two, many], [None, None])
        assert first.faces_found == 2 and second.faces_found >= 4
    for result in make(policy="refuse").align([two, many], [None, None]):
        assert isinstance(result, BadData) and result.reason is Reason.SEVERAL_FACES


def test_a_large_photo_is_searched_in_a_copy_and_cut_from_the_original(make, lfw_photos):
    large = [np.asarray(Image.fromarray(photo).resize((1500, 1400))) for photo in lfw_photos[:3]]
    small = make().align(lfw_photos[:3], [None] * 3)
    for one, other, photo in zip(
        make().align(large, [None] * 3, parse("arcface112:filter=bilinear")), small, large, strict=True
    ):
        assert np.abs(one.landmarks / [6, 5.6] - other.landmarks).max() < 8  # pixels of 250; they do move that much
        assert np.array_equal(one.image, warp(photo, fit_similarity(one.landmarks[None])[0]))


def test_min_score_drops_weak_detections(make, odd_photo):
    assert [r.reason for r in make(min_score=1.0).align([odd_photo("two_faces")], [None])] == [Reason.NO_FACE]


def test_the_name_tells_weights_apart(make, models, tmp_path):
    for name in NETWORKS:
        shutil.copy(models / f"mtcnn_{name}", tmp_path / name)
    again = build(AlignConfig(method="mtcnn", weights=str(tmp_path)))
    assert again.name == make().name and again.name.startswith("mtcnn-")
    tensors = torch.load(tmp_path / "onet.pt", weights_only=True)
    torch.save({key: value + 1 for key, value in tensors.items()}, tmp_path / "onet.pt")
    assert build(AlignConfig(method="mtcnn", weights=str(tmp_path))).name != again.name


def test_weights_in_a_bucket(models, bucket, make):
    folder = open_location(f"s3://{bucket}/weights")
    for name in NETWORKS:
        (folder / name).write_bytes((models / f"mtcnn_{name}").read_bytes())
    assert build(AlignConfig(method="mtcnn", weights=str(folder), device="cpu")).name == make().name


def test_unfit_weights_are_refused_with_a_sentence(models, tmp_path):
    def refusal(weights):
        with pytest.raises(UserError, match=r"^align.weights [^\n]*\.$") as caught:
            build(AlignConfig(method="mtcnn", weights=str(weights)))
        return str(caught.value)

    assert "0 files named *pnet.pt" in refusal(tmp_path / "nowhere")
    for name in NETWORKS:
        shutil.copy(models / f"mtcnn_{name}", tmp_path / name)
    shutil.copy(tmp_path / "rnet.pt", tmp_path / "onet.pt")
    assert "is not a mtcnn network" in refusal(tmp_path) and "(missing: conv4" in refusal(tmp_path)
    (tmp_path / "onet.pt").write_bytes(b"text")
    assert "is not a mtcnn network" in refusal(tmp_path)
    shutil.copy(models / "pytorch_retinaface_mobilenet0.25_Final.pth", tmp_path / "onet.pt")
    assert "holds the weights of retinaface" in refusal(tmp_path)
    (tmp_path / "other_onet.pt").write_bytes(b"")
    assert "2 files named *onet.pt" in refusal(tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there(models):
    with pytest.raises(UserError, match=r"align\.device is cuda"):
        build(AlignConfig(method="mtcnn", weights=str(models), device="cuda"))
