"""The swap on real faces: the person changes and the host does not; on any faces: the source lands where it is said."""

import cv2
import numpy as np
import pytest

from faceverify.align import AlignConfig, build
from faceverify.errors import BadData
from faceverify.fakes import FaceInput
from faceverify.fakes.landmark_swap import swap
from faceverify.models import load_engine

PEOPLE = ("Al_Gore", "Bill_Gates", "Bill_Clinton", "Colin_Powell", "Andy_Roddick", "Bob_Graham")


def flat(face: FaceInput, colour: tuple[int, int, int]) -> FaceInput:
    return FaceInput(np.full_like(face.image, colour), face.landmarks)


def test_a_face_of_one_colour_takes_the_colour_of_its_host(faces):
    for seed in range(6):
        host = flat(faces[2], (180, 140, 120))
        made = swap(flat(faces[0], (60, 90, 200)), host, np.random.default_rng(seed))
        assert np.abs(made.image.astype(int) - host.image).max() <= 3, made.how


def test_both_ways_of_blending_are_drawn(faces):
    hows = [swap(faces[0], faces[4], np.random.default_rng(seed)).how for seed in range(40)]
    assert 8 < hows.count("poisson") < 32 and set(hows) == {"poisson", "feather"}


def test_the_size_of_the_source_photo_does_not_matter_much(faces):
    source, host = faces[0], faces[4]
    big = FaceInput(
        cv2.resize(source.image, None, fx=5, fy=5, interpolation=cv2.INTER_CUBIC), (source.landmarks + 0.5) * 5 - 0.5
    )
    for seed in range(4):
        one, other = (swap(s, host, np.random.default_rng(seed)) for s in (source, big))
        assert one.box == other.box and np.allclose(one.landmarks, other.landmarks, atol=0.05)
        assert np.abs(one.image.astype(int) - other.image).mean() < 1


@pytest.fixture(scope="module")
def real(shared_data):
    """aligner, engine, and a photo with landmarks of each of PEOPLE."""
    aligner = build(AlignConfig(weights=str(shared_data / "models" / "face_detection_yunet_2026may.onnx")))
    engine = load_engine(str(shared_data / "models" / "mobilefacenet_y1.onnx"))
    found = {}
    for name in PEOPLE:
        images = [
            cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
            for path in sorted((shared_data / "lfw" / "images" / name).glob("*.jpg"))[:3]
        ]
        aligned = aligner.align(images, [None] * len(images))
        found[name] = [FaceInput(image, face.landmarks) for image, face in zip(images, aligned, strict=True)]
    return aligner, engine, found


def test_on_real_photos_the_claimed_person_is_seen_and_not_the_host(real):
    aligner, engine, people = real

    def unit(image: np.ndarray) -> np.ndarray:
        [face] = aligner.align([image], [None])
        assert not isinstance(face, BadData)
        vector = engine.embed(face.image[None])[0]
        return vector / np.linalg.norm(vector)

    claimed, host, apart = [], [], []
    for number, name in enumerate(PEOPLE):
        other = people[PEOPLE[(number + 1) % len(PEOPLE)]][0]
        fake = swap(people[name][0], other, np.random.default_rng(number))
        [found] = aligner.align([fake.image], [None])
        # But for the nose: the detector's follows the contour of the host's face too.
        apart.append(np.abs(found.landmarks - fake.landmarks)[[0, 1, 3, 4]].max())
        vector = unit(fake.image)
        claimed.append(np.mean([vector @ unit(face.image) for face in people[name][1:]]))
        host.append(vector @ unit(other.image))
    assert np.mean(np.array(claimed) > 0.224) >= 0.8, claimed  # the LFW View-1 EER threshold
    assert np.mean(host) < 0.5, host  # of 1, and with hosts whose pose nobody has chosen
    assert max(apart) < 6, apart  # of faces some 90 pixels high
