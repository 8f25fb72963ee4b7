"""Three Ray nodes, one of them killed in the middle of a job: the same rows, pictures and losses."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from e2e import node_loss

ROOT = Path(node_loss.__file__).parents[2]


@pytest.mark.thorough
@pytest.mark.parametrize("job", ["align", "score", "clean", "pairs", "fakes", "train"])
def test_a_job_survives_a_lost_node(job: str) -> None:
    needed = {"fakes": ["align"], "train": ["align"]}.get(job, [])
    command = [sys.executable, node_loss.__file__, *needed, job]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=850)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    [reached] = re.findall(rf"^{job}: the same, lost after (\d+)$", ended.stdout, re.MULTILINE)
    assert int(reached) > 0
