"""The way of the photos of one shard: every row comes out once, as a face or as a reject, in order."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceverify import faces, tables
from faceverify.align import AlignConfig, Aligner, FoundFace, build
from faceverify.align.cropping import fitted
from faceverify.align.crops import ARCFACE, parse
from faceverify.align.cutting import cut
from faceverify.align.geometry import ARCFACE_112
from faceverify.aligned import image_column_of, require_crop
from faceverify.errors import BadData, PlatformError, Reason, UserError
from faceverify.faces import (
    Crops,
    Stopwatch,
    crop_photos,
    decode_faces,
    decode_photos,
    embed_crops,
    encode_faces,
    find_each,
)
from faceverify.images import ImageLimits, decode, encode_jpeg, encode_png
from faceverify.images.decoded import DecodedPhoto
from faceverify.models import EngineConfig
from faceverify.models.card import build as build_card
from faceverify.models.checkpoints import build as build_network
from faceverify.models.engine_torch import TorchEngine
from faceverify.provenance import Origin, describe_crop
from faceverify.storage import Location

SIDE = ARCFACE.size
POINTS = [38.3, 51.7, 73.5, 51.5, 56.0, 71.7, 41.5, 92.4, 70.7, 92.2]
CARD = build_card(name="t", architecture="tiny", colour="RGB", mean=[127.5] * 3, std=[127.5] * 3, dim=8)


def picture(seed: int, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """A smooth gradient, so that different photos give different crops."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 2 % 256, y * 2 % 256, np.full_like(x, seed * 40 % 256)], axis=-1).astype(np.uint8)


@pytest.fixture
def shard(tmp_path: Path) -> pa.Table:
    """Good and bad photos in turn: g0, text, g1, missing, g2, without landmarks, unknown, g3."""
    for number in range(4):
        (tmp_path / f"g{number}.png").write_bytes(encode_png(picture(number)))
    (tmp_path / "text.jpg").write_text("no photo")
    names = ["g0.png", "text.jpg", "g1.png", "missing.png", "g2.png", "bare.png", "unknown.png", "g3.png"]
    (tmp_path / "bare.png").write_bytes(encode_png(picture(9)))
    return rows(tmp_path, names, without=("bare.png",), unknown=("unknown.png",))


def rows(folder: Path, names: list[str], without: tuple[str, ...] = (), unknown: tuple[str, ...] = ()) -> pa.Table:
    """Rows of a shard, each with its number and person."""
    columns: dict[str, Any] = {
        "photo": names,
        "uri": [None if name in unknown else str(folder / name) for name in names],
        "person": [name[0] for name in names],
        "landmarks": pa.array([None if name in without else POINTS for name in names], tables.LANDMARKS),
        "row": range(100, 100 + len(names)),
    }
    table = pa.table(columns)
    for name in ("is_fake", "generator", "split"):
        table = table.append_column(name, pa.nulls(len(names), tables.PHOTOS.field(name).type))
    return table


@pytest.fixture(scope="module")
def engine() -> TorchEngine:
    return TorchEngine(build_network("tiny", 8).eval(), CARD, EngineConfig(provider="cpu"))


ANNOTATED = build(AlignConfig(method="annotated"))


def test_rows_in_are_faces_and_rejects_in_order(shard: pa.Table) -> None:
    crops = crop_photos(shard, ANNOTATED, ImageLimits(), Stopwatch())
    assert crops.rows["photo"].to_pylist() == ["g0.png", "g1.png", "g2.png", "g3.png"]
    assert crops.rows["row"].to_pylist() == [100, 102, 104, 107]
    for number, face in enumerate(crops.faces):  # these landmarks are the template's: the crop is the photo
        assert np.abs(face[8:-8, 8:-8].astype(int) - picture(number)[8:-8, 8:-8]).max() <= 2
    found = [(row["photo"], row["stage"], row["reason"]) for row in crops.rejects.to_pylist()]
    assert sorted(found) == [
        ("bare.png", "align", "no_landmarks"),
        ("missing.png", "read", "missing"),
        ("text.jpg", "read", "not_an_image"),
        ("unknown.png", "read", "unknown_photo"),
    ]


def test_a_shard_of_bad_photos_only_gives_empty_tables(tmp_path: Path, engine: TorchEngine) -> None:
    crops = crop_photos(rows(tmp_path, ["a.png", "b.png"]), ANNOTATED, ImageLimits(), Stopwatch())
    assert crops.faces.shape == (0, SIDE, SIDE, 3) and crops.rejects.num_rows == 2
    table, rejects = embed_crops(crops, engine, Stopwatch())
    assert (table.num_rows, rejects.num_rows) == (0, 2)
    assert table.schema.field("embedding").type.list_size == 8
    assert encode_faces(crops, Stopwatch()).num_rows == 0


