"""Batches prepared by Ray Data, in order and ahead of the worker that trains on them, on that worker's node."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from ray.data._internal.execution.execution_callback import ExecutionCallback

from faceverify.training.batches import Batch, GetImages

STEPS_PER_TASK = 4  # at least: a task costs Ray some milliseconds
MOST_TASKS = 2048  # each is a small object before it starts
AHEAD = 4  # batches that wait, ready, for the worker
PAUSE = 0.1  # seconds between two looks at the tasks
_ARRAYS = ("faces", "rows", "label", "kind", "person", "is_fake")


class Unhurried(ExecutionCallback):
    """Lets the loop of Ray Data, which runs in the worker that trains, rest between two looks.

    When all batches are ready it waits for nothing (Ray 2.60), and keeps taking Python's lock from the training.
    """

    def on_execution_step(self, executor: Any) -> None:
        """Called by Ray Data after each look."""
        time.sleep(PAUSE)


class RayFeed:
    """A `Feed`; every worker has one of its own, and asks for its share of each step only.

    Args:
        recipe: reference to the `Recipe` in the object store.
        images: pictures of the faces.
        rank: of the worker.
        workers: how many there are.
        tasks: so many tasks prepare batches at a time.
    """

    def __init__(self, recipe: Any, images: GetImages, rank: int, workers: int, tasks: int) -> None:
        self._make = {"recipe": recipe, "images": images, "rank": rank, "workers": workers}
        self._tasks = tasks

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """See `Feed`."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        context.raise_original_map_exception = True
        context.custom_execution_callback_classes = [Unhurried]
        here = ray.get_runtime_context().get_node_id()
        context.scheduling_strategy = NodeAffinitySchedulingStrategy(here, soft=True)
        steps = np.arange(first, last)
        each = max(STEPS_PER_TASK, len(steps) // MOST_TASKS)
        if not len(steps):
            return
        # Not from_arrow: that asks for a whole CPU, which on a small machine the training has.
        numbers = ray.data.from_blocks([pa.table({"step": steps[at : at + each]}) for at in range(0, len(steps), each)])
        made = numbers.map_batches(
            make_batches,
            batch_size=None,
            batch_format="pyarrow",
            fn_kwargs=self._make,
            num_cpus=0,  # of a CPU that it waited for, another training could hold the last until it ends
            compute=ray.data.TaskPoolStrategy(size=self._tasks),
        )
        for row in made.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=AHEAD):
            yield unpack(row)


_ORDERS: dict[str, Any] = {}  # of this process: the order of an epoch is drawn once, not for every task


def make_batches(steps: pa.Table, recipe: Any, images: GetImages, rank: int, workers: int) -> Iterator[pa.Table]:
    """The task: shares of steps, a row each."""
    import ray

    known = ray.get(recipe)
    order = _ORDERS.setdefault(recipe.hex(), known.order())
    for step in steps["step"].to_pylist():
        yield pack(known.make(order, step, rank, workers, images))


def pack(batch: Batch) -> pa.Table:
    """A batch as a row: its step, and the bytes of each array."""
    columns: dict[str, Any] = {"step": [batch.step], "pairs": [len(batch.label)]}
    for name in _ARRAYS:
        data = np.ascontiguousarray(getattr(batch, name)).tobytes()
        columns[name] = pa.array([data], pa.large_binary())
    return pa.table(columns)


def unpack(row: pa.Table) -> Batch:
    """The inverse of `pack`."""
    pairs = row["pairs"][0].as_py()
    data = {name: row[name][0].as_buffer() for name in _ARRAYS}
    faces = np.frombuffer(data["faces"], np.uint8).reshape(2 * pairs, 112, 112, 3)
    numbers = {name: np.frombuffer(data[name], np.int64) for name in ("rows", "label", "kind", "person")}
    # Copies, because what lies in the object store cannot be written to, which PyTorch does not like.
    whole = {name: value.copy() for name, value in numbers.items()}
    return Batch(row["step"][0].as_py(), faces.copy(), is_fake=np.frombuffer(data["is_fake"], bool).copy(), **whole)
