"""The deepfake protocol: who is judged as what, and the whole way on a few pictures."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.deepfake_protocol import (
    ALL,
    PER_PERSON,
    Model,
    Trial,
    claims_of,
    genuine_pairs,
    matrix_notes,
    measure,
    wanted,
)
from benchmarks.forensic_photos import AS_IS, WAYS, Looker, Photo, Seen, seed_of
from benchmarks.splits import DEV, TEST, TRAIN, Row, read
from faceverify.align.crops import ARCFACE
from faceverify.forensics.thresholds import ForensicThresholds
from tests.forensics.graphs import card, roughness

ROWS = read()


def row(path: str, **changes: object) -> Row:
    given = {
        "path": path, "role": "real", "generator": "", "family": "", "person": "ada", "unit": "ada", "host_path": "",
        "source": "pins", "split": TEST, "detector": True,
    }  # fmt: skip
    return Row(**(given | changes))  # pyrefly: ignore


def fake(family: str, split: str, source: str = "collages") -> Row:
    return row("f", role="fake", generator="g", family=family, split=split, source=source)


@pytest.mark.parametrize(
    ("left_out", "family", "split", "protocol"),
    [
        ("", "autoencoder", TEST, "seen"),
        ("", "autoencoder", DEV, None),
        ("", "autoencoder", TRAIN, None),
        ("autoencoder", "autoencoder", TEST, "unseen"),
        ("autoencoder", "autoencoder", DEV, "unseen"),
        ("autoencoder", "autoencoder", TRAIN, None),
        ("autoencoder", "inswapper", TEST, "seen"),
        ("", "faceshifter", TEST, "unseen"),  # nobody can learn from it
        (ALL, "autoencoder", TRAIN, "unseen"),
        (ALL, "reenactment", TEST, "unseen"),
        (ALL, "segmind", TRAIN, "acceptance only"),
    ],
)
def test_seen_and_unseen_are_told_by_family_and_split(left_out: str, family: str, split: str, protocol: str) -> None:
    assert Model("m", Path("m.onnx"), left_out).protocol(fake(family, split)) == protocol


def test_own_fakes_are_seen_whatever_was_left_out() -> None:
    own = [fake("own landmark_swap", split, "own") for split in (TEST, DEV)]
    assert [Model("m", Path("m"), ALL).protocol(one) for one in own] == ["seen, own", None]


def test_a_model_is_named_with_the_family_it_lacks() -> None:
    assert Model.parse("ours=a/b.onnx:inswapper") == Model("ours", Path("a/b.onnx"), "inswapper")
    assert Model.parse("ours=b.onnx") == Model("ours", Path("b.onnx"), "")
    with pytest.raises(SystemExit, match="NAME=MODEL"):
        Model.parse("b.onnx")
    with pytest.raises(SystemExit, match=r"leaves out 'autoencoders': give one of autoencoder, .* or all"):
        Model.parse("ours=b.onnx:autoencoders")


def test_reenactments_are_in_no_cell_of_the_recoding_matrix() -> None:
    """Three fakes of one, none of which counts as manipulated, would make 2 of 2 into 2 of 5."""
    rows = [fake("faceshifter", TEST), fake("faceshifter", TEST), *[fake("reenactment", TEST)] * 3, row("r")]
    some = Seen(rows, np.eye(6, dtype=np.float32), np.full(6, 70, np.float32), {"m": np.float32([9, 9, 0, 0, 0, 0])})
    limits = ForensicThresholds(model="m", values=(1.0,) * 3, bpcer=(0.0,) * 3, photos=(60,) * 3, cost=0.05)
    [note] = matrix_notes(Trial(Model("m", Path("m"), ALL), {}, 0.3, limits), {AS_IS: some})
    assert note == "m, counted as manipulated: as is: real 0.0% of 1, unseen 100.0% of 2."


def test_nobody_is_judged_who_was_learnt_from() -> None:
    """Of TRAIN there are only fakes of a model that learnt from none, their hosts, and the people they claim to be."""
    one, blind = (wanted(ROWS, [Model("m", Path("m"), left_out)]) for left_out in ("autoencoder", ALL))
    assert {row.split for row in one if row.family != "segmind" and row.role == "fake"} == {DEV, TEST}
    claimed = {row.person.casefold() for row in one if row.role == "fake"}
    hosts = {row.host_path for row in one}
    real = [row for row in one if row.role != "fake" and row.split == TRAIN]
    assert all(row.person.casefold() in claimed or row.path in hosts for row in real)
    assert {row.split for row in blind if row.role == "fake"} == {TRAIN, DEV, TEST}
    assert len({row.path for row in blind}) == len(blind)
    people: dict[str, int] = {}
    for row in blind:
        if row.role == "real" and row.path not in {one.host_path for one in blind}:
            people[row.person.casefold()] = people.get(row.person.casefold(), 0) + 1
    assert max(people.values()) <= PER_PERSON


def seen(rows: list[Row]) -> Seen:
    units = np.eye(max(len(rows), 4), dtype=np.float32)[: len(rows)]
    return Seen(rows, units, np.full(len(rows), 70, np.float32), {"m": np.arange(len(rows), dtype=np.float32)})


def test_genuine_pairs_are_within_one_person_of_one_split() -> None:
    rows = [row("a"), row("b", person="Ada"), row("c", person="bob"), row("d", split=DEV), row("e", role="host")]
    pairs, persons = genuine_pairs(seen(rows), TEST)
    assert pairs.tolist() == [[0, 1]] and persons.tolist() == ["ada"]


def test_a_fake_is_never_compared_with_the_picture_it_was_made_from() -> None:
    fakes = seen([row("f", role="fake", host_path="a"), row("g", role="fake", person="eve")])
    found = claims_of(fakes, seen([row("a"), row("b"), row("c", person="bob")]), "m")
    assert found.fake.tolist() == [0] and found.scores.tolist() == [1.0]


@pytest.mark.parametrize("way", WAYS)
def test_a_photo_stored_again_keeps_its_face_where_its_landmarks_say(way: str) -> None:
    pixels = np.full((200, 180, 3), 90, np.uint8)
    points = np.array([[60, 80], [120, 80], [90, 110], [70, 140], [110, 140]], np.float32)
    for x, y in points.astype(int):
        pixels[y - 4 : y + 5, x - 4 : x + 5] = 255
    stored, found = WAYS[way](pixels, points, seed_of("photo"))
    again, same = WAYS[way](pixels, points, seed_of("photo"))
    assert (stored == again).all() and (found == same).all()
    assert (stored.shape == pixels.shape) == (way != "x0.5" and not way.startswith("recoded"))
    assert (way == AS_IS) == (stored.shape == pixels.shape and bool((stored == pixels).all()))
    for x, y in np.rint(found).astype(int):
        assert stored[y, x].min() > 200


def test_a_fake_is_stored_again_like_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []

    def way(pixels: np.ndarray, landmarks: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        drawn.append(seed)
        return pixels, landmarks

    monkeypatch.setitem(WAYS, AS_IS, way)
    rows = [row("host", role="host"), row("fake", role="fake", host_path="host"), row("other")]
    points = np.array([[60, 80], [120, 80], [90, 110], [70, 140], [110, 140]], np.float32)
    photos = [Photo(one, np.zeros((200, 180, 3), np.uint8), points) for one in rows]
    Looker(Flat(), {}).look(photos, [AS_IS])  # pyrefly: ignore
    assert drawn[0] == drawn[1] != drawn[2]


class Flat:
    """An engine that embeds every face alike."""

    class card:
        shown = ARCFACE

    def embed(self, faces: np.ndarray) -> np.ndarray:
        return np.ones((len(faces), 4), np.float32)


def test_the_whole_protocol_on_a_few_pictures(shared_data: Path, tmp_path: Path) -> None:
    people = sorted({one.person for one in ROWS if one.source == "pins" and one.split in (DEV, TEST)})[:8]
    few = [one for one in ROWS if one.source == "pins" and one.person in people and int(one.path[-5]) % 2]
    fakes = [one for one in ROWS if one.role == "fake" and one.split == TEST][::6]
    beside = {one.host_path for one in fakes}, {one.person for one in fakes}
    few += [
        one
        for one in ROWS
        if one.role != "fake" and one.source != "view1" and (one.path in beside[0] or one.person in beside[1])
    ]
    rows = list(dict.fromkeys(few)) + fakes
    model = roughness(tmp_path / "m.onnx", card(input_size=(256, 256), crop="arcface256:view=1.3"))
    chosen = Namespace(data=shared_data, forensic=[f"m={model}:autoencoder"], networks=None, fmr=0.1, cost=0.1, own=6)
    report = measure(chosen, rows)
    assert {cells[1] for cells in report.rows} == {"unseen", "seen", "seen, own"}
    by_protocol = {protocol: {c[2] for c in report.rows if c[1] == protocol} for protocol in ("unseen", "seen")}
    assert any("autoencoder" in name for name in by_protocol["unseen"])
    assert not any("autoencoder" in name for name in by_protocol["seen"])
    text = "\n".join(report.notes)
    assert "landmark_swap caught" in text and "pasted onto itself" in text and "BPCER by source" in text
