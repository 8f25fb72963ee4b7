from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from faceverify.datasets import DatasetConfig, FoldersConfig, Listing, read
from faceverify.errors import UserError
from faceverify.storage import open_location
from faceverify.tables import PHOTOS, REJECTS, validate


def plant(root: Path, *paths: str) -> Path:
    for index, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x" * (index + 1))
    return root


def listed(root: Path, **options: str) -> Listing:
    listing = read(open_location(str(root)), DatasetConfig(layout="folders", folders=FoldersConfig(**options)))
    assert listing.photos.schema.equals(PHOTOS)
    validate(listing.rejects.schema, REJECTS, "rejects")
    assert listing.pairs is None
    return listing


def rows(listing: Listing) -> dict[str, tuple[str | None, bool, str | None]]:
    columns = ("person", "is_fake", "generator")
    return {row["photo"]: tuple(row[name] for name in columns) for row in listing.photos.to_pylist()}


def test_sub_folders_tell_fakes(tmp_path: Path):
    plant(
        tmp_path,
        *("ann/1.jpg", "ann/real/2.jpg", "ann/fake/3.jpg", "ann/fake/swap/4.jpg", "ann/fake/swap/deep/5.jpg"),
        *("bob/holiday/fake/6.jpg", "fake/7.jpg", "8.jpg"),
    )
    assert rows(listed(tmp_path, levels="person")) == {
        "ann/1.jpg": ("ann", False, None),
        "ann/real/2.jpg": ("ann", False, None),
        "ann/fake/3.jpg": ("ann", True, None),
        "ann/fake/swap/4.jpg": ("ann", True, "swap"),
        "ann/fake/swap/deep/5.jpg": ("ann", True, "swap"),
        "bob/holiday/fake/6.jpg": ("bob", False, None),
        "fake/7.jpg": ("fake", False, None),
        "8.jpg": (None, False, None),
    }


def test_uri_and_size(tmp_path: Path):
    plant(tmp_path, "a/1.jpg", "a/ü ber#2.jpg")
    photos = listed(tmp_path).photos.to_pylist()
    assert [row["bytes_size"] for row in photos] == [1, 2]
    for row in photos:
        assert row["uri"] == (open_location(str(tmp_path)) / row["photo"]).uri
        assert Path(row["uri"]).stat().st_size == row["bytes_size"]


def test_side_files_and_hidden_files_are_no_photos(tmp_path: Path):
    plant(
        tmp_path, "a/1.jpg", "a/note", "a/.DS_Store", "a/Thumbs.db", ".cache/x.jpg", "meta.JSON", "pairs.txt", "a/l.csv"
    )
    assert set(rows(listed(tmp_path))) == {"a/1.jpg", "a/note"}


def test_file_names_tell_fakes(tmp_path: Path):
    plant(tmp_path, "a/fake_ghost_01.jpg", "a/fake_direct_cut.jpg", "a/real_1.jpg", "a/fake_7.jpg", "fake_dir/x.jpg")
    found = rows(listed(tmp_path, fake_pattern="fake_*", generator_pattern=r"fake_(?P<generator>[a-z_]+?)(_\d+)?\."))
    assert {path: row[1:] for path, row in found.items()} == {
        "a/fake_ghost_01.jpg": (True, "ghost"),
        "a/fake_direct_cut.jpg": (True, "direct_cut"),
        "a/real_1.jpg": (False, None),
        "a/fake_7.jpg": (True, None),
        "fake_dir/x.jpg": (False, None),
    }


def test_real_fakes(shared_data: Path):
    listing = listed(
        shared_data / "fakes/images", fake_pattern="fake_*", generator_pattern=r"fake_(?P<generator>[a-z_]+?)(_\d+)?\."
    )
    counts = Counter(row[1:] for row in rows(listing).values())
    assert counts == {(False, None): 34, (True, "ghost"): 15, (True, "direct_cut"): 9, (True, "poisson_blend"): 9}


def test_csv_tells_fakes(tmp_path: Path):
    root = plant(tmp_path / "root", "a/1.jpg", "a/2.jpg", "a/3.jpg")
    table = tmp_path / "fakes.csv"
    table.write_text("generator,photo,is_fake\n,a/1.jpg,0\nghost,./a\\2.jpg,True\n,b/9.jpg,1\n,../up.jpg,0\n")
    listing = listed(root, fake_csv=str(table))
    assert rows(listing) == {"a/1.jpg": ("a", False, None), "a/2.jpg": ("a", True, "ghost")}
    rejects = {row["photo"]: row["reason"] for row in listing.rejects.to_pylist()}
    assert rejects == {"a/3.jpg": "unlabelled", "b/9.jpg": "missing", "../up.jpg": "outside_root"}


def test_csv_without_generator(tmp_path: Path):
    root = plant(tmp_path / "root", "a/007.jpg")
    (tmp_path / "fakes.csv").write_text("photo,is_fake\na/007.jpg,1\n")
    assert rows(listed(root, fake_csv=str(tmp_path / "fakes.csv"))) == {"a/007.jpg": ("a", True, None)}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("photo,other\na/1.jpg,1\n", "is_fake.*photo, other"),
        ("photo,is_fake\na/1.jpg,0\na/1.jpg,maybe\n", "line 3.*maybe"),
        ("photo,is_fake\na/1.jpg,0\na/1.jpg,1\n", "twice"),
        ("photo,is_fake\na/1.jpg\n", "cannot be read"),
        (None, "no file"),
    ],
)
def test_bad_csv_is_the_users_mistake(tmp_path: Path, text: str | None, match: str):
    root = plant(tmp_path / "root", "a/1.jpg")
    if text is not None:
        (tmp_path / "fakes.csv").write_text(text)
    with pytest.raises(UserError, match=match):
        listed(root, fake_csv=str(tmp_path / "fakes.csv"))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"fake_csv": "x.csv", "fake_pattern": "fake_*"}, "both set"),
        ({"fake_pattern": "fake_*", "generator_pattern": "("}, "no regular expression"),
        ({"fake_pattern": "fake_*", "generator_pattern": "fake_(.*)"}, "no group"),
    ],
)
def test_bad_options(tmp_path: Path, options: dict[str, str], match: str):
    with pytest.raises(UserError, match=match):
        listed(plant(tmp_path, "a/1.jpg"), **options)


def test_nothing_to_read(tmp_path: Path):
    with pytest.raises(UserError, match="no folder"):
        listed(tmp_path / "absent")
    with pytest.raises(UserError, match="no photos"):
        listed(plant(tmp_path, "notes.txt"))


def test_unknown_layout(tmp_path: Path):
    with pytest.raises(UserError, match="'celebs' is not known"):
        read(open_location(str(tmp_path)), DatasetConfig(layout="celebs"))  # pyrefly: ignore


def test_landmarks_and_split_are_null(tmp_path: Path):
    photos = listed(plant(tmp_path, "a/1.jpg")).photos
    assert photos["landmarks"].null_count == photos["split"].null_count == 1
    assert isinstance(photos, pa.Table)
