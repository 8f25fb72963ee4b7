"""An autoscaling cluster is asked to grow before work starts: a job then sizes itself by what it is going to have."""

import time
from typing import Any

from faceverify.errors import PlatformError

LOOK_SECONDS = 10.0  # between two lines that say what is awaited


def grow(cpus: int, gpus: int, minutes: float) -> None:
    """Wait until that many CPUs and GPUs are free at once; the autoscaler sees the demand and starts nodes for it.

    The demand is a placement group: unlike a request to the autoscaler it ends with this process, however that ends.

    Raises:
        PlatformError: they are not there after `minutes`.
    """
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    def there() -> str:
        total = ray.cluster_resources()
        return f"{int(total.get('CPU', 0))} CPU and {int(total.get('GPU', 0))} GPU"

    wanted: list[dict[str, Any]] = [{"GPU": 1}] * gpus + [{"CPU": 1}] * cpus
    group = placement_group(wanted)
    end = time.monotonic() + 60 * minutes
    try:
        patience = min(1.0, 60 * minutes)  # a cluster that has them needs no line
        while not group.wait(patience):
            if time.monotonic() >= end:
                raise PlatformError(
                    f"the cluster has {there()} and did not come to {cpus} CPU and {gpus} GPU free at once in "
                    f"{minutes:g} minutes: ask for fewer (--cpus, --gpus), wait longer (--grow-minutes), or see what "
                    "`ray status` says of its nodes."
                )
            print(f"Waiting for {cpus} CPU and {gpus} GPU; the cluster has {there()}.", flush=True)
            patience = max(0.1, min(LOOK_SECONDS, end - time.monotonic()))
    finally:
        remove_placement_group(group)
