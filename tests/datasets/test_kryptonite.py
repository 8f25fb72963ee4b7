import json
from pathlib import Path

import pytest

from faceverify.datasets import DatasetConfig, Listing, read
from faceverify.errors import UserError
from faceverify.storage import open_location
from faceverify.tables import PAIRS, PHOTOS


def source(tmp_path: Path, *paths: str, meta: object = None) -> Path:
    for path in paths:
        (tmp_path / "images" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / path).write_bytes(b"x")
    if meta is not None:
        (tmp_path / "meta.json").write_text(meta if isinstance(meta, str) else json.dumps(meta))
    return tmp_path


def listed(root: Path) -> Listing:
    return read(open_location(str(root)), DatasetConfig(layout="kryptonite"))


def rejects(listing: Listing) -> list[tuple[str | None, str | None, str]]:
    return [(row["photo"], row["pair"], row["reason"]) for row in listing.rejects.to_pylist()]


def test_training_set(tmp_path: Path):
    meta = {"000/0.jpg": 0, "000/1.jpg": 1, "001/0.jpg": 0, "001/7.jpg": 1, "../x.jpg": 0}
    listing = listed(source(tmp_path, "000/0.jpg", "000/1.jpg", "001/0.jpg", "001/extra.jpg", meta=meta))
    assert listing.photos.schema.equals(PHOTOS) and listing.pairs is None
    assert listing.photos.select(["photo", "person", "is_fake"]).to_pylist() == [
        {"photo": "000/0.jpg", "person": "000", "is_fake": False},
        {"photo": "000/1.jpg", "person": "000", "is_fake": True},
        {"photo": "001/0.jpg", "person": "001", "is_fake": False},
    ]
    assert listing.photos["uri"][0].as_py() == str(tmp_path / "images/000/0.jpg")
    assert rejects(listing) == [
        ("001/extra.jpg", None, "unlabelled"),
        ("001/7.jpg", None, "missing"),
        ("../x.jpg", None, "outside_root"),
    ]


def test_test_set_gives_unlabelled_pairs(tmp_path: Path):
    paths = ("00/0.jpg", "00/1.jpg", "01/1.png", "01/0.jpg", "02/0.jpg", "03/0.jpg", "03/0.png", "03/1.jpg", "03/2.jpg")
    listing = listed(source(tmp_path, *paths))
    assert listing.pairs is not None and listing.pairs.schema.equals(PAIRS)
    assert listing.pairs.select(["pair", "photo_a", "photo_b", "label"]).to_pylist() == [
        {"pair": "00", "photo_a": "00/0.jpg", "photo_b": "00/1.jpg", "label": None},
        {"pair": "01", "photo_a": "01/0.jpg", "photo_b": "01/1.png", "label": None},
        {"pair": "03", "photo_a": "03/0.jpg", "photo_b": "03/1.jpg", "label": None},
    ]
    assert rejects(listing) == [
        ("03/0.png", None, "duplicate"),
        ("03/2.jpg", None, "unlabelled"),
        (None, "02", "missing"),
    ]
    assert len(listing.photos) + 2 == len(paths)  # every photo is listed or rejected
    assert listing.photos["person"].null_count == listing.photos["is_fake"].null_count == len(listing.photos)


@pytest.mark.parametrize(
    ("meta", "match"),
    [
        ("{", "JSON"),
        ("[1]", "no object"),
        ({"000/0.jpg": 2}, "'000/0.jpg' the value 2"),
        ({"000/0.jpg": "1"}, "the value '1'"),
        ({"000/0.jpg": None}, "the value None"),
    ],
)
def test_bad_meta_is_the_users_mistake(tmp_path: Path, meta: object, match: str):
    with pytest.raises(UserError, match=match):
        listed(source(tmp_path, "000/0.jpg", meta=meta))


def test_neither_form(tmp_path: Path):
    with pytest.raises(UserError, match=r"no '.*meta\.json'"):
        listed(source(tmp_path, "ann/portrait.jpg"))
