"""Who can lend a face and who can receive one, for any people in any order."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceverify.errors import UserError
from faceverify.fakes.photo_pool import gather, landmarks_of, with_landmarks
from faceverify.tables import FACES, LANDMARKS

PEOPLE = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(0, 2), st.sampled_from(["train", "val", None])),
    min_size=1,
    max_size=9,
)


@given(PEOPLE, st.integers(0, 2**40), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_everybody_with_a_real_photo_is_there_split_by_split(photos_of, people, seed, rng):
    rows = photos_of(people)
    order = list(range(rows.num_rows))
    rng.shuffle(order)
    if not any(good for good, *_ in people.values()):
        with pytest.raises(UserError, match=r"usable landmarks.*--faces"):
            gather(rows, seed)
        return
    pool = gather(rows.take(pa.array(order, pa.int64())), seed)
    facts = {row["photo"]: row for row in rows.to_pylist()}
    assert sorted(pool.names.to_pylist()) == sorted(p for p, (good, bare, *_) in people.items() if good + bare)
    for number, name in enumerate(pool.names.to_pylist()):
        good, _, _, split = people[name]
        own = range(pool.start[number], pool.start[number] + pool.count[number])
        assert [pool.photos[i].as_py() for i in own] == [f"{name}/{i:02d}.jpg" for i in range(good)]
        assert all(pool.person_of(i) == name for i in own)
        assert pool.splits[number].as_py() == split
        candidates = {pool.photos[i].as_py() for i in range(*pool.split_photos[number])}
        assert candidates == {f"{p}/{i:02d}.jpg" for p, (n, _, _, s) in people.items() if s == split for i in range(n)}
    for i, photo in enumerate(pool.photos.to_pylist()):
        assert pool.uris[i].as_py() == facts[photo]["uri"]
        assert np.allclose(pool.landmarks[i].ravel(), facts[photo]["landmarks"])


def test_the_order_of_the_rows_and_the_company_change_nothing_of_a_person(photos_of):
    rows = photos_of({"b": (3, 0, 1), "a": (2, 1, 0)})
    one, other = gather(rows, 5), gather(rows.take(pa.array(range(rows.num_rows - 1, -1, -1))), 5)
    more = gather(photos_of({"a": (2, 1, 0), "b": (3, 0, 1), "aa": (4, 0, 0)}), 5)
    for name in ("photos", "uris", "names", "splits"):
        assert getattr(one, name) == getattr(other, name)
    for name in ("keys", "start", "count", "landmarks", "poses", "sizes"):
        assert (getattr(one, name) == getattr(other, name)).all()
    assert one.keys.tolist() == [more.keys[0], more.keys[2]]
    assert gather(rows, 6).keys.tolist() != one.keys.tolist()


def test_poses_are_landmarks_in_the_aligned_crop(photos_of):
    pool = gather(photos_of({"a": (4, 0, 0)}), 0)
    from faceverify.align.geometry import fit_similarity, transform_points

    for points, pose, size in zip(pool.landmarks, pool.poses, pool.sizes, strict=True):
        matrix = fit_similarity(points[None])[0]
        assert np.allclose(transform_points(matrix, points), pose, atol=1e-3)
        assert np.isclose(size, 1 / np.hypot(*matrix[:, 0]))


def test_landmarks_that_are_half_there_are_none(photos_of):
    rows = photos_of({"a": (3, 0, 0)})
    points = rows["landmarks"].to_pylist()
    points[1] = [None, *points[1][1:]]
    points[2] = None
    rows = rows.set_column(rows.schema.get_field_index("landmarks"), "landmarks", pa.array(points, LANDMARKS))
    read = landmarks_of(rows)
    assert np.isfinite(read[0]).all() and np.isnan(read[1, 0, 0]) and np.isnan(read[2]).all()
    assert gather(rows, 0).photos.to_pylist() == ["a/00.jpg"]


def test_landmarks_of_a_faces_table(photos_of):
    rows = photos_of({"a": (2, 1, 0)})
    found = pa.Table.from_pylist(
        [{"photo": f"a/{i:02d}.jpg", "image": b"", "landmarks": np.arange(10.0) * i} for i in (2, 1)], FACES
    )
    joined = with_landmarks(rows, found.select(["photo", "landmarks"]))
    assert joined["photo"].to_pylist() == rows["photo"].to_pylist()
    assert [p and p[1] for p in joined["landmarks"].to_pylist()] == [None, 1.0, 2.0]


def test_mistakes_are_named(photos_of):
    rows = photos_of({"a": (3, 0, 0)})
    with pytest.raises(UserError, match=r"'a/00\.jpg' is there more than once"):
        gather(pa.concat_tables([rows, rows]), 0)
    torn = rows.set_column(rows.schema.get_field_index("split"), "split", pa.array(["train", None, None]))
    with pytest.raises(UserError, match="person 'a' has photos in two splits"):
        gather(torn, 0)
    with pytest.raises(UserError, match="none of 0 photos"):
        gather(rows.slice(0, 0), 0)
