"""The demo, small: every step leaves its table, the report is the last word, and a second run does nothing again."""

import json
from pathlib import Path

import pandas as pd
from e2e.harness import Run

SMALL = {
    "--rendered.persons": 14,
    "--rendered.photos-per-person": 4,
    "--rendered.fakes-per-person": 2,
    "--rendered.photo-size": 96,
    "--rendered.train-share": 0.5,
    "--rendered.label-errors": 0.1,
    "--training.epochs": 8,
    "--training.batch": 14,
}


def test_from_nothing_to_a_report(run: Run, tmp_path: Path) -> None:
    options = [part for item in (SMALL | {"--out": tmp_path}).items() for part in item]
    ended = run("demo", *options)
    assert ended.code == 0, ended.err
    report = tmp_path / "evaluation" / "report.html"
    assert ended.out.splitlines()[-1] == f"Report: {report}"
    page = report.read_text()
    assert "drawn by" in page and "tiny" in page and page.count("data:image/") > 20
    scores = pd.read_parquet(tmp_path / "scores" / "scores")
    kinds = scores["kind"].value_counts()
    assert kinds["genuine"] // 2 == kinds["impostor"] == kinds["deepfake"] > 5
    assert scores["status"].eq("ok").all() and set(scores["split"]) == {"test"}
    metrics = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert set(metrics["by_generator"]) >= {"landmark_swap", "self_blend"}
    for title in ("Wrong labels", "Deepfakes made", "Pairs"):
        assert f">{title}</h2>" in page
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "test_pairs.parquet"]
    made = {path: path.stat().st_mtime_ns for path in files}
    assert run("demo", *options).code == 0
    assert made == {path: path.stat().st_mtime_ns for path in made}