def test_damaged_landmarks_reject_one_photo(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_png(picture(0)))
    table = rows(tmp_path, ["a.png"] * 4)
    holes = [[float("nan"), *POINTS[1:]], [float("inf"), *POINTS[1:]], [None, *POINTS[1:]], [5.0] * 10]
    table = table.set_column(3, "landmarks", pa.array(holes, tables.LANDMARKS))
    crops = crop_photos(table, ANNOTATED, ImageLimits(), Stopwatch())
    assert crops.rejects["reason"].to_pylist() == ["bad_landmarks"] * 4


def test_storage_that_refuses_a_whole_shard_stops_the_work(tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(encode_png(picture(0)))
    refused = [f"{number}.png" for number in range(faces.OUTAGE_PHOTOS)]
    for name in refused:
        (tmp_path / name).symlink_to("/proc/self/mem")  # a file, but whoever reads it gets an error
    for names in (refused[1:], [*refused[1:], "good.png"], [*refused, "missing.png"]):
        crops = crop_photos(rows(tmp_path, names), ANNOTATED, ImageLimits(), Stopwatch())
        assert crops.rejects["reason"].to_pylist().count("unreadable") == sum(name in refused for name in names)
    with pytest.raises(PlatformError, match=r"none of 8 photos could be read \(.*run the same command again"):
        crop_photos(rows(tmp_path, refused), ANNOTATED, ImageLimits(), Stopwatch())


def test_the_limits_are_obeyed(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(data := encode_png(picture(0)))
    for limits, reason in (
        (ImageLimits(max_bytes=len(data) - 1), "too_many_bytes"),
        (ImageLimits(max_pixels=SIDE * SIDE - 1), "too_many_pixels"),
        (ImageLimits(min_side=SIDE + 1), "too_small"),
    ):
        crops = crop_photos(rows(tmp_path, ["a.png"]), ANNOTATED, limits, Stopwatch())
        assert crops.rejects["reason"].to_pylist() == [reason]


class Noting(Aligner):
    """An aligner that notes how many photos and pixels it is given at a time."""

    name = "noting"

    def __init__(self) -> None:
        self.groups: list[list[int]] = []

    def find(self, images: list[np.ndarray], landmarks: list[np.ndarray | None]) -> list[FoundFace | BadData]:
        self.groups.append([image.shape[0] * image.shape[1] for image in images])
        return [FoundFace(None, None, None, image=np.zeros((SIDE, SIDE, 3), np.uint8)) for _ in images]


def test_groups_end_at_the_limits_of_photos_and_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "GROUP_PIXELS", 3 * 64 * 64)
    (tmp_path / "small.png").write_bytes(encode_png(picture(0, 20, 20)))
    (tmp_path / "large.png").write_bytes(encode_png(picture(0, 64, 64)))
    aligner = Noting()
    shard = rows(tmp_path, ["small.png"] * 7 + ["large.png"] * 7)
    crop_photos(shard, aligner, ImageLimits(), Stopwatch(), batch=5)
    assert [len(group) for group in aligner.groups] == [5, 5, 3, 1]
    assert all(sum(group) < 4 * 64 * 64 for group in aligner.groups)


@given(st.lists(st.sampled_from(["bad", "10x10", "30x20"]), max_size=40), st.integers(1, 9), st.integers(1, 2000))
def test_groups_keep_every_row_in_order(kinds: list[str], photos: int, pixels: int) -> None:
    sizes = [None if kind == "bad" else (*map(int, kind.split("x")), 3) for kind in kinds]
    pictures = [DecodedPhoto(np.zeros(size, np.uint8)) if size else BadData(Reason.EMPTY) for size in sizes]
    table = pa.table({"uri": pa.array(kinds, pa.string()), "photo": pa.array(map(str, range(len(kinds))), pa.string())})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faces, "decode_each", lambda *_: ((one, f"v{i}") for i, one in enumerate(pictures)))
        patch.setattr(faces, "GROUP_PIXELS", pixels)
        groups = list(decode_photos(table, ImageLimits(), Stopwatch(), photos))
    versions = pa.array([f"v{i}" for i in range(len(kinds))], pa.string())
    want = table.append_column("photo_version", versions)
    assert pa.concat_tables([group.rows for group in groups]).equals(want)
    assert [one for group in groups for one in group.photos] == pictures
    assert all(len(group.photos) == group.rows.num_rows <= photos for group in groups)
    assert len(groups) == 1 or all(group.photos for group in groups)


