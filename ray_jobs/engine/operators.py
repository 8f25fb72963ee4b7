"""Which of Ray Data's operators ran for a dataset, by Ray's own statistics; for the manifest."""

from typing import Any


def operators_of(dataset: Any) -> list[dict[str, Any]]:
    """The operators that ran for an executed dataset, in order.

    Args:
        dataset: a `ray.data.Dataset` whose rows have been read to the end.

    Returns:
        One entry per operator: `operator` (Ray's name of it, `MapBatches(read_photos)`), `tasks` and `rows` that it put
        out, and `seconds` that its tasks took together. Empty if the dataset has not been executed.
    """
    found: list[dict[str, Any]] = []
    _collect(dataset.get_stats_summary(), found, set())
    return found


def _collect(summary: Any, found: list[dict[str, Any]], visited: set[int]) -> None:
    """Append what ran for a dataset, after what ran for those that it was made from."""
    if id(summary) in visited:
        return
    visited.add(id(summary))
    for parent in summary.parents:
        _collect(parent, found, visited)
    for one in summary.operators_stats:
        found.append(
            {
                "operator": one.operator_name,
                "tasks": int(one.task_rows.count) if one.task_rows else 0,
                "rows": int(one.output_num_rows.sum) if one.output_num_rows else 0,
                "seconds": round(float(one.wall_time.sum), 3) if one.wall_time else 0.0,
            }
        )
