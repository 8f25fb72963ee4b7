"""Batches of real photos and fakes made of them: the same bytes for the same step, however it is divided."""

from dataclasses import replace

import numpy as np
import pytest
from forensics.conftest import Patches

from faceverify.fakes import GENERATORS
from faceverify.forensics.batches import ForensicBatch, ForensicBuilder
from faceverify.forensics.config import ForensicSteps, MixConfig
from faceverify.training.batches import BatchLoader

BLENDS = tuple(GENERATORS[name] for name in ("self_blend", "landmark_swap"))
MIX = MixConfig(self_blend=1, landmark_swap=1, autoencoder_swap=0, given=1)


def builder_of(patches: Patches, size: int = 4, mix: MixConfig = MIX) -> ForensicBuilder:
    return ForensicBuilder(patches.material(), ForensicSteps(size=size, epochs=9, seed=3), BLENDS, mix)


def arrays(batch: ForensicBatch) -> list[np.ndarray]:
    return [batch.rows, batch.faces, batch.scale, batch.is_fake, batch.fields]


def test_batches_are_the_same_bytes_here_and_in_processes(patches: Patches) -> None:
    found = []
    for processes in (0, 2):
        loader = BatchLoader(builder_of(patches), patches.images(), processes=processes)
        found.append([arrays(batch) for batch in loader.batches(0, 3)])
    for one, other in zip(*found, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_two_workers_share_the_batch_of_one(patches: Patches) -> None:
    whole = next(BatchLoader(builder_of(patches), patches.images()).batches(2, 3))
    halves = [next(BatchLoader(builder_of(patches), patches.images(), rank, 2).batches(2, 3)) for rank in (0, 1)]
    for all_, one, two in zip(arrays(whole), *map(arrays, halves), strict=True):
        real, fake = (np.concatenate(parts) for parts in zip(np.split(one, 2), np.split(two, 2), strict=True))
        np.testing.assert_array_equal(all_, np.concatenate([real, fake]))


def test_a_pass_takes_every_photo_and_makes_other_fakes_than_the_one_before(patches: Patches) -> None:
    builder = builder_of(patches, size=3, mix=replace(MIX, given=0))
    order = builder.order()
    passes = [[builder.plan(order, step, 0, 1) for step in range(n * 6, n * 6 + 6)] for n in (0, 1)]
    rows = [np.concatenate([plan.rows[:3] for plan in one]) for one in passes]
    assert sorted(rows[0]) == sorted(rows[1]) == sorted(builder.material.train)
    made = [[{**zip_of(plan)} for plan in one] for one in passes]
    assert made[0] != made[1]


def zip_of(plan: object) -> dict[int, tuple[int, int]]:
    rows, generator = plan.rows, plan.generator  # type: ignore[attr-defined]
    return {int(rows[i]): (int(rows[len(generator) + i]), int(generator[i])) for i in range(len(generator))}


def test_faces_come_from_other_people_and_shares_are_kept(patches: Patches) -> None:
    builder = builder_of(patches, size=18)
    order, material = builder.order(), builder.material
    plans = [builder.plan(order, step, 0, 1) for step in range(60)]
    generator = np.concatenate([plan.generator for plan in plans])
    shares = [(generator == number).mean() for number in (-1, 0, 1)]
    np.testing.assert_allclose(shares, [0.5, 0.25, 0.25], atol=0.06)
    for plan in plans:
        real, other = np.split(plan.rows, 2)
        swapped = plan.generator >= 0
        assert (material.person[real] != material.person[other])[swapped].all()
        assert np.isin(other[~swapped], material.given).all() and np.isin(other[swapped], material.train).all()


def test_a_given_fake_stands_beside_its_original(patches: Patches) -> None:
    builder = builder_of(patches)
    material = builder.material
    fake, original = int(material.given[0]), int(material.train[5])
    material.original[fake] = original
    plan = builder.plan_of(0, [(1, 2)], material.train[:1], material.train, np.array([fake]))
    rows = set()
    for seed in range(20):
        plan = builder.plan_of(0, [(seed, 2)], material.train[:1], material.train, np.array([fake]))
        rows.add((int(plan.generator[0] < 0), int(plan.rows[0])))
    assert rows == {(1, original), (0, int(material.train[0]))}


def test_a_fake_that_cannot_be_made_is_not_called_one(patches: Patches) -> None:
    builder = builder_of(patches)
    row = int(builder.material.train[0])
    builder.material.landmarks[row] = np.linspace(5, 6, 10).reshape(5, 2)  # a face of a pixel
    plan = builder.plan_of(0, [(1, 1)], np.array([row]), builder.material.train[:1], np.zeros(0, int))
    batch = builder.build(plan, patches.images()(plan.distinct))
    assert batch.is_fake.tolist() == [0, 0] and not batch.fields.any()
    np.testing.assert_array_equal(batch.faces[0], batch.faces[1])


def test_scale_says_how_much_the_crop_is_enlarged(patches: Patches) -> None:
    batch = next(BatchLoader(builder_of(patches), patches.images()).batches(0, 1))
    real, fake = np.split(batch.scale[:, 0], 2)
    assert ((real > 0) & (real < 1.3)).all()  # eyes of 32 to 62 pixels
    of_same = batch.is_fake[4:] == 1
    assert of_same.any() and batch.faces.shape == (8, 256, 256, 3)
    assert (np.abs(real - fake) < 1).all()


def test_more_than_there_is_to_draw_from_is_refused(patches: Patches) -> None:
    from faceverify.errors import UserError

    with pytest.raises(UserError, match=r"batches\.size is 64"):
        builder_of(patches, size=64).order()
