"""The demo, small: every step leaves its table, the report is the last word, and a second run does nothing again."""

import json
from pathlib import Path

import pandas as pd
from e2e.harness import Run

CONFIG = Path(__file__).parent.parent.parent / "configs" / "demo" / "demo.yaml"
SMALL = {
    "--workers": 1,  # most of a small step is the start of its workers
    "--pretraining.ingest.rendered.persons": 10,
    "--pretraining.ingest.rendered.photos-per-person": 4,
    "--pretraining.ingest.rendered.photo-size": 96,
    "--pretraining.ingest.rendered.train-share": 0.7,
    "--pretraining.ingest.rendered.val-share": 0.3,
    "--pretraining.train.batches.max-steps": 6,
    "--pretraining.train.batches.size": 8,
    "--ingest.rendered.persons": 18,
    "--ingest.rendered.photos-per-person": 4,
    "--ingest.rendered.fakes-per-person": 2,
    "--ingest.rendered.photo-size": 96,
    "--ingest.rendered.train-share": 0.3,
    "--ingest.rendered.val-share": 0.3,
    "--finetune.batches.size": 8,
    "--finetune.batches.max-steps": 3,
    "--evaluate.replicates": 20,
}


def test_from_nothing_to_a_report(run: Run, tmp_path: Path) -> None:
    options = [CONFIG, *(part for item in (SMALL | {"--out": tmp_path}).items() for part in item)]
    ended = run("demo", *options)
    assert ended.code == 0, ended.err
    report = tmp_path / "evaluation" / "report.html"
    assert ended.out.splitlines()[-1] == f"Report: {report}"
    page = report.read_text()
    assert "drawn by" in page and "tiny" in page and page.count("data:image/") > 20
    scores, before = (pd.read_parquet(tmp_path / name / "scores") for name in ("scores", "scores_before"))
    assert scores["pair"].equals(before["pair"]) and not scores["similarity"].equals(before["similarity"])
    kinds = scores["kind"].value_counts()
    assert kinds["genuine"] > kinds["impostor"] > 5 and kinds["deepfake"] > 5
    assert scores["status"].eq("ok").all() and set(scores["split"]) == {"test"}
    metrics = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert set(metrics["by_generator"]) >= {"landmark_swap", "synthesis"}
    for title in ("What this is", "Before and after", "Wrong labels", "Deepfakes made", "Pairs", "Steps"):
        assert f">{title}</h2>" in page
    assert {"Fixed", "Not fixed", "Lost"} <= {line.split(":")[0] for line in page.replace("<h3>", "\n").splitlines()}
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert run("demo", *options).code == 0
    assert made == {path: path.stat().st_mtime_ns for path in made}
    run("demo", *options, "--pairs.seed", "5").refused(2, "pairs was made with", "(seed)", "--redo pairs")
