"""The job `fakes` with a generator that wants a GPU and embeddings, on a cluster that says it has one.

    python with_toy_generator.py RECOGNISER OPTIONS...

No GPU needs to be there: the generator only tells which one it was given.
"""

import sys

import ray
from fakes.toys import stamp

from faceverify.fakes import GENERATORS
from ray_jobs import fakes


def main() -> int:
    """The exit code of the job."""
    ray.init(num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=300_000_000)
    GENERATORS["stamp"] = stamp(sys.argv[1], gpu=True)
    sys.argv = ["fakes.py", *sys.argv[2:]]
    return fakes.main()


if __name__ == "__main__":
    sys.exit(main())