class Sized(Aligner):
    """An aligner whose crops tell the photo's size and landmarks; it refuses photos of odd width."""

    name = "sized"

    def __init__(self) -> None:
        self.groups: list[list[tuple[int, ...]]] = []

    def find(self, images: list[np.ndarray], landmarks: list[np.ndarray | None]) -> list[FoundFace | BadData]:
        self.groups.append([image.shape for image in images])
        return [self._one(image, points) for image, points in zip(images, landmarks, strict=True)]

    @staticmethod
    def _one(image: np.ndarray, points: np.ndarray | None) -> FoundFace | BadData:
        if image.shape[1] % 2:
            return BadData(Reason.NO_FACE, str(image.shape))
        crop = np.zeros((SIDE, SIDE, 3), np.uint8)
        crop[0, 0], crop[1, 1] = (*image.shape[:2], image[0, 0, 2]), points is None
        return FoundFace(points, None, None, image=crop)


def test_photos_of_like_size_are_aligned_together_and_come_back_in_order(tmp_path: Path) -> None:
    sizes = [(40, 30), (20, 50), (40, 31), (40, 30), (20, 50), (20, 51), (60, 20), (40, 30), (20, 50)]
    for number, size in enumerate(sizes):
        (tmp_path / f"{number}.png").write_bytes(encode_png(picture(number, *size)))
    names = [f"{number}.png" for number in range(len(sizes))]
    shard = rows(tmp_path, [*names[:4], "missing.png", *names[4:]], without=("3.png",))
    made = {}
    for batch in (1, 3, 100):
        aligner = Sized()
        made[batch] = crop_photos(shard, aligner, ImageLimits(), Stopwatch(), batch)
        assert max(map(len, aligner.groups)) <= batch
    assert len(aligner.groups) == 1 and aligner.groups[0] == sorted(aligner.groups[0])
    for crops in made.values():
        assert crops.rows["photo"].to_pylist() == [name for i, name in enumerate(names) if sizes[i][1] % 2 == 0]
        numbers = [int(name[0]) for name in crops.rows["photo"].to_pylist()]
        assert [tuple(face[0, 0]) for face in crops.faces] == [(*sizes[i], i * 40 % 256) for i in numbers]
        assert [bool(face[1, 1, 0]) for face in crops.faces] == [i == 3 for i in numbers]
        assert crops.rejects["photo"].to_pylist() == ["2.png", "missing.png", "5.png"]  # in the order of the rows
        assert crops.rejects["stage"].to_pylist() == ["align", "read", "align"]
        assert crops.found.equals(made[1].found)


def test_faces_written_and_read_again_are_the_same_pixels(shard: pa.Table) -> None:
    crops = crop_photos(shard, ANNOTATED, ImageLimits(), Stopwatch())
    table = encode_faces(crops, Stopwatch())
    tables.validate(table.schema, tables.FACES, "faces")
    assert table["aligner"].to_pylist() == ["annotated"] * 4
    again = decode_faces(table, Stopwatch())
    assert np.array_equal(again.faces, crops.faces) and again.rejects.num_rows == 0


def test_what_is_no_aligned_face_is_rejected() -> None:
    images = [encode_png(picture(0)), b"text", encode_png(picture(0, 100, 112)), b""]
    crops = decode_faces(pa.table({"photo": list("abcd"), "image": images}), Stopwatch())
    assert crops.rows["photo"].to_pylist() == ["a"]
    assert crops.rejects["reason"].to_pylist() == ["not_an_image", "not_aligned", "empty"]


def test_embeddings_carry_their_row_and_norm(shard: pa.Table, engine: TorchEngine) -> None:
    crops = crop_photos(shard, ANNOTATED, ImageLimits(), Stopwatch())
    table, rejects = embed_crops(crops, engine, Stopwatch())
    assert table["row"].to_pylist() == [100, 102, 104, 107] and rejects.num_rows == 4
    vectors = np.array(table["embedding"].to_pylist())
    assert np.allclose(np.linalg.norm(vectors, axis=1), table["norm"].to_pylist(), rtol=1e-5)
    assert vectors == pytest.approx(engine.embed(crops.faces))
    assert set(table["model"].to_pylist()) == {CARD.digest}


class Broken:
    """An engine whose second embedding is not finite, and whose third has no length."""

    card = CARD

    def embed(self, crops: np.ndarray) -> np.ndarray:
        vectors = np.ones((len(crops), CARD.dim), np.float32)
        vectors[1, 0], vectors[2] = np.nan, 0
        return vectors


def test_embeddings_without_direction_are_rejected() -> None:
    four = pa.table({"photo": list("abcd")})
    crops = Crops(four, np.zeros((4, SIDE, SIDE, 3), np.uint8), pa.table({}), tables.REJECTS.empty_table())
    table, rejects = embed_crops(crops, Broken(), Stopwatch())
    assert table["photo"].to_pylist() == ["a", "d"]
    assert [(row["photo"], row["reason"]) for row in rejects.to_pylist()] == [
        ("b", "bad_embedding"),
        ("c", "bad_embedding"),
    ]


