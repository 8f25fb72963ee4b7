"""A photo blended with itself: the recipe's ingredients, and that the person stays."""

import numpy as np

from faceverify.fakes import FaceInput
from faceverify.fakes.self_blend import altered_copy, coarser, draw_move, moved, self_blend, visibility


def test_all_strengths_and_both_kinds_of_sharpness_are_drawn(faces):
    hows = [self_blend(faces[0], np.random.default_rng(seed)).how for seed in range(80)]
    assert {how.split(",")[0] for how in hows} == {"blurred", "sharpened"}
    assert {how.split(", ")[1].split()[0] for how in hows} >= {"50%", "75%", "100%"}


def test_what_is_called_a_fake_can_be_told_from_its_photo(faces):
    for seed in range(40):
        for face in faces[:4]:
            fake = self_blend(face, np.random.default_rng(seed))
            x0, y0, x1, y1 = fake.box
            assert visibility(face.image[y0:y1, x0:x1], fake.image[y0:y1, x0:x1], fake.mask) >= 8


def test_the_strength_is_the_most_of_the_mask(faces):
    for seed in range(20):
        fake = self_blend(faces[1], np.random.default_rng(seed))
        strength = float(fake.how.split(", ")[1].split("%")[0]) / 100
        assert np.isclose(fake.mask.max(), strength)


def test_the_face_moves_little(faces):
    for seed in range(20):
        for face in faces[:4]:
            apart = np.abs(self_blend(face, np.random.default_rng(seed)).landmarks - face.landmarks)
            eyes = np.linalg.norm(face.landmarks[0] - face.landmarks[1])
            assert apart.max() < 0.25 * eyes


def test_a_copy_that_is_moved_is_where_it_is_said_to_be(faces):
    """The picture holds its own coordinates, so each pixel tells where it came from."""
    y, x = np.mgrid[0:160, 0:160]
    image = np.stack([x, y, 0 * x], axis=-1).astype(np.uint8)
    for seed in range(10):
        move = draw_move(np.array([80.0, 70.0]), 90.0, np.random.default_rng(seed))
        picture, known = moved(image, move, (40, 30, 120, 130))
        assert picture.shape == (100, 80, 3) and known.all()
        at = np.array([60, 75])  # row, column in the box: the point (115, 90) of the target
        came = np.linalg.solve(move[:, :2], np.array([115.0, 90.0]) - move[:, 2])
        assert np.abs(picture[at[0], at[1], :2] - came).max() <= 1
    _, known = moved(image, np.array([[1.0, 0, 30], [0, 1.0, 0]]), (0, 0, 160, 160))
    assert not known[:, :30].any() and known[:, 30:].all()


def test_colours_change_by_no_more_than_the_recipe_allows():
    flat = np.full((60, 60, 3), 120, np.uint8)
    changes = [altered_copy(flat, 60.0, np.random.default_rng(seed))[0].astype(int)[30, 30] - 120 for seed in range(99)]
    assert 12 < np.abs(changes).max() <= 20 + 0.1 * 140 + 26  # shift, contrast, brightness
    spread = [np.ptp(change) for change in changes]
    assert 0.1 < np.mean(np.array(spread) > 1) < 0.5  # in three of ten the channels part


def test_coarser_keeps_what_is_smooth_and_loses_the_rest():
    fine = (np.indices((64, 64)).sum(axis=0) % 2 * 200.0).astype(np.float32)[..., None].repeat(3, axis=2)
    smooth = np.linspace(0, 200, 64, dtype=np.float32)[:, None, None].repeat(64, axis=1).repeat(3, axis=2)
    assert coarser(fine, 0.5)[8:-8, 8:-8].std() < 1
    assert np.abs(coarser(smooth, 0.5) - smooth).max() < 4
    assert (coarser(fine, 0.01)).shape == (64, 64, 3)


def test_a_face_near_the_edge_is_blended_up_to_it(faces):
    face = faces[0]
    left = int(face.landmarks[:, 0].min()) - 14
    cut = FaceInput(face.image[:, left:].copy(), face.landmarks - np.float32([left, 0]))
    fake = self_blend(cut, np.random.default_rng(3))
    assert fake.box[0] == 0 and fake.image.shape == cut.image.shape
    assert fake.mask[:, 0].max() < 0.2  # no seam along the edge
