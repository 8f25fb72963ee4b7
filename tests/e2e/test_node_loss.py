"""Three Ray nodes, one of them killed in the middle of a job: the same rows (benchmarks/node_loss.py has more jobs)."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.job_server import ROOT


@pytest.mark.thorough
@pytest.mark.parametrize("job", ["align", "clean", "pairs"])
def test_a_job_survives_a_lost_node(tmp_path: Path, job: str) -> None:
    command = [sys.executable, "-m", "benchmarks.node_loss", "--only", job, "--results", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    [results] = tmp_path.glob("*node_loss.md")
    [row] = [line for line in results.read_text().splitlines() if line.startswith(f"| {job} ")]
    assert row.endswith("| yes |")
