"""Rendered people: determinism, exact landmarks, label errors, fakes, pairs, and that people can be told apart."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceverify import tables
from faceverify.errors import UserError
from faceverify.images import decode
from faceverify.rendered import (
    RenderedConfig,
    draw_person,
    plan,
    read,
    render,
    render_fake,
    render_photo,
    write,
)
from faceverify.rendered.geometry import Pose, spline
from faceverify.rendered.photo import REAL, person_of, scene_of
from faceverify.rendered.portrait import landmarks_of, paint
from faceverify.storage import Location, open_location

SMALL = RenderedConfig(persons=6, photos_per_person=4, fakes_per_person=2, photo_size=96, seed=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Location:
    return open_location(str(tmp_path_factory.mktemp("rendered")))


@pytest.fixture(scope="module")
def photos(folder: Location) -> pa.Table:
    return write(SMALL, folder).photos


def test_import_does_not_load_opencv() -> None:
    code = "import sys, faceverify.rendered; print('cv2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_unknown_name_is_refused() -> None:
    import faceverify.rendered as module

    with pytest.raises(AttributeError, match="nothing"):
        module.nothing  # noqa: B018


def test_same_bytes_in_any_order() -> None:
    slots = plan(SMALL)[:8]
    forwards = [render(SMALL, slot) for slot in slots]
    backwards = [render(SMALL, slot) for slot in reversed(slots)]
    assert forwards == backwards[::-1]
    assert len(set(forwards)) == len(forwards)


def test_seed_changes_the_person_and_the_photo() -> None:
    other = replace(SMALL, seed=6)
    assert person_of(SMALL, 0) != person_of(other, 0)
    assert not np.array_equal(render_photo(SMALL, 0, 0)[0], render_photo(other, 0, 0)[0])
    assert draw_person(3) == draw_person(3) != draw_person(4)


def test_photo_does_not_depend_on_how_many_others_there_are() -> None:
    many = replace(SMALL, persons=50, photos_per_person=9)
    assert np.array_equal(render_photo(SMALL, 2, 1)[0], render_photo(many, 2, 1)[0])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), difficulty=st.sampled_from([0.0, 1.0, 2.0]), size=st.sampled_from([64, 160]))
def test_landmarks_are_in_the_photo_and_in_order(seed: int, difficulty: float, size: int) -> None:
    config = RenderedConfig(seed=seed, difficulty=difficulty, photo_size=size)
    points = landmarks_of(person_of(config, 0), scene_of(config, REAL, 0, 0))
    left, right, nose, mouth_left, mouth_right = points
    assert points.shape == (5, 2) and points.dtype == np.float32
    assert (points > 0).all() and (points < size - 1).all()
    assert left[0] < right[0] and mouth_left[0] < mouth_right[0]
    assert max(left[1], right[1]) < nose[1] < max(mouth_left[1], mouth_right[1])
    assert 0.1 * size < np.hypot(*(right - left)) < 0.35 * size


def _magenta(difference: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and weights of the pixels that changed between two pictures [h, w, 3]."""
    weight = np.abs(difference).sum(axis=2)
    rows, columns = np.nonzero(weight > 0.25 * weight.max())
    return rows, columns, weight[rows, columns]


@pytest.mark.parametrize("photo", range(6))
def test_eye_landmarks_are_where_the_irises_are_drawn(photo: int) -> None:
    """Only the irises differ between the two pictures: their centres must be the landmarks (up to the lids' cover)."""
    config = RenderedConfig(seed=9, photo_size=160)
    scene = scene_of(config, REAL, 0, photo)
    scene = replace(scene, glasses=None, expression=replace(scene.expression, gaze=(0.0, 0.0), lids=1.1))
    person = replace(person_of(config, 0), hair_style="bald")
    rows, columns, weight = _magenta(
        paint(replace(person, eyes=(255.0, 0.0, 255.0)), scene) - paint(replace(person, eyes=(0.0, 255.0, 0.0)), scene)
    )
    eyes = landmarks_of(person, scene)[:2]
    nearest = np.argmin([np.hypot(columns - x, rows - y) for x, y in eyes], axis=0)
    for eye in range(2):
        own = nearest == eye
        assert np.average(columns[own], weights=weight[own]) == pytest.approx(eyes[eye, 0], abs=0.6)
        assert np.average(rows[own], weights=weight[own]) == pytest.approx(eyes[eye, 1], abs=1.2)


