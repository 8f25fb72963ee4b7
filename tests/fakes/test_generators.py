"""What every generator promises, with each that needs no weights; and how they are named and found."""

import subprocess
import sys

import numpy as np
import pytest

from faceverify.errors import BadData, Reason, UserError
from faceverify.fakes import GENERATORS, FaceInput, Fake, Request, build, describe

SEEDS = range(12)


@pytest.fixture(params=[name for name, needs in GENERATORS.items() if not (needs.files or needs.extra)])
def make(request, ready):
    """make(source, host, seed) -> what the generator gives."""
    needs = ready[request.param]
    generator = build(needs)

    def one(source: FaceInput, host: FaceInput, seed: int) -> Fake | BadData:
        target = host if needs.target else None
        [made] = generator.make([Request((source,), target, np.random.default_rng(seed))])
        return made

    one.target = lambda source, host: host if needs.target else source
    return one


def test_nothing_changes_outside_the_mask(make, faces):
    for seed in SEEDS:
        source, host = faces[0], faces[2 + seed % 6]
        before = source.image.copy(), host.image.copy()
        fake, target = make(source, host, seed), make.target(source, host).image
        x0, y0, x1, y1 = fake.box
        height, width = target.shape[:2]
        assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
        assert fake.image.dtype == np.uint8 and fake.image.shape == target.shape
        assert fake.mask.dtype == np.float32 and fake.mask.shape == (y1 - y0, x1 - x0)
        assert fake.mask.min() >= 0 and fake.mask.max() <= 1
        share = np.zeros((height, width), np.float32)
        share[y0:y1, x0:x1] = fake.mask
        changed = (fake.image != target).any(axis=2)
        assert not changed[share == 0].any()
        assert changed[share > 0.2].mean() > 0.5
        assert (source.image == before[0]).all() and (host.image == before[1]).all()


def test_the_landmarks_are_a_face_inside_the_mask(make, faces):
    for seed in SEEDS:
        fake = make(faces[1], faces[4], seed)
        assert fake.landmarks.shape == (5, 2) and fake.landmarks.dtype == np.float32
        x0, y0, _, _ = fake.box
        x, y = np.round(fake.landmarks - [x0, y0]).astype(int).T
        assert (fake.mask[y, x] > 0).all()


def test_the_seed_decides_and_nothing_else(make, faces):
    pictures = []
    for seed in SEEDS:
        one, again = make(faces[0], faces[3], seed), make(faces[0], faces[3], seed)
        assert (one.image == again.image).all() and (one.landmarks == again.landmarks).all()
        assert (one.box, one.how) == (again.box, again.how)
        pictures.append(one.image.tobytes())
    assert len(set(pictures)) == len(SEEDS)


def test_results_are_in_the_order_of_the_requests(faces, ready):
    for needs in ready.values():
        generator = build(needs)
        bad = FaceInput(faces[0].image, np.full((5, 2), np.nan, np.float32))
        sources = [faces[0], bad, faces[5]]
        host = faces[3] if needs.target else None
        made = generator.make([Request((s,), host, np.random.default_rng(1)) for s in sources])
        assert [isinstance(one, BadData) for one in made] == [False, True, False]
        [alone] = generator.make([Request((faces[5],), host, np.random.default_rng(1))])
        assert (made[2].image == alone.image).all()


def moved(face: FaceInput, **changes: object) -> FaceInput:
    points = face.landmarks.copy()
    for name, value in changes.items():
        points[:, "xy".index(name)] = value
    return FaceInput(face.image, points)


def test_landmarks_that_make_no_face_are_refused(make, faces):
    face = faces[0]
    tiny = FaceInput(face.image, (face.landmarks - 80) / 12 + 80)
    middle = face.landmarks.mean(axis=0)
    # Cut out of the photo so tightly that the landmarks are in it and the face is not.
    low, high = np.floor(face.landmarks.min(axis=0)).astype(int), np.ceil(face.landmarks.max(axis=0)).astype(int) + 1
    cut = FaceInput(face.image[low[1] : high[1], low[0] : high[0]].copy(), face.landmarks - low)
    for bad, words in (
        (moved(face, x=np.nan), "not finite"),
        (moved(face, x=middle[0], y=middle[1]), "all in one point"),
        (FaceInput(face.image, face.landmarks + 120), "outside the photo of 160x160"),
        (tiny, "smaller than"),
        (cut, "edge cuts"),
    ):
        made = make(bad, faces[2], 0)
        assert isinstance(made, BadData) and made.reason == Reason.BAD_LANDMARKS and words in made.detail, made


def test_a_list_of_names():
    assert [one.name for one in describe("self_blend, landmark_swap")] == ["self_blend", "landmark_swap"]
    for names, words in (
        ("landmark_swop", "did you mean 'landmark_swap'"),
        ("zzz", "known are landmark_swap, self_blend, "),
        ("", "no generator ''"),
        ("self_blend,self_blend", "'self_blend' is named twice"),
    ):
        with pytest.raises(UserError, match=words):
            describe(names)


def test_the_interface_loads_nothing():
    heavy = "{'cv2', 'torch', 'onnxruntime', 'ray', 'diffusers'}"
    code = f"import faceverify.fakes, sys; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
