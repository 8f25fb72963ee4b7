"""Comparing networks: one pass for all, the figures of score and evaluate, a second run, mistakes."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from e2e.harness import ONE_WORKER, People, Run


def test_two_networks_on_a_set(run: Run, people: People, tiny: Path, other_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    sets = ["--sets", f"drawn={people.root},{people.pairs}"]
    given = [
        "--models",
        tiny,
        other_model,
        *sets,
        "--align.method",
        "none",
        "--replicates",
        20,
        "--out",
        out,
        *ONE_WORKER,
    ]
    ended = run("compare", *given)
    assert ended.code == 0, ended.err
    again = run("compare", *given)
    assert again.code == 0 and again.out.splitlines()[-1] == ended.out.splitlines()[-1]

    slugs = list(json.loads((out / "manifest.json").read_text())["models"])
    table = pq.read_table(out / "results").to_pylist()
    for slug, model in zip(slugs, (tiny, other_model), strict=True):
        scores, alone = out / "sets" / "drawn" / slug / "scores", tmp_path / f"alone_{slug}"
        facts = json.loads((scores / "manifest.json").read_text())
        assert facts["reused"] == facts["rows_in"]["photos"] and not facts["not_reused"], "embedded once, for all"
        args = ["--photos", people.root, "--pairs", people.pairs, "--model", model, "--align.method", "none"]
        assert run("score", *args, "--out", alone).code == 0
        assert pq.read_table(scores / "scores").equals(pq.read_table(alone / "scores"))
        metrics = json.loads((out / "sets" / "drawn" / slug / "evaluation" / "metrics.json").read_text())
        [eer] = [row["value"] for row in table if row["network"] == slug and row["figure"] == "EER"]
        assert eer == metrics["eer_real"]
    photo = next(people.root.rglob("*.jpg"))
    kept = photo.read_bytes()
    photo.write_bytes(kept + b"more")
    try:
        run("compare", *given).refused(2, "sets: the photos of drawn are not what they were", "1 photo changed")
    finally:
        photo.write_bytes(kept)
    assert (out / "results.csv").read_text().startswith("network,set,figure,of,value,low,high,pairs")
    assert all(slug in (out / "report.html").read_text() for slug in slugs)


def test_mistakes(run: Run, people: People, tiny: Path, tmp_path: Path) -> None:
    given = ["--align.method", "none", "--out", tmp_path / "out"]
    mine = f"mine={people.root},{people.pairs}"
    run("compare", "--models", tiny, "--sets", "mine", *given).refused(2, "sets", "NAME=PHOTOS,PAIRS")
    run("compare", "--models", tiny, "--sets", mine, mine, *given).refused(2, "two are named 'mine'")
    run("compare", "--models", tiny, tiny, "--sets", mine, *given).refused(2, "models", "twice")
    run("compare", "--models", tiny, "--sets", f"x={people.root},{tmp_path / 'gone.csv'}", *given).refused(2, "sets: x")
    assert not (tmp_path / "out").exists()


def test_people_found_in_a_gallery(run: Run, people: People, tiny: Path, other_model: Path, tmp_path: Path) -> None:
    """A protocol beside a list of pairs: rank 1 is what a plain search of all embeddings gives."""
    rows = pq.read_table(people.photos)
    real = rows.filter(pc.invert(rows["is_fake"]))
    first = pa.array([not i or real["person"][i - 1] != real["person"][i] for i in range(len(real))])
    pq.write_table(real.filter(first), tmp_path / "probes.parquet")
    pq.write_table(real.filter(pc.invert(first)), tmp_path / "gallery.parquet")
    own = f"own=gallery:{tmp_path / 'probes.parquet'},{tmp_path / 'gallery.parquet'}"
    sets = ["--sets", f"drawn={people.root},{people.pairs}", own]
    out = tmp_path / "out"
    given = ["--models", tiny, other_model, *sets, "--align.method", "none", "--replicates", 10, "--out", out]
    ended = run("compare", *given)
    assert ended.code == 0, ended.err
    again = run("compare", *given)
    assert again.code == 0 and again.out.splitlines()[-1] == ended.out.splitlines()[-1]
    facts, table = json.loads((out / "manifest.json").read_text()), pq.read_table(out / "results").to_pylist()
    assert facts["rows_in"]["own"] == len(real)
    person_of = dict(zip(real["photo"].to_pylist(), real["person"].to_pylist(), strict=True))
    for slug in facts["models"]:
        made = out / "sets" / "own" / "embeddings"
        plain, mirrored = (pq.read_table(made / f"{slug}{view}").sort_by("photo") for view in ("", ".mirrored"))
        names = plain["photo"].to_pylist()
        assert names == mirrored["photo"].to_pylist() and len(names) == len(real)
        person = np.array([person_of[name.partition("/")[2]] for name in names])
        vectors = np.stack(plain["embedding"].to_pylist()) + np.stack(mirrored["embedding"].to_pylist())
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        probe = np.array([name.startswith("probes/") for name in names])
        best = (vectors[probe] @ vectors[~probe].T).argmax(axis=1)
        [rank] = [row for row in table if (row["network"], row["set"], row["of"]) == (slug, "own", "1")]
        assert rank["figure"] == "rank" and rank["pairs"] == probe.sum()
        assert rank["value"] == pytest.approx((person[~probe][best] == person[probe]).mean())
    page = (out / "report.html").read_text()
    assert "By their own protocols" in page and "rank 1" in page
