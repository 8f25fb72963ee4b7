"""Jobs sent to a running cluster by `ray job submit --working-dir .`: exit code, error, logs, stop and resume."""

import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from e2e.harness import People, parts, repeated
from e2e.job_server import ROOT, JobServer

from faceverify.run_folder import MANIFEST


@pytest.fixture(scope="module")
def server() -> Iterator[JobServer]:
    with JobServer() as running:
        yield running


def working_dir(server: JobServer) -> dict[str, int]:
    """The files of the working directory that the jobs were given, and their bytes."""
    [copy] = server.folder.glob("ray/session_2*/runtime_resources/working_dir_files/_ray_pkg_*/")
    return {str(path.relative_to(copy)): path.stat().st_size for path in copy.rglob("*") if path.is_file()}


def test_a_failure_says_why_from_a_small_working_directory(server: JobServer, tmp_path: Path) -> None:
    ended = server.submit("ingest", "--source", tmp_path / "gone", "--out", tmp_path / "photos", name="fails")
    assert ended.code == 1
    details = server.details("fails")
    assert (details["status"], details["driver_exit_code"], details["metadata"]) == ("FAILED", 2, {"job": "ingest"})
    said = [line for line in server.logs("fails").splitlines() if "job_manager" not in line]
    assert said[1:] == [f"ingest: source: there is no file or folder '{tmp_path / 'gone'}'; check the path."]

    files = working_dir(server)
    assert sum(files.values()) < 3e6, sorted(files.items(), key=lambda item: -item[1])[:5]
    assert "ray_jobs/ingest.py" in files and "configs/align.yaml" in files
    assert not [name for name in files if name.startswith(("tests", "docs", "benchmarks", "runs", ".git"))]


@pytest.mark.thorough
def test_stopped_and_gone_on(server: JobServer, people: People, tmp_path: Path) -> None:
    photos = repeated(pq.read_table(people.photos), 3)
    pq.write_table(photos, tmp_path / "photos.parquet")
    out = tmp_path / "faces"
    options = ["configs/align.yaml", "--photos", tmp_path / "photos.parquet", "--align.method", "annotated"]
    options += ["--photos-per-shard", 2, "--out", out]
    server.submit("align", *options, name="stopped", wait=False)
    deadline = time.monotonic() + 60
    while len(parts(out / ".work", "faces")) < 10:
        assert time.monotonic() < deadline, server.logs("stopped")
        time.sleep(0.02)
    server.stop("stopped")
    assert server.details("stopped")["status"] == "STOPPED"
    assert "align: stopped by SIGTERM; the same command goes on from here." in server.logs("stopped")
    kept = parts(out / ".work", "faces")
    assert 10 <= len(kept) < 180 and not (out / MANIFEST).exists()

    ended = server.submit("align", *options, name="goes-on")
    assert ended.code == 0, ended.said
    assert server.details("goes-on")["driver_exit_code"] == 0
    assert "Going on where an earlier run stopped." in ended.said
    assert pq.read_table(out / "faces")["photo"].to_pylist() == photos["photo"].to_pylist()
    written = [path for path in server.folder.glob("ray/session_2*/logs/job-driver-*")]
    assert written and not any(server.token in path.read_text() for path in written)


SMALL = ("--batches.max-steps", 10, "--batches.epochs", 100, "--batches.size", 16, "--validation.every", 5)
SMALL += ("--validation.replicates", 0, "--network.architecture", "tiny", "--network.dim", 64, "--network.bn", "batch")


def commands(at: Path) -> list[tuple[str, tuple[object, ...]]]:
    """Every job and its options, each with what those before it made."""
    photos, faces, clean, fakes, pairs = (at / name for name in ("photos", "faces", "clean", "fakes", "pairs"))
    trained, model = at / "train", at / "onnx" / "model.onnx"
    drawn = ("--layout", "rendered", "--source", at / "people", "--rendered.persons", 20, "--rendered.val-share", 0.2)
    given = ("--faces", faces, "--pairs", pairs)
    return [
        ("ingest", (*drawn, "--out", photos)),
        ("align", ("--photos", photos, "--align.method", "annotated", "--out", faces)),
        ("pairs", ("--photos", photos, "--faces", faces, "--validation-share", 0.3, "--out", pairs)),
        ("train", (*given, *SMALL, "--out", trained)),
        ("export", ("--checkpoint", trained, "--out", at / "onnx")),
        ("embed", ("--faces", faces, "--model", model, "--out", at / "embeddings")),
        ("clean", ("--photos", photos, "--embeddings", at / "embeddings", "--out", clean)),
        ("review", (clean, "--html", at / "review.html")),
        ("fakes", ("--photos", clean, "--faces", faces, "--out", fakes)),
        ("score", ("--photos", photos, "--pairs", pairs / "pairs", "--model", model, "--align.method", "annotated",
                   "--out", at / "score")),
        ("all_pairs", ("--photos", at / "embeddings", "--at-least", 0.9, "--out", at / "alike")),
        ("evaluate", ("--scores", at / "score", "--out", at / "report")),
        ("tune", ("configs/tune.yaml", *given, *SMALL, "--search.trials", 2, "--out", at / "tune")),
        ("models", ("list",)),
        ("pipeline", ("--ingest.source", at / "people", "--ingest.layout", "rendered", "--ingest.rendered.persons", 20,
                      "--ingest.rendered.val-share", 0.2, "--align.align.method", "annotated", "--finetune.start",
                      trained, "--finetune.batches.max-steps", 10, "--out", at / "pipeline")),
        ("demo", ("configs/demo/demo.yaml", "--out", at / "demo")),
    ]  # fmt: skip


@pytest.mark.thorough
@pytest.mark.timeout(3600)  # nine minutes on two idle cores
def test_every_job_is_submitted(server: JobServer, tmp_path: Path) -> None:
    for job, options in commands(tmp_path):
        server.submit(job, *options, name=f"every-{job}")
        assert server.details(f"every-{job}")["driver_exit_code"] == 0, server.logs(f"every-{job}")[-2000:]


def test_a_working_directory_needs_no_secret_and_no_data() -> None:
    ignored = (ROOT / ".rayignore").read_text().splitlines()
    assert {"*.onnx", "*.pt", "*.parquet", "/tests/"} <= set(ignored)
