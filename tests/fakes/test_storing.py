"""Fakes and real photos are stored again alike; a fake's file says what it is; more fakes are made of the originals."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest

from faceverify import tables
from faceverify.faces import Stopwatch
from faceverify.fakes import FaceInput, Fake
from faceverify.fakes.photo_pool import with_originals
from faceverify.fakes.rows import extra_columns, given_rows
from faceverify.fakes.storing import mark, recode_given, store
from faceverify.images import ImageLimits, decode, encode_png, sniff
from faceverify.storage import Location

BOX = (60, 70, 190, 200)


@pytest.fixture
def fake(faces: list[FaceInput]) -> Fake:
    return Fake(faces[0].image, faces[0].landmarks, BOX, np.ones((130, 130), np.float32), "test")


def test_a_fake_as_made_and_stored_again(fake):
    plain = store(fake, mark("toy", "a/1.jpg", None), None)
    assert plain.suffix == ".png" and (decode(plain.data) == fake.image).all() and plain.recoding is None
    assert plain.box == BOX and (plain.landmarks == fake.landmarks).all()
    for seed in range(30):
        again = store(fake, mark("toy", "a/1.jpg", None), np.random.default_rng(seed))
        pixels = decode(again.data)
        assert again.recoding and sniff(again.data) in ("jpeg", "webp")
        x0, y0, x1, y1 = again.box
        assert 0 <= x0 < x1 <= pixels.shape[1] and 0 <= y0 < y1 <= pixels.shape[0]
        inside = (again.landmarks > [x0, y0]).all() and (again.landmarks < [x1, y1]).all()
        assert inside == ((fake.landmarks > BOX[:2]).all() and (fake.landmarks < BOX[2:]).all())


@pytest.mark.parametrize("name", ["p/1.jpg", 'a "b" & <c>.jpg', "é/é.png"])
@pytest.mark.parametrize("seed", [None, 0, 4, 9])
def test_the_file_names_its_generator_and_what_it_was_made_of(fake, name, seed):
    note = mark("toy", name, "host.jpg")
    data = store(fake, note, None if seed is None else np.random.default_rng(seed)).data
    start = data.index(b"<x:xmpmeta")
    xml = data[start : data.index(b"</x:xmpmeta>") + len(b"</x:xmpmeta>")].decode()
    [facts] = ElementTree.fromstring(xml).iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    assert facts.get("{http://ns.adobe.com/xap/1.0/}CreatorTool") == "faceverify toy"
    assert facts.get("{http://ns.adobe.com/photoshop/1.0/}Source") == f"{name}, put into host.jpg"
    kind = facts.get("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType")
    assert kind.endswith("/compositeWithTrainedAlgorithmicMedia")


@pytest.fixture
def given(faces: list[FaceInput], tmp_path: Path) -> pa.Table:
    """A real photo, one that is gone, one without a person, a fake of another program."""
    rows = []
    for number, face in enumerate(faces[:4]):
        place = tmp_path / f"{number}.png"
        place.write_bytes(encode_png(face.image))
        row = {"photo": f"p/{number}.png", "uri": str(place), "person": "p", "is_fake": number == 3}
        rows.append(row | {"landmarks": face.landmarks.ravel(), "bytes_size": 7})
    Path(rows[1]["uri"]).unlink()
    rows[2]["person"] = None
    [table] = given_rows([pa.Table.from_pylist(rows, tables.PHOTOS)], extra_columns(tables.PHOTOS))
    return table


def landmarks(rows: pa.Table) -> pa.Array:
    return rows["landmarks"].combine_chunks()


def test_given_photos_are_stored_again_as_fakes_are(given, faces, tmp_path):
    pictures = Location(str(tmp_path / "pictures"))
    made, rejects = recode_given(given, landmarks(given), pictures, 5, ImageLimits(), Stopwatch())
    assert made.schema == given.schema
    assert [(row["photo"], row["reason"], row["stage"]) for row in rejects.to_pylist()] == [
        ("p/1.png", "missing", "read")
    ]
    real, unnamed, fake = made.to_pylist()
    assert unnamed == given.to_pylist()[2], "it takes no part"
    for row, number in ((real, 0), (fake, 3)):
        before = given.to_pylist()[number]
        assert (row["original_uri"], row["original_landmarks"]) == (before["uri"], before["landmarks"])
        data = Path(row["uri"]).read_bytes()
        assert row["bytes_size"] == len(data) and row["recoding"].startswith("crop ")
        kind = "fake/unknown" if row["is_fake"] else "real"
        assert Path(row["uri"]).parent == tmp_path / "pictures" / "p" / kind
        assert (b"Deepfake" in data) == row["is_fake"]
        points = np.array(row["landmarks"]).reshape(5, 2)
        ratio = np.linalg.norm(points[1] - points[0]) / np.linalg.norm(
            faces[number].landmarks[1] - faces[number].landmarks[0]
        )
        assert abs(ratio - decode(data).shape[1] / faces[number].image.shape[1]) < 0.03


def test_a_second_time_changes_nothing_and_originals_are_found(given, tmp_path):
    pictures = Location(str(tmp_path / "pictures"))
    made, _ = recode_given(given, landmarks(given), pictures, 5, ImageLimits(), Stopwatch())
    again, rejects = recode_given(
        made, landmarks(made), Location(str(tmp_path / "others")), 6, ImageLimits(), Stopwatch()
    )
    assert again.equals(made) and rejects.num_rows == 0 and not (tmp_path / "others").exists()
    before = with_originals(made).select(["photo", "uri", "landmarks"]).to_pylist()
    assert before == given.take([0, 2, 3]).select(["photo", "uri", "landmarks"]).to_pylist()
    bare = given.drop_columns(["original_uri", "original_landmarks"])
    assert with_originals(bare).equals(bare)


def test_landmarks_that_align_found_limit_how_far_a_photo_is_shrunk(given, tmp_path):
    """As for fakes: or the size would tell them apart."""
    at = given.schema.get_field_index("landmarks")
    bare = given.set_column(at, given.schema.field(at), pa.nulls(given.num_rows, tables.LANDMARKS))
    one = bare.slice(0, 1)
    points = np.array(given["landmarks"][0].as_py()).reshape(5, 2)
    small = pa.array([(points * (33 / np.linalg.norm(points[1] - points[0]))).ravel()], tables.LANDMARKS)
    for seed in range(20):
        [row] = recode_given(one, small, Location(str(tmp_path)), seed, ImageLimits(), Stopwatch())[0].to_pylist()
        points = np.array(row["landmarks"]).reshape(5, 2)
        assert np.linalg.norm(points[1] - points[0]) > 31.9