@pytest.mark.parametrize("photo", range(6))
def test_mouth_landmarks_are_the_ends_of_the_lips(photo: int) -> None:
    config = RenderedConfig(seed=10, photo_size=160)
    scene = scene_of(config, REAL, 1, photo)
    scene = replace(scene, pose=replace(scene.pose, roll=0.0))
    person = replace(person_of(config, 1), beard="none", hair_style="bald")
    rows, columns, _ = _magenta(
        paint(replace(person, lips=(255.0, 0.0, 255.0)), scene) - paint(replace(person, lips=(0.0, 255.0, 0.0)), scene)
    )
    left, right = landmarks_of(person, scene)[3:]
    assert columns.min() == pytest.approx(left[0], abs=1.6)
    assert columns.max() == pytest.approx(right[0], abs=1.6)
    assert rows[columns == columns.min()].mean() == pytest.approx(left[1], abs=1.6)
    assert rows[columns == columns.max()].mean() == pytest.approx(right[1], abs=1.6)


@given(
    roll=st.floats(-0.5, 0.5),
    yaw=st.floats(-0.4, 0.4),
    pitch=st.floats(-0.2, 0.2),
    x=st.floats(-0.5, 0.5),
    y=st.floats(-0.7, 1.2),
)
def test_unproject_undoes_project(roll: float, yaw: float, pitch: float, x: float, y: float) -> None:
    pose = Pose(roll, yaw, pitch, 35.0, 80.0, 75.0)
    px = pose.project(np.array([[x, y]]))
    back = pose.unproject(px[:, 0], px[:, 1])
    assert np.allclose(np.ravel(back), [x, y], atol=0.03)


@given(roll=st.floats(-0.5, 0.5), yaw=st.floats(-0.4, 0.4), pitch=st.floats(-0.2, 0.2), z=st.floats(-0.5, 1.2))
def test_project_is_the_product_of_three_rotations(roll: float, yaw: float, pitch: float, z: float) -> None:
    (cr, sr), (cy, sy), (cp, sp) = ((np.cos(a), np.sin(a)) for a in (roll, yaw, pitch))
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    tilt = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    want = 35 * (tilt @ nod @ turn @ [0.1, 0.6, z])[:2] + [80, 75]
    assert np.allclose(Pose(roll, yaw, pitch, 35.0, 80.0, 75.0).project(np.array([[0.1, 0.6]]), z), want)


def test_nose_landmark_stands_out_of_the_face() -> None:
    """Looking straight ahead it lies between the eyes; turned to the right it moves further than they do."""
    config = RenderedConfig(seed=11, difficulty=0.0)
    person, scene = person_of(config, 0), scene_of(config, REAL, 0, 0)
    front = landmarks_of(person, scene)
    turned = landmarks_of(person, replace(scene, pose=replace(scene.pose, yaw=0.3)))
    eyes, nose = (turned - front)[:2].mean(axis=0), (turned - front)[2]
    assert front[2, 0] == pytest.approx(front[:2, 0].mean(), abs=1e-3)
    assert nose[0] - eyes[0] > 0.2 * scene.pose.scale * np.sin(0.3)


def test_frontal_pose_is_a_plain_scaling() -> None:
    pose = Pose(0.0, 0.0, 0.0, 10.0, 50.0, 40.0)
    assert np.allclose(pose.project(np.array([[1.0, 2.0], [0.0, 0.0]])), [[60.0, 60.0], [50.0, 40.0]])


@pytest.mark.parametrize("closed", [False, True])
def test_spline_goes_through_its_points(closed: bool) -> None:
    points = np.array([[0.0, 0.0], [1.0, 2.0], [3.0, 1.0], [4.0, -1.0]])
    curve = spline(points, closed, steps=8)
    assert np.allclose(curve[:32:8][: len(points)], points[: len(curve[:32:8])])
    assert closed or np.allclose(curve[-1], points[-1])


