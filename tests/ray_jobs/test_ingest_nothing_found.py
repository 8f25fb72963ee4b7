"""Sources of which little or nothing can be used: told with what is there, and with what would fit."""

import json
from pathlib import Path
from typing import Any

import boto3
import pyarrow.parquet as pq
import pytest

from faceverify.datasets import DatasetConfig, FoldersConfig
from faceverify.errors import UserError
from ray_jobs.ingest import IngestConfig, run


def files(root: Path, *names: str, **texts: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    for name, text in texts.items():
        (root / name.replace("__", ".")).write_text(text)
    return root


def ingest(source: Any, out: Path, **options: Any) -> dict[str, Any]:
    run(IngestConfig(source=str(source), out=str(out), **options))
    return json.loads((out / "manifest.json").read_text())


def refused(tmp_path: Path, source: Any, *words: str, **options: Any) -> None:
    with pytest.raises(UserError) as caught:
        ingest(source, tmp_path / "out", **options)
    assert all(word in str(caught.value) for word in words), caught.value
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_folder_without_photos_says_what_is_there(tmp_path: Path):
    source = files(tmp_path / "s", "b/notes.txt", "labels.csv", "a.json", "c.md")
    refused(tmp_path, source, "holds no photos; there is 'b/', 'a.json', 'c.md', ... in it")


@pytest.mark.parametrize(
    ("names", "texts", "layout", "fits"),
    [
        (["img_align_celeba/1.jpg"], {"identity_CelebA__txt": "1.jpg 7\n"}, "kryptonite", "celeba"),
        (["images/a/1.jpg"], {"meta__json": "{}"}, "celeba", "kryptonite or folders"),
        (["Al/Al_0001.jpg"], {"pairs__txt": "1\n"}, "kryptonite", "lfw or folders"),
        (["ann/1.jpg"], {}, "celeba", "folders"),
    ],
)
def test_another_layout_that_would_fit_is_named(
    tmp_path: Path, names: list[str], texts: dict[str, str], layout: Any, fits: str
):
    refused(tmp_path, files(tmp_path / "s", *names, **texts), f"It looks like --layout {fits}.", layout=layout)


def test_labels_of_other_photos(tmp_path: Path):
    source = files(tmp_path / "s", "images/a/1.jpg", "images/b/2.jpg", meta__json='{"x/8.jpg": 0, "y/9.jpg": 1}')
    sentence = (
        "finds no photo in '{}' that it can use; all 4 files and names in lists failed: 2 unlabelled ('a/1.jpg'), "
    )
    for share in (0.5, 1):
        refused(tmp_path, source, sentence.format(source), layout="kryptonite", max_failed=share)


def test_most_names_of_a_list_without_a_photo(tmp_path: Path):
    names = "".join(f"{i}.jpg {i}\n" for i in range(9))
    source = files(tmp_path / "s", "img_align_celeba/1.jpg", "img_align_celeba/2.jpg", identity_CelebA__txt=names)
    refused(
        tmp_path, source, "7 of 9 files and names in lists failed with missing ('0.jpg', '3.jpg', ", layout="celeba"
    )
    made = ingest(source, tmp_path / "out", layout="celeba", max_failed=0.8)
    assert made["rows_out"] == {"photos": 2} and made["rejects"] == {"missing": 7}


@pytest.mark.parametrize("layout", ["kryptonite", "folders"])
def test_names_with_another_extension_are_taken_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: Any
):
    source = files(tmp_path / "s", "images/a/1.png", "images/a/2.png", "images/b/3.jpg")
    files(source, meta__json='{"a/1.jpg": 0, "a/2.jpg": 1, "b/3.jpg": 0}')
    labels = files(tmp_path, labels__csv="photo,is_fake\na/1.jpg,0\na/2.jpg,1\nb/3.jpg,0\n") / "labels.csv"
    options = {"folders": FoldersConfig(fake_csv=str(labels))} if layout == "folders" else {}
    place = source / "images" if layout == "folders" else source
    made = ingest(place, tmp_path / "out", layout=layout, **options)
    rows = pq.read_table(tmp_path / "out" / "photos").to_pylist()
    assert [(row["photo"], row["is_fake"]) for row in rows] == [
        ("a/1.png", False),
        ("a/2.png", True),
        ("b/3.jpg", False),
    ]
    assert made["found"] == {"under another extension": [2, "a/1.jpg", "a/1.png"]} and made["rejects"] == {}
    assert "2 names found under another extension: 'a/1.jpg' -> 'a/1.png'\n" in capsys.readouterr().out


def test_two_lines_for_one_photo_stay_two(tmp_path: Path):
    source = files(tmp_path / "s", "a/é.jpg", "a/2.jpg")
    labels = files(tmp_path, labels__csv="photo,is_fake\na/é.jpg,0\na/e\u0301.jpg,1\na/2.jpg,0\n") / "labels.csv"
    made = ingest(source, tmp_path / "out", folders=FoldersConfig(fake_csv=str(labels)))
    assert made["rows_out"] == {"photos": 2} and made["rejects"] == {"missing": 1}


def test_in_a_bucket(tmp_path: Path, bucket: str):
    client = boto3.Session().client("s3")
    for name in ("s/b/notes.txt", "s/a.json"):
        client.put_object(Bucket=bucket, Key=name, Body=b"x")
    refused(tmp_path, f"s3://{bucket}/s", "holds no photos; there is 'b/', 'a.json' in it")
    assert DatasetConfig().layout == "folders"
