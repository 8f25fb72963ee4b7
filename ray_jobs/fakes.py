"""Photos in, the same photos and deepfakes of the same people out.

python -m ray_jobs.fakes configs/fakes.yaml --photos runs/clean --faces runs/faces --out runs/fakes
"""

import sys
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from faceverify import failures, tables
from faceverify.config import Input, JobConfig, plan_of
from faceverify.errors import Reason, UserError
from faceverify.faces import Stopwatch
from faceverify.fakes import Description, describe
from faceverify.images import ImageLimits
from faceverify.inputs import fingerprint, one_photo, open_table, read_schema, stream_table
from faceverify.provenance import check_made_of, digest_of_photos
from faceverify.run_folder import RunFolder, part, read_part, write_part
from faceverify.storage import Location, check_readable, check_writable, open_location
from faceverify.wording import count_of
from ray_jobs.engine.cluster import Cluster, check_shared, connect
from ray_jobs.engine.dry_run import is_dry
from ray_jobs.engine.progress import Progress
from ray_jobs.engine.resources import limit_threads
from ray_jobs.engine.session import run_job
from ray_jobs.engine.tasks import guarded, run_here, run_in_actors

if TYPE_CHECKING:
    from faceverify.fakes.crowd import Crowd
    from faceverify.fakes.making import Maker, Order

PICTURES = "pictures"


@dataclass(frozen=True, kw_only=True, slots=True)
class FakesConfig(JobConfig):
    """Make deepfakes that claim to be the people of the photos."""

    photos: Input = ""
    """A photos table (the output of clean or ingest); all its photos go on into the output. Required."""
    faces: Input = ""
    """A faces table (the output of align), for the landmarks; without it those of the photos table are taken."""
    generators: str = "landmark_swap,self_blend"
    """Who makes the fakes, separated by commas; they take turns."""
    per_person: int = 4
    """Fakes of each person who has a real photo."""
    candidates: int = 16
    """Photos of other people that are drawn for a face swap; the face goes into the one whose pose is nearest."""
    seed: int = 0
    """Of everything random: the same photos and seed give the same fakes, on any number of workers."""
    images: ImageLimits = field(default_factory=ImageLimits)
    people_per_shard: int = 16
    """People per unit of work: what a killed worker has to do again."""

    def __post_init__(self) -> None:
        for name in ("per_person", "candidates", "people_per_shard"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}: give a whole number from 1 up.")
        describe(self.generators)


@dataclass(frozen=True)
class Inputs:
    """What was found at the places that the configuration names."""

    photos: list[Location]
    faces: list[Location] | None
    digests: dict[str, Any]
    extra: pa.Schema


def run(config: FakesConfig) -> None:
    """Check, plan, make, commit."""
    generators = tuple(describe(config.generators))
    inputs = check_inputs(config, generators)
    out = open_location(config.out)
    check_writable(out, "out")
    plan = plan_of("fakes", config, inputs.digests)
    if is_dry(config, out, plan, ("photos", PICTURES, "rejects")):
        return
    folder = RunFolder(out, plan, ("photos", PICTURES, "rejects"), config.overwrite)
    if not folder.complete:
        finish(config, inputs, generators, folder)
    summarise(folder)


def check_inputs(config: FakesConfig, generators: tuple[Description, ...]) -> Inputs:
    """Everything that can be checked before work starts.

    Raises:
        UserError: a field is missing or wrong, or a generator's recogniser is not there.
        PlatformError: storage refuses.
    """
    from faceverify.fakes.rows import extra_columns

    places = {name: open_location(uri) for name, uri in {"photos": config.photos, "faces": config.faces}.items() if uri}
    for name, place in places.items():
        check_readable(place, name)
    photos = open_table(places["photos"], "photos", tables.PHOTOS, "photos")
    faces = open_table(places["faces"], "faces", tables.FACES, "faces") if config.faces else None
    extra = extra_columns(read_schema(photos[0]))
    if faces:
        check_made_of(photos, faces, "faces", "make them again: python -m ray_jobs.align")
    digests: dict[str, Any] = {name: fingerprint(place) for name, place in places.items()}
    digests["bytes of the photos"] = digest_of_photos(photos)
    return Inputs(photos, faces, digests | {"generators": {one.name: decisive(one) for one in generators}}, extra)


