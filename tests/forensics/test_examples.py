"""A real photo and its fake differ in nothing but what was done to the face."""

import cv2
import numpy as np
from forensics.conftest import Patches

from faceverify.align.cutting import cut
from faceverify.fakes.audit import found_face
from faceverify.forensics.examples import CROP, changed, fields_of, make_example, make_pair, outline_mask
from faceverify.forensics.patches import Patch


def patch_of(patches: Patches, row: int = 0) -> Patch:
    material = patches.material()
    return material.patch(row, patches.images()(np.array([row]))[0])


def darkened(real: Patch) -> tuple[Patch, np.ndarray]:
    mask = outline_mask(real)
    image = np.where(mask[..., None] > 0, real.image // 2, real.image).astype(np.uint8)
    return Patch(image, real.landmarks), mask


def test_outside_the_mask_both_are_stored_again_alike(patches: Patches) -> None:
    real = patch_of(patches)
    fake, mask = darkened(real)
    one, other = make_pair(real, fake, mask, [3])
    apart = np.abs(one.crop.astype(int) - other.crop).mean(axis=2)
    fields = np.kron(other.fields, np.ones((16, 16)))
    assert apart[fields > 0.9].mean() > 20
    assert apart[cv2.dilate(fields, np.ones((64, 64))) == 0].mean() < 2  # a codec's blocks reach a little further
    assert one.eyes == other.eyes and not one.fields.any() and other.fields.max() > 0.99


def test_the_same_photo_twice_gives_the_same_bytes(patches: Patches) -> None:
    real = patch_of(patches)
    one, other = make_pair(real, real, outline_mask(real), [5])
    np.testing.assert_array_equal(one.crop, other.crop)
    again, _ = make_pair(real, real, outline_mask(real), [5])
    np.testing.assert_array_equal(one.crop, again.crop)
    another, _ = make_pair(real, real, outline_mask(real), [6])
    assert (one.crop != another.crop).any()


def test_without_storing_again_it_is_the_crop_of_the_photo(patches: Patches) -> None:
    real = patch_of(patches)
    rng = np.random.default_rng(0)
    example = make_example(real, outline_mask(real), rng, recoded=False)
    near = real.landmarks + np.random.default_rng(0).normal(0, 0.015 * example.eyes, (5, 2))
    crop, fields = cut(real.image, found_face(near), CROP), fields_of(outline_mask(real), near)
    if not np.array_equal(crop, example.crop):
        crop, fields = crop[:, ::-1], fields[:, ::-1]
    np.testing.assert_array_equal(example.crop, crop)
    np.testing.assert_array_equal(example.fields, fields)


def test_fields_say_where_the_face_was_changed(patches: Patches) -> None:
    real = patch_of(patches)
    fake, mask = darkened(real)
    np.testing.assert_array_equal(changed(real.image, real.image), 0)
    found = fields_of(changed(real.image, fake.image), real.landmarks)
    truth = fields_of(mask, real.landmarks)
    assert truth[8, 8] == 1 and truth[0].max() == 0 and truth[:, 0].max() == 0
    assert np.abs(found - truth)[truth == 1].max() < 0.1 and found[0].max() == 0
