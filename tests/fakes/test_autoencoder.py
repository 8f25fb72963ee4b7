"""Networks trained on the people's photos: the same each time, true to the person, refused if they are others."""

import numpy as np
import pytest
import torch
from fakes.conftest import STEPS

from faceverify.align.geometry import ARCFACE_112, transform_points
from faceverify.errors import UserError
from faceverify.fakes import GENERATORS, Description, FaceInput, Request, Trained, build
from faceverify.fakes.autoencoder.crops import cut_face, face_onto, from_crop, to_crop
from faceverify.fakes.autoencoder.network import DECODERS, SIZES, Autoencoders
from faceverify.fakes.autoencoder.pasting import MASKS, draw_mask
from faceverify.fakes.autoencoder.swap import load
from faceverify.fakes.autoencoder.training import as_tensor, fit_linear, fitted_faces, gather, train
from faceverify.models.safetensors_file import load_safetensors
from faceverify.storage import Location

CPU = torch.device("cpu")
NEEDS = GENERATORS["autoencoder_swap"]


@pytest.fixture
def people(faces: list[FaceInput]) -> list[tuple[int, FaceInput]]:
    return [(number // 2, face) for number, face in enumerate(faces)]


@pytest.fixture
def networks(ready: dict[str, Description]) -> Autoencoders:
    return load(ready["autoencoder_swap"].weights[0].uri)


def test_the_same_photos_steps_and_seed_give_the_same_bytes(people, ready):
    made = Location(ready["autoencoder_swap"].weights[0].uri).read_bytes()
    torch.manual_seed(7)  # nobody else's chance comes in, and theirs is left alone
    expected = torch.Generator().manual_seed(7)
    *told, again = train(iter(people), STEPS, 0, False)
    assert again == made
    assert torch.rand(3).tolist() == torch.rand(3, generator=expected).tolist()
    assert [one.steps for one in told] == [STEPS] and all(isinstance(one, Trained) for one in told)
    for other in (train(iter(people), STEPS, 1, False), train(iter(people), STEPS + 1, 0, False)):
        *_, data = other
        assert data != made


def test_training_moves_all_that_is_learnt_and_leaves_the_closed_form(people, networks):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        start = Autoencoders()
    fit_linear(start, fitted_faces(gather(iter(people)), 0))
    before, after = start.state_dict(), networks.state_dict()
    same = {name for name, value in after.items() if torch.equal(value, before[name])}
    assert same == {name for name in after if name.startswith(("encoder.", "linear."))}


def test_the_closed_form_keeps_the_face(people):
    kept = gather(iter(people))
    networks = Autoencoders()
    for size in SIZES:
        cut = np.stack([cut_face(*one, size)[0] for one in zip(kept.crops, kept.landmarks, strict=True)])
        faces = as_tensor(cut, CPU)
        fit_linear(networks, [faces])
        with torch.no_grad():
            for way in DECODERS:
                made = networks(faces, faces.flip(0), way)
                assert made.shape == faces.shape
                assert (made - faces).abs().mean() < 0.02, "before training the host changes nothing"


def test_one_photo_and_one_person_are_enough(faces):
    *_, data = train(iter([(3, faces[0])]), 3, 0, False)
    assert all(torch.isfinite(tensor).all() for tensor in load_safetensors(data).values())


def test_unusable_faces_are_left_out_and_none_is_a_mistake(faces):
    bad = FaceInput(faces[0].image, np.full((5, 2), np.nan, np.float32))
    kept = gather(iter([(0, bad), (1, faces[2]), (4, faces[4])]))
    assert kept.persons.tolist() == [1, 4] and kept.crops.shape[0] == 2
    with pytest.raises(UserError, match="no photo could be read that autoencoder_swap can learn from"):
        next(train(iter([(0, bad)]), 3, 0, False))


def test_the_face_comes_from_the_source_and_not_from_the_host(faces, networks):
    source, host = faces[0], faces[4]
    size = 96
    looks, points = cut_face(host.image, host.landmarks, size)
    face, known, landed = face_onto(source.image, source.landmarks, points, size, 0.4)
    with torch.no_grad():
        made = networks(as_tensor(face[None], CPU), as_tensor(looks[None], CPU), "nearest")
        still = networks(as_tensor(looks[None], CPU), as_tensor(looks[None], CPU), "nearest")
    apart = lambda one, other: float((one - as_tensor(other[None], CPU)).abs().mean())  # noqa: E731
    assert known.mean() > 0.9 and np.abs(landed - points).max() < 0.1 * size
    assert apart(made, face) < apart(made, looks) and apart(still, looks) < apart(still, face)


def test_a_crop_goes_back_where_it_came_from(faces):
    face = faces[0]
    for size in (48, 96, 128):
        matrix = to_crop(face.landmarks, size)
        crop, points = cut_face(face.image, face.landmarks, size)
        assert np.abs(points - transform_points(matrix, face.landmarks)).max() < 1e-6
        middle = np.round(face.landmarks.mean(axis=0)).astype(int)
        box = (*(middle - 20), *(middle + 20))
        back, seen = from_crop(crop, matrix, box, np.ones((size, size), bool))
        original = face.image[box[1] : box[3], box[0] : box[2]]
        assert seen.all() and np.abs(back.astype(float) - original).mean() < 8
        nothing, unseen = from_crop(crop, matrix, box, np.zeros((size, size), bool))
        assert not unseen.any() and nothing.shape == original.shape


def test_all_sizes_show_the_same_part_of_the_face():
    for size in (64, 96, 128):
        corners = transform_points(to_crop(ARCFACE_112, size), np.array([[-8.5, -8.5], [119.5, 119.5]]))
        assert np.abs(corners - [[-0.5, -0.5], [size - 0.5, size - 0.5]]).max() < 1e-6


def test_masks_cover_the_face_and_end_in_the_photo(faces):
    face = faces[2]
    matrix = to_crop(face.landmarks, 64)
    seen = set()
    for kind in MASKS:
        for seed in range(4):
            rng = np.random.default_rng(seed)
            (x0, y0, x1, y1), mask = draw_mask(kind, matrix, 64, face, 60.0, rng)
            assert mask.shape == (y1 - y0, x1 - x0) and mask.dtype == np.float32
            assert mask.min() >= 0 and mask.max() <= 1
            x, y = np.round(face.landmarks - [x0, y0]).astype(int).T
            assert (mask[y, x] > 0.5).all(), kind
            seen.add(mask.tobytes())
    assert len(seen) == 4 * len(MASKS)


def test_all_variants_are_drawn(ready, faces):
    generator = build(ready["autoencoder_swap"])
    how = set()
    for seed in range(60):
        [made] = generator.make([Request((faces[0],), faces[4], np.random.default_rng(seed))])
        how |= set(made.how.split(", "))
    assert how == {*(f"{size} pixels" for size in SIZES), *DECODERS, *MASKS, "sharpened"}


def test_what_holds_no_networks_is_named(tmp_path):
    with pytest.raises(UserError, match="the job fakes trains them"):
        build(NEEDS)
    from safetensors.torch import save

    other = tmp_path / "other.safetensors"
    for data in (b"", b"\x10\0\0\0\0\0\0\0{}", save({"encoder.weight": torch.zeros(2)})):
        other.write_bytes(data)
        with pytest.raises(UserError, match=r"other\.safetensors' holds no networks of autoencoder_swap"):
            load(str(other))
