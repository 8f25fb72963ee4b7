"""Listing a data set from end to end (no cluster is needed): what stands in the tables, and what the last lines say."""

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from faceverify.config import load
from faceverify.errors import UserError
from ray_jobs.ingest import IngestConfig, run


def ingest(source: Path, out: Path, *options: str) -> None:
    run(load(IngestConfig, ["--source", str(source), "--out", str(out), *options], prog="ingest", description=""))


def plant(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def odd_folder(root: Path) -> Path:
    """Three photos among a name that is not UTF-8, a broken link, a link to the folder itself, a pipe and a table."""
    plant(root, "ann/1.jpg", "ann/2.jpg", "bob/1.jpg", "pairs.parquet")
    with open(os.fsencode(root) + b"/ann/bad\xff.jpg", "wb"):
        pass
    (root / "ann" / "gone.jpg").symlink_to("nowhere.jpg")
    (root / "bob" / "up").symlink_to(root)
    os.mkfifo(root / "bob" / "pipe.jpg")
    return root


ODD = {
    r"ann/bad\xff.jpg": "bad_name",
    "ann/gone.jpg": "missing",
    "bob/up": "duplicate",
    "bob/pipe.jpg": "not_a_file",
}


def test_one_bad_entry_among_good_ones_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ingest(odd_folder(tmp_path / "root"), tmp_path / "out")
    assert pq.read_table(tmp_path / "out" / "photos")["photo"].to_pylist() == ["ann/1.jpg", "ann/2.jpg", "bob/1.jpg"]
    rejects = pq.read_table(tmp_path / "out" / "rejects").to_pylist()
    assert {row["photo"]: row["reason"] for row in rejects} == ODD
    assert "Rejected: 1 bad_name, 1 duplicate, 1 missing, 1 not_a_file" in capsys.readouterr().out


@pytest.mark.parametrize("layout", ["lfw", "kryptonite", "celeba"])
def test_so_it_is_in_every_layout(tmp_path: Path, layout: str) -> None:
    images = {"lfw": "root", "kryptonite": "root/images", "celeba": "root/img_celeba"}[layout]
    odd_folder(tmp_path / images)
    files = {
        "lfw": ("pairs.txt", "1\nann\t1\t2\nann\t1\tbob\t1\n"),
        "kryptonite": ("meta.json", '{"ann/1.jpg": 0, "ann/2.jpg": 0, "bob/1.jpg": 1, "ann/gone.jpg": 0}'),
        "celeba": ("identity_CelebA.txt", "ann/1.jpg 1\nann/2.jpg 1\nbob/1.jpg 2\nann/gone.jpg 1\n"),
    }
    name, text = files[layout]
    (tmp_path / "root" / name).write_text(text)
    ingest(tmp_path / "root", tmp_path / "out", "--layout", layout)
    assert pq.read_table(tmp_path / "out" / "photos").num_rows == 3
    rejects = pq.read_table(tmp_path / "out" / "rejects").to_pylist()
    assert sorted((row["photo"], row["reason"]) for row in rejects) == sorted(ODD.items())


def test_the_summary_says_what_the_folders_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = plant(tmp_path / "root", "train/real/ann/1.jpg", "train/fake/ann/2.jpg", "val/real/bob/1.jpg")
    for _ in range(2):  # a finished run says it too
        ingest(root, tmp_path / "out")
        said = capsys.readouterr().out
        assert "split from the folders train, val." in said and "is_fake from the folders fake, real." in said
    plant(root, "cy/1.jpg")
    with pytest.raises(UserError, match=r"--folders\.levels split/person or --folders\.levels person"):
        ingest(root, tmp_path / "asked")
    ingest(root, tmp_path / "asked", "--folders.levels", "person")  # the answer is no other run
    assert set(pq.read_table(tmp_path / "asked" / "photos")["person"].to_pylist()) == {"train", "val", "cy"}
