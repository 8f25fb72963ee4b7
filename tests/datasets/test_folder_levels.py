"""What the folders above a photo mean, found by their names and by what lies below them, or asked."""

from pathlib import Path
from typing import Any

import pytest

from faceverify.datasets import DatasetConfig, FoldersConfig, Listing, read
from faceverify.errors import UserError
from faceverify.storage import Location


def listed(root: Path, *paths: str, **options: str) -> Listing:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    return read(Location(str(root)), DatasetConfig(layout="folders", folders=FoldersConfig(**options)))


def told(listing: Listing) -> dict[str, tuple[Any, ...]]:
    """(person, split, is_fake, generator) of each photo."""
    columns = ("person", "split", "is_fake", "generator")
    return {row["photo"]: tuple(row[name] for name in columns) for row in listing.photos.to_pylist()}


@pytest.mark.parametrize(
    ("meanings", "notes"),
    [
        (
            {"train/ann/1.jpg": ("ann", "train", False, None), "val/bob/1.jpg": ("bob", "val", False, None)},
            ("split from the folders train, val",),
        ),
        (
            {
                "Training/ann/1.jpg": ("ann", "train", False, None),
                "validation/bob/deep/1.jpg": ("bob", "val", False, None),
                "TEST/cy/1.jpg": ("cy", "test", False, None),
                "sheet.jpg": (None, None, False, None),
            },
            ("split from the folders TEST, Training, validation",),
        ),
        ({"train/ann/1.jpg": ("ann", "train", False, None)}, ("split from the folders train",)),
        ({"train/1.jpg": (None, "train", False, None), "val/2.jpg": (None, "val", False, None)}, None),
        (
            {"real/ann/1.jpg": ("ann", None, False, None), "fake/ann/2.jpg": ("ann", None, True, None)},
            ("is_fake from the folders fake, real",),
        ),
        ({"genuine/1.jpg": (None, None, False, None), "Spoof/2.jpg": (None, None, True, None)}, None),
        ({"deepfakes/ann/1.jpg": ("ann", None, True, None)}, ("is_fake from the folders deepfakes",)),
        (
            {
                "real/ann/1.jpg": ("ann", None, False, None),
                "fake/swap/ann/2.jpg": ("ann", None, True, "swap"),
                "fake/blend/ann/2.jpg": ("ann", None, True, "blend"),
            },
            ("is_fake from the folders fake, real",),
        ),
        (
            {
                "train/real/ann/1.jpg": ("ann", "train", False, None),
                "train/fake/ann/1.jpg": ("ann", "train", True, None),
                "test/real/bob/1.jpg": ("bob", "test", False, None),
            },
            ("split from the folders test, train", "is_fake from the folders fake, real"),
        ),
        (
            {
                "real/train/ann/1.jpg": ("ann", "train", False, None),
                "fake/val/bob/1.jpg": ("bob", "val", True, None),
            },
            ("split from the folders train, val", "is_fake from the folders fake, real"),
        ),
        (
            {
                "train/ann/1.jpg": ("ann", "train", False, None),
                "train/ann/fake/swap/2.jpg": ("ann", "train", True, "swap"),
                "val/bob/real/1.jpg": ("bob", "val", False, None),
            },
            ("split from the folders train, val", "is_fake from the folders fake"),
        ),
        (
            {
                "ann/real/1.jpg": ("ann", None, False, None),
                "ann/spoof/1.jpg": ("ann", None, True, None),
                "ann/Deepfake/swap/1.jpg": ("ann", None, True, "swap"),
            },
            ("is_fake from the folders Deepfake, spoof",),
        ),
        # A person may be called so.
        ({"Val/1.jpg": ("Val", None, False, None), "Ann/1.jpg": ("Ann", None, False, None)}, ()),
        ({"Val/1.jpg": ("Val", None, False, None), "Dev/1.jpg": ("Dev", None, False, None)}, ()),
        (
            {
                "Val/1.jpg": ("Val", None, False, None),
                "Val/fake/2.jpg": ("Val", None, True, None),
                "Ann/1.jpg": ("Ann", None, False, None),
            },
            ("is_fake from the folders fake",),
        ),
        ({"ann/1.jpg": ("ann", None, False, None), "bob/train/1.jpg": ("bob", None, False, None)}, ()),
    ],
)
def test_what_is_clear_is_taken(
    tmp_path: Path, meanings: dict[str, tuple[Any, ...]], notes: tuple[str, ...] | None
) -> None:
    listing = listed(tmp_path, *meanings)
    assert told(listing) == meanings
    assert notes is None or listing.notes == notes


