"""A cleaning run that kills itself before its n-th change of the disk, for every n; run as a program of its own.

    python dying_clean.py PHOTOS EMBEDDINGS TARGET

Each run is a fork of this process and goes through all rounds itself. TARGET/000 is the folder of the run that dies
before its first change and is then started again, TARGET/001 the one that dies before its second, and so on.
"""

import os
import signal
import sys
from pathlib import Path

import pyarrow.parquet as pq
from cleaning.planted import Options, clean_here
from e2e import dying
from e2e.dying import die_before, in_fork

from faceverify import run_folder
from faceverify.storage import Location

CHANGES = [
    (Location, "write_bytes"),
    (Location, "delete"),
    (Location, "open_output"),
    (os, "replace"),
    (run_folder, "_write_file"),
    (pq.ParquetWriter, "write_table"),
    (pq.ParquetWriter, "close"),
]


def main() -> int:
    """Die once per change, each time in a new folder, and start again there."""
    photos, embeddings, target = map(Path, sys.argv[1:4])
    dying.CHANGES = CHANGES
    for number in range(1000):

        def run(out: Path = target / f"{number:03d}") -> None:
            clean_here(photos, embeddings, out, Options(photos_per_shard=70))

        def attempt(number: int = number, run=run) -> None:  # type: ignore[no-untyped-def]
            die_before(number)
            run()

        status = in_fork(attempt)
        if status == 0:
            return 0
        if status != signal.SIGKILL or in_fork(run) != 0:
            return 1
    return 1


if __name__ == "__main__":
    sys.exit(main())
