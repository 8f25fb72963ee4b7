"""What a job says and how it ends: help, dry run, mistakes in one sentence, a second run, another run's folder."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from e2e.harness import Driver, People, Run, parts, without_work

JOBS = ["ingest", "align", "embed", "export", "score", "verify", "evaluate", "tune", "models", "demo", "pipeline"]


@pytest.fixture(scope="module")
def job(people: People, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[str]]:
    """A run over three photos and two pairs."""
    home = tmp_path_factory.mktemp("small")
    names = pq.read_table(people.photos)["photo"].to_pylist()
    pq.write_table(pa.table({"photo_a": names[:2], "photo_b": names[1:3]}), home / "pairs.parquet")
    small = People(people.root, people.photos, home / "pairs.parquet")
    return lambda out, *options: [*small.args(tiny, out), *map(str, options)]


@pytest.mark.parametrize("job_name", JOBS)
def test_help_answers_without_loading_what_is_heavy(job_name: str) -> None:
    program = (
        f"import sys, runpy; sys.argv = ['x', '--help']\n"
        f"try: runpy.run_module('ray_jobs.{job_name}', run_name='__main__')\n"
        "except SystemExit as stop: assert not stop.code\n"
        "print('LOADED', sorted({'torch', 'ray', 'onnxruntime', 'matplotlib'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert "usage" in ended.stdout.lower()
    assert "LOADED []" in ended.stdout


def test_one_program_starts_every_job(tmp_path: Path) -> None:
    start = [sys.executable, "-m", "ray_jobs"]
    listing = subprocess.run(start, capture_output=True, text=True, timeout=300)
    assert listing.returncode == 0 and all(f"  {name}" in listing.stdout for name in JOBS)
    assert subprocess.run([*start, "scor"], capture_output=True, timeout=300).returncode == 2
    ended = subprocess.run([*start, "evaluate", "--out", str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 2 and ended.stderr.startswith("evaluate: Required and not given: --scores")


def test_a_dry_run_checks_and_writes_nothing(run: Run, job: Callable[..., list[str]], tmp_path: Path) -> None:
    ended = run("score", *job(tmp_path / "new" / "out", "--dry-run"))
    assert ended.code == 0 and "Model: tiny" in ended.out and "Dry run" in ended.out
    assert list(tmp_path.iterdir()) == []
    ended = run("score", *job(tmp_path / "new" / "out", "--dry-run", "--csv.columns", "similarty"))
    ended.refused(2, "csv.columns", "similarty")
    assert list(tmp_path.iterdir()) == []


def with_files(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("photo_a,photo_b\n")
    (tmp_path / "nothing.csv").write_text("")
    (tmp_path / "columns.csv").write_text("left,right\na,b\n")
    (tmp_path / "label.csv").write_text("photo_a,photo_b,label\na,b,yes\n")
    (tmp_path / "text.onnx").write_text("no network")
    (tmp_path / "text.parquet").write_text("no table")
    (tmp_path / "text.json").write_text("no calibration")
    pq.write_table(pa.table({"photo": ["a"]}), tmp_path / "narrow.parquet")
    (tmp_path / "typo.yaml").write_text("photoss: x\nalign:\n  metod: none\nworkers: many\n")
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "broken.yaml").write_text("a: [")


MISTAKES = [
    (["--photos", "{}/gone"], ["photos", "{}/gone", "no file or folder"]),
    (["--photos", "{}/empty.csv"], ["photos", "empty.csv' is a file"]),
    (["--photos", "{}/narrow.parquet"], ["photos", "column 'uri' is missing"]),
    (["--photos", "{}/text.parquet"], ["text.parquet", "not a Parquet file"]),
    (["--photos", "gs://bucket/photos"], ["gs://", "s3://"]),
    (["--photos", ""], ["--photos"]),
    (["--pairs", "{}/gone.csv"], ["pairs", "gone.csv", "no file or folder"]),
    (["--pairs", ""], ["Required and not given", "--pairs"]),
    (["--pairs", "{}/empty.csv"], ["pairs", "the list is empty"]),
    (["--pairs", "{}/nothing.csv"], ["nothing.csv", "is empty"]),
    (["--pairs", "{}/columns.csv"], ["columns.csv", "left, right", "photo_a"]),
    (["--pairs", "{}/label.csv"], ["label.csv", "row 0", "'yes'"]),
    (["--model", "{}/gone.onnx"], ["gone.onnx"]),
    (["--model", "{}/text.onnx"], ["text.onnx"]),
    (["--model", "adafaceir101"], ["adafaceir101"]),
    (["--model", ""], ["_cache: run `faceverify models fetch sface`"]),
    (["--align.method", "yunet"], ["_cache: run `faceverify models fetch yunet`"]),
    (["--align.method", "scrfd", "--model", "w600k_r50"], ["run `faceverify models fetch scrfd_2.5g w600k_r50`"]),
    (["--align.method", "yunet", "--align.weights", "{}/gone.onnx"], ["gone.onnx"]),
    (["--align.method", "yunet", "--align.weights", "{}/text.onnx"], ["text.onnx"]),
    (["--embeddings", "{}/gone"], ["embeddings", "no file or folder"]),
    (["--embeddings", "{}/narrow.parquet"], ["embeddings", "'embedding' is missing"]),
    (["--calibration", "{}/gone.json"], ["gone.json", "calibration"]),
    (["--calibration", "{}/text.json"], ["text.json", "not JSON"]),
    (["--csv.columns", "pair", "similarty"], ["csv.columns", "'similarty'"]),
    (["--out", "{}/text.json/sub"], ["out", "is a file"]),
    (["--out", ""], ["Required and not given", "--out"]),
]


@pytest.mark.parametrize("options, words", MISTAKES, ids=[" ".join(o[-2:]).replace("{}/", "") for o, _ in MISTAKES])
def test_a_mistake_is_told_in_one_sentence_before_any_work(
    options: list[str],
    words: list[str],
    run: Run,
    job: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FACEVERIFY_CACHE", f"{tmp_path}_cache")
    with_files(tmp_path)
    before = sorted(tmp_path.iterdir())
    filled = [option.replace("{}", str(tmp_path)) for option in options]
    ended = run("score", *job(tmp_path / "out"), *filled)
    ended.refused(2, *(word.replace("{}", str(tmp_path)) for word in words))
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "file, words",
    [
        (
            "typo.yaml",
            ["'photoss' (did you mean 'photos'?)", "'align.metod' (did you mean 'align.method'?)", "workers"],
        ),
        ("list.yaml", ["list.yaml", "name: value"]),
        ("broken.yaml", ["broken.yaml", "not YAML"]),
        ("gone.yaml", ["no configuration file", "gone.yaml"]),
    ],
)
def test_faults_of_a_configuration_file_are_told_all_at_once(
    file: str, words: list[str], run: Run, tmp_path: Path
) -> None:
    with_files(tmp_path)
    run("score", tmp_path / file, "--out", tmp_path / "out").refused(2, *words)


def test_an_unknown_option_is_refused(run: Run) -> None:
    ended = run("score", "--photoss", "x")
    assert ended.code == 2 and "--photoss" in ended.err + ended.out and "Traceback" not in ended.err


def test_the_command_line_wins_over_the_file(run: Run, job: Callable[..., list[str]], tmp_path: Path) -> None:
    (tmp_path / "score.yaml").write_text("align: {method: none}\nphotos_per_shard: 77\nout: /nowhere\n")
    assert run("score", tmp_path / "score.yaml", *job(tmp_path / "out")).code == 0
    config = json.loads((tmp_path / "out" / "manifest.json").read_text())["config"]
    assert (config["align"]["method"], config["photos_per_shard"]) == ("annotated", 77)


def test_a_finished_run_is_not_done_again(run: Run, job: Callable[..., list[str]], tmp_path: Path) -> None:
    first = run("score", *job(tmp_path / "out"))
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    second = run("score", *job(tmp_path / "out", "--workers", 2))
    assert second.code == 0 and second.err == ""
    assert second.out.splitlines()[-3:] == first.out.splitlines()[-3:]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == files


def test_the_folder_of_another_run_is_refused_unless_overwritten(
    run: Run, job: Callable[..., list[str]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run("score", *job(out)).code == 0
    before = without_work(out)
    (out / "mine.txt").write_text("precious")
    other = [*job(out), "--align.method", "none"]
    for dry in ((), ("--dry-run",)):
        run("score", *other, *dry).refused(2, "finished", "config.align.method", "--overwrite")
    dry = run("score", *job(out), "--dry-run")
    assert dry.code == 0 and dry.out.endswith(f"nothing was started; {out} holds the finished result.\n")
    dry = run("score", *other, "--dry-run", "--overwrite")
    assert dry.code == 0 and dry.out.endswith("would be deleted (--overwrite).\n")
    assert without_work(out) == before
    assert run("score", *other, "--overwrite").code == 0
    assert without_work(out) != before
    assert sorted(path.name for path in out.iterdir()) == [
        "embeddings", "manifest.json", "mine.txt", "rejects", "scores", "scores.csv",
    ]  # fmt: skip


def test_a_mistake_found_while_planning_does_not_block_the_corrected_command(
    run: Run, job: Callable[..., list[str]], tmp_path: Path
) -> None:
    lines = "".join(f"a{i},b{i},1\n" for i in range(200_000))  # the fault lies beyond what is looked at beforehand
    (tmp_path / "pairs.csv").write_text(f"photo_a,photo_b,label\n{lines}a,b,yes\n")
    wrong = [*job(tmp_path / "out"), "--pairs", tmp_path / "pairs.csv"]
    run("score", *wrong).refused(2, "row 200000", "'yes'")
    assert run("score", *job(tmp_path / "out")).code == 0


def test_a_running_job_keeps_its_folder(
    run: Run, drive: Callable[..., Driver], people: People, tiny: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = [*people.args(tiny, out), "--photos-per-shard", "2"]
    driver = drive("score", *options)
    assert driver.wait_until(lambda: len(parts(out / ".work", "embeddings")) > 0)
    run("score", *options).refused(2, "Another process is at work")
    run("score", *options, "--overwrite").refused(2, "Another process is at work")
    ended = driver.end()
    assert ended.code == 0, ended.err
    assert len(without_work(out)["scores"]) == 240


def test_a_calibration_decides_and_only_for_its_model(
    run: Run, people: People, tiny: Path, other_model: Path, tmp_path: Path
) -> None:
    out, measured = tmp_path / "out", tmp_path / "evaluation"
    assert run("score", *people.args(tiny, out)).code == 0
    ended = run("evaluate", "--scores", out, "--out", measured)
    assert ended.code == 0 and "EER" in ended.out, ended.err
    calibration = ["--calibration", measured / "calibration.json"]
    threshold = json.loads((measured / "calibration.json").read_text())["threshold"]

    decided = tmp_path / "decided"
    ended = run("score", *people.args(tiny, decided), "--embeddings", out, *calibration)
    assert ended.code == 0 and f"Threshold {threshold:.4f}" in ended.out
    for row in without_work(decided)["scores"]:
        assert row["accepted"] == (row["similarity"] >= threshold)
    assert {row["accepted"] for row in without_work(decided)["scores"]} == {True, False}

    refused = run("score", *people.args(other_model, tmp_path / "other"), *calibration)
    refused.refused(2, "calibration", "another model")
    assert not (tmp_path / "other").exists()


def test_evaluate_refuses_what_it_cannot_measure(run: Run, job: Callable[..., list[str]], tmp_path: Path) -> None:
    assert run("score", *job(tmp_path / "out")).code == 0
    unlabelled = pq.read_table(tmp_path / "out" / "scores")
    blank = pa.nulls(unlabelled.num_rows, pa.int8())
    pq.write_table(unlabelled.set_column(3, "label", blank), tmp_path / "scores.parquet")
    ended = run("evaluate", "--scores", tmp_path / "scores.parquet", "--out", tmp_path / "eval")
    ended.refused(2, "label")
    assert run("evaluate", "--scores", tmp_path / "gone", "--out", tmp_path / "eval").code == 2
