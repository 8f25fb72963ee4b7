"""Photos with wrong labels in; for each photo what becomes of it, and why, out: kept, moved, held for review, dropped.

python -m ray_jobs.clean configs/clean.yaml --photos runs/photos --embeddings runs/embeddings --out runs/clean
"""

import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from faceverify import failures, tables
from faceverify.config import Input, JobConfig, digest, plan_of
from faceverify.errors import UserError
from faceverify.faces import Stopwatch
from faceverify.inputs import (
    fingerprint,
    one_photo,
    open_embeddings,
    open_table,
    read_schema,
    run_manifest,
    stream_table,
)
from faceverify.naming import in_table
from faceverify.provenance import check_made_of, one_origin
from faceverify.run_folder import RunFolder
from faceverify.storage import Location, check_readable, check_writable, open_location
from faceverify.units import LocalMapper, table_rows
from faceverify.wording import count_of
from ray_jobs.engine.cluster import check_shared, connect
from ray_jobs.engine.dry_run import is_dry
from ray_jobs.engine.progress import Progress
from ray_jobs.engine.session import run_job
from ray_jobs.engine.shards import maker
from ray_jobs.engine.units import RayMapper, count_units, mapper_for

if TYPE_CHECKING:
    from faceverify.cleaning.decisions_file import ReviewDecision
    from faceverify.cleaning.run import RunRound, Work


@dataclass(frozen=True, kw_only=True, slots=True)
class CleanConfig(JobConfig):
    """Find photos under a wrong name, say whose they are, and yield a cleaned list of photos. Copies no files."""

    photos: Input = ""
    """A photos table (the output of ingest). Required."""
    embeddings: Input = ""
    """The embeddings of these photos (the output of embed); photos that it lacks are held for review. Required."""
    decisions: Input = ""
    """Reviewers' decisions, which win: files made by review, or folders of them, separated by commas."""
    threshold: float | None = None
    """Cosine from which on two photos are linked; empty = chosen from the data, and the choice explained."""
    materialise: str = ""
    """Folder into which the cleaned photos are copied as <person>/<photo> with meta.json; empty = no copies."""
    photos_per_shard: int = 16_384
    """Photos per unit of work (whole people): what a worker holds, and what a killed one has to do again."""
    max_cases: int = 10_000
    """People put before the reviewers at most, the hardest; all of them are in decisions."""

    def __post_init__(self) -> None:
        if self.threshold is not None and not -1 < self.threshold < 1:
            raise UserError(f"threshold: {self.threshold} is no cosine between -1 and 1.")


NO_EMBEDDING = "no embedding"


@dataclass(frozen=True)
class Inputs:
    """The inputs that the configuration names: files of tables, and digests of their content."""

    photos: list[Location]
    embeddings: list[Location]
    decisions: list[Location]
    digests: dict[str, str]


def run(config: CleanConfig) -> None:
    """Check, plan, go through the rounds, commit."""
    inputs = check_inputs(config)
    out = open_location(config.out)
    check_writable(out, "out")
    if config.materialise:
        check_writable(open_location(config.materialise), "materialise")
    from faceverify.cleaning.run import OUTPUTS

    plan = plan_of("clean", config, inputs.digests, run_only=("materialise",))
    if is_dry(config, out, plan, OUTPUTS):
        return
    folder = RunFolder(out, plan, OUTPUTS, config.overwrite)
    if not folder.complete:
        finish(config, inputs, folder)
    if config.materialise:
        copy_photos(config, out)
    summarise(config, folder)


def check_inputs(config: CleanConfig) -> Inputs:
    """Everything that can be checked before work starts.

    Raises:
        UserError: a field is missing or wrong, a decisions file among them.
        PlatformError: storage refuses.
    """
    from faceverify.cleaning.decisions_file import check_photos
    from faceverify.cleaning.plan import check_columns

    places = {name: open_location(getattr(config, name)) for name in ("photos", "embeddings")}
    for name, place in places.items():
        check_readable(place, name)
    photos = open_table(places["photos"], "photos", tables.PHOTOS, "photos")
    check_columns(read_schema(photos[0]))
    reviewed, decisions = read_reviews(config)
    digests = {name: fingerprint(place) for name, place in places.items()}
    embeddings = open_embeddings(places["embeddings"])
    one_origin(embeddings, "embeddings")
    again = "make them again: python -m ray_jobs.align, then python -m ray_jobs.embed"
    check_made_of(photos, embeddings, "embeddings", again)
    check_photos(decisions, photos)
    made = [(d.photo, d.outcome(), d.reviewer) for d in decisions]
    return Inputs(photos, embeddings, reviewed, digests | {"decisions": digest(made)})


def read_reviews(config: CleanConfig) -> tuple[list[Location], list["ReviewDecision"]]:
    """The reviewers' files and the decisions in them.

    Raises:
        UserError: a file is missing or damaged, or two of them contradict each other.
        PlatformError: storage refuses.
    """
    from faceverify.cleaning.decisions_file import read_decisions

    files = [open_location(name.strip()) for name in config.decisions.split(",") if name.strip()]
    for place in files:
        check_readable(place, "decisions")
    return files, read_decisions(files)


