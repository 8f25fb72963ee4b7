"""What workers are given: chosen, asked for, or refused with a sentence."""

import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from faceverify.align import AlignConfig, Method
from faceverify.errors import BadData, Reason, UserError
from faceverify.faces import Crops, Rejects, Stopwatch
from faceverify.shards import read_shard, write_shards
from faceverify.storage import Location
from ray_jobs.engine.cluster import Cluster
from ray_jobs.engine.photo_pipeline import Chain, run_chain
from ray_jobs.engine.photo_workers import MakeCrops, UseCrops
from ray_jobs.engine.progress import Progress
from ray_jobs.engine.resources import ON_GPUS, AlignResources, Placement, describe, fitted, limit_threads, place

NO_FACES = np.zeros((0, 112, 112, 3), np.uint8)
CPUS, GPUS = Cluster(8, 0, 1, 1 << 30, 1 << 30), Cluster(8, 2, 1, 1 << 30, 1 << 30)


def settled(cluster: Cluster, method: Method = "mtcnn", device: str = "auto", workers: int = 0, **asked) -> Placement:
    return place(AlignResources(**asked), AlignConfig(method=method, device=device), cluster, workers)


def test_chosen() -> None:
    assert settled(CPUS) == Placement(8, 1, 0, 32)
    assert settled(CPUS, "yunet") == settled(GPUS, "yunet") == settled(GPUS, device="cpu") == Placement(8, 1, 0, 32)
    for method in ON_GPUS:
        assert settled(GPUS, method) == Placement(2, 1, 1, 128)
    assert settled(CPUS, workers=3).workers == 3
    assert settled(GPUS, workers=3).workers == 2  # the three decode


def test_asked_for() -> None:
    assert settled(CPUS, cpus=2, batch=7) == Placement(4, 2, 0, 7)
    assert settled(CPUS, cpus=2).threads == 2 and settled(CPUS, cpus=0.5) == Placement(16, 0.5, 0, 32)
    assert settled(CPUS, cpus=100) == Placement(1, 8, 0, 32)
    assert settled(GPUS, gpus=0.5) == Placement(4, 1, 0.5, 128)
    assert settled(GPUS, gpus=2, batch=9) == Placement(1, 1, 2, 9)
    assert settled(GPUS, gpus=0) == Placement(8, 1, 0, 32)


@pytest.mark.parametrize(
    "options",
    [
        {"cpus": 0}, {"cpus": -2}, {"gpus": -0.5}, {"gpus": 1.5}, {"batch": 0},
        {"method": "yunet", "gpus": 1}, {"device": "cpu", "gpus": 1}, {"cluster": CPUS, "gpus": 1},
        {"cluster": CPUS, "device": "cuda"}, {"gpus": 3},
    ],
    ids=str,
)  # fmt: skip
def test_refused_with_a_sentence(options: dict) -> None:
    with pytest.raises(UserError, match=r"^(resources|align)\.[^\n]*: [^\n]*\.$"):
        settled(**{"cluster": GPUS} | options)


def test_a_worker_without_a_gpu_of_its_own_keeps_off_the_nodes() -> None:
    config = AlignConfig(method="mtcnn")
    assert fitted(config, settled(GPUS, gpus=0)).device == "cpu"
    assert fitted(config, settled(GPUS)).device == "auto"


def test_the_plan_says_what_is_chosen() -> None:
    config = AlignConfig(method="mtcnn")
    told = describe(AlignResources(), config)
    assert "worker per 1 GPU, 128 photos" in told and "worker per CPU core, 32 photos" in told
    assert "GPU" not in describe(AlignResources(), AlignConfig()) + describe(AlignResources(gpus=0), config)
    assert "worker per 2 CPU cores, 5 photos" in describe(AlignResources(cpus=2, batch=5), AlignConfig())
    assert str(settled(CPUS)) == "Aligning: 8 workers, CPU core each, 32 photos at a time"
    assert "2 workers, 1 GPU each, photos decoded by CPU workers, 128 photos" in str(settled(GPUS))


def test_threads_of_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2
    import torch

    before = cv2.getNumThreads(), torch.get_num_threads()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "7")
    try:
        assert "torch" in sys.modules
        limit_threads(3)
        assert (torch.get_num_threads(), cv2.getNumThreads(), os.environ["OMP_NUM_THREADS"]) == (3, 3, "3")
    finally:
        cv2.setNumThreads(before[0])
        torch.set_num_threads(before[1])


@dataclass(frozen=True)
class Counting:
    """A source that loads PyTorch as aligners do, and notes its threads."""

    log: str

    def open(self) -> MakeCrops:
        import torch

        def count(_rows: pa.Table, _watch: Stopwatch) -> Crops:
            Path(self.log).write_text(str(torch.get_num_threads()))
            return Crops(pa.table({"photo": pa.array([], pa.string())}), NO_FACES, pa.table({}), rejected.table())

        rejected = Rejects()
        rejected.add("photo", "align", BadData(Reason.NO_FACE))
        return count


@dataclass(frozen=True)
class Nothing:
    """A sink that hands rejects on."""

    def open(self) -> UseCrops:
        return lambda crops, _watch: (crops.rows, crops.rejects)


def test_pytorch_in_a_fused_worker_has_one_thread(cluster: Cluster, tmp_path: Path) -> None:
    work = Location(str(tmp_path))
    shards = write_shards(work / "input", [pa.table({"photo": ["photo"]})], 1)
    chain = Chain(work, partial(read_shard, work / "input"), "faces", Counting(str(tmp_path / "log")), Nothing())
    run_chain(chain, list(range(shards)), cluster, 1, Progress("photos", 1), gpu=False)
    assert (tmp_path / "log").read_text() == "1"


def test_threads_are_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    import cv2

    from ray_jobs.engine.resources import limit_threads, threads_as_before

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "3")
    before = cv2.getNumThreads()
    with threads_as_before():
        limit_threads(1)
        assert cv2.getNumThreads() == 1 and os.environ["OMP_NUM_THREADS"] == "1"
    with pytest.raises(UserError, match="its own"), threads_as_before():
        raise UserError("its own")  # before anything was limited: this is what the user is told
    assert "OMP_NUM_THREADS" not in os.environ and os.environ["MKL_NUM_THREADS"] == "3"
    assert cv2.getNumThreads() == before