def test_written_files_are_the_rows(folder: Location, photos: pa.Table) -> None:
    tables.validate(photos.schema, tables.PHOTOS, "photos")
    assert len(photos) == SMALL.persons * (SMALL.photos_per_person + SMALL.fakes_per_person)
    sizes = {entry.path: entry.size for entry in folder.files()}
    for row in photos.to_pylist():
        assert sizes[row["photo"]] == row["bytes_size"]
        assert row["uri"] == (folder / row["photo"]).uri
        assert row["person"] == row["true_person"] == row["photo"].split("/")[0]
    first = photos.to_pylist()[-1]
    rgb, landmarks = render_photo(SMALL, 5, 3)
    read_back = decode((folder / first["photo"]).read_bytes()).astype(float)
    assert first["photo"] == "person_0005/real_03.jpg"
    assert np.abs(read_back - rgb).mean() < 4
    assert np.allclose(np.reshape(first["landmarks"], (5, 2)), landmarks)


def test_read_lists_what_is_there_and_draws_what_is_missing(folder: Location, photos: pa.Table) -> None:
    missing = folder / "person_0001/real_02.jpg"
    kept = folder / "person_0001/real_01.jpg"
    before = missing.read_bytes()
    stamp = kept.stat().mtime_ns
    missing.delete()
    assert read(folder, SMALL).photos.equals(photos)
    assert missing.read_bytes() == before
    assert kept.stat().mtime_ns == stamp


def test_read_refuses_a_folder_of_other_people(folder: Location, photos: pa.Table) -> None:
    with pytest.raises(UserError, match=r"rendered\.json"):
        read(folder, replace(SMALL, seed=99))


def test_fakes_are_in_turn_of_two_generators(photos: pa.Table) -> None:
    fakes = [row for row in photos.to_pylist() if row["is_fake"]]
    per_person = Counter((row["person"], row["generator"]) for row in fakes)
    assert len(per_person) == 2 * SMALL.persons and set(per_person.values()) == {1}
    assert {row["generator"] for row in photos.to_pylist() if not row["is_fake"]} == {None}


def test_generator_and_landmarks_of_fakes() -> None:
    for index, name in enumerate(("swap", "synthesis")):
        rgb, landmarks, generator = render_fake(SMALL, 3, index)
        assert (rgb.shape, rgb.dtype, generator) == ((96, 96, 3), np.uint8, name)
        assert (landmarks > 0).all() and (landmarks < 95).all()
        again = render_fake(SMALL, 3, index)
        assert np.array_equal(rgb, again[0]) and np.array_equal(landmarks, again[1])


def test_one_person_alone_can_be_faked() -> None:
    rgb, _, _ = render_fake(replace(SMALL, persons=1), 0, 0)
    assert rgb.shape == (96, 96, 3)


def test_synthesis_leaves_an_upsampling_grid() -> None:
    """Energy at the Nyquist frequency in both directions, against real photos."""
    board = np.where(np.indices((96, 96)).sum(axis=0) % 2, 1.0, -1.0)

    def energy(rgb: np.ndarray) -> float:
        return abs((rgb.mean(axis=2) * board).mean())

    fakes = [energy(render_fake(SMALL, person, 1)[0]) for person in range(5)]
    reals = [energy(render_photo(SMALL, person, 0)[0]) for person in range(5)]
    assert min(fakes) > 3 * max(reals)


def test_swap_replaces_the_inner_face_only() -> None:
    """A swap shows the victim's eyes: as close to the victim drawn in that scene as the host is not."""
    from faceverify.rendered import fakes
    from faceverify.rendered.photo import FAKE, expose

    scene = scene_of(SMALL, FAKE, 2, 0)
    host = fakes._host(SMALL, 2, 0)
    photo = expose(paint(host, scene), scene.camera, scene.texture_seed)
    swap = render_fake(SMALL, 2, 0)[0]
    mask = fakes._inner_face(scene.pose, 96)
    assert np.array_equal(swap[mask == 0], photo[mask == 0])
    assert np.abs(swap[mask > 0.95].astype(float) - photo[mask > 0.95]).mean() > 5