def finish(config: CleanConfig, inputs: Inputs, folder: RunFolder) -> None:
    """Do all the work that is not done yet."""
    from faceverify.cleaning import run as cleaning
    from faceverify.cleaning.decisions_file import read_decisions
    from faceverify.cleaning.plan import CleanPlan, make_plan

    if folder.resumed:
        print("Going on where an earlier run stopped.")
    clock = Stopwatch()
    decisions = read_decisions(inputs.decisions)
    with clock("connect"):
        cluster = connect(config, -(-table_rows(inputs.photos) // config.photos_per_shard))
        check_shared(cluster, folder.work, config.photos, config.embeddings)
    print(f"Ray: {cluster}")
    mapper = mapper_for(cluster)
    with clock("plan"), folder.planning():
        noted = folder.noted("plan_of_work")
        if noted:
            plan = CleanPlan(**noted)
        else:
            files = inputs.photos, inputs.embeddings
            plan = make_plan(*files, decisions, folder.work, config.photos_per_shard, mapper)
            check_embedded(inputs, plan.photos - plan.embedded, plan.photos, config.max_failed)
            folder.note("plan_of_work", plan.as_json())
        calibration = cleaning.choose_thresholds(folder.work, plan.dim, config.threshold)
    print(calibration.explanation[0].upper() + calibration.explanation[1:])
    reviewed = {decision.photo: decision for decision in decisions}
    results = cleaning.run_rounds(folder, plan, calibration, reviewed, round_runner(folder, mapper, clock))
    with clock("commit"):
        made = cleaning.publish(folder, plan, results, read_schema(inputs.photos[0]), config.max_cases, maker(cluster))
    made |= cleaning.facts(calibration, results, len(reviewed))
    made["model"] = (run_manifest(open_location(config.embeddings)) or {}).get("model", {})
    made["operators"] = getattr(mapper, "operators", [])
    folder.finish({"job": "clean", "config": asdict(config), **made, "seconds": clock.seconds})


def check_embedded(inputs: Inputs, without: int, photos: int, max_failed: float) -> None:
    """Stop where most photos have no embedding: then the two tables are not of the same photos.

    Raises:
        UserError: names three of them, and the nearest names that have one.
    """
    if without <= max_failed * photos:
        return
    some = next(stream_table(inputs.photos, ["photo"]))["photo"].to_pylist()
    failures.refuse(
        {NO_EMBEDDING: without},
        photos,
        max_failed,
        names={NO_EMBEDDING: [in_table(some, inputs.embeddings, exactly=True).examples()]},
        remedies={NO_EMBEDDING: "does the embeddings table belong to these photos?"},
    )


def round_runner(folder: RunFolder, mapper: LocalMapper | RayMapper, clock: Stopwatch) -> "RunRound":
    """The function that runs one round by the mapper."""

    def run_round(stage: str, work: "Work", shared: tuple[Any, ...], shards: int, rows: int) -> None:
        done = folder.done(stage)
        todo = [shard for shard in range(shards) if shard not in done]
        progress = Progress(ROUNDS.get(stage, stage), rows, done=rows * len(done) // shards)
        with clock(stage):
            count_units(mapper, work, todo, shared, progress)
        if todo:
            progress.finish()

    return run_round


def copy_photos(config: CleanConfig, out: Location) -> None:
    """Copy the cleaned photos to where files are wanted."""
    from faceverify.cleaning import materialise

    target = open_location(config.materialise)
    run_of = run_manifest(out) or {}
    folder = materialise.begin(target, run_of["digest"])
    if folder.complete:
        print(f"The files are in {target} already.")
        return
    photos = open_table(out, "photos", tables.PHOTOS, "out", optional=True)
    shards = materialise.plan_copies(folder, photos)
    cluster = connect(config, shards)
    check_shared(cluster, folder.work, one_photo(photos))
    done = folder.done(materialise.STAGE)
    progress = Progress("photos copied", run_of["rows_out"]["photos"], done=len(done) * materialise.PHOTOS_PER_SHARD)
    todo = [shard for shard in range(shards) if shard not in done]
    count_units(mapper_for(cluster), materialise.copy_shard, todo, (target,), progress)
    progress.finish()
    missing = materialise.finish(folder)
    if missing:
        print("Could not be copied: " + ", ".join(f"{count:,} {why}" for why, count in missing.items()))


def summarise(config: CleanConfig, folder: RunFolder) -> None:
    """Print the last lines: how many photos, why, what to do next, where the output is."""
    facts = folder.manifest()
    decided, photos = facts["decided"], facts["rows_in"]["photos"]
    print(
        f"{count_of(photos, 'photo')} of {count_of(facts['people'], 'person', 'people')}: "
        + ", ".join(f"{decided.get(what, 0):,} {name}" for what, name in NAMES.items())
        + "."
    )
    held = {name.partition(": ")[2]: n for name, n in decided.items() if name.startswith("review: ")}
    if held:
        print("Held for review: " + ", ".join(f"{n:,} {why}" for why, n in held.items()))
    found, twins = facts["cases_found"], facts["same_people"].get("same", 0)
    shown = facts["rows_out"]["cases"]
    more = f" (the {shown:,} hardest are in cases)" if shown < found else ""
    print(
        f"To look at: {count_of(found, 'person', 'people')}{more}, {count_of(twins, 'pair')} of folders that hold one "
        f"person, {count_of(facts['rows_out']['duplicates'], 'duplicate')}: python -m ray_jobs.review {folder.out}"
    )
    print(f"Output: {folder.out}")


# What the rounds of `faceverify.cleaning.rounds` do, for the progress line.
ROUNDS = {
    "components": "photos linked within people",
    "same_person_candidates": "people compared with each other",
    "search": "photos compared with other people",
}
NAMES = {"kept": "kept", "moved": "moved", "review": "held for review", "dropped": "dropped"}


def main() -> int:
    """Entry point."""
    return run_job("clean", CleanConfig, run, __doc__ or "", ("photos", "embeddings", "out"))


if __name__ == "__main__":
    sys.exit(main())
