"""A data set in any known layout in, tables out: photos, rejects, and pairs where the layout has them.

python -m ray_jobs.ingest configs/ingest.yaml --source /data/lfw --layout lfw --out runs/photos
"""

import sys
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from faceverify import failures, tables
from faceverify.config import Input, JobConfig, plan_of
from faceverify.datasets import DatasetConfig, Listing, RenderedConfig, looks_like, read
from faceverify.datasets.listing import NothingFound
from faceverify.errors import UserError
from faceverify.faces import Stopwatch
from faceverify.inputs import fingerprint
from faceverify.naming import describe_renames
from faceverify.parts import facts_of
from faceverify.run_folder import RunFolder
from faceverify.storage import Location, check_readable, check_writable, open_location
from faceverify.wording import count_of
from ray_jobs.engine.cluster import check_shared, connect
from ray_jobs.engine.dry_run import is_dry
from ray_jobs.engine.progress import Progress
from ray_jobs.engine.session import run_job
from ray_jobs.engine.shards import Shards, map_shards

if TYPE_CHECKING:
    from faceverify.rendered import Slot

SLOTS_PER_TASK = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestConfig(JobConfig, DatasetConfig):
    """List a data set: what photos there are, of whom, which are fakes. No photo is opened."""

    source: Input = ""
    """Folder of the data set (the file, for insightface_bin; where to draw, for rendered). Required."""


def run(config: IngestConfig) -> None:
    """Read the listing and write it as tables."""
    source, out = open_location(config.source), open_location(config.out)
    if config.layout == "rendered":
        check_writable(source, "source")
    else:
        check_readable(source, "source")
    check_writable(out, "out")
    # The place is part of it: the tables say where each photo is.
    inputs = {"source": [source.real, "" if config.layout == "rendered" else fingerprint(source)]}
    if config.folders.fake_csv:
        inputs["folders.fake_csv"] = [fingerprint(open_location(config.folders.fake_csv))]
    plan = plan_of("ingest", config, inputs)
    if is_dry(config, out, plan, ("photos", "pairs", "rejects")):
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
    from faceverify.rendered import plan, start

    start(config.rendered, source)
    there = {entry.path for entry in source.files()}
    slots = [slot for slot in plan(config.rendered) if slot.photo not in there]
    if not slots:
        return
    units = range(-(-len(slots) // SLOTS_PER_TASK))
    cluster = connect(config, len(units))
    check_shared(cluster, source)
    progress = Progress("drawn", len(slots))
    cut = [slots[unit * SLOTS_PER_TASK : (unit + 1) * SLOTS_PER_TASK] for unit in units]
    map_shards(
        Shards(partial(photos_of, cut), units, "Photos"), draw_photos, (config.rendered, source, cut), cluster, progress
    )
    progress.finish()


def photos_of(cut: list[list["Slot"]], unit: int) -> pa.Table:
    """The photos of a unit of work."""
    return pa.table({"photo": [slot.photo for slot in cut[unit]]})


def draw_photos(
    rendered: RenderedConfig, target: Location, cut: list[list["Slot"]], unit: int, _: pa.Table
) -> tuple[int, int]:
    """Draw the photos of a unit of work."""
    from faceverify.rendered import write_slot

    for slot in cut[unit]:
        write_slot(rendered, slot, target)
    return len(cut[unit]), 0


def _finish(config: IngestConfig, source: Location, folder: RunFolder, clock: Stopwatch) -> None:
    with clock("list"):
        listing = listed(config, source)
    counts = {"photos": folder.publish("photos", [listing.photos], listing.photos.schema)}
    tables.validate(listing.photos.schema, tables.PHOTOS, "photos")
    if listing.pairs is not None:
        counts["pairs"] = folder.publish("pairs", [listing.pairs], listing.pairs.schema)
    reasons = folder.publish_rejects([], listing.rejects)
    persons = len(listing.photos["person"].unique())
    fakes = listing.photos["is_fake"].to_pylist().count(True)
    facts = {"persons": persons, "fakes": fakes, "notes": listing.notes, "found": listing.found}
    facts |= {"rows_in": {"files": counts["photos"] + sum(reasons.values())}}
    facts |= {"rows_out": counts, "rejects": reasons, "seconds": clock.seconds}
    folder.finish({"job": "ingest", "config": asdict(config), **facts})


def listed(config: IngestConfig, source: Location) -> Listing:
    """List the source.

    Raises:
        UserError: it holds no photos of this layout, or most of its files and of the names in its lists cannot be used.
    """
    try:
        listing = read(source, config)
    except NothingFound as error:
        raise UserError(f"{error} {advice(source, config)}".strip()) from None
    facts = facts_of(listing.rejects)
    counts, names = facts.counts, facts.examples
    rows = listing.photos.num_rows + listing.rejects.num_rows
    if not listing.photos.num_rows:
        why = ", ".join(f"{count:,} {reason} ('{names[reason][0]}')" for reason, count in counts.items())
        raise UserError(
            f"source: the layout {config.layout} finds no photo in '{source}' that it can use; all {rows:,} files and "
            f"names in lists failed: {why}; check --source and --layout. {advice(source, config)}".strip()
        )
    failures.refuse(counts, rows, config.max_failed, what="files and names in lists", names=names)
    return listing


def advice(source: Location, config: IngestConfig) -> str:
    """Which other layouts the source looks like."""
    others = [name for name in looks_like(source) if name != config.layout]
    return f"It looks like --layout {' or '.join(others)}." if others else ""


def summarise(folder: RunFolder) -> None:
    """The last lines: how many, what was rejected and why, where."""
    facts = folder.manifest()
    counts = facts["rows_out"]
    fakes, people = count_of(facts["fakes"], "fake"), count_of(facts["persons"], "person", "people")
    print(f"{count_of(counts['photos'], 'photo')} ({fakes}) of {people}.")
    if "pairs" in counts:
        print(f"{count_of(counts['pairs'], 'pair')}.")
    for line in describe_renames(facts.get("found", {})):
        print(line)
    for note in facts.get("notes", ()):
        print(f"{note}.")
    if facts["rejects"]:
        print("Rejected: " + ", ".join(f"{n:,} {why}" for why, n in facts["rejects"].items()))
    print(f"Output: {folder.out}")


def main() -> int:
    """Entry point."""
    return run_job("ingest", IngestConfig, run, __doc__ or "", ("source", "out"))


if __name__ == "__main__":
    sys.exit(main())
