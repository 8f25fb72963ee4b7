"""Jobs on a cluster of its own that says it has a GPU, run one after another; a program of its own.

    python with_gpu.py '[["align", "--photos", ...], ["score", ...]]'

No GPU needs to be there: Ray takes the number as it is told, and PyTorch finds none and runs on the CPU.
"""

import importlib
import json
import sys

import ray


def main() -> int:
    """Run the jobs; the exit code of the first that fails."""
    ray.init(num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=300_000_000)
    for job, *options in json.loads(sys.argv[1]):
        sys.argv = [f"{job}.py", *options]
        if code := importlib.import_module(f"ray_jobs.{job}").main():
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
