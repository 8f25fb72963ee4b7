"""RetinaFace against the published implementation, in both networks of one name."""

import json

import numpy as np
import pytest
import torch

from faceverify.align import AlignConfig, build, retinaface
from faceverify.align.retinaface_network import RetinaFaceNetwork
from faceverify.align.retinaface_priors import priors
from faceverify.errors import UserError

FILES = {
    "pr": "pytorch_retinaface_mobilenet0.25_Final.pth",
    "1mb": "retinaface_1mb_mobilenet0.25_Final.pth",
}


@pytest.fixture
def make(shared_data):
    def one(which, **options):
        path = shared_data / "models" / FILES[which]
        return build(AlignConfig(method="retinaface", weights=str(path), **options))

    return one


def detector(aligner):
    return aligner._detector


@pytest.mark.parametrize("which", FILES)
def test_golden_detections(golden, golden_photos, make, which):
    """tests/golden/retinaface_mnet025_*.json: pixels within 0.01, scores within 1e-4."""
    reference = json.loads((golden / f"retinaface_mnet025_{which}.json").read_text())
    photos = golden_photos(reference["photos"])
    weak = detector(make(which, min_score=0.02, detect_side=4096))
    for name, found in zip(photos, weak.detect(list(photos.values())), strict=True):
        want = reference["detections"][name]
        top = want["top"]
        assert len(found) == want["kept_after_nms"], name
        boxes = np.array([face["box_xyxy"] for face in top])
        points = np.array([face["landmarks"] for face in top]).reshape(-1, 5, 2)
        np.testing.assert_allclose(found.boxes[: len(top)], boxes, atol=0.01, err_msg=name)
        np.testing.assert_allclose(found.landmarks[: len(top)], points, atol=0.01, err_msg=name)
        np.testing.assert_allclose(found.scores[: len(top)], [face["score"] for face in top], atol=1e-4, err_msg=name)


@pytest.mark.parametrize("which", FILES)
def test_golden_raw_outputs(golden, golden_photos, make, which):
    with np.load(golden / f"retinaface_mnet025_{which}_raw.npz") as file:
        reference = dict(file)
    photo = golden_photos([str(reference["photo"])])[str(reference["photo"])]
    network = detector(make(which))._network
    bgr = torch.from_numpy(photo[..., ::-1].copy()).permute(2, 0, 1)[None].float()
    raw = network(bgr - torch.tensor([104.0, 117.0, 123.0])[:, None, None])
    np.testing.assert_allclose(raw.boxes[0], reference["loc"], atol=1e-3)
    np.testing.assert_allclose(raw.logits[0].softmax(-1), reference["conf"], atol=1e-3)
    np.testing.assert_allclose(raw.landmarks[0], reference["landms"], atol=1e-3)


def test_as_many_priors_as_published():
    assert len(priors(640, 640, retinaface.KINDS["pytorch_retinaface"].min_sizes)) == 16_800
    assert len(priors(250, 250, retinaface.KINDS["pytorch_retinaface"].min_sizes)) == 2_688


@pytest.mark.parametrize("architecture", ["mobile0.25", "resnet50"])
def test_names_and_shapes_are_the_published_ones(golden, architecture):
    keys = json.loads((golden / "dfa_keys.json").read_text())[architecture]
    want = {name: tuple(shape) for name, (shape, _) in keys.items() if not name.startswith("aggregator.")}
    network = RetinaFaceNetwork(architecture)
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == want


def test_batches_change_nothing(make, lfw_photos):
    photos = [*lfw_photos[:3], lfw_photos[3][:200, 20:], lfw_photos[4], np.repeat(lfw_photos[5], 4, axis=1)]
    own = detector(make("pr"))
    together = own.detect(photos)
    for photo, found in zip(photos, together, strict=True):
        [alone] = own.detect([photo])
        np.testing.assert_allclose(found.landmarks, alone.landmarks, atol=1e-3)
        np.testing.assert_allclose(found.boxes, alone.boxes, atol=1e-3)


def test_large_photos_are_searched_in_a_copy(make, lfw_photos):
    import cv2

    own = detector(make("pr"))
    [plain] = own.detect([lfw_photos[0]])
    [large] = own.detect([cv2.resize(lfw_photos[0], (2000, 2000))])
    np.testing.assert_allclose(large.landmarks[0] / 8, plain.landmarks[0], atol=5)


def test_resnet50_runs_and_loads_with_prefix(tmp_path):
    torch.manual_seed(0)
    tensors = {f"module.{name}": value for name, value in RetinaFaceNetwork("resnet50").state_dict().items()}
    torch.save(tensors, tmp_path / "Resnet50_Final.pth")
    aligner = build(AlignConfig(method="retinaface", weights=str(tmp_path / "Resnet50_Final.pth"), min_score=0))
    [found] = detector(aligner).detect([np.zeros((96, 64, 3), np.uint8)])
    assert len(found) and np.isfinite(found.landmarks).all()


def test_the_wrong_network_is_refused(make, shared_data, tmp_path):
    with pytest.raises(UserError, match=r"variant is face_detector_1mb, but .* belongs to pytorch_retinaface"):
        make("pr", variant="face_detector_1mb")
    own = tmp_path / "own.pth"
    tensors = torch.load(shared_data / "models" / FILES["pr"], map_location="cpu", weights_only=True)
    tensors["body.stage1.0.0.weight"] = tensors["body.stage1.0.0.weight"] + 1e-6
    torch.save(tensors, own)
    with pytest.raises(UserError, match="fits two networks"):
        build(AlignConfig(method="retinaface", weights=str(own)))
    build(AlignConfig(method="retinaface", weights=str(own), variant="pytorch_retinaface"))


def test_foreign_weights_are_refused(shared_data):
    weights = shared_data / "models" / "mobilefacenet_foamliu.pt"
    with pytest.raises(UserError, match="is not a retinaface network"):
        build(AlignConfig(method="retinaface", weights=str(weights)))
