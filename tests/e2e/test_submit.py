"""Jobs sent to a running cluster by `ray job submit --working-dir .`: exit code, error, logs, stop and resume."""

import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from e2e.harness import People, parts, repeated

from benchmarks.job_server import ROOT, JobServer
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


def test_a_working_directory_needs_no_secret_and_no_data() -> None:
    ignored = (ROOT / ".rayignore").read_text().splitlines()
    assert {"*.onnx", "*.pt", "*.parquet", "/tests/"} <= set(ignored)
