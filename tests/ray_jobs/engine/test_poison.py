"""A photo that kills every worker that touches it ends the job with a sentence, and not never."""

import logging
import os
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import ray

from faceverify.errors import PlatformError
from faceverify.faces import Crops, Stopwatch
from faceverify.shards import read_shard, write_shards
from faceverify.storage import Location
from ray_jobs.engine import photo_pipeline
from ray_jobs.engine.cluster import Cluster, connect
from ray_jobs.engine.photo_pipeline import Chain, FaceSink, MakeCrops, run_chain
from ray_jobs.engine.progress import Progress


@dataclass(frozen=True)
class Poison:
    """A source that dies, and keeps count of how often."""

    log: str

    def open(self) -> MakeCrops:
        def die(_rows: pa.Table, _watch: Stopwatch) -> Crops:
            with open(self.log, "a") as log:
                log.write("x")
            os._exit(1)

        return die


def test_it_is_given_up(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)  # pytest would keep the error, and all in it
    monkeypatch.setattr(photo_pipeline, "OF_ACTORS", {"num_cpus": 0.95, "max_task_retries": 2})
    work = Location(str(tmp_path))
    shards = write_shards(work / "input", [pa.table({"photo": ["poison"]})], 1)
    chain = Chain(work, partial(read_shard, work / "input"), "faces", Poison(str(tmp_path / "log")), FaceSink())
    with pytest.raises(PlatformError, match="workers died"):
        run_chain(chain, list(range(shards)), cluster, 1, Progress("photos", 1), gpu=False)
    assert (tmp_path / "log").read_text() == "x" * 3
    connect()  # the next job of this process has the whole cluster
    deadline = time.monotonic() + 120
    while alive := [actor for actor in own_actors() if actor["State"] != "DEAD"]:
        assert time.monotonic() < deadline, f"of the failed job remains: {alive}"
        time.sleep(0.1)


def own_actors() -> list[dict[str, Any]]:
    """The actors in which this process's jobs met the photo (Ray's public list of them needs its dashboard)."""
    from ray._private.state import actors

    job = ray.get_runtime_context().get_job_id()
    found = [one for one in actors().values() if one["JobID"] == job and one["ActorClassName"].startswith("MapWorker")]
    assert found
    return found
