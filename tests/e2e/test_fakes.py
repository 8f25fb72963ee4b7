"""The job `fakes`: the same photos and pictures on any number of workers and after kills; mistakes named early."""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from e2e.harness import Driver, People, Run, parts
from e2e.test_killed_workers import Killer
from fakes.toys import stamp

from faceverify.config import load
from faceverify.fakes import GENERATORS
from faceverify.parts import read_part
from faceverify.storage import Location, open_location
from faceverify.tables import FACES
from ray_jobs.fakes import FakesConfig
from ray_jobs.fakes import run as run_fakes

ROOT = Path(__file__).parent.parent.parent
STAGES = ("landmark_swap", "self_blend")


def published(out: Path) -> dict[str, Any]:
    """All that a run published, ready to be compared with that of another folder."""
    rows = pq.read_table(out / "photos").to_pylist()
    for row in rows:
        row["uri"] = row["uri"].removeprefix(str(out))
    files = [path for path in (out / "pictures").rglob("*") if path.is_file()]
    pictures = {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
    return {"photos": rows, "rejects": pq.read_table(out / "rejects").to_pylist(), "pictures": pictures}


@pytest.fixture(scope="module")
def table(people: People, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The people's photos; a picture is missing, one is damaged, one person has no landmarks, some columns are new."""
    home = tmp_path_factory.mktemp("photos")
    (home / "text.jpg").write_text("no photo")
    rows = pq.read_table(people.photos).to_pylist()
    real = [row for row in rows if not row["is_fake"]]
    real[0]["uri"], real[5]["uri"] = str(home / "gone.jpg"), str(home / "text.jpg")
    for row in rows:
        row["fold"] = len(row["photo"])
        if row["person"] == "person_0003":
            row["landmarks"] = None
    schema = pq.read_schema(people.photos).append(pa.field("fold", pa.int32(), nullable=False))
    pq.write_table(pa.Table.from_pylist(rows, schema), home / "photos.parquet")
    return home / "photos.parquet"


@pytest.fixture(scope="module")
def undisturbed(cluster: object, table: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What comes out of a plain run."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    run_fakes(load(FakesConfig, ["--photos", str(table), "--out", str(out)], prog="", description=""))
    return published(out)


def test_every_person_gets_four(undisturbed: dict[str, Any], table: Path) -> None:
    given = pq.read_table(table).to_pylist()
    rows, rejects = undisturbed["photos"], undisturbed["rejects"]
    assert len(given) + 4 * 20 == len(rows) + len(rejects), "rows in + requested = rows out + rejects"
    lost = {row["photo"]: row["reason"] for row in rejects if row["stage"] == "read"}
    assert sorted(lost.values()) == ["missing", "not_an_image"]
    first = len(given) - len(lost)
    changed = ("uri", "landmarks", "bytes_size")
    assert [{name: row[name] for name in given[0] if name not in changed} for row in rows[:first]] == [
        {name: row[name] for name in given[0] if name not in changed} for row in given if row["photo"] not in lost
    ]
    before = {row["photo"]: (row["uri"], row["landmarks"]) for row in given}
    assert all((row["original_uri"], row["original_landmarks"]) == before[row["photo"]] for row in rows[:first])
    assert {f"/{name}" for name in undisturbed["pictures"]} == {row["uri"] for row in rows}
    assert all(row["recoding"] for row in rows), "how a file was saved does not tell fakes from real photos"
    fakes = rows[first:]
    rejects = [row for row in rejects if row["stage"] == "fake"]
    asked = Counter((row["photo"].split("/")[0], row["photo"].split("/")[2]) for row in (*fakes, *rejects))
    assert asked == {(f"person_{p:04d}", generator): 2 for p in range(20) for generator in STAGES}
    person, split = ({row["photo"]: row[name] for row in given} for name in ("person", "split"))
    for row in fakes:
        assert row["is_fake"] and row["person"] == person[row["source_photo"]] and row["fold"] is None
        assert row["split"] == split[row["source_photo"]]
        if row["generator"] == "landmark_swap":
            assert row["target_person"] == person[row["target_photo"]] != row["person"]
            assert split[row["target_photo"]] == row["split"]
    reasons = Counter(row["reason"] for row in rejects)
    assert reasons["no_landmarks"] == 4 and reasons.keys() <= {"no_landmarks", "missing", "not_an_image"}


def test_shards_workers_and_the_order_of_photos_change_nothing(
    run: Run, table: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    rows = pq.read_table(table)
    pq.write_table(rows.take(pa.array(range(rows.num_rows - 1, -1, -1))), tmp_path / "backwards.parquet")
    for number, (photos, *options) in enumerate(
        [(table, "--people-per-shard", 3), (tmp_path / "backwards.parquet", "--workers", 1, "--people-per-shard", 999)]
    ):
        out = tmp_path / str(number)
        ended = run("fakes", "--photos", photos, "--out", out, *options)
        assert ended.code == 0, ended.err
        made = published(out)
        told = [sorted(table["rejects"], key=lambda row: row["photo"]) for table in (made, undisturbed)]
        assert made["pictures"] == undisturbed["pictures"] and told[0] == told[1]
        by_name = [sorted(table["photos"], key=lambda row: row["photo"]) for table in (made, undisturbed)]
        assert by_name[0] == by_name[1]
    other = run("fakes", "--photos", table, "--out", tmp_path / "other", "--seed", 1)
    assert other.code == 0
    assert not set(published(tmp_path / "other")["pictures"].values()) & set(undisturbed["pictures"].values())


def test_a_second_run_does_nothing_and_another_is_refused(run: Run, people: People, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    judged = ("--recogniser", tiny)
    first = run("fakes", "--photos", people.photos, "--out", out, "--per-person", 2, *judged)
    assert first.code == 0, first.err
    assert "40 fakes of 20 people: 20 landmark_swap, 20 self_blend" in first.out
    assert "160 photos are in the table photos, 120 of them given." in first.out
    facts = json.loads((out / "manifest.json").read_text())
    assert facts["rows_in"]["photos"] + facts["fakes_asked"] == facts["rows_out"]["photos"] == 160
    audit = facts["audit"]
    assert {(name, one["fakes"], one["judged"]) for name, one in audit.items()} == {(name, 20, 20) for name in STAGES}
    assert f"landmark_swap: cosine to the person {audit['landmark_swap']['person']:.2f}, to the host" in first.out
    assert (out / "report.html").read_text().count("data:image/jpeg") == 6 * 3 + 6 * 2
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    again = run("fakes", "--photos", people.photos, "--out", out, "--per-person", 2, "--workers", 1, *judged)
    assert again.code == 0 and again.out.splitlines() == first.out.splitlines()[-5:]
    assert times == {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    refused = run("fakes", "--photos", people.photos, "--out", out, "--per-person", 2, "--seed", 3, *judged)
    refused.refused(2, "another run", "config.seed")
    more = run("fakes", "--photos", out, "--out", tmp_path / "more", "--per-person", 1, "--seed", 3)
    assert more.code == 0 and "180 photos are in the table" in more.out, "fakes of fakes' table: its fakes lend no face"
    same = run("fakes", "--photos", out, "--out", tmp_path / "same", "--per-person", 1)
    same.refused(2, "has the name of a fake", "another --seed")


def test_landmarks_from_a_faces_table(run: Run, people: People, tmp_path: Path) -> None:
    rows = pq.read_table(people.photos)
    kept = rows.filter([name < "person_0015" for name in rows["person"].to_pylist()]).select(["photo", "landmarks"])
    found = [{**row, "image": b"a crop"} for row in kept.to_pylist()]
    pq.write_table(pa.Table.from_pylist(found, FACES), tmp_path / "faces.parquet")
    bare = tmp_path / "bare.parquet"
    at = rows.schema.get_field_index("landmarks")
    pq.write_table(rows.set_column(at, rows.schema.field(at), pa.nulls(120, rows.schema.field(at).type)), bare)
    out = tmp_path / "out"
    ended = run("fakes", "--photos", bare, "--faces", tmp_path / "faces.parquet", "--out", out)
    assert ended.code == 0, ended.err
    assert "60 fakes of 20 people" in ended.out and "Could not be made: 20 no_landmarks" in ended.out
    made = published(out)["photos"]
    assert [row["landmarks"] is not None for row in made] == [row["person"] < "person_0015" for row in made]
    assert [row["photo"] for row in made[:120]] == rows["photo"].to_pylist()
    run("fakes", "--photos", bare, "--out", tmp_path / "none").refused(2, "none of 120 photos", "--faces")
    assert run("fakes", "--photos", people.photos, "--out", tmp_path / "none").code == 0, "a corrected command must run"


@pytest.mark.parametrize(
    "options, words",
    [
        (("--generators", "landmark_swop"), ("no generator 'landmark_swop'", "did you mean 'landmark_swap'")),
        (("--per-person", "0"), ("per_person is 0", "from 1 up")),
        (("--candidates", "-1"), ("candidates is -1",)),
        (("--min-similarity", ".3"), ("min_similarity is 0.3", "--recogniser")),
        (("--calibration", "c.json"), ("calibration is 'c.json'", "--recogniser")),
        (("--recogniser", "nowhere.onnx"), ("nowhere.onnx",)),
        (("--faces", "nowhere"), ("faces", "no file or folder")),
        (("--photos", "nowhere"), ("photos", "no file or folder")),
        (("--prompts", "at sea"), ("prompts", "none of landmark_swap, self_blend takes any")),
        (("--generators", "self_blend,arc2face"), ("generators: arc2face needs ",)),
    ],
)
def test_mistakes(run: Run, people: People, tmp_path: Path, options: tuple[str, ...], words: tuple[str, ...]) -> None:
    run("fakes", "--photos", people.photos, "--out", tmp_path / "out", *options).refused(2, *words)
    assert list(tmp_path.iterdir()) == []


def test_wrong_tables(run: Run, people: People, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("fakes", "--photos", people.root, "--out", out).refused(2, "photos", "holds no table 'photos'")
    run("fakes", "--photos", people.photos, "--faces", people.photos, "--out", out).refused(2, "faces", "'image'")
    run("fakes", "--photos", people.pairs, "--out", out).refused(2, "photos", "column 'uri' is missing")
    odd = tmp_path / "odd.parquet"
    pq.write_table(pq.read_table(people.photos).append_column("how", pa.array(range(120))), odd)
    run("fakes", "--photos", odd, "--out", out).refused(2, "photos", "column 'how' is int64, not string")
    pq.write_table(pa.concat_tables([pq.read_table(people.photos)] * 2), odd)
    run("fakes", "--photos", odd, "--out", out).refused(2, "there more than once")
    dry = run("fakes", "--photos", people.photos, "--out", out, "--dry-run")
    assert dry.code == 0 and "nothing was started" in dry.out
    assert not (out / "photos").exists() and not (out / "pictures").exists()


# -- kills -------------------------------------------------------------------------------------------------------------


def small_shards(table: Path, out: Path) -> list[str]:
    return ["--photos", str(table), "--out", str(out), "--people-per-shard", "1"]


def finished(work: Path) -> dict[str, tuple[int, int]]:
    """The parts of both generators."""
    return {f"{stage}/{name}": facts for stage in STAGES for name, facts in parts(work, stage).items()}


@pytest.mark.thorough
def test_driver_killed_at_random_moments(
    drive: Callable[..., Driver], table: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    out, rng, kills, before = tmp_path / "out", random.Random(1), 0, {}
    while True:
        driver = drive("fakes", *small_shards(table, out))
        due = len(before) + rng.randint(0, 12)
        if not driver.wait_until(lambda due=due: len(finished(out / ".work")) >= due):
            break
        time.sleep(rng.uniform(0, 0.05))
        kills += driver.end(signal.SIGKILL).code == -signal.SIGKILL
        now = finished(out / ".work")
        if (out / "photos").exists():
            break  # it was quicker than the kill
        assert {name: now.get(name) for name in before} == before, "a finished part was written again"
        before = now
    driver.end()
    ended = drive("fakes", *small_shards(table, out)).end()
    assert ended.code == 0 and kills >= 3, (ended.err, kills)
    assert published(out) == undisturbed
    assert not (out / ".work").exists()


def test_workers_killed(run: Run, table: Path, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with Killer(out / ".work", "landmark_swap", "FakeMaker", times=4, most=5) as killer:
        ended = run("fakes", *small_shards(table, out))
    assert ended.code == 0, ended.err
    assert killer.killed >= 2 and len(killer.again) <= killer.killed
    assert published(out) == undisturbed


@pytest.mark.thorough
def test_a_polite_signal_ends_with_a_sentence(
    drive: Callable[..., Driver], table: Path, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    driver = drive("fakes", *small_shards(table, out))
    assert driver.wait_until(lambda: len(finished(out / ".work")) >= 5)
    driver.end(signal.SIGTERM).refused(143, "SIGTERM", "the same command goes on from here")
    ended = drive("fakes", *small_shards(table, out)).end()
    assert ended.code == 0 and "Going on where an earlier run stopped." in ended.out
    assert published(out) == undisturbed


# -- elsewhere ---------------------------------------------------------------------------------------------------------


def test_in_s3(
    drive: Callable[..., Driver], people: People, bucket: str, bucket_env: dict[str, str], tmp_path: Path
) -> None:
    source, out = open_location(f"s3://{bucket}/in"), open_location(f"s3://{bucket}/out")
    rows = pq.read_table(people.photos).slice(0, 24)
    for name in rows["photo"].to_pylist():
        (source / "photos" / name).write_bytes((people.root / name).read_bytes())
    places = pa.array([(source / "photos" / name).uri for name in rows["photo"].to_pylist()])
    with (source / "photos.parquet").open_output() as stream:
        pq.write_table(rows.set_column(1, rows.schema.field("uri"), places), stream)
    local = tmp_path / "local.parquet"
    pq.write_table(rows, local)
    run_fakes(load(FakesConfig, ["--photos", str(local), "--out", str(tmp_path / "out")], prog="", description=""))
    # Its workers find the credentials in their environment.
    options = ["--photos", f"{source}/photos.parquet", "--out", out.uri, "--people-per-shard", "2"]
    ended = drive("fakes", *options, runtime_env={"env_vars": bucket_env}).end()
    assert ended.code == 0, ended.err
    made = [row for entry in (out / "photos").files() for row in read_part(out / "photos" / entry.path).to_pylist()]
    same = published(tmp_path / "out")
    assert [row["photo"] for row in made] == [row["photo"] for row in same["photos"]]
    for row in made[24:]:
        digest = hashlib.sha256(Location(row["uri"]).read_bytes()).hexdigest()
        assert digest == same["pictures"][f"pictures/{row['photo']}"]


# -- a generator that learns -------------------------------------------------------------------------------------------

LEARNS = (
    "--generators",
    "autoencoder_swap,self_blend",
    "--per-person",
    2,
    "--learning.steps",
    6,
    "--learning.photos",
    40,
)


def test_networks_are_trained_once_kept_and_taken_again(run: Run, table: Path, tmp_path: Path) -> None:
    out, networks = tmp_path / "out", Path("networks") / "autoencoder_swap.safetensors"
    first = run("fakes", "--photos", table, "--out", out, *LEARNS)
    assert first.code == 0, first.err
    assert "autoencoder_swap learns, loss 0." in first.err and ": 6/6" in first.err
    made = published(out)
    digest = hashlib.sha256((out / networks).read_bytes()).hexdigest()
    ours = [row for row in made["photos"] if row["generator"] == "autoencoder_swap"]
    assert len(ours) > 10 and all(row["weights"] == [f"autoencoder_swap {digest}"] for row in ours)
    # Killed when the networks were there and some fakes were not: nothing is trained again. One worker is two.
    again = tmp_path / "again"
    shutil.copytree(out / "networks", again / "networks")
    plan = json.loads((out / "manifest.json").read_text())["plan"]
    (again / ".work").mkdir()
    (again / ".work" / "plan.json").write_text(json.dumps(plan))
    resumed = run("fakes", "--photos", table, "--out", again, *LEARNS, "--workers", 1)
    assert resumed.code == 0 and "learns" not in resumed.err, resumed.err
    assert published(again) == made
    # Killed before: they are trained again to the same bytes.
    (again / networks).unlink()
    shutil.rmtree(again / "pictures")
    run("fakes", "--photos", table, "--out", again, *LEARNS, "--overwrite")
    assert published(again) == made
    more = ("--photos", table, "--out", tmp_path / "more", *LEARNS[:4], "--seed", 1)
    later = run("fakes", *more, "--networks", out)
    assert later.code == 0 and "learns" not in later.err, later.err
    assert (tmp_path / "more" / networks).read_bytes() == (out / networks).read_bytes()
    (again / networks).write_bytes(b"others")
    run("fakes", *more, "--networks", again).refused(2, "networks", "is damaged")
    run("fakes", *more).refused(2, "another run", "networks")
    other = ("--photos", table, "--out", tmp_path / "other")
    run("fakes", *other, "--networks", out).refused(2, "networks", "none of landmark_swap,self_blend learns")
    run("fakes", *other, *LEARNS[:2], "--networks", tmp_path).refused(2, "holds no networks of autoencoder_swap")
    run("fakes", *other, *LEARNS[:2], "--learning.steps", 0).refused(2, "learning.steps")


@pytest.mark.thorough
def test_killed_while_it_learns(
    run: Run, drive: Callable[..., Driver], table: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The driver dies in the middle of a training, which is done again, to the same bytes."""
    options = ("--photos", table, *LEARNS[:4], "--learning.photos", 40, "--learning.steps", 40)
    plain = run("fakes", *options, "--out", tmp_path / "plain")
    assert plain.code == 0, plain.err
    out = tmp_path / "killed"
    driver = drive("fakes", *map(str, options), "--out", str(out))
    assert driver.process.stderr
    for line in driver.process.stderr:
        if re.search(r"learns.*: [1-9]\d*/40", line):
            break
    assert driver.end(signal.SIGKILL).code == -signal.SIGKILL
    assert not list(out.glob("networks/*.safetensors")) and not (out / "pictures").exists()
    ended = run("fakes", *options, "--out", out)
    assert ended.code == 0 and "Going on" in ended.out, ended.err
    assert published(out) == published(tmp_path / "plain")


# -- a generator with weights ------------------------------------------------------------------------------------------


def test_a_generator_that_wants_embeddings_and_a_gpu_is_given_both(
    run: Run, people: People, tiny: Path, other_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    options = ["--photos", people.photos, "--out", out, "--generators", "stamp,self_blend"]
    program = [sys.executable, ROOT / "tests" / "e2e" / "with_toy_generator.py", tiny, *options]
    env = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "RAY_ADDRESS": ""}
    ended = subprocess.run(list(map(str, program)), env=env, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stderr
    rows = pq.read_table(out / "photos").to_pylist()[120:]
    made = [row for row in rows if row["generator"] == "stamp"]
    rejects = pq.read_table(out / "rejects").to_pylist()
    assert len(made) + len(rejects) == len(rows) - len(made) == 40
    assert {(row["how"].split()[1], row["how"].split()[-1]) for row in made} == {("1.0000", "0")}  # length, GPU
    assert all(row["weights"] == ["toy " + "ab" * 32] and len(row["further_sources"]) == 2 for row in made)
    monkeypatch.setitem(GENERATORS, "stamp", stamp(str(tiny)))
    assert run("fakes", *options).code == 0, "where it runs is not part of what comes out"
    monkeypatch.setitem(GENERATORS, "stamp", stamp(str(other_model)))
    run("fakes", *options).refused(2, "another run", "inputs.generators.stamp.identity")
    monkeypatch.setitem(GENERATORS, "stamp", stamp(str(tmp_path / "gone.onnx")))
    run("fakes", *options).refused(2, "gone.onnx")
