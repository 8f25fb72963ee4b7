from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceverify.datasets import DatasetConfig, LfwConfig, Listing, read
from faceverify.datasets.lfw import read_pairs
from faceverify.errors import UserError
from faceverify.storage import open_location

VIEW_1 = "2\nAnn\t1\t2\nBob\t1\t3\nAnn\t1\tBob\t2\nBob\t3\tCy\t1\n"
VIEW_2 = "2\t1\nAnn\t1\t2\nAnn\t1\tBob\t2\nBob\t1\t3\nBob\t3\tCy\t1\n"
PHOTOS = ("Ann_0001", "Ann_0002", "Bob_0001", "Bob_0002", "Bob_0003", "Cy_0001")


def plant(root: Path, suffix: str = ".jpg") -> None:
    for name in PHOTOS:
        (root / name[:-5]).mkdir(parents=True, exist_ok=True)
        (root / name[:-5] / (name + suffix)).write_bytes(b"x")


def listed(source: Path, **options: str) -> Listing:
    return read(open_location(str(source)), DatasetConfig(layout="lfw", lfw=LfwConfig(**options)))


@pytest.mark.parametrize(
    "text", [VIEW_1, VIEW_1.replace("\n", "\r\n"), "\ufeff" + VIEW_1, VIEW_1 + "\n", VIEW_1.replace("\t", " ")]
)
def test_view_1(tmp_path: Path, text: str):
    plant(tmp_path / "images")
    (tmp_path / "pairs.txt").write_text(text, newline="")
    pairs = listed(tmp_path).pairs
    assert pairs is not None
    assert pairs["pair"].to_pylist() == ["0", "1", "2", "3"]
    assert pairs["photo_a"].to_pylist() == [
        "Ann/Ann_0001.jpg",
        "Bob/Bob_0001.jpg",
        "Ann/Ann_0001.jpg",
        "Bob/Bob_0003.jpg",
    ]
    assert pairs["photo_b"].to_pylist() == [
        "Ann/Ann_0002.jpg",
        "Bob/Bob_0003.jpg",
        "Bob/Bob_0002.jpg",
        "Cy/Cy_0001.jpg",
    ]
    assert pairs["label"].to_pylist() == [1, 1, 0, 0]
    assert pairs["kind"].to_pylist() == ["genuine", "genuine", "impostor", "impostor"]
    assert pairs["person_b"].to_pylist() == ["Ann", "Bob", "Bob", "Cy"]
    assert pairs["fold"].to_pylist() == [None] * 4


def test_view_2_keeps_folds_inside_the_images_folder(tmp_path: Path):
    plant(tmp_path)
    (tmp_path / "pairs.txt").write_text(VIEW_2)
    listing = listed(tmp_path)
    assert listing.pairs is not None
    assert listing.pairs["fold"].to_pylist() == [0, 0, 1, 1]
    assert listing.pairs["label"].to_pylist() == [1, 0, 1, 0]
    assert Counter(listing.photos["person"].to_pylist()) == {"Ann": 2, "Bob": 3, "Cy": 1}
    assert listing.photos["is_fake"].to_pylist() == [False] * 6


def test_pairs_name_photos_as_listed(tmp_path: Path):
    plant(tmp_path, ".png")
    (tmp_path / "pairs.txt").write_text(VIEW_1)
    listing = listed(tmp_path)
    assert listing.pairs is not None
    named = {*listing.pairs["photo_a"].to_pylist(), *listing.pairs["photo_b"].to_pylist()}
    assert named <= set(listing.photos["photo"].to_pylist())


def test_photos_only(tmp_path: Path):
    plant(tmp_path)
    assert listed(tmp_path, pairs="").pairs is None
    with pytest.raises(UserError, match=r"no 'pairs\.txt'"):
        listed(tmp_path)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "line 1 is ''"),
        ("ten\t300\n", "line 1 is 'ten"),
        (VIEW_1.replace("2\n", "3\n", 1), "announces 6 pairs in line 1, but has 4"),
        (VIEW_1.replace("Bob\t1\t3", "Bob\t1"), "line 3 is 'Bob\t1'"),
        (VIEW_1.replace("Bob\t1\t3", "Bob\t1\tthree"), "line 3"),
        (VIEW_1.replace("Bob\t1\t3", "Bob\t1\tCy\t1"), "line 3.*Name<TAB>i<TAB>j"),
        (VIEW_1.replace("Ann\t1\tBob", "..\t1\tBob"), "line 4"),
        (VIEW_1.replace("Ann\t1\tBob", "../../etc\t1\tBob"), "line 4"),
        ("1\nAnn\t1\t2\n\nAnn\t1\tBob\t2\n", "announces 2"),
    ],
)
def test_malformed_pairs_are_the_users_mistake(tmp_path: Path, text: str, match: str):
    (tmp_path / "pairs.txt").write_text(text)
    with pytest.raises(UserError, match=match):
        read_pairs(open_location(str(tmp_path / "pairs.txt")))


@given(st.integers(1, 5), st.integers(1, 6))
def test_counts_follow_the_header(tmp_path_factory: pytest.TempPathFactory, folds: int, count: int):
    path = tmp_path_factory.getbasetemp() / f"{folds}_{count}.txt"
    fold = "Ann\t1\t2\n" * count + "Ann\t1\tBob\t2\n" * count
    path.write_text((f"{folds}\t{count}\n" if folds > 1 else f"{count}\n") + fold * folds)
    pairs = read_pairs(open_location(str(path)))
    assert len(pairs) == 2 * folds * count
    assert sum(pairs["label"].to_pylist()) == folds * count
    if folds > 1:
        assert Counter(pairs["fold"].to_pylist()) == dict.fromkeys(range(folds), 2 * count)


def test_real_view_1(shared_data: Path):
    listing = listed(shared_data / "lfw/view1")
    assert listing.pairs is not None
    assert Counter(listing.pairs["kind"].to_pylist()) == {"genuine": 500, "impostor": 500}
    named = {*listing.pairs["photo_a"].to_pylist(), *listing.pairs["photo_b"].to_pylist()}
    assert named == set(listing.photos["photo"].to_pylist()) and len(named) == 1549
