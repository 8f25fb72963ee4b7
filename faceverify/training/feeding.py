"""Batches prepared by a PyTorch DataLoader, in order and ahead of the training, in processes beside it."""

import ctypes
import signal
from collections.abc import Iterator
from typing import Any, cast

import cv2
from torch.utils.data import DataLoader, Dataset

from faceverify.errors import UserError
from faceverify.training.batches import Batch, GetImages, Recipe, Share

AHEAD = 3  # batches that each process makes in advance
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl

Wanted = tuple[Share, list[bytes]]


class LoaderFeed:
    """A `Feed`.

    The encoded pictures are fetched in the process that trains, which may be a worker of Ray. They are decoded and
    altered in processes that are forked from it and know nothing of Ray.

    Args:
        recipe: how the share of a step is made.
        images: encoded pictures of the faces.
        rank: of the worker.
        workers: how many there are.
        processes: how many prepare batches; 0 = this one does, when the next batch is asked for.
    """

    def __init__(self, recipe: Recipe, images: GetImages, rank: int = 0, workers: int = 1, processes: int = 0) -> None:
        self._recipe, self._images, self._rank, self._workers = recipe, images, rank, workers
        self._processes = processes

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """See `Feed`."""
        order = self._recipe.order()

        def wanted() -> Iterator[Wanted]:
            for step in range(first, last):
                planned = self._recipe.plan(order, step, self._rank, self._workers)
                yield planned, self._images(planned.distinct)

        how: dict[str, Any] = {}
        if self._processes:
            cv2.setNumThreads(0)  # threads do not outlive a fork, and OpenCV would wait for them in vain
            how = {"prefetch_factor": AHEAD, "multiprocessing_context": "fork", "worker_init_fn": _begin}
        made = _Filled(self._recipe)
        loader = DataLoader(made, batch_size=None, sampler=cast(Any, wanted()), num_workers=self._processes, **how)
        for arrays in loader:
            if isinstance(arrays, UserError):
                raise arrays
            step = arrays.pop("step")
            yield Batch(step, **{name: one.numpy() for name, one in arrays.items()})


class _Filled(Dataset):
    """The batches of shares. The arrays of a batch become tensors on the way, which the processes share."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    def __getitem__(self, index: Wanted) -> dict[str, Any] | UserError:
        try:
            return vars(self._recipe.fill(*index))
        except UserError as error:
            return error  # raised here it would come with the stack of this process in its text


def _begin(_: int) -> None:
    """In each process at its start: end with the parent, whose connections it holds too."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