def decisive(generator: Description) -> dict[str, Any]:
    """What of a generator decides which fakes come out: its weights and its recogniser, wherever they are."""
    from faceverify.models.engines import resolve

    facts: dict[str, Any] = {"weights": {file.name: file.sha256 for file in generator.weights}}
    if generator.identity:
        facts["identity"] = [resolve(generator.identity.model)[1].digest, generator.identity.form]
    return facts


def finish(config: FakesConfig, inputs: Inputs, generators: tuple[Description, ...], folder: RunFolder) -> None:
    """All the work that is not yet done."""
    from faceverify.fakes.making import Order

    if folder.resumed:
        print("Going on where an earlier run stopped.")
    clock = Stopwatch()
    with clock("plan"), folder.planning():
        crowd, given = gather_crowd(config, inputs, generators)
    people = len(crowd.names)
    step = config.people_per_shard
    cut = [range(start, min(start + step, people)) for start in range(0, people, step)]
    sizes = (config.per_person, config.candidates, config.seed)
    order = Order(folder.out / PICTURES, generators, *sizes, config.images, inputs.extra)
    with clock("connect"):
        on_gpus = any(generator.gpu for generator in generators)
        cluster = connect(config, None if on_gpus else len(cut))
        check_shared(cluster, folder.work, one_photo(inputs.photos))
    print(f"Ray: {cluster}")
    with clock("make"):
        make(config, cluster, folder, order, crowd, cut)
    with clock("commit"):
        facts = publish(inputs, folder, order, given, people * config.per_person, config.max_failed)
    shown = {"job": "fakes", "config": asdict(config), **facts, "people": people, "seed": config.seed}
    folder.finish({**shown, "seconds": clock.seconds})


def gather_crowd(config: FakesConfig, inputs: Inputs, generators: tuple[Description, ...]) -> tuple["Crowd", int]:
    """The people, and how many photos there are.

    Raises:
        UserError: a photo has the name of a fake to come, or see `faceverify.fakes.crowd.gather`.
    """
    from faceverify.fakes.crowd import COLUMNS, gather, with_landmarks
    from faceverify.fakes.rows import check_names

    rows = pa.concat_tables(stream_table(inputs.photos, list(COLUMNS)))
    check_names(rows["photo"], generators, config.seed)
    count = rows.num_rows
    if inputs.faces is not None:
        rows = with_landmarks(rows, pa.concat_tables(stream_table(inputs.faces, ["photo", "landmarks"])))
    crowd = gather(rows, config.seed)
    real = rows.filter(pc.invert(pc.fill_null(rows["is_fake"], False)))
    without = real["photo"].filter(real["landmarks"].is_null())
    failures.refuse(
        {Reason.NO_LANDMARKS.value: len(without)},
        real.num_rows,
        config.max_failed,
        names={Reason.NO_LANDMARKS.value: without[: failures.EXAMPLES].to_pylist()},
        remedies={Reason.NO_LANDMARKS.value: "give the faces table that align made of these photos as --faces"},
    )
    return crowd, count


