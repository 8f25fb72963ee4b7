"""ingest, align and embed one after the other give what score gives in one go."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from e2e.harness import ONE_WORKER, Driver, People, Run, parts, without_work

from faceverify import tables
from faceverify.images import ImageLimits, decode
from faceverify.storage import Location


def test_the_chain_gives_the_same_embeddings_as_score(run: Run, people: People, tiny: Path, tmp_path: Path) -> None:
    made = {name: tmp_path / name for name in ("photos", "faces", "embeddings", "scores", "short")}
    steps = [
        ("ingest", ["--source", people.root, "--layout", "rendered", "--out", made["photos"]]),
        ("align", ["--photos", made["photos"], "--align.method", "annotated", "--out", made["faces"], *ONE_WORKER]),
        ("embed", ["--faces", made["faces"], "--model", tiny, "--out", made["embeddings"], "--faces-per-shard", 50]),
        ("score", ["--pairs", people.pairs, "--embeddings", made["embeddings"], "--out", made["scores"]]),
        ("score", people.args(tiny, made["short"])),
    ]
    rendered = ["--rendered.persons", 20, "--rendered.photos-per-person", 4, "--rendered.fakes-per-person", 2]
    rendered += ["--rendered.photo-size", 96]
    for job, options in steps:
        ended = run(job, *options, *(rendered if job == "ingest" else []))
        assert ended.code == 0, ended.err
        again = run(job, *options, *(rendered if job == "ingest" else []))
        assert again.code == 0 and again.out.splitlines()[-1] == ended.out.splitlines()[-1]

    long, short = without_work(made["scores"]), without_work(made["short"])
    assert [row["similarity"] for row in long["scores"]] == [row["similarity"] for row in short["scores"]]
    vectors = {row["photo"]: row for row in pq.read_table(made["embeddings"] / "embeddings").to_pylist()}
    assert len(vectors) == 120 > len(short["embeddings"])
    assert all(vectors[row["photo"]] == row for row in short["embeddings"])

    photos, faces = pq.read_table(made["photos"] / "photos"), pq.read_table(made["faces"] / "faces")
    assert faces["photo"].to_pylist() == photos["photo"].to_pylist()
    tables.validate(faces.schema, tables.FACES, "faces")
    for row in faces.slice(0, 3).to_pylist():
        assert decode(row["image"], ImageLimits()).shape == (112, 112, 3)
    assert np.array_equal(faces["landmarks"].to_pylist(), photos["landmarks"].to_pylist())


def test_align_and_embed_go_on_after_a_kill(drive, run: Run, people: People, tiny: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    options = ["--photos", people.photos, "--align.method", "annotated"]
    assert run("align", *options, "--out", whole).code == 0
    options += ["--photos-per-shard", 4, *ONE_WORKER]
    driver: Driver = drive("align", *options, "--out", killed)
    assert driver.wait_until(lambda: len(parts(killed / ".work", "faces")) >= 5)
    driver.end(9)
    before = parts(killed / ".work", "faces")
    ended = run("align", *options, "--out", killed)
    assert ended.code == 0 and "Going on where an earlier run stopped." in ended.out
    assert 5 <= len(before) < 30
    assert pq.read_table(killed / "faces").equals(pq.read_table(whole / "faces"))


def test_a_faces_table_of_another_form_is_refused(run: Run, people: People, tiny: Path, tmp_path: Path) -> None:
    options = ["--model", tiny, "--out", tmp_path / "out"]
    run("embed", "--faces", people.photos, *options).refused(2, "faces", "column 'image' is missing")
    run("embed", "--faces", people.root, *options).refused(2, "faces", "no table 'faces'")
    run("embed", "--faces", tmp_path / "gone", *options).refused(2, "faces", "no file or folder")
    run("align", "--photos", tmp_path / "gone", "--align.method", "none", *options[2:]).refused(2, "photos")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_photos_is_aligned_without_ingest_in_two_crops_of_which_embed_takes_its_own(
    run: Run, people: People, tiny: Path, tmp_path: Path
) -> None:
    crops = ["--crop", "arcface128", tiny]
    ended = run("align", "--photos", people.root, "--align.method", "none", *crops, "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert "Crops: arcface128, arcface112" in ended.out
    embedded = run("embed", "--faces", tmp_path / "out", "--model", tiny, "--out", tmp_path / "embeddings")
    assert embedded.code == 0, embedded.err
    rows = pq.read_table(tmp_path / "embeddings" / "embeddings")
    assert {json.loads(crop)["size"] for crop in rows["crop"].to_pylist()} == {112} and rows.num_rows == 120
    faces = pq.read_table(tmp_path / "out" / "faces")
    listed = [entry.path for entry in Location(str(people.root)).files() if entry.path.endswith(".jpg")]
    assert faces["photo"].to_pylist() == listed
    assert faces["person"].to_pylist() == [path.partition("/")[0] for path in listed]
