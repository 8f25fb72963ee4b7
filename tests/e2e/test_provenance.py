"""What decides a number is part of it: whatever changes between two runs, the second gives what a fresh run gives."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from e2e.harness import Ended, Run, score_plainly, without_work

from faceverify.datasets.rendered import RenderedConfig, write
from faceverify.storage import Location

POINTS = [38.3, 51.7, 73.5, 51.5, 56.0, 71.7, 41.5, 92.4, 70.7, 92.2]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight photos 112x112 and the list of their pairs."""
    home = tmp_path_factory.mktemp("drawn")
    config = RenderedConfig(persons=4, photos_per_person=2, fakes_per_person=0, photo_size=112)
    photos = write(config, Location(str(home / "drawing"))).photos["photo"].to_pylist()
    (home / "photos").mkdir()
    for number, photo in enumerate(sorted(photos)):
        shutil.copy(home / "drawing" / photo, home / "photos" / f"{number}.jpg")
    lines = [f"{a}.jpg,{b}.jpg,{int(a // 2 == b // 2)}" for a in range(8) for b in range(a)]
    (home / "pairs.csv").write_text("\n".join(["photo_a,photo_b,label", *lines]) + "\n")
    return home


@pytest.fixture
def home(drawn: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(drawn / "photos", tmp_path / "photos")
    shutil.copy(drawn / "pairs.csv", tmp_path / "pairs.csv")
    return tmp_path


def options(home: Path, model: Path, out: str, **changed: object) -> list[str]:
    named: dict[str, object] = {
        "photos": home / "photos",
        "pairs": home / "pairs.csv",
        "model": model,
        "align.method": "none",
    }
    named |= {"out": home / out} | {name.replace("__", "."): value for name, value in changed.items()}
    return [part for name, value in named.items() if value is not None for part in (f"--{name}", str(value))]


def rewritten(path: Path, source: Path) -> None:
    """Another picture in the place of one, of another time too: the clock of a file system may be coarse."""
    shutil.copy(source, path)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000_000))


def test_a_photo_replaced_on_disk_gives_its_own_similarity(run: Run, tiny: Path, home: Path) -> None:
    assert run("score", *options(home, tiny, "out")).code == 0
    first = without_work(home / "out")
    rewritten(home / "photos" / "3.jpg", home / "photos" / "0.jpg")
    again = run("score", *options(home, tiny, "out"))
    assert again.code == 0 and "1 photo changed" in again.out and "re-used 7; embedded 1" in again.out
    made = without_work(home / "out")
    assert made == score_plainly(home / "fresh", options(home, tiny, "fresh")) and made != first
    third = run("score", *options(home, tiny, "out"))
    assert third.code == 0 and "photos:" not in third.err and without_work(home / "out") == made


def test_a_photo_that_came_since_is_no_longer_missing(run: Run, tiny: Path, home: Path) -> None:
    (home / "photos" / "0.jpg").rename(home / "away.jpg")
    assert run("score", *options(home, tiny, "out")).code == 0
    assert {row["status"] for row in without_work(home / "out")["scores"]} == {"ok", "missing"}
    (home / "away.jpg").rename(home / "photos" / "0.jpg")
    assert run("score", *options(home, tiny, "out")).code == 0
    assert {row["status"] for row in without_work(home / "out")["scores"]} == {"ok"}


