"""What the workers that align photos are given: CPUs, GPUs and photos at a time; asked for by the user or chosen."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from faceverify.align import AlignConfig
from faceverify.errors import UserError
from faceverify.faces import GROUP_PHOTOS
from faceverify.wording import count_of
from ray_jobs.engine.cluster import Cluster

# Methods whose network PyTorch runs; those of the others run on CPUs only.
ON_GPUS = ("retinaface", "mtcnn", "dfa")
GPU_PHOTOS = 128  # at a time: the launch of a GPU's work costs as much for one photo as for many


@dataclass(frozen=True, kw_only=True, slots=True)
class AlignResources:
    """What one worker that aligns is given. None of it changes the faces that come out."""

    cpus: float = -1.0
    """CPU cores of one worker, each with a thread; -1 = chosen: one core."""

    gpus: float = -1.0
    """GPUs of one worker, a share of one too (0.5 = two workers on one GPU); 0 = none; -1 = chosen: one, if the cluster
    has any and PyTorch runs the method's network (retinaface, mtcnn, dfa)."""

    batch: int = -1
    """Photos handed to the aligner at a time; -1 = chosen: 32 on CPUs, 128 on a GPU."""

    def __post_init__(self) -> None:
        if self.cpus != -1 and not self.cpus > 0:
            raise UserError(f"resources.cpus is {self.cpus:g}: give a number above 0, or -1 to have it chosen.")
        if self.gpus != -1 and not (0 <= self.gpus < 1 or self.gpus == int(self.gpus) > 0):
            raise UserError(f"resources.gpus is {self.gpus:g}: give a share of a GPU, 0, or -1 to have it chosen.")
        if self.batch != -1 and self.batch < 1:
            raise UserError(f"resources.batch is {self.batch}: give a number from 1 up, or -1 to have it chosen.")


@dataclass(frozen=True, slots=True)
class Placement:
    """What was settled for the workers that align: how many, and what each has."""

    workers: int
    cpus: float
    gpus: float
    batch: int

    @property
    def threads(self) -> int:
        """Of the aligner's network in one worker."""
        return max(1, int(self.cpus))

    def __str__(self) -> str:
        on = f"{self.gpus:g} GPU each, photos decoded by CPU workers" if self.gpus else f"{_cores(self.cpus)} each"
        workers = count_of(self.workers, "worker")
        return f"Aligning: {workers}, {on}, {self.batch} photos at a time"


def check(asked: AlignResources, align: AlignConfig) -> bool:
    """Whether the aligner may use GPUs.

    Raises:
        UserError: one is asked for, and it may not.
    """
    may = align.method in ON_GPUS and align.device != "cpu"
    if asked.gpus > 0 and not may:
        raise UserError(
            f"resources.gpus is {asked.gpus:g}, but align.method {align.method} with align.device {align.device} runs "
            "on CPUs: set resources.gpus to 0 or -1."
        )
    return may


def place(asked: AlignResources, align: AlignConfig, cluster: Cluster, workers: int) -> Placement:
    """Settle what the workers on `cluster` get; `workers` is JobConfig.workers.

    Raises:
        UserError: a GPU is asked for that is not there, or that the method has no use for.
    """
    may = check(asked, align)
    if not cluster.gpus and (asked.gpus > 0 or (may and align.device == "cuda")):
        raise UserError(
            f"align.device is {align.device} and resources.gpus {asked.gpus:g}, but the cluster has no GPU: set them "
            "to auto and -1, or use another cluster."
        )
    cpus = min(cluster.node_cpus, 1.0 if asked.cpus == -1 else asked.cpus)
    gpus = (1.0 if asked.gpus == -1 else asked.gpus) if may and cluster.gpus else 0.0
    batch = asked.batch if asked.batch != -1 else GPU_PHOTOS if gpus else GROUP_PHOTOS
    most = int(cluster.gpus / gpus) if gpus else int(cluster.cpus / cpus)
    if gpus > cluster.gpus:
        raise UserError(f"resources.gpus is {gpus:g}, but the cluster has {cluster.gpus} GPUs: ask for fewer.")
    return Placement(most if gpus else min(workers or most, most), cpus, gpus, batch)


def describe(asked: AlignResources, align: AlignConfig) -> str:
    """What `place` will settle, told before the cluster is known.

    Raises:
        UserError: as `check`.
    """
    may, share = check(asked, align), 1.0 if asked.gpus == -1 else asked.gpus
    cpus, batch = 1.0 if asked.cpus == -1 else asked.cpus, asked.batch
    on_cpus = f"a worker per {_cores(cpus)}, {GROUP_PHOTOS if batch == -1 else batch} photos at a time"
    if not (may and share):
        return f"Aligning: {on_cpus}"
    on_gpus = f"a worker per {share:g} GPU, {GPU_PHOTOS if batch == -1 else batch} photos at a time"
    return f"Aligning: if the cluster has GPUs, {on_gpus}; else {on_cpus}"


def fitted(align: AlignConfig, placement: Placement) -> AlignConfig:
    """The configuration for a worker: one without a GPU of its own keeps off those that its node may have."""
    return align if placement.gpus else replace(align, device="cpu")


def limit_threads(threads: int) -> None:
    """Keep this worker to its cores: the libraries would otherwise start a thread per core of the machine in each.

    PyTorch reads the environment when it is loaded, which only some workers do.
    """
    import os

    import cv2

    cv2.setNumThreads(threads)
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(threads)


@contextmanager
def threads_as_before() -> Iterator[None]:
    """Undo what `limit_threads` does inside: for work that is done in the process of the job itself."""
    import os

    import cv2

    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    before, of_cv2 = {name: os.environ.get(name) for name in names}, cv2.getNumThreads()
    of_torch = sys.modules["torch"].get_num_threads() if "torch" in sys.modules else 0
    try:
        yield
    finally:
        cv2.setNumThreads(of_cv2)
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        if of_torch:
            sys.modules["torch"].set_num_threads(of_torch)


def _cores(cpus: float) -> str:
    return "CPU core" if cpus == 1 else f"{cpus:g} CPU cores"
