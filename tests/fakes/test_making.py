"""Making the fakes of a shard: pictures and rows that belong together, a reason for every fake that is missing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from fakes.toys import WEIGHTS, stamp

from faceverify import tables
from faceverify.errors import PlatformError, UserError
from faceverify.faces import Stopwatch
from faceverify.fakes import GENERATORS, Description, FaceInput, Request, build
from faceverify.fakes.audit import Recogniser
from faceverify.fakes.making import Maker, Order
from faceverify.fakes.photo_pool import PhotoPool, gather
from faceverify.fakes.rows import extra_columns
from faceverify.images import ImageLimits, decode, encode_png
from faceverify.models import EngineConfig
from faceverify.storage import Location

CPU = EngineConfig(provider="cpu", threads=1)
EXTRA = extra_columns(tables.PHOTOS)


@pytest.fixture
def pool(faces: list[FaceInput], tmp_path: Path) -> PhotoPool:
    """Four people, two photos each, as files."""
    rows = []
    for number, face in enumerate(faces):
        photo = f"p{number // 2}/{number % 2}.png"
        (tmp_path / photo).parent.mkdir(exist_ok=True)
        (tmp_path / photo).write_bytes(encode_png(face.image))
        row = {"photo": photo, "uri": str(tmp_path / photo), "person": photo[:2], "is_fake": False, "split": "train"}
        rows.append(row | {"landmarks": face.landmarks.ravel()})
    return gather(pa.Table.from_pylist(rows, tables.PHOTOS), 0)


def order(tmp_path: Path, *generators: Description, per_person: int = 4) -> Order:
    return Order(
        pictures=Location(str(tmp_path / "pictures")),
        generators=generators,
        per_person=per_person,
        candidates=8,
        seed=0,
        recogniser="",
        min_similarity=-1.0,
        recode=False,
        limits=ImageLimits(),
        extra=EXTRA,
    )


def make(pool: PhotoPool, given: Order, turn: int = 0, persons: range = range(4)) -> tuple[list[dict], list[dict]]:
    rows, rejects = Maker(given, turn, CPU).make(pool, persons, Stopwatch())
    assert rejects.schema == tables.REJECTS
    return rows.to_pylist(), rejects.to_pylist()


def test_rows_tell_what_the_pictures_are(pool, faces, tmp_path):
    both = order(tmp_path, GENERATORS["landmark_swap"], GENERATORS["self_blend"])
    photos = dict(zip(pool.photos.to_pylist(), faces, strict=True))
    for turn, needs in enumerate(both.generators):
        rows, rejects = make(pool, both, turn)
        assert len(rows) == 8 and rejects == []
        for row in rows:
            picture = Path(row["uri"]).read_bytes()
            assert row["uri"] == str(tmp_path / "pictures" / row["photo"]) and row["bytes_size"] == len(picture)
            assert row["photo"].startswith(f"{row['person']}/fake/{needs.name}/0_")
            assert (row["is_fake"], row["generator"], row["split"]) == (True, needs.name, "train")
            assert row["source_photo"].startswith(row["person"]) and row["further_sources"] is None
            assert row["weights"] is None
            target = None
            if needs.target:
                assert row["target_photo"].startswith(row["target_person"]) and row["target_person"] != row["person"]
                target = photos[row["target_photo"]]
            else:
                assert row["target_photo"] is row["target_person"] is None
            request = Request((photos[row["source_photo"]],), target, np.random.default_rng(row["seed"]))
            [again] = build(needs).make([request])
            assert (decode(picture) == again.image).all(), "the row is enough to make the same fake again"
            assert row["landmarks"] == again.landmarks.ravel().tolist()
            assert (tuple(row["pasted_box"]), row["how"]) == (again.box, again.how)


def test_any_cut_makes_the_same(pool, tmp_path):
    whole, rejects = make(pool, order(tmp_path / "a", GENERATORS["landmark_swap"]))
    parts = [
        row
        for person in range(4)
        for row in make(pool, order(tmp_path / "b", GENERATORS["landmark_swap"]), 0, range(person, person + 1))[0]
    ]
    strip = [[{**row, "uri": None} for row in rows] for rows in (whole, parts)]
    assert strip[0] == strip[1] and rejects == []
    for one, other in zip(whole, parts, strict=True):
        assert Path(one["uri"]).read_bytes() == Path(other["uri"]).read_bytes()


def test_every_fake_that_is_missing_has_a_reason(pool, ready, tmp_path):
    lost = pool.uris[0].as_py()
    Path(lost).unlink()
    Path(pool.uris[5].as_py()).write_text("no photo")
    points = pool.landmarks.copy()
    points[6:] += 500
    broken = replace(pool, landmarks=points)
    for needs in ready.values():
        rows, rejects = make(broken, order(tmp_path, needs, per_person=6))
        assert len(rows) + len(rejects) == 24
        assert {row["stage"] for row in rejects} == {"fake"} and {row["pair"] for row in rejects} == {None}
        told = {row["reason"] for row in rejects}
        assert {"missing", "not_an_image", "bad_landmarks"} == told, needs.name
        names = {row["photo"] for row in (*rows, *rejects)}
        assert len(names) == 24
        assert any(row["detail"].startswith("p0/0.png: ") for row in rejects if row["reason"] == "missing")
        for row in rejects:
            assert not (tmp_path / "pictures" / row["photo"]).exists()


def test_an_outage_of_storage_is_not_the_photos_fault(pool, tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(Location, "_open_local", refuse)
    with pytest.raises(PlatformError, match="none of 32 photos could be read"):
        make(pool, order(tmp_path, GENERATORS["landmark_swap"]))


# -- the seam for generators with weights ------------------------------------------------------------------------------


def test_a_generator_is_given_what_it_asks_for(pool, recogniser, tmp_path):
    for form in ("unit", "raw"):
        rows, rejects = make(pool, order(tmp_path / form, stamp(str(recogniser), form)))
        assert len(rows) + len(rejects) == 16 and {row["reason"] for row in rejects} <= {"no_face"}
        lengths = [float(row["how"].split()[1]) for row in rows]
        assert all((abs(length - 1) < 1e-3) == (form == "unit") for length in lengths)
        for row in rows:
            sources, _, batch, draw, _ = row["how"].split()
            assert sources == "2", "all photos that there are, of the three that it can take"
            assert batch == "4" and len(row["further_sources"]) == 1
            assert float(draw) == np.random.default_rng(row["seed"]).random()
            assert row["landmarks"] is row["pasted_box"] is row["target_photo"] is None
            assert row["weights"] == [f"toy {WEIGHTS[0].sha256}"]


def test_the_embedding_is_that_of_the_aligned_crop(pool, faces, recogniser, tmp_path):
    from faceverify.align import AlignConfig
    from faceverify.align import build as aligner
    from faceverify.models import load_engine

    engine = load_engine(str(recogniser), CPU)
    [crop] = aligner(AlignConfig(method="annotated")).align([faces[0].image], [faces[0].landmarks])
    maker = Maker(order(tmp_path, stamp(str(recogniser), "raw")), 0, CPU)
    assert (maker.embed(faces[0]).embedding == engine.embed(crop.image[None])[0]).all()


def test_a_recogniser_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"gone\.onnx"):
        Maker(order(tmp_path, stamp(str(tmp_path / "gone.onnx"))), 0, CPU)


def test_fakes_are_measured_and_those_that_look_like_nobody_are_rejects(pool, faces, recogniser, tmp_path):
    judged = replace(order(tmp_path, GENERATORS["landmark_swap"]), recogniser=str(recogniser), recode=True)
    rows, rejects = make(pool, judged)
    assert len(rows) == 16 and rejects == []
    photos = dict(zip(pool.photos.to_pylist(), faces, strict=True))
    judge = Recogniser(str(recogniser), CPU)
    for row in rows:
        [other] = [name for name in photos if name.startswith(row["person"]) and name != row["source_photo"]]
        stored = FaceInput(decode(Path(row["uri"]).read_bytes()), np.array(row["landmarks"]).reshape(5, 2))
        person, host = judge.cosines(stored, [photos[other], photos[row["target_photo"]]])
        assert (row["similarity_person"], row["similarity_host"]) == (person, host)
        assert 0.02 < row["pixels_changed"] < 0.9 and abs(row["sharpness"]) < 4
    middle = float(np.median([row["similarity_person"] for row in rows]))
    fewer, dropped = make(pool, replace(judged, min_similarity=middle, pictures=Location(str(tmp_path / "fewer"))))
    assert {row["similarity_person"] >= middle for row in fewer} == {True} and len(fewer) + len(dropped) == 16
    assert {row["reason"] for row in dropped} == {"unlike_person"} and len(dropped) == 8
    assert len([path for path in (tmp_path / "fewer").rglob("*") if path.is_file()]) == len(fewer)