def test_the_same_folder_by_another_name_is_the_same_run(
    run: Run, tiny: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("score", *options(home, tiny, "out")).code == 0
    monkeypatch.chdir(home)
    (home / "link").symlink_to("photos")
    for name in ("photos", "./photos/", "../" + home.name + "/photos", "link"):
        ended = run("score", *options(home, tiny, "out", photos=name))
        assert ended.code == 0 and "photos:" not in ended.err, ended.err


def changed_photo(home: Path) -> dict[str, object]:
    rewritten(home / "photos" / "1.jpg", home / "photos" / "6.jpg")
    return {}


def other_folder(home: Path) -> dict[str, object]:
    """The same names, sizes and times, and other pictures in them."""
    (home / "other").mkdir()
    for number in range(8):
        data = (home / "photos" / f"{(number + 2) % 8}.jpg").read_bytes()
        size = max(path.stat().st_size for path in (home / "photos").iterdir())
        (home / "other" / f"{number}.jpg").write_bytes(data.ljust(size, b"\0"))
        os.utime(home / "other" / f"{number}.jpg", ns=(0, 1))
    return {"photos": home / "other"}


def annotated(home: Path) -> dict[str, object]:
    return {"photos": table(home, POINTS), "align__method": "annotated"}


def table(home: Path, points: list[float]) -> Path:
    from faceverify.tables import PHOTOS

    rows = [
        {"photo": f"{i}.jpg", "uri": str(home / "photos" / f"{i}.jpg"), "landmarks": points, "bytes_size": 1}
        for i in range(8)
    ]
    place = home / f"photos{points[0]}.parquet"
    pq.write_table(pa.Table.from_pylist(rows, PHOTOS), place)
    return place


CHANGES: dict[str, tuple[Callable[[Path], dict[str, object]], str]] = {
    "a photo": (changed_photo, "re-used 7; embedded 1: 1 photo changed"),
    "the folder": (other_folder, "8 photo elsewhere"),
    "the aligner": (annotated, "8 other aligner"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_given_embeddings_are_taken_only_where_all_agrees(change: str, run: Run, tiny: Path, home: Path) -> None:
    if change == "the folder":
        for path in (home / "photos").iterdir():
            size = max(other.stat().st_size for other in (home / "photos").iterdir())
            path.write_bytes(path.read_bytes().ljust(size, b"\0"))
            os.utime(path, ns=(0, 1))
    assert run("score", *options(home, tiny, "first")).code == 0
    make, said = CHANGES[change]
    changed = make(home)
    ended = run("score", *options(home, tiny, "second", embeddings=home / "first", **changed))
    assert ended.code == 0 and said in ended.out, ended.out + ended.err
    made = without_work(home / "second")
    assert made == score_plainly(home / "fresh", options(home, tiny, "fresh", **changed))
    assert made["scores"] != without_work(home / "first")["scores"]


def test_embeddings_of_another_model_are_made_again(run: Run, tiny: Path, other_model: Path, home: Path) -> None:
    assert run("score", *options(home, tiny, "first")).code == 0
    ended = run("score", *options(home, other_model, "second", embeddings=home / "first"))
    assert ended.code == 0 and "re-used 0; embedded 8: 8 other model" in ended.out
    assert without_work(home / "second") == score_plainly(home / "fresh", options(home, other_model, "fresh"))


def test_the_content_is_compared_if_asked_for(run: Run, tiny: Path, home: Path) -> None:
    by_content = {"photo_identity": "content"}
    assert run("score", *options(home, tiny, "first", **by_content)).code == 0
    for path in (home / "photos").iterdir():
        os.utime(path, ns=(0, 5))
    shutil.copytree(home / "photos", home / "copy")
    given = {"embeddings": home / "first", "photos": home / "copy", **by_content}
    ended = run("score", *options(home, tiny, "second", **given))
    assert ended.code == 0 and "re-used 8" in ended.out and "photos:" not in ended.err
    assert "SHA-256" in json.loads((home / "second" / "manifest.json").read_text())["photo_identity"]


def test_a_threshold_found_with_another_aligner_is_refused(run: Run, tiny: Path, home: Path) -> None:
    assert run("score", *options(home, tiny, "first")).code == 0
    assert run("evaluate", "--scores", home / "first", "--out", home / "evaluation", "--replicates", 0).code == 0
    calibration = {"calibration": home / "evaluation" / "calibration.json"}
    assert run("score", *options(home, tiny, "same", **calibration)).code == 0
    other = options(home, tiny, "other", **calibration, **annotated(home))
    run("score", *other).refused(2, "calibration", "aligner annotated, not none")
    fresh = options(home, tiny, "fresh", **annotated(home))
    assert run("score", *fresh).code == 0
    judged = ["--scores", home / "fresh", "--calibration", calibration["calibration"], "--out", home / "judged"]
    run("evaluate", *judged).refused(2, "calibration", "aligner annotated, not none")
    (home / "fresh" / "manifest.json").unlink()  # what the scores were made with is said by their rows
    run("evaluate", *judged).refused(2, "calibration", "aligner annotated, not none")


def test_tables_put_together_of_several_aligners_are_refused(run: Run, tiny: Path, home: Path) -> None:
    assert run("score", *options(home, tiny, "first")).code == 0
    assert run("score", *options(home, tiny, "second", **annotated(home))).code == 0
    parts = [pq.read_table(home / name / "embeddings") for name in ("first", "second")]
    (home / "both").mkdir()
    pq.write_table(pa.concat_tables([parts[0].slice(0, 4), parts[1].slice(4)]), home / "both" / "e.parquet")
    bare = ["--pairs", home / "pairs.csv", "--embeddings", home / "both", "--out", home / "out"]
    run("score", *bare).refused(2, "embeddings", "2 ways", "aligner")


def test_a_photo_that_changes_during_an_unfinished_run_is_made_again(run: Run, tiny: Path, home: Path) -> None:
    """A run that was killed after it embedded: its parts of photos that have changed since are not taken."""
    from faceverify.run_folder import RunFolder

    assert run("score", *options(home, tiny, "whole")).code == 0

    def killed(self: RunFolder, *_: Any) -> None:
        self.release()  # as the end of its process would
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "publish_parts", killed)
        assert run("score", *options(home, tiny, "out")).code == 130
    rewritten(home / "photos" / "5.jpg", home / "photos" / "0.jpg")
    ended = run("score", *options(home, tiny, "out"))
    assert ended.code == 0 and "1 photo changed" in ended.out and "re-used 7; embedded 1" in ended.out
    assert without_work(home / "out") == score_plainly(home / "fresh", options(home, tiny, "fresh"))


def align(run: Run, home: Path, photos: Path, out: str = "faces") -> Ended:
    return run("align", "--photos", photos, "--align.method", "annotated", "--out", home / out)


def test_faces_of_photos_that_changed_are_not_taken_for_theirs(run: Run, tiny: Path, home: Path) -> None:
    photos = table(home, POINTS)
    assert align(run, home, photos).code == 0
    assert align(run, home, photos).code == 0  # nothing has changed
    rewritten(home / "photos" / "2.jpg", home / "photos" / "0.jpg")
    align(run, home, photos).refused(2, "1 photo changed", "--overwrite")
    made = ["--faces", home / "faces", "--model", tiny, "--out", home / "embeddings"]
    assert run("embed", *made).code == 0
    named = pq.read_table(photos)
    labelled = named.set_column(2, "person", pa.array([f"p{i // 2}" for i in range(8)]))
    pq.write_table(labelled, home / "labelled.parquet")
    cleaned = ["--photos", home / "labelled.parquet", "--embeddings", home / "embeddings", "--out", home / "clean"]
    run("clean", *cleaned).refused(2, "embeddings", "1 of 8", "2.jpg")
    fakes = ["--photos", home / "labelled.parquet", "--faces", home / "faces", "--out", home / "fakes"]
    run("fakes", *fakes).refused(2, "faces", "1 of 8", "2.jpg")