def make(
    config: FakesConfig, cluster: Cluster, folder: RunFolder, order: "Order", crowd: "Crowd", cut: list[range]
) -> None:
    """Make the fakes that are not yet made: generators that need a GPU on workers with one, the others on CPUs."""
    done = {turn: folder.done(generator.name) for turn, generator in enumerate(order.generators)}
    total = len(crowd.names) * order.per_person
    items = [(turn, shard) for turn in done for shard in range(len(cut)) if shard not in done[turn]]
    progress = Progress("fakes", total, done=total - total * len(items) // (len(done) * len(cut)))
    for on_gpus in (False, True):
        some = [item for item in items if (order.generators[item[0]].gpu and cluster.gpus > 0) == on_gpus]
        has = {"num_gpus": 1.0, "num_cpus": 0.1} if on_gpus else {"num_cpus": 1.0}
        most = cluster.gpus if on_gpus else cluster.cpus
        if some and cluster.here:
            run_here(FakeMaker, (folder.work, order, crowd, cut), some, progress)
        elif some:
            run_in_actors(
                FakeMaker, (folder.work, order, crowd, cut), some, min(config.workers or most, most), progress, **has
            )
    progress.finish()


class FakeMaker:
    """An actor that makes the fakes of shards of people; a generator is loaded when it is first wanted."""

    def __init__(self, folder: Location, order: "Order", crowd: "Crowd", cut: list[range]) -> None:
        limit_threads(1)
        self.folder, self.order, self.crowd, self.cut = folder, order, crowd, cut
        self.makers: dict[int, Maker] = {}

    def work(self, item: tuple[int, int]) -> tuple[int, int]:
        """One generator's fakes of one shard, written as a part; returns how many there are, and how many failed."""
        return guarded(lambda one: self._work(*one), item)

    def _work(self, turn: int, shard: int) -> tuple[int, int]:
        from faceverify.fakes.making import Maker
        from faceverify.models import EngineConfig

        stage = self.order.generators[turn].name
        if part(self.folder, stage, shard).is_file():  # by an attempt that was killed later
            return 0, 0
        if turn not in self.makers:
            self.makers[turn] = Maker(self.order, turn, EngineConfig(threads=1))
        rows, rejects = self.makers[turn].make(self.crowd, self.cut[shard], Stopwatch())
        write_part(self.folder, stage, shard, rows, rejects)
        return rows.num_rows + rejects.num_rows, rejects.num_rows


def publish(
    inputs: Inputs, folder: RunFolder, order: "Order", given: int, asked: int, max_failed: float
) -> dict[str, Any]:
    """Publish the tables; returns the counts for the manifest.

    Raises:
        UserError: most fakes could not be made, for one reason.
    """
    from faceverify.fakes.rows import given_rows, table_schema

    stages = [generator.name for generator in order.generators]
    failures.refuse_rejects(folder, stages, asked, max_failed, what="fakes")
    made = {stage: sum(read_part(place).num_rows for place in folder.parts(stage)) for stage in stages}
    parts = (read_part(place) for stage in stages for place in folder.parts(stage))
    whole = chain(given_rows(stream_table(inputs.photos), inputs.extra), parts)
    rows = folder.publish("photos", whole, table_schema(inputs.extra))
    reasons = folder.publish_rejects(stages)
    assert rows + sum(reasons.values()) == given + asked, f"{given} + {asked} rows became {rows} + {reasons}"
    counts = {"rows_in": {"photos": given}, "fakes_asked": asked, "rows_out": {"photos": rows}, "fakes": made}
    return {**counts, "rejects": reasons}


def summarise(folder: RunFolder) -> None:
    """The last lines: how many, what could not be made and why, where."""
    facts = folder.manifest()
    made = ", ".join(f"{count:,} {name}" for name, count in facts["fakes"].items())
    total, people = sum(facts["fakes"].values()), count_of(facts["people"], "person", "people")
    print(f"{count_of(total, 'fake')} of {people}: {made}")
    given, together = facts["rows_in"]["photos"], facts["rows_out"]["photos"]
    print(f"{together:,} photos are in the table photos, {given:,} of them given.")
    if facts["rejects"]:
        print("Could not be made: " + ", ".join(f"{n:,} {why}" for why, n in facts["rejects"].items()))
    print(f"Output: {folder.out}")


def main() -> int:
    """Entry point."""
    return run_job("fakes", FakesConfig, run, __doc__ or "", ("photos", "out"))


if __name__ == "__main__":
    sys.exit(main())