@settings(max_examples=20, deadline=None)
@given(share=st.floats(0, 1), persons=st.integers(2, 9), photos=st.integers(1, 6), train=st.floats(0, 1))
def test_share_of_label_errors_is_exact(share: float, persons: int, photos: int, train: float) -> None:
    config = RenderedConfig(persons=persons, photos_per_person=photos, label_errors=share, train_share=train)
    reals = [slot for slot in plan(config) if not slot.is_fake]
    wrong = [slot for slot in reals if slot.person != slot.shows]
    assert len(wrong) == round(share * (persons * photos))
    assert len({(slot.shows, slot.index) for slot in reals}) == len(reals)
    assert all(slot.index >= photos for slot in wrong)


def test_label_errors_keep_the_truth_and_the_split(tmp_path: object) -> None:
    config = RenderedConfig(
        persons=5, photos_per_person=4, fakes_per_person=0, label_errors=0.25, train_share=0.6, photo_size=64
    )
    rows = write(config, open_location(str(tmp_path))).photos.to_pylist()
    split = {row["person"]: row["split"] for row in rows}
    wrong = [row for row in rows if row["person"] != row["true_person"]]
    assert len(wrong) == 5
    assert all(split[row["true_person"]] == row["split"] for row in wrong)
    assert Counter(split.values()) == {"train": 3, "test": 2}
    assert all(row["photo"].startswith(row["person"] + "/") for row in rows)


def test_fakes_show_their_traces_as_plainly_as_asked_and_photos_have_none() -> None:
    sets = [RenderedConfig(persons=3, photo_size=96, fake_traces=traces) for traces in (0.0, 1.0, 4.0)]
    for fake in (0, 1):
        none, some, plain = (render_fake(config, 1, fake)[0].astype(float) for config in sets)
        assert 0 < np.abs(some - none).mean() < 0.5 * np.abs(plain - none).mean()
    assert len({render_photo(config, 1, 0)[0].tobytes() for config in sets}) == 1


def test_splits_are_shares_of_the_persons() -> None:
    config = RenderedConfig(persons=20, photos_per_person=1, fakes_per_person=0, train_share=0.6, val_share=0.15)
    assert [slot.split for slot in plan(config)] == ["train"] * 12 + ["val"] * 3 + ["test"] * 5
    with pytest.raises(UserError, match=r"rendered.val_share is 0.5, train_share 0.6: give at most 1 together"):
        RenderedConfig(train_share=0.6, val_share=0.5)


def _oracle(config: RenderedConfig, person: int, photo: int) -> np.ndarray:
    """Blurred colours of the aligned face: what a very plain recogniser would look at."""
    rgb, points = render_photo(config, person, photo)
    target = np.array([[11, 13], [21, 13], [16, 19], [12, 25], [20, 25]], np.float64)
    matrix, _ = cv2.estimateAffinePartial2D(points.astype(np.float64), target, method=cv2.LMEDS)
    face = cv2.warpAffine(rgb, matrix, (32, 32), flags=cv2.INTER_AREA).astype(np.float32)
    small = cv2.resize(cv2.GaussianBlur(face, (0, 0), 1.0), (16, 16), interpolation=cv2.INTER_AREA)
    return (small - small.mean(axis=(0, 1))).ravel() / small.std()


def test_a_plain_oracle_tells_people_apart_but_not_perfectly() -> None:
    config = RenderedConfig(persons=24, photo_size=112, seed=1)
    features = np.stack([[_oracle(config, p, k) for k in range(4)] for p in range(24)]).reshape(96, -1)
    persons = np.repeat(np.arange(24), 4)
    distance = np.linalg.norm(features[:, None] - features[None], axis=2)
    same = persons[:, None] == persons[None]
    upper = np.triu(np.ones_like(same), 1).astype(bool)
    genuine, impostor = distance[upper & same], distance[upper & ~same]
    auc = (genuine[:, None] < impostor[None]).mean()
    assert 0.8 < auc < 0.999


@pytest.mark.parametrize(
    ("name", "value"),
    [("persons", 0), ("photos_per_person", 0), ("fakes_per_person", -1), ("photo_size", 32), ("label_errors", 1.5)],
)
def test_bad_settings_are_named(name: str, value: float) -> None:
    fields: dict[str, Any] = {name: value}
    with pytest.raises(UserError, match=f"rendered.{name} is {value}"):
        replace(SMALL, **fields)


def test_label_errors_need_two_persons() -> None:
    with pytest.raises(UserError, match="second person"):
        RenderedConfig(persons=1, label_errors=0.5)
