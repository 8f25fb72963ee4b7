"""The job `pairs`: the same rows on any number of workers, after kills, and in S3; mistakes named before work."""

import json
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from e2e.harness import Driver, Ended, People, Run, parts
from e2e.test_killed_workers import Killer

from faceverify.pairs.people import gather, usable
from faceverify.pairs.quotas import quotas
from faceverify.pairs.rows import pairs_of
from faceverify.parts import read_part
from faceverify.storage import open_location
from faceverify.tables import PHOTOS

SHARDS = ("--pairs-per-shard", "60")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 300 persons with 8 photos and 5 fakes each; the pictures are not needed."""
    place = tmp_path_factory.mktemp("pairs") / "photos.parquet"
    names = [f"p{p:03d}/{i}.jpg" for p in range(300) for i in range(13)]
    rows = [
        {
            "photo": n,
            "uri": n,
            "person": n[:4],
            "is_fake": int(n[5:-4]) >= 8,
            "generator": "s" if n[5:-4] >= "8" else None,
        }
        for n in names
    ]
    pq.write_table(pa.Table.from_pylist(rows, PHOTOS), place)
    return place


@pytest.fixture(scope="module")
def expected(photos: Path) -> list[dict]:
    """What the library draws in one piece."""
    people = gather(usable(pq.read_table(photos)), 0, 0.05)
    return pairs_of(people, quotas(people, True), range(300)).to_pylist()


def drawn(out: Path) -> list[dict]:
    return pq.read_table(out / "pairs").to_pylist()


def test_shards_and_workers_change_nothing(run: Run, photos: Path, expected: list[dict], tmp_path: Path) -> None:
    for number, options in enumerate((SHARDS, ("--workers", "1"))):
        out = tmp_path / str(number)
        ended = run("pairs", "--photos", photos, "--out", out, "--csv", *options)
        assert ended.code == 0, ended.err
        assert drawn(out) == expected
        assert len((out / "pairs.csv").read_text().splitlines()) == len(expected) + 1
    assert "genuine 8,400 (50.0%), impostor 4,200 (25.0%), deepfake 4,200 (25.0%)" in ended.out
    again = run("pairs", "--photos", photos, "--out", out, "--csv", "--workers", "2")
    assert again.code == 0 and again.out.splitlines() == ended.out.splitlines()[-3:]


def test_more_deepfakes_to_learn_from_as_far_as_there_are_fakes(run: Run, photos: Path, tmp_path: Path) -> None:
    ended = run("pairs", "--photos", photos, "--out", tmp_path / "out", "--deepfakes-per-impostor", "12")
    assert ended.code == 0, ended.err
    made = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert {name: split["deepfake"] for name, split in made["splits"].items()} == {"train": 285 * 40, "val": 15 * 14}
    assert made["short"] == {"impostor": 0, "deepfake": 285 * (12 * 14 - 40)}
    assert "36,480 deepfake pairs are missing: no pair comes twice" in ended.out
    wrong = run("pairs", "--photos", photos, "--out", tmp_path / "no", "--deepfakes-per-impostor", "0")
    assert wrong.code == 2 and "deepfakes_per_impostor is 0: give a whole number from 1 up." in wrong.err


def test_a_large_table_is_read_by_the_workers(
    run: Run, photos: Path, expected: list[dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray_jobs.pairs.PLAN_HERE", 1000)
    monkeypatch.setattr("faceverify.pairs.reading.ROWS_PER_UNIT", 500)
    pq.write_table(pq.read_table(photos), tmp_path / "photos.parquet", row_group_size=500)
    out = tmp_path / "out"
    ended = run("pairs", "--photos", tmp_path / "photos.parquet", "--out", out, "--pairs-per-shard", "4000")
    assert ended.code == 0, ended.err
    assert drawn(out) == expected
    ran = {one["operator"]: one for one in json.loads((out / "manifest.json").read_text())["operators"]}
    assert (
        ran["ReadUnits->MapBatches(classify)"]["rows"] == 3900 and ran["ReadUnits->MapBatches(classify)"]["tasks"] == 8
    )
    assert ran["ReadUnits->MapBatches(draw_shard)"]["tasks"] == 5


@pytest.mark.thorough
def test_driver_killed_at_random_moments(
    drive: Callable[..., Driver], photos: Path, expected: list[dict], tmp_path: Path
) -> None:
    out, rng, kills, before = tmp_path / "out", random.Random(0), 0, {}
    while True:
        driver = drive("pairs", "--photos", photos, "--out", out, *SHARDS)
        due = len(before) + rng.randint(1, 30)
        if not driver.wait_until(lambda due=due: len(parts(out / ".work", "pairs")) >= due):
            break
        time.sleep(rng.uniform(0, 0.05))
        kills += driver.end(signal.SIGKILL).code == -signal.SIGKILL
        now = parts(out / ".work", "pairs")
        if (out / "pairs").exists():
            break  # it was quicker than the kill
        assert {name: now.get(name) for name in before} == before, "a finished part was written again"
        before = now
    driver.end()
    ended = drive("pairs", "--photos", photos, "--out", out, *SHARDS).end()
    assert ended.code == 0 and kills >= 3, (ended.err, kills)
    assert drawn(out) == expected


@pytest.mark.thorough
def test_workers_killed(run: Run, photos: Path, expected: list[dict], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with Killer(out / ".work", "pairs", "draw_shard", times=5, most=30) as killer:
        ended = run("pairs", "--photos", photos, "--out", out, *SHARDS)
    assert ended.code == 0, ended.err
    assert killer.killed == 5 and len(killer.again) <= 5
    assert drawn(out) == expected


def test_in_s3(run: Run, photos: Path, expected: list[dict], bucket: str) -> None:
    source, out = open_location(f"s3://{bucket}/in/photos.parquet"), open_location(f"s3://{bucket}/out")
    source.write_bytes(photos.read_bytes())
    ended = run("pairs", "--photos", source.uri, "--out", out.uri)
    assert ended.code == 0, ended.err
    rows = [row for entry in (out / "pairs").files() for row in read_part(out / "pairs" / entry.path).to_pylist()]
    assert rows == expected
    assert json.loads((out / "manifest.json").read_bytes())["rows_out"] == {"pairs": len(expected)}


def test_only_photos_with_a_face(run: Run, people: People, tmp_path: Path) -> None:
    kept = pq.read_table(people.photos).slice(0, 60)
    faces = tmp_path / "photos.parquet"
    pq.write_table(kept, faces)
    aligned = run("align", "--photos", faces, "--align.method", "annotated", "--out", tmp_path / "faces")
    assert aligned.code == 0, aligned.err
    ended = run("pairs", "--photos", people.photos, "--faces", tmp_path / "faces", "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    used = {row[side] for row in drawn(tmp_path / "out") for side in ("photo_a", "photo_b")}
    assert used <= set(kept["photo"].to_pylist())
    absent = sorted(set(pq.read_table(people.photos)["photo"].to_pylist()) - set(kept["photo"].to_pylist()))
    assert f"60 photos were not paired: 60 not in {tmp_path / 'faces'} (" in ended.out
    examples = ended.out.split("faces (")[1].split(", ...)")[0].split(", ")
    assert len(examples) == 3 and set(examples) <= set(absent)


def refused(ended: Ended, *words: str) -> None:
    ended.refused(2, *words)


def test_mistakes(run: Run, people: People, tmp_path: Path) -> None:
    out = tmp_path / "out"
    refused(run("pairs", "--photos", people.root, "--out", out), "photos", "holds no table 'photos'")
    share = run("pairs", "--photos", people.photos, "--out", out, "--validation-share", "5")
    refused(share, "validation_share is 5.0", "from 0 to 1")
    table = pq.read_table(people.photos)
    nobody = table.set_column(2, table.schema.field("person"), pa.nulls(table.num_rows, pa.string()))
    pq.write_table(nobody, tmp_path / "nobody.parquet")
    refused(run("pairs", "--photos", tmp_path / "nobody.parquet", "--out", out), "none of 120 photos names a person")
    assert run("pairs", "--photos", people.photos, "--out", out).code == 0, "a corrected command must run"
