"""What a job tells Prometheus arrives at Ray's own exporter, and the progress line says how long GPUs wait."""

import time

import pytest
import requests

from ray_jobs.engine.progress import GPU_WAIT, GPU_WORK, Progress


def test_measures_are_exported(cluster: object, capsys: pytest.CaptureFixture[str]) -> None:
    import ray

    progress = Progress("pictures", 100, done=40)
    progress.add(50, 5)
    progress.gpu_seconds({GPU_WAIT: 1.0, GPU_WORK: 3.0, "decode": 9.0})
    progress.finish()
    assert "pictures: 90/100" in (said := capsys.readouterr().err) and "5 rejected, GPUs wait 25%" in said
    node = ray.nodes()[0]
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    deadline, found = time.monotonic() + 30, {}
    while not ({"rows", "rows_total"} & found.keys() and "gpu_wait_share" in found) and time.monotonic() < deadline:
        time.sleep(0.5)
        lines = [line for line in requests.get(address, timeout=10).text.splitlines() if 'rows="pictures"' in line]
        found = {line.split("{")[0].removeprefix("ray_faceverify_"): float(line.split()[-1]) for line in lines}
    assert found.get("rows", found.get("rows_total")) == 50, found
    assert found["gpu_wait_share"] == 0.25 and found["share_done"] == 0.9


def test_without_a_gpu_there_is_no_wait() -> None:
    progress = Progress("rows", 1)
    progress.gpu_seconds({"decode": 1.0})
    assert progress.gpu_wait is None and "GPU" not in progress._line(None)
