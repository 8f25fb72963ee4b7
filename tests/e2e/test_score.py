"""Scoring from end to end: the same numbers however the work is cut, re-used or spread."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from e2e.harness import People, Run, score_plainly, without_work

from faceverify import tables


@pytest.fixture(scope="module")
def job(people: People, tiny: Path) -> Callable[..., list[str]]:
    return lambda out, *options: [*people.args(tiny, out), *map(str, options)]


@pytest.fixture(scope="module")
def plain(
    cluster: object, job: Callable[..., list[str]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """A run with nothing special, which the others must equal: its folder, and what came out."""
    out = tmp_path_factory.mktemp("plain") / "out"
    return out, score_plainly(out, job(out))


def test_every_pair_in_order_with_the_cosine_of_its_embeddings(
    plain: tuple[Path, dict[str, Any]], people: People
) -> None:
    out, made = plain
    pairs = pq.read_table(people.pairs).to_pylist()
    assert [{name: row[name] for name in tables.PAIRS.names} for row in made["scores"]] == pairs
    vectors = {row["photo"]: np.array(row["embedding"], np.float64) for row in made["embeddings"]}
    for row in made["scores"]:
        a, b = vectors[row["photo_a"]], vectors[row["photo_b"]]
        assert row["similarity"] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-6)
    assert np.std([row["similarity"] for row in made["scores"]]) > 0.01
    for row in made["embeddings"]:
        assert row["norm"] == pytest.approx(np.linalg.norm(row["embedding"]), rel=1e-6)
    tables.validate(pq.read_table(out / "scores").schema, tables.SCORES, "scores")
    facts = json.loads((out / "manifest.json").read_text())
    assert facts["rows_in"]["pairs"] == facts["rows_out"]["scores"] == len(pairs)
    assert facts["rows_out"]["embeddings"] == len(vectors) == facts["rows_in"]["photos"]
    assert facts["model"]["name"] == "tiny" and facts["statuses"] == {"ok": len(pairs)}


@pytest.mark.parametrize(
    "cut",
    [
        ("--photos-per-shard", 7, "--pairs-per-shard", 23, "--workers", 2),
        ("--photos-per-shard", 1000, "--pairs-per-shard", 64, "--workers", 2),
        ("--photos-per-shard", 40, "--shared-embeddings-gb", 1e-5),
    ],
    ids=["small shards", "large ones", "spread"],
)
def test_the_cut_of_the_work_does_not_show(
    cut: tuple, run: Run, job: Callable[..., list[str]], plain: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    assert run("score", *job(tmp_path / "out", *cut)).code == 0
    made = without_work(tmp_path / "out")
    assert made == plain[1]


def test_given_embeddings_are_used_and_only_the_missing_ones_made(
    run: Run, job: Callable[..., list[str]], plain: tuple[Path, dict[str, Any]], people: People, tmp_path: Path
) -> None:
    known = pq.read_table(plain[0] / "embeddings")
    half = known.slice(0, 60)
    turned = pa.FixedSizeListArray.from_arrays(pa.array(-half["embedding"].combine_chunks().flatten().to_numpy()), 64)
    (tmp_path / "half").mkdir()
    pq.write_table(half.set_column(1, known.schema.field("embedding"), turned), tmp_path / "half" / "e.parquet")
    ended = run("score", *job(tmp_path / "out", "--embeddings", tmp_path / "half"))
    assert ended.code == 0, ended.err
    made = without_work(tmp_path / "out")
    # The given ones, recognisable by their sign, are taken as they are; the others are made.
    names = set(half["photo"].to_pylist())
    for row, want in zip(made["embeddings"], plain[1]["embeddings"], strict=True):
        sign = -1 if row["photo"] in names else 1
        assert row["photo"] == want["photo"] and np.array_equal(row["embedding"], sign * np.array(want["embedding"]))
    assert f"photos: {known.num_rows - 60}/{known.num_rows - 60}" in ended.err


def test_all_embeddings_given(
    run: Run, job: Callable[..., list[str]], plain: tuple[Path, dict[str, Any]], people: People, tmp_path: Path
) -> None:
    for name, options in (
        ("with photos", job(tmp_path / "with photos", "--embeddings", plain[0])),
        ("without", ["--pairs", people.pairs, "--embeddings", plain[0], "--out", tmp_path / "without"]),
    ):
        assert run("score", *options).code == 0
        made = without_work(tmp_path / name)
        if name == "without":  # labels of the photos come from the photos table, which was not given
            assert [row["similarity"] for row in made["scores"]] == [r["similarity"] for r in plain[1]["scores"]]
            assert made["embeddings"] == plain[1]["embeddings"]
        else:
            assert made == plain[1]


def test_photos_without_embedding_are_unknown_if_no_photos_are_given(
    run: Run, plain: tuple[Path, dict[str, Any]], people: People, tmp_path: Path
) -> None:
    for count in (1, 40):
        (tmp_path / str(count)).mkdir()
        some = pq.read_table(plain[0] / "embeddings").slice(0, count)
        pq.write_table(some, tmp_path / str(count) / "e.parquet")
        out = tmp_path / f"out{count}"
        ended = run("score", "--pairs", people.pairs, "--embeddings", tmp_path / str(count), "--out", out)
        ended.refused(2, "failed with unknown_photo", "--max-failed 0.5")
        assert list(out.iterdir()) == []
        accepted = ["--embeddings", tmp_path / str(count), "--out", out, "--max-failed", 1]
        ended = run("score", "--pairs", people.pairs, *accepted)
        assert ended.code == 0, ended.err
        names = set(some["photo"].to_pylist())
        for row in without_work(out)["scores"]:
            known = row["photo_a"] in names and row["photo_b"] in names
            assert row["status"] == ("ok" if known else "unknown_photo")
            assert (row["similarity"] is None) == (not known)


def test_labels_come_from_the_photos_if_the_list_has_none(
    run: Run, job: Callable[..., list[str]], plain: tuple[Path, dict[str, Any]], people: People, tmp_path: Path
) -> None:
    bare = pq.read_table(people.pairs).select(["photo_a", "photo_b"])
    pq.write_table(bare, tmp_path / "bare.parquet")
    options = job(tmp_path / "out", "--pairs", tmp_path / "bare.parquet", "--embeddings", plain[0])
    assert run("score", *options).code == 0
    for row, want in zip(without_work(tmp_path / "out")["scores"], plain[1]["scores"], strict=True):
        assert {**row, "pair": "", "split": ""} == {**want, "pair": "", "split": ""}


def test_a_csv_of_pairs_with_further_columns(
    run: Run, job: Callable[..., list[str]], plain: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    rows = plain[1]["scores"][:5]
    lines = ["pair_id,fold,pathA,pathB", *(f"q{i},{i % 2},{r['photo_a']},{r['photo_b']}" for i, r in enumerate(rows))]
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n")
    options = ["--pairs", tmp_path / "pairs.csv", "--embeddings", plain[0], "--csv.preset", "challenge"]
    assert run("score", *job(tmp_path / "out", *options)).code == 0
    made = without_work(tmp_path / "out")
    assert [(row["pair"], row["fold"]) for row in made["scores"]] == [(f"q{i}", str(i % 2)) for i in range(5)]
    header, *lines = made["csv"].decode().splitlines()
    assert header == '"pair_id","similarity"'
    assert [float(line.partition(",")[2]) for line in lines] == pytest.approx([row["similarity"] for row in rows])
