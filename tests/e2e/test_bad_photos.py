"""Broken files, hostile lists and hostile names: each is told for what it is, once, and harms nobody else."""

import csv
import io
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from broken_images import SMALL_LIMITS, broken_files
from e2e.harness import ONE_WORKER, Run, without_work

from faceverify import tables
from faceverify.images import encode_png
from faceverify.rendered import RenderedConfig, render_photo

LIMITS = [
    *ONE_WORKER,
    *("--images.max-bytes", str(SMALL_LIMITS.max_bytes)),
    *("--images.max-pixels", str(SMALL_LIMITS.max_pixels)),
    *("--images.min-side", str(SMALL_LIMITS.min_side)),
]


def good(person: int, index: int = 0) -> bytes:
    """A square photo, which the aligner `none` takes for a face."""
    return encode_png(render_photo(RenderedConfig(photo_size=64, persons=3), person, index)[0])


def by_photo(made: list[dict[str, Any]], column: str) -> dict[str, Any]:
    assert len({row["photo"] for row in made}) == len(made), "a photo is told of twice"
    return {row["photo"]: row[column] for row in made}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`person/<name>` for every kind of broken file, and three good ones among them."""
    person = tmp_path_factory.mktemp("broken") / "person"
    person.mkdir()
    for name, (data, _) in broken_files().items():
        (person / name).write_bytes(data)
    for number in range(3):
        (person / f"good{number}").write_bytes(good(number))
    return person.parent


def test_score_rejects_each_broken_photo_for_its_reason(run: Run, folder: Path, tiny: Path, tmp_path: Path) -> None:
    reasons = {f"person/{name}": reason.value for name, (_, reason) in broken_files().items()}
    assert len(reasons) >= 30
    left = [*reasons, "person/good0", "person/good1", "person/gone"]
    right = ["person/good0"] * len(reasons) + ["person/good1", "person/good2", "person/good0"]
    pq.write_table(pa.table({"photo_a": left, "photo_b": right}), tmp_path / "pairs.parquet")
    options = ["--photos", folder, "--pairs", tmp_path / "pairs.parquet", "--model", tiny, "--align.method", "none"]
    ended = run("score", *options, *LIMITS, "--photos-per-shard", 9, "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    made = without_work(tmp_path / "out")
    told = by_photo(made["rejects"], "reason")
    assert told == reasons | {"person/gone": "missing"}
    assert set(by_photo(made["embeddings"], "norm")) == {f"person/good{i}" for i in range(3)}
    assert [row["photo_a"] for row in made["scores"]] == left
    for row in made["scores"]:
        assert row["status"] == told.get(row["photo_a"], "ok")
        assert (row["similarity"] is None) == (row["status"] != "ok")
    failed = f"Without a similarity: {len(told)} pairs"
    assert failed in ended.out and "Photos rejected: " in ended.out


def test_align_rejects_each_broken_photo_for_its_reason(run: Run, folder: Path, tmp_path: Path) -> None:
    options = ["--photos", folder, "--align.method", "none", *LIMITS, "--photos-per-shard", 9]
    ended = run("align", *options, "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    told = by_photo(pq.read_table(tmp_path / "out" / "rejects").to_pylist(), "reason")
    assert told == {f"person/{name}": reason.value for name, (_, reason) in broken_files().items()}
    faces = pq.read_table(tmp_path / "out" / "faces")
    assert sorted(faces["photo"].to_pylist()) == [f"person/good{i}" for i in range(3)]
    assert f"3 of {len(told) + 3} photos are in the table faces." in ended.out


def test_align_counts_what_is_no_photo_in_a_folder(run: Run, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "ann").mkdir(parents=True)
    for number in range(2):
        (root / "ann" / f"{number}.png").write_bytes(good(number))
    pq.write_table(pa.table({"photo_a": ["ann/0.png"]}), root / "pairs.parquet")
    with open(os.fsencode(root) + b"/bad\xff.png", "wb"):
        pass
    os.mkfifo(root / "ann" / "pipe.png")
    (root / "ann" / "up").symlink_to(root)
    ended = run("align", "--photos", root, "--align.method", "none", "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert pq.read_table(tmp_path / "out" / "faces")["photo"].to_pylist() == ["ann/0.png", "ann/1.png"]
    told = by_photo(pq.read_table(tmp_path / "out" / "rejects").to_pylist(), "reason")
    assert told == {r"bad\xff.png": "bad_name", "ann/pipe.png": "not_a_file", "ann/up": "duplicate"}
    assert "2 of 5 photos are in the table faces." in ended.out


def test_impossible_rows_of_a_photos_table_are_rejects(run: Run, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(good(0))
    os.mkfifo(tmp_path / "pipe.png")
    uris = {
        "good": str(tmp_path / "good.png"),
        "nul": "/a\0b.png",
        "scheme": "gs://bucket/a.png",
        "long": "/" + "n" * 300,
        "empty": "",
        "pipe": str(tmp_path / "pipe.png"),
        "folder": str(tmp_path),
        "null": None,
    }
    reasons = dict.fromkeys(["nul", "scheme", "long", "empty"], "bad_name")
    reasons |= {"pipe": "not_a_file", "folder": "not_a_file", "null": "unknown_photo"}
    rows = pa.table({"photo": [*uris, None], "uri": [*uris.values(), uris["good"]]})
    for field in list(tables.PHOTOS)[2:]:
        rows = rows.append_column(field, pa.nulls(len(rows), field.type))
    pq.write_table(rows, tmp_path / "photos.parquet")
    pairs = pa.table({"photo_a": ["good"] * len(uris), "photo_b": list(uris)})
    pq.write_table(pairs.append_column("box", pa.array([[1]] * len(uris))), tmp_path / "pairs.parquet")
    options = ["--photos", tmp_path / "photos.parquet", "--align.method", "none"]
    ended = run("score", *options, "--pairs", tmp_path / "pairs.parquet", "--model", tiny, "--out", tmp_path / "scores")
    assert ended.code == 0, ended.err
    made = without_work(tmp_path / "scores")
    assert by_photo(made["rejects"], "reason") == reasons
    assert [row["status"] for row in made["scores"]] == [reasons.get(name, "ok") for name in uris]
    assert [row["box"] for row in made["scores"]] == [[1]] * len(uris)
    assert "scores.csv leaves out box" in ended.out and b"box" not in made["csv"]
    ended = run("align", *options, "--out", tmp_path / "faces")
    assert ended.code == 0, ended.err
    faces = pq.read_table(tmp_path / "faces" / "faces")
    assert by_photo(pq.read_table(tmp_path / "faces" / "rejects").to_pylist(), "reason") == reasons | {"": "bad_name"}
    assert faces["photo"].to_pylist() == ["good"]

    odd = [faces["image"][0].as_py(), None, b"", b"no picture"]
    schema = pa.schema([field.with_nullable(True) for field in tables.FACES])
    named = [{"photo": str(n), "image": image} for n, image in enumerate(odd)]
    nameless = [{"photo": None, "image": odd[0]}]
    pq.write_table(pa.Table.from_pylist(named + nameless, schema), tmp_path / "f.parquet")
    ended = run("embed", "--faces", tmp_path / "f.parquet", "--model", tiny, "--out", tmp_path / "embeddings")
    assert ended.code == 0, ended.err
    told = by_photo(pq.read_table(tmp_path / "embeddings" / "rejects").to_pylist(), "reason")
    assert told == {"1": "empty", "2": "empty", "3": "not_an_image", "": "bad_name"}


ESCAPES = [
    "../../../../etc/passwd",
    "/etc/passwd",
    "a/../../b.jpg",
    "file:///etc/passwd",
    "s3://bucket/key.jpg",
    "C:\\Windows\\win.ini",
    "..\\secret.jpg",
    "nul\0byte.jpg",
    "./../x.jpg",
]


def test_a_pair_list_cannot_leave_the_folder(run: Run, tiny: Path, tmp_path: Path) -> None:
    root = tmp_path / "a" / "photos"
    root.mkdir(parents=True)
    for place in (root / "in.png", tmp_path / "a" / "secret.png", tmp_path / "secret.png"):
        place.write_bytes(good(0))
    left = [
        *ESCAPES,
        "../secret.png",
        f"{root}/../secret.png",
        str(root / "in.png"),
        "x/../in.png",
        ".//in.png",
        "in.png",
    ]
    pq.write_table(pa.table({"photo_a": ["in.png"] * len(left), "photo_b": left}), tmp_path / "pairs.parquet")
    options = ["--photos", root, "--pairs", tmp_path / "pairs.parquet", "--model", tiny, "--align.method", "none"]
    ended = run("score", *options, "--out", tmp_path / "out")
    ended.refused(2, "11 of 15 pairs failed with outside_root", "'../../../../etc/passwd'", "--max-failed")
    ended = run("score", *options, "--out", tmp_path / "out", "--max-failed", 1)
    assert ended.code == 0, ended.err
    made = without_work(tmp_path / "out")
    assert [row["status"] for row in made["scores"]] == ["outside_root"] * (len(left) - 4) + ["ok"] * 4
    assert [row["similarity"] for row in made["scores"][-4:]] == [pytest.approx(1, abs=1e-6)] * 4
    assert [row["photo"] for row in made["embeddings"]] == ["in.png"]
    assert [row["photo_b"] for row in made["scores"]][: len(ESCAPES)] == ESCAPES


HOSTILE = [
    "<script>alert(1)</script>.png",
    "<img src=x onerror=alert(2)>.png",
    'o\'brien "the face".png',
    "comma, semicolon; tab\t.png",
    "new\nline\r\n.png",
    "=cmd|' -C calc'!A0.png",
    "@SUM(1+1)*.png",
    "-dash.png",
    " leading and trailing .png",
    "日本語/ñandú/naïve.png",
    "🙂.png",
    "per%2e%2e%2fcent.png",
    "{{ 7*7 }}.png",
    "$(touch pwned).png",
    "null",
    "n" * 250,
]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photos with hostile names."""
    root = tmp_path_factory.mktemp("hostile") / "photos"
    for number, name in enumerate(HOSTILE):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(good(number % 3, number // 3))
    return root


def test_hostile_names_come_out_once_and_are_escaped_in_the_report(
    run: Run, hostile: Path, tiny: Path, tmp_path: Path
) -> None:
    couples = [(a, b) for i, a in enumerate(HOSTILE) for b in HOSTILE[i + 1 :]]
    rows = [
        {"pair": f"{a} & {b}", "photo_a": a, "photo_b": b, "label": i % 2, "person_a": a, "person_b": b}
        | {"generator": None if i % 2 or i % 4 else "<b onclick=alert(3)>"}
        for i, (a, b) in enumerate(couples)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "pairs.parquet")
    options = ["--photos", hostile, "--pairs", tmp_path / "pairs.parquet", "--model", tiny, "--align.method", "none"]
    ended = run("score", *options, "--out", tmp_path / "scores")
    assert ended.code == 0, ended.err
    made = without_work(tmp_path / "scores")
    assert {row["status"] for row in made["scores"]} == {"ok"}
    _, *lines = csv.reader(io.StringIO(made["csv"].decode(), newline=""))
    assert [(line[1], line[2]) for line in lines] == couples
    assert [line[0] for line in lines] == [row["pair"] for row in rows]
    assert len(made["embeddings"]) == len(HOSTILE)

    ended = run("evaluate", "--scores", tmp_path / "scores", "--out", tmp_path / "eval", "--title", "<i>mine</i>")
    assert ended.code == 0, ended.err
    page = (tmp_path / "eval" / "report.html").read_text()
    for raw in ("<script>alert(1)", "<img src=x", "<b onclick", "<i>mine"):
        assert raw not in page
    assert "&lt;script&gt;alert(1)" in page and "&lt;b onclick" in page and "49.png" not in page


def test_a_csv_of_pairs_with_hostile_names(run: Run, hostile: Path, tiny: Path, tmp_path: Path) -> None:
    with open(tmp_path / "pairs.csv", "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("photo_a", "photo_b"), *((name, HOSTILE[0]) for name in HOSTILE)])
    options = ["--photos", hostile, "--pairs", tmp_path / "pairs.csv", "--model", tiny, "--align.method", "none"]
    ended = run("score", *options, "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    made = without_work(tmp_path / "out")
    assert [(row["photo_a"], row["status"]) for row in made["scores"]] == [(name, "ok") for name in HOSTILE]


def test_no_face_in_any_photo_is_no_success_and_can_be_accepted(run: Run, tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / f"{number}.png").write_bytes(good(number % 3))
    options = ["--photos", tmp_path / "photos", "--align.method", "annotated", "--photos-per-shard", 2]
    options += ["--out", tmp_path / "out"]
    ended = run("align", *options)
    ended.refused(2, "6 of 6 photos failed with no_landmarks", "'0.png', '1.png', '2.png'", "--align.method yunet")
    assert not (tmp_path / "out" / "manifest.json").exists()
    rejects = pq.read_table(tmp_path / "out" / "rejects")
    assert rejects["reason"].to_pylist() == ["no_landmarks"] * len(rejects) and len(rejects) >= 4
    ended = run("embed", "--faces", tmp_path / "out", "--model", "any", "--out", tmp_path / "embeddings")
    ended.refused(2, "belongs to a run that has not finished")

    ended = run("align", *options, "--max-failed", 1)
    assert ended.code == 0, ended.err
    assert "Going on where an earlier run stopped." in ended.out
    assert len(pq.read_table(tmp_path / "out" / "rejects")) == 6 and len(pq.read_table(tmp_path / "out" / "faces")) == 0


def test_a_list_of_other_names_is_scored_or_refused_before_work(run: Run, tiny: Path, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for name in ("ana/1.png", "ana/2.png", "bo/1.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(good(len(name) % 3))
    rows = {"other.csv": "ana/1.jpg,ana/2.jpg\nana/1.jpg,bo/1.jpg", "wrong.csv": "cy/1.jpg,cy/2.jpg\ncy/1.jpg,bo/1.jpg"}
    for name, text in rows.items():
        (tmp_path / name).write_text(f"photo_a,photo_b\n{text}\n")
    options = ["--photos", root, "--model", tiny, "--align.method", "none", "--out", tmp_path / "out"]
    ended = run("score", *options, "--pairs", tmp_path / "wrong.csv")
    ended.refused(2, "2 of 3 photos failed with missing ('cy/1.jpg' (there is 'bo/1.png')")
    assert "Ray: " not in ended.out, "nothing was started"
    ended = run("score", *options, "--pairs", tmp_path / "other.csv")
    assert ended.code == 0, ended.err
    assert "3 names found under another extension: 'ana/1.jpg' -> 'ana/1.png'\n" in ended.out
    made = without_work(tmp_path / "out")
    assert [row["status"] for row in made["scores"]] == ["ok", "ok"]
    assert [row["photo_a"] for row in made["scores"]] == ["ana/1.jpg"] * 2