@pytest.mark.parametrize(
    ("paths", "match"),
    [
        (
            ("train/ann/1.jpg", "bob/1.jpg"),
            "the folder 'train' beside 'bob' .*--folders.levels split/person or .*person",
        ),
        (("fake/1.jpg", "bob/1.jpg"), "the folder 'fake' beside 'bob' .*--folders.levels label/person or"),
        (("real/bob/1.jpg", "train/bob/1.jpg"), "the folder 'real' beside 'train'"),
        (("val/1.jpg", "val/ann/1.jpg"), "the folder 'val' with photos and folders"),
        (
            ("train/ann/1.jpg", "train/fake/1.jpg", "val/bob/1.jpg"),
            "the folder 'fake' beside 'ann' .*--folders.levels split/label/person or --folders.levels split/person",
        ),
        (
            ("real/ann/1.jpg", "fake/swap/1.jpg"),
            "'swap' below 'fake' .*--folders.levels label/person or --folders.levels label/generator/person",
        ),
    ],
)
def test_what_is_not_clear_is_asked(tmp_path: Path, paths: tuple[str, ...], match: str) -> None:
    with pytest.raises(UserError, match=match) as asked:
        listed(tmp_path, *paths)
    assert "\n" not in str(asked.value)


@pytest.mark.parametrize(
    ("levels", "meanings"),
    [
        ("person", {"train/ann/1.jpg": ("train", None, False, None), "bob/1.jpg": ("bob", None, False, None)}),
        (
            "split/person",
            {"train/ann/1.jpg": ("ann", "train", False, None), "f1/bob/1.jpg": ("bob", "f1", False, None)},
        ),
        ("label/person", {"fake/ann/1.jpg": ("ann", None, True, None), "bob/1.jpg": ("bob", None, False, None)}),
        (
            "label/generator/person",
            {"real/ann/1.jpg": ("ann", None, False, None), "fake/swap/1.jpg": (None, None, True, "swap")},
        ),
    ],
)
def test_the_option_answers(tmp_path: Path, levels: str, meanings: dict[str, tuple[Any, ...]]) -> None:
    assert told(listed(tmp_path, *meanings, levels=levels)) == meanings


@pytest.mark.parametrize("levels", ["", "people", "person/split", "split/split/person", "split"])
def test_an_option_that_is_none(tmp_path: Path, levels: str) -> None:
    with pytest.raises(UserError, match=r"folders\.levels: '.*' is not understood"):
        listed(tmp_path, "a/1.jpg", levels=levels)


def test_a_list_of_fakes_or_a_pattern_goes_before_the_folders(tmp_path: Path) -> None:
    (tmp_path / "fakes.csv").write_text("photo,is_fake\nreal/ann/1.jpg,1\nfake/ann/2.jpg,0\n")
    root = tmp_path / "root"
    root.mkdir()
    paths = ("real/ann/1.jpg", "fake/ann/2.jpg")
    by_list = listed(root, *paths, fake_csv=str(tmp_path / "fakes.csv"))
    assert told(by_list) == {paths[0]: ("ann", None, True, None), paths[1]: ("ann", None, False, None)}
    by_name = listed(root, *paths, fake_pattern="1.*")
    assert told(by_name) == told(by_list) and by_name.notes == by_list.notes == ()
