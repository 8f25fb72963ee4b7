"""Functions mapped over units of work by the operators of Ray Data, or in this process where there is no cluster."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from faceverify.units import Blocks, LocalBlocks, LocalMapper
from ray_jobs.engine.cluster import Cluster
from ray_jobs.engine.operators import operators_of
from ray_jobs.engine.progress import Progress
from ray_jobs.engine.shards import OF_TASKS, Shards, guarded, number_row, ours, read, shards_per_task, tasks

COUNTS = pa.schema([("rows", pa.int64()), ("rejected", pa.int64())])


def count_units(
    mapper: "LocalMapper | RayMapper",
    work: Callable[..., tuple[int, int]],
    units: Sequence[Any],
    shared: tuple[Any, ...],
    progress: Progress,
) -> None:
    """Call `work(*shared, unit)`, which returns (rows, rejected) of what it wrote, and count these as they come.

    Raises:
        FaceverifyError: what a worker raised for the user to see.
    """
    if isinstance(mapper, RayMapper):
        mapper.count(work, units, shared, progress)
    else:
        given = [one.tables if isinstance(one, LocalBlocks) else one for one in shared]
        for unit in units:
            progress.add(*guarded(lambda one: work(*given, one), unit))


def mapper_for(cluster: Cluster, workers: int = 0) -> "LocalMapper | RayMapper":
    """The mapper for a cluster.

    Args:
        cluster: what Ray offers.
        workers: how many tasks run at a time at most; 0 = as many as there are CPUs.
    """
    return LocalMapper() if cluster.here else RayMapper(workers or cluster.cpus)


@dataclass(frozen=True)
class RayBlocks:
    """Blocks of a `ray.data.Dataset`; of a materialised one they are in the object store."""

    dataset: Any

    @property
    def rows(self) -> int:
        """How many rows all tables have."""
        return self.dataset.count()


class RayMapper:
    """A `UnitMapper` on Ray Data's task pool: one task of one CPU per unit.

    operators: what Ray Data says of the operators that ran, see `operators_of`.
    """

    def __init__(self, workers: int) -> None:
        self.operators: list[dict[str, Any]] = []
        self._workers = workers

    def rows(
        self, work: Callable[..., pa.Table], units: Sequence[Any] | Blocks, shared: tuple[Any, ...], schema: pa.Schema
    ) -> pa.Table:
        """See `UnitMapper`."""
        if not isinstance(units, RayBlocks) and not units:
            return schema.empty_table()
        batches = self._taken(self._mapped(work, units, shared), units)
        return pa.concat_tables([schema.empty_table(), *(batch.select(schema.names).cast(schema) for batch in batches)])

    def blocks(
        self,
        work: Callable[..., pa.Table],
        units: Sequence[Any] | Blocks,
        shared: tuple[Any, ...] = (),
        sort_by: Sequence[str] = (),
        hold: bool = True,
    ) -> RayBlocks:
        """See `UnitMapper`."""
        import ray

        if not isinstance(units, RayBlocks) and not units:
            return RayBlocks(ray.data.from_arrow([pa.table({})]).materialize())
        dataset = self._mapped(work, units, shared)
        dataset = dataset.sort(list(sort_by)) if sort_by else dataset
        if not hold:
            return RayBlocks(dataset)
        try:
            held = dataset.materialize()
        except ray.exceptions.RayError as error:
            raise ours(error) from None
        self._note(held, units)
        return RayBlocks(held)

    def count(
        self, work: Callable[..., tuple[int, int]], units: Sequence[Any], shared: tuple[Any, ...], progress: Progress
    ) -> None:
        """Call `work(*shared, unit)` for every unit, and count what it returns as it comes; see `count_units`."""
        if units:
            for batch in self._taken(self._mapped(work, units, shared, _as_counts), units):
                for one in batch.to_pylist():
                    progress.add(one["rows"], one["rejected"])

    def _mapped(self, work: Callable[..., Any], units: Any, shared: tuple[Any, ...], table: Any = None) -> Any:
        """The dataset of what `work` returns; `table` makes a table of that, if it is none."""
        if isinstance(units, RayBlocks):
            dataset, listed, most = units.dataset, None, None
        else:
            listed = list(units)
            most = min(self._workers, len(listed))
            source = Shards(partial(number_row, "unit"), range(len(listed)), "Units")
            dataset = read(source, shards_per_task(len(listed), most), most, OF_TASKS)
        call = _on_batches(work, [_kept(one) for one in shared], _kept(listed), table)
        return tasks(dataset, call, {}, most, OF_TASKS)

    def _taken(self, dataset: Any, units: Any) -> Iterator[pa.Table]:
        import ray

        try:
            yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
        except ray.exceptions.RayError as error:
            raise ours(error) from None
        self._note(dataset, units)

    def _note(self, dataset: Any, units: Any) -> None:
        """Note the operators that ran for a dataset, without those that had made the blocks it was made from."""
        before = len(operators_of(units.dataset)) if isinstance(units, RayBlocks) else 0
        self.operators += operators_of(dataset)[before:]


def _kept(shared: Any) -> Any:
    """A reference to an object in the object store, or the references to the tables of blocks."""
    import ray

    if isinstance(shared, LocalBlocks):
        return [ray.put(table) for table in shared.tables]
    if isinstance(shared, RayBlocks):
        return shared.dataset.to_arrow_refs() if shared.rows else []
    return ray.put(shared)


def _on_batches(work: Callable[..., Any], shared: list[Any], units: Any, table: Any) -> Callable[..., Iterator[Any]]:
    """`work` as a function of Ray Data's batches, under its own name; `units` refers to a list, or None for blocks."""

    def call(batch: pa.Table) -> Iterator[pa.Table]:
        import ray

        given, listed = [ray.get(one) for one in shared], ray.get(units)
        for unit in [batch] if listed is None else [listed[number] for number in batch["unit"].to_pylist()]:
            made = guarded(lambda one: work(*given, one), unit)
            yield table(*made) if table else made

    call.__name__ = call.__qualname__ = work.__name__
    return call


def _as_counts(rows: int, rejected: int) -> pa.Table:
    return pa.table({"rows": [rows], "rejected": [rejected]}, schema=COUNTS)