def test_remote_photos_come_in_order_too(bucket: str) -> None:
    from faceverify.storage import open_location

    root = open_location(f"s3://{bucket}/photos")
    names = [f"{i}.png" for i in range(2 * faces.READ_AHEAD + 3)]
    for i, name in enumerate(names):
        if i % 5:
            (root / name).write_bytes(encode_png(picture(i)))
    table = rows(Path("/"), names)
    table = table.set_column(1, "uri", pa.array([(root / name).uri for name in names]))
    crops = crop_photos(table, ANNOTATED, ImageLimits(), Stopwatch())
    assert crops.rows["photo"].to_pylist() == [name for i, name in enumerate(names) if i % 5]
    assert [face[50, 50, 2] for face in crops.faces] == [i * 40 % 256 for i in range(len(names)) if i % 5]
    assert crops.rejects["photo"].to_pylist() == names[::5]
    assert set(crops.rejects["reason"].to_pylist()) == {"missing"}


def test_several_crops_of_each_photo_in_one_pass(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(encode_png(picture(number, 300, 300)))
    shard = rows(tmp_path, ["0.png", "missing.png", "1.png", "2.png"])
    crops = (ARCFACE, parse("arcface128"), parse("arcface160:view=1.3"))
    aligner, watch = build(AlignConfig(method="annotated")), Stopwatch()
    together = crop_photos(shard, aligner, ImageLimits(), watch, 2, Origin(crops=crops))
    alone = [crop_photos(shard, aligner, ImageLimits(), watch, 2, Origin(crops=(crop,))) for crop in crops]
    assert np.array_equal(together.faces, alone[0].faces) and together.faces.shape == (3, 112, 112, 3)
    assert list(together.others) == ["arcface128", "arcface160:view=1.3"]
    for one, faces_of in zip(alone[1:], together.others.values(), strict=True):
        assert np.array_equal(faces_of, one.faces) and one.rejects.equals(together.rejects)
    table = encode_faces(together, watch)
    assert table.schema == tables.faces(list(together.others))
    again = decode_faces(table, watch, crops[2], "image:arcface160:view=1.3")
    assert np.array_equal(again.faces, alone[2].faces) and not again.rejects.num_rows


def test_faces_say_which_crop_each_column_is(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(encode_png(picture(0, 300, 300)))
    config, crops = AlignConfig(method="annotated"), (ARCFACE, parse("arcface128"))
    origin = Origin(describe_crop(config, "annotated", ARCFACE), crops=crops)
    made = crop_photos(rows(tmp_path, ["0.png"]), build(config), ImageLimits(), Stopwatch(), origin=origin)
    table = encode_faces(made, Stopwatch())
    pq.write_table(table, tmp_path / "faces.parquet")
    files = [Location(str(tmp_path / "faces.parquet"))]
    assert image_column_of(files, ARCFACE, "faces") == image_column_of(files, replace(ARCFACE, filter="bilinear"), "f")
    assert image_column_of(files, crops[1], "faces") == "image:arcface128"
    with pytest.raises(
        UserError, match=r"faces: the table holds the crop arcface112, arcface128, but 'box160'.*--crop"
    ):
        image_column_of(files, parse("box160"), "faces")
    with pytest.raises(UserError, match="first value of --crop"):
        require_crop(files, crops[1], "faces")
    other = decode_faces(table, Stopwatch(), crops[1], "image:arcface128")
    assert other.rows["crop"].to_pylist() == [describe_crop(config, "annotated", crops[1])]


def test_a_photo_decoded_at_a_reduced_size_gives_the_crop_of_the_whole(tmp_path: Path) -> None:
    points = (ARCFACE_112 * 12 + [300, 100]).astype(np.float32)
    coarse = np.random.default_rng(3).integers(30, 226, (60, 80, 3), np.uint8)
    data = encode_jpeg(np.asarray(cv2.resize(coarse, (2400, 1800), interpolation=cv2.INTER_CUBIC), np.uint8), 95)

    class Fixed(Aligner):
        name = "fixed"

        def find(self, images: list[np.ndarray], landmarks: list[np.ndarray | None]) -> list[FoundFace | BadData]:
            return fitted(images, [FoundFace(points * (image.shape[1] / 2400), None, None) for image in images])

    [(whole, [full])] = find_each([DecodedPhoto.of(data)], [None], Fixed())
    photo = DecodedPhoto.of(data, longer_side=600)
    [(face, [crop, large])] = find_each([photo], [None], Fixed(), crops=(ARCFACE, parse("arcface672")))
    assert photo.reduction == 4 and np.allclose(face.landmarks, whole.landmarks, atol=1e-3)
    assert np.abs(crop - full.astype(float)).mean() < 1.0
    # Six times as many pixels: the photo is decoded again, at half its size.
    want = cut(decode(data, reduction=2), whole.reduced(2), parse("arcface672"))
    assert np.abs(large - want.astype(float)).max() <= 1
