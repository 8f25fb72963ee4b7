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
    with pytest.raises(UserError, match=r"holds none of the folders img_align_celeba, .* there is nothing in it"):
        listed(tmp_path / "nowhere")


# -- as archives and Kaggle lay them out -------------------------------------------------------------------------------

HEADS = {
    "identity_CelebA": "",
    "list_eval_partition": "image_id,partition\n",
    "list_landmarks_align_celeba": "image_id,lefteye_x,lefteye_y,righteye_x,righteye_y,nose_x,nose_y,"
    "leftmouth_x,leftmouth_y,rightmouth_x,rightmouth_y\n",
}


def kaggle(root: Path) -> Path:
    """The lists of `source` as Kaggle has them: commas and a header."""
    for name, head in HEADS.items():
        place = next(root.rglob(f"{name}.txt"))
        lines = [",".join(line.split()) for line in place.read_text().splitlines() if ".jpg" in line]
        place.with_suffix(".csv").write_text(head + "\n".join(lines) + "\n")
        place.unlink()
    return root


def facts(listing: Listing) -> list[tuple]:
    rows = listing.photos.to_pylist()
    return [(r["photo"].split(".")[0], r["person"], r["split"], r["landmarks"] is not None) for r in rows]


LAYOUTS = {
    "nested": ("Anno", "img_align_celeba/img_align_celeba"),
    "in Img": ("", "Img/img_align_celeba"),
    "one further down": ("CelebA/Anno", "CelebA/Img/img_align_celeba"),
    "png": ("Anno", "Img/img_align_celeba_png"),
}


@pytest.mark.parametrize("csv", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_archives(tmp_path: Path, layout: str, csv: bool):
    anno, images = LAYOUTS[layout]
    (tmp_path / anno).mkdir(parents=True, exist_ok=True)
    source(tmp_path, anno, images)
    if layout == "png":
        for photo in (tmp_path / images).iterdir():
            photo.rename(photo.with_suffix(".png"))
    listing = listed(kaggle(tmp_path) if csv else tmp_path)
    assert facts(listing) == [("000001", "2880", "train", True), ("000002", "2937", "test", False)]
    assert all(Path(uri).is_file() for uri in listing.photos["uri"].to_pylist())
    assert sorted(row["reason"] for row in listing.rejects.to_pylist()) == ["missing", "unlabelled"]
    found = {"under another extension": (2, "000001.jpg", "000001.png")} if layout == "png" else {}
    assert listing.found == found


def test_the_folder_of_the_photos_as_the_source(tmp_path: Path):
    source(tmp_path, "", "img_align_celeba/img_align_celeba")
    for root in (tmp_path / "img_align_celeba", tmp_path / "img_align_celeba" / "img_align_celeba"):
        assert facts(listed(root)) == facts(listed(tmp_path))


def test_in_a_bucket(tmp_path: Path, bucket: str):
    import boto3

    root = kaggle(source(tmp_path, "Anno", "Img/img_align_celeba/img_align_celeba"))
    client = boto3.Session().client("s3")
    for path in root.rglob("*.*"):
        client.upload_file(str(path), bucket, f"celeba/{path.relative_to(root)}")
    listing = read(open_location(f"s3://{bucket}/celeba"), DatasetConfig(layout="celeba"))
    assert facts(listing) == facts(listed(root))


def test_kaggles_copy_has_no_identities(tmp_path: Path):
    root = kaggle(source(tmp_path))
    (root / "identity_CelebA.csv").unlink()
    with pytest.raises(UserError, match=r"no identity_CelebA\.txt in .*Kaggle's copy lacks it\.$"):
        listed(root)
