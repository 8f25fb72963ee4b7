"""YuNet against the published detections, and on reduced copies."""

import json

import cv2
import numpy as np
import pytest

from faceverify.align.yunet import YuNet


@pytest.fixture
def detector(weights):
    return YuNet(weights("yunet"), "yunet")


def test_published_detections(golden, golden_photos, detector):
    expected = json.loads((golden / "yunet.json").read_text())["detections"]
    for name, photo in golden_photos(expected).items():
        faces = expected[name]["faces"]
        (found,) = detector.detect([photo])
        boxes = np.array([face["box_xywh"] for face in faces])
        boxes[:, 2:] += boxes[:, :2]
        assert len(found) == len(faces)
        np.testing.assert_allclose(found.boxes, boxes, atol=0.01)
        np.testing.assert_allclose(found.landmarks, [face["landmarks"] for face in faces], atol=0.01)
        np.testing.assert_allclose(found.scores, [face["score"] for face in faces], atol=1e-4)


def test_reduced_copies_give_the_same_place(lfw_photos, weights):
    """Every pixel repeated 4 times, looked at in the old size: boxes and landmarks are 4 times as far."""
    detector = YuNet(weights("yunet"), "yunet", side=250)
    large = [photo.repeat(4, axis=0).repeat(4, axis=1) for photo in lfw_photos]
    for small_found, large_found in zip(detector.detect(lfw_photos), detector.detect(large), strict=True):
        np.testing.assert_allclose(large_found.landmarks, small_found.landmarks * 4, atol=1e-3)
        np.testing.assert_allclose(large_found.boxes, small_found.boxes * 4, atol=1e-3)


def test_faces_beyond_its_sizes_are_found_at_the_second_look(lfw_photos, weights):
    """Looked at at full size, a face of 1500 pixels is missed; so is one of 10."""
    huge = [cv2.resize(photo[65:185, 75:175], (1250, 1500)) for photo in lfw_photos]
    tiny = [cv2.resize(photo, (26, 26), interpolation=cv2.INTER_AREA) for photo in lfw_photos]
    detector = YuNet(weights("yunet"), "yunet", side=2048)
    missed = [photo for photo in huge + tiny if len(detector._look(photo, max(photo.shape[:2]))) == 0]
    assert len(missed) >= 12
    for found, photo in zip(detector.detect(missed), missed, strict=True):
        middle = found.landmarks[np.argmax(found.scores)].mean(axis=0) / (photo.shape[1], photo.shape[0])
        assert (np.abs(middle - 0.5) < 0.2).all()


def test_the_file_of_2023_gives_the_same(shared_data):
    """It is the same network with a written input size of 640x640, and photos are of any size."""
    import onnx

    free = (shared_data / "models" / "face_detection_yunet_2026may.onnx").read_bytes()
    model = onnx.load_from_string(free)
    for side in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        side.dim_value = 640
    for output in model.graph.output:
        output.type.tensor_type.shape.dim[1].dim_value = (640 // int(output.name.split("_")[1])) ** 2
    old, new = YuNet(model.SerializeToString(), "2023mar"), YuNet(free, "2026may")
    photo = cv2.imread(str(shared_data / "odd" / "two_faces.jpg"))[..., ::-1]
    for height, width in ((photo.shape[0], photo.shape[1]), (250, 250), (333, 201)):
        copy = cv2.resize(np.ascontiguousarray(photo), (width, height))
        [expected], [got] = new.detect([copy]), old.detect([copy])
        assert len(expected)
        np.testing.assert_array_equal(got.landmarks, expected.landmarks)
