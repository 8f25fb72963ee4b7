"""A data set in any known layout in, tables out: photos, rejects, and pairs where the layout has them.

python -m ray_jobs.ingest configs/ingest.yaml --source /data/lfw --layout lfw --out runs/photos
"""

import sys
from dataclasses import asdict, dataclass

from faceverify import tables
from faceverify.config import JobConfig, identity
from faceverify.datasets import DatasetConfig, read
from faceverify.faces import Stopwatch
from faceverify.inputs import fingerprint
from faceverify.run_folder import RunFolder, dry_run
from faceverify.storage import Location, check_readable, check_writable, open_location
from ray_jobs.session import Progress, check_shared, connect, run_job

SLOTS_PER_TASK = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestConfig(JobConfig, DatasetConfig):
    """List a data set: what photos there are, of whom, which are fakes. No photo is opened."""

    source: str = ""
    """Folder of the data set (the file, for insightface_bin; where to draw, for rendered). Required."""


def run(config: IngestConfig) -> None:
    """Read the listing and write it as tables."""
    source, out = open_location(config.source), open_location(config.out)
    if config.layout == "rendered":
        check_writable(source, "source")
    else:
        check_readable(source, "source")
    check_writable(out, "out")
    digest = "" if config.layout == "rendered" else fingerprint(source)
    plan = {"job": "ingest", "config": identity(config), "inputs": {"source": digest}}
    if config.dry_run:
        dry_run(out, plan, config.overwrite)
        return
    folder = RunFolder(out, plan, ("photos", "pairs", "rejects"), config.overwrite)
    if not folder.complete:
        clock = Stopwatch()
        with folder.planning():
            if config.layout == "rendered":
                with clock("draw"):
                    draw(config, source)
            _finish(config, source, folder, clock)
    summarise(folder)


def draw(config: IngestConfig, source: Location) -> None:
    """Draw what is not there yet, on all workers; drawing is a pure function of the configuration."""
    import ray

    from faceverify.datasets.rendered import plan, start, write_slot

    start(config.rendered, source)
    there = {entry.path for entry in source.files()}
    slots = [slot for slot in plan(config.rendered) if slot.photo not in there]
    if not slots:
        return
    check_shared(connect(config), source)
    progress = Progress("drawn", len(slots))

    @ray.remote
    def task(some: list) -> int:
        for slot in some:
            write_slot(config.rendered, slot, source)
        return len(some)

    waiting = [task.remote(slots[i : i + SLOTS_PER_TASK]) for i in range(0, len(slots), SLOTS_PER_TASK)]
    while waiting:
        ready, waiting = ray.wait(waiting)
        progress.add(sum(ray.get(ready)))
    progress.finish()


def _finish(config: IngestConfig, source: Location, folder: RunFolder, clock: Stopwatch) -> None:
    with clock("list"):
        listing = read(source, config)
    counts = {"photos": folder.publish("photos", [listing.photos], listing.photos.schema)}
    tables.validate(listing.photos.schema, tables.PHOTOS, "photos")
    if listing.pairs is not None:
        counts["pairs"] = folder.publish("pairs", [listing.pairs], listing.pairs.schema)
    reasons = folder.publish_rejects([], listing.rejects)
    persons = len(listing.photos["person"].unique())
    fakes = listing.photos["is_fake"].to_pylist().count(True)
    facts = {"persons": persons, "fakes": fakes, "rows_in": {"files": counts["photos"] + sum(reasons.values())}}
    facts |= {"rows_out": counts, "rejects": reasons, "seconds": clock.seconds}
    folder.finish({"job": "ingest", "config": asdict(config), **facts})


def summarise(folder: RunFolder) -> None:
    """The last lines: how many, what was rejected and why, where."""
    facts = folder.manifest()
    counts = facts["rows_out"]
    print(f"{counts['photos']:,} photos ({facts['fakes']:,} fakes) of {facts['persons']:,} persons.")
    if "pairs" in counts:
        print(f"{counts['pairs']:,} pairs.")
    if facts["rejects"]:
        print("Rejected: " + ", ".join(f"{n:,} {why}" for why, n in facts["rejects"].items()))
    print(f"Output: {folder.out}")


def main() -> int:
    """Entry point."""
    return run_job("ingest", IngestConfig, run, __doc__ or "", ("source", "out"))


if __name__ == "__main__":
    sys.exit(main())
