from pathlib import Path

import pytest

from faceverify.datasets import DatasetConfig, Listing, read
from faceverify.errors import UserError
from faceverify.storage import open_location
from faceverify.tables import PHOTOS

POINTS = "69 109 106 113 77 142 73 152 108 154"


def source(tmp_path: Path, anno: str = "", images: str = "img_align_celeba") -> Path:
    for name in ("000001.jpg", "000002.jpg", "000003.jpg"):
        (tmp_path / images).mkdir(parents=True, exist_ok=True)
        (tmp_path / images / name).write_bytes(b"x")
    for name, text in {
        "identity_CelebA.txt": "000001.jpg 2880\n000002.jpg 2937\n000009.jpg 5\n",
        "list_eval_partition.txt": "000001.jpg 0\n000002.jpg 2\n",
        "list_landmarks_align_celeba.txt": f"202599\nlefteye_x lefteye_y\n000001.jpg  {POINTS}\n",
    }.items():
        (tmp_path / anno).mkdir(exist_ok=True)
        (tmp_path / anno / name).write_text(text)
    return tmp_path


def listed(root: Path) -> Listing:
    return read(open_location(str(root)), DatasetConfig(layout="celeba"))


@pytest.mark.parametrize(("anno", "images"), [("", "img_align_celeba"), ("Anno", "Img/img_align_celeba")])
def test_lists_and_photos(tmp_path: Path, anno: str, images: str):
    listing = listed(source(tmp_path, anno, images))
    assert listing.photos.schema.equals(PHOTOS) and listing.pairs is None
    assert listing.photos.select(["photo", "person", "is_fake", "split", "landmarks"]).to_pylist() == [
        {
            "photo": "000001.jpg",
            "person": "2880",
            "is_fake": False,
            "split": "train",
            "landmarks": [float(x) for x in POINTS.split()],
        },
        {"photo": "000002.jpg", "person": "2937", "is_fake": False, "split": "test", "landmarks": None},
    ]
    assert [(row["photo"], row["reason"]) for row in listing.rejects.to_pylist()] == [
        ("000003.jpg", "unlabelled"),
        ("000009.jpg", "missing"),
    ]


def test_only_the_identities_are_needed(tmp_path: Path):
    root = source(tmp_path)
    (root / "list_eval_partition.txt").unlink()
    (root / "list_landmarks_align_celeba.txt").unlink()
    photos = listed(root).photos
    assert photos["split"].null_count == photos["landmarks"].null_count == 2


def test_mistakes(tmp_path: Path):
    root = source(tmp_path)
    (root / "list_landmarks_align_celeba.txt").write_text("1\nnames\n000001.jpg 1 2 3 4 5 6 7 8 9 x\n")
    with pytest.raises(UserError, match="not a number"):
        listed(root)
    (root / "identity_CelebA.txt").write_text("000001.jpg 2880\nbroken\n")
    with pytest.raises(UserError, match=r"line 2 of .* is 'broken'"):
        listed(root)
    (root / "identity_CelebA.txt").unlink()
    with pytest.raises(UserError, match=r"no identity_CelebA\.txt"):
        listed(root)
    with pytest.raises(UserError, match="no folder img_align_celeba"):
        listed(tmp_path / "nowhere")
