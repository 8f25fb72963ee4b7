"""Generators that learn: what they are shown, where their networks are kept, which files are taken for networks."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from fakes.toys import LEARNER

from faceverify import tables
from faceverify.errors import UserError
from faceverify.fakes import FaceInput, Trained
from faceverify.fakes.learning import Learning, given_networks, learn, place_of, with_networks
from faceverify.fakes.photo_pool import PhotoPool, gather
from faceverify.images import ImageLimits, encode_png
from faceverify.storage import Location


@pytest.fixture
def pool(faces: list[FaceInput], tmp_path: Path) -> PhotoPool:
    """Four people, two photos each, as files; one of them is no picture."""
    rows = []
    for number, face in enumerate(faces):
        photo = f"p{number // 2}/{number % 2}.png"
        (tmp_path / photo).parent.mkdir(exist_ok=True)
        (tmp_path / photo).write_bytes(b"no picture" if number == 3 else encode_png(face.image))
        row = {"photo": photo, "uri": str(tmp_path / photo), "person": photo[:2], "is_fake": False}
        rows.append(row | {"landmarks": face.landmarks.ravel()})
    return gather(pa.Table.from_pylist(rows, tables.PHOTOS), 0)


def taught(pool: PhotoPool, out: Location, **how: int) -> tuple[list[Trained], dict]:
    """What a training tells, and what the toy trainer was given."""
    place = place_of(out, LEARNER.name)
    told = list(learn(LEARNER, pool, Learning(**how), ImageLimits(), 5, False, place))
    return told, json.loads(place.read_bytes())


def test_a_trainer_sees_the_photos_that_can_be_read_by_person(pool, tmp_path):
    told, given = taught(pool, Location(str(tmp_path / "a")), steps=4)
    assert told == [Trained(4, 0.5)]
    assert given == {"persons": [0, 0, 1, 2, 2, 3, 3], "steps": 4, "seed": 5, "gpu": False}


def test_no_more_photos_than_asked_for_always_the_same(pool, tmp_path):
    some = [taught(pool, Location(str(tmp_path / name)), steps=1, photos=4)[1]["persons"] for name in ("a", "b")]
    assert some[0] == some[1] == sorted(some[0]) and len(some[0]) in (3, 4)
    assert len(taught(pool, Location(str(tmp_path / "c")), photos=1)[1]["persons"]) <= 1


def test_a_training_that_fails_leaves_no_file(pool, tmp_path):
    place = place_of(Location(str(tmp_path / "a")), "learner")
    steps = learn(replace(LEARNER, trainer="fakes.toys:fail"), pool, Learning(), ImageLimits(), 0, False, place)
    with pytest.raises(UserError, match="cannot learn"):
        list(steps)
    assert not place.exists()


def test_networks_of_an_earlier_run(ready, tmp_path):
    needs = ready["autoencoder_swap"]
    data = Location(needs.weights[0].uri).read_bytes()
    out = Location(str(tmp_path / "out"))
    with pytest.raises(UserError, match="holds no networks of autoencoder_swap; give the output folder"):
        given_networks(out, needs)
    place = place_of(out, needs.name)
    other = data.replace(b'"autoencoder_swap"', b'"autoencoder_swop"')
    for bad in (b"", data[:-1], data + b"x", data[:50], b"\xff" * 60, other, np.random.default_rng(0).bytes(300)):
        place.write_bytes(bad)
        with pytest.raises(UserError, match="is damaged, or holds no networks of autoencoder_swap"):
            given_networks(out, needs)
    place.write_bytes(data)
    assert given_networks(out, needs).uri == place.uri
    assert with_networks(needs, place).weights[0].sha256 == needs.weights[0].sha256
