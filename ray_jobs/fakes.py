"""Photos in, the same photos and deepfakes of the same people out.

python -m ray_jobs.fakes configs/fakes.yaml --photos runs/clean --faces runs/faces --out runs/fakes
"""

import sys
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from faceverify import failures, tables
from faceverify.config import Input, JobConfig, plan_of
from faceverify.errors import Reason, UserError
from faceverify.faces import Stopwatch
from faceverify.fakes import Description, describe
from faceverify.fakes.learning import NETWORKS, Learning, given_networks
from faceverify.images import ImageLimits
from faceverify.inputs import fingerprint, one_photo, open_table, read_schema, row_count, stream_table
from faceverify.parts import part, write_part
from faceverify.provenance import check_made_of, digest_of_photos
from faceverify.run_folder import RunFolder
from faceverify.storage import Location, check_readable, check_writable, open_location
from faceverify.wording import count_of
from ray_jobs.engine.cluster import Cluster, check_shared, connect
from ray_jobs.engine.dry_run import is_dry
from ray_jobs.engine.generator_networks import Learned, learnt
from ray_jobs.engine.progress import Progress
from ray_jobs.engine.resources import limit_threads
from ray_jobs.engine.session import run_job
from ray_jobs.engine.shards import Shards, maker, map_shards
from ray_jobs.engine.wanted_weights import seen_from_anywhere, shared_weights

if TYPE_CHECKING:
    from faceverify.fakes.audit import Recogniser
    from faceverify.fakes.making import Maker, Order
    from faceverify.fakes.photo_pool import PhotoPool

PICTURES = "pictures"
OUTPUTS = ("photos", PICTURES, NETWORKS, "rejects", "report.html")
GIVEN = "given"  # stage of the photos that go on into the output
GIVEN_HERE = 65_536  # up to this number rows alone are written sooner than Ray Data starts, as is one unit of work
GIVEN_AT_ONCE = 256  # of them are stored again as one unit of work


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
    prompts: tuple[str, ...] = ()
    """What a picture shows beside the face, in words, for instantid: each fake draws one. Empty: ten of its own."""
    seed: int = 0
    """Of everything random: the same photos and seed give the same fakes, on any number of workers."""
    recogniser: Input = ""
    """Says how much each fake looks like the person: a published name or a file (see `faceverify models list`). Empty =
    nobody is asked."""
    calibration: Input = ""
    """calibration.json of `evaluate` for the recogniser, for its threshold; empty = the one that comes with it."""
    min_similarity: float = -1.0
    """Fakes whose cosine to a photo of the person is below are rejects; needs a recogniser."""
    recode: bool = True
    """Store fakes and real photos again alike (cropped by some pixels, shrunk, JPEG or WebP), so that how a file was
    saved does not tell them apart; false = fakes as PNG, real photos as they are."""
    networks: Input = ""
    """Output folder of an earlier run: generators that learn (autoencoder_swap) take the networks that it trained."""
    learning: Learning = field(default_factory=Learning)
    images: ImageLimits = field(default_factory=ImageLimits)
    people_per_shard: int = 16
    """People per unit of work: what a killed worker has to do again."""

    def __post_init__(self) -> None:
        for name in ("per_person", "candidates", "people_per_shard"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}: give a whole number from 1 up.")
        describe(self.generators)
        if self.min_similarity > -1 and not self.recogniser:
            raise UserError(f"min_similarity is {self.min_similarity:g}, and nobody measures it: name a --recogniser.")
        if self.calibration and not self.recogniser:
            raise UserError(f"calibration is '{self.calibration}', but no --recogniser is named that it belongs to.")


@dataclass(frozen=True)
class Inputs:
    """What was found at the places that the configuration names."""

    photos: list[Location]
    faces: list[Location] | None
    digests: dict[str, Any]
    extra: pa.Schema
    threshold: float | None = None  # of the recogniser
    networks: Location | None = None


def run(config: FakesConfig) -> None:
    """Check, plan, make, commit."""
    from faceverify.fakes.requirements import prepared
    from faceverify.fakes.weights import located, remarks

    known = located(describe(config.generators))
    generators = tuple(seen(needs) for needs in prepared(known, config.prompts))
    inputs = check_inputs(config, generators)
    for line in remarks(generators):
        print(line)
    out = open_location(config.out)
    check_writable(out, "out")
    plan = plan_of("fakes", config, inputs.digests)
    if is_dry(config, out, plan, OUTPUTS):
        return
    folder = RunFolder(out, plan, OUTPUTS, config.overwrite)
    if not folder.complete:
        finish(config, inputs, generators, folder)
    summarise(folder)


def seen(needs: Description) -> Description:
    """The description with a place for its recogniser that workers see who are at work in another folder."""
    if needs.identity is None:
        return needs
    return replace(needs, identity=replace(needs.identity, model=seen_from_anywhere(needs.identity.model)))


def check_inputs(config: FakesConfig, generators: tuple[Description, ...]) -> Inputs:
    """Everything that can be checked before work starts.

    Raises:
        UserError: a field is missing or wrong, or a generator's recogniser is not there.
        PlatformError: storage refuses.
    """
    from faceverify.fakes.photo_pool import ORIGINALS, with_originals
    from faceverify.fakes.rows import extra_columns

    places = {name: open_location(uri) for name, uri in {"photos": config.photos, "faces": config.faces}.items() if uri}
    for name, place in places.items():
        check_readable(place, name)
    photos = open_table(places["photos"], "photos", tables.PHOTOS, "photos")
    faces = open_table(places["faces"], "faces", tables.FACES, "faces") if config.faces else None
    extra = extra_columns(read_schema(photos[0]))
    originals = {"columns": ("photo", "uri", *ORIGINALS), "files_of": with_originals}
    if faces:
        remedy = (
            "give those that were made of the photos before any fakes, or make them again: python -m ray_jobs.align"
        )
        check_made_of(photos, faces, "faces", remedy, **originals)
    digests: dict[str, Any] = {name: fingerprint(place) for name, place in places.items()}
    digests["bytes of the photos"] = digest_of_photos(photos, **originals)
    networks = open_location(config.networks) if config.networks else None
    if networks:
        learners = [one for one in generators if one.trainer]
        if not learners:
            raise UserError(f"networks: none of {config.generators} learns; leave the option out.")
        check_readable(networks, "networks")
        digests["networks"] = {one.name: given_networks(networks, one).sha256() for one in learners}
    digests["generators"] = {one.name: decisive(one) for one in generators}
    threshold = None
    if config.recogniser:
        from faceverify.models.loading import resolve

        digests["recogniser"] = resolve(config.recogniser)[1].digest
        threshold = threshold_of(config, digests["recogniser"])
        digests["calibration"] = threshold
    return Inputs(photos, faces, digests, extra, threshold, networks)


def threshold_of(config: FakesConfig, model: str) -> float | None:
    """From which cosine the recogniser with this card digest accepts a pair; None if nobody measured it.

    Raises:
        UserError: the calibration is not readable, or another model's.
    """
    from faceverify.evaluation.calibration import Calibration, check_fits
    from faceverify.evaluation.shipped import shipped

    if not config.calibration:
        return next((known.threshold for known in shipped(model)), None)
    calibration = Calibration.read(open_location(config.calibration))
    check_fits(calibration, model, calibration.crop)
    return calibration.threshold


def decisive(generator: Description) -> dict[str, Any]:
    """What of a generator decides which fakes come out: its weights and its recogniser, wherever they are."""
    from faceverify.models.loading import resolve

    facts: dict[str, Any] = {"weights": {file.name: file.sha256 for file in generator.weights}}
    if generator.identity:
        facts["identity"] = [resolve(generator.identity.model)[1].digest, generator.identity.form]
    return facts


def finish(config: FakesConfig, inputs: Inputs, generators: tuple[Description, ...], folder: RunFolder) -> None:
    """All the work that is not yet done."""
    from faceverify.fakes.making import Order
    from faceverify.fakes.requirements import slowness
    from ray_jobs.engine.fakes_report import report

    if folder.resumed:
        print("Going on where an earlier run stopped.")
    clock = Stopwatch()
    with clock("plan"), folder.planning():
        crowd, landmarks = gather_crowd(config, inputs, generators)
    people = len(crowd.names)
    step = config.people_per_shard
    cut = [range(start, min(start + step, people)) for start in range(0, people, step)]
    with clock("connect"):
        # What learns does so in a worker: this process stays small, and GPUs are elsewhere.
        needs_workers = any(generator.gpu or generator.trainer for generator in generators)
        cluster = connect(config, None if needs_workers else len(cut))
        weights = [file.uri for generator in generators for file in generator.weights]
        recognisers = [generator.identity.model for generator in generators if generator.identity]
        recognisers += shared_weights(None, config.recogniser)
        check_shared(cluster, folder.work, one_photo(inputs.photos), *dict.fromkeys(weights + recognisers))
    print(f"Ray: {cluster}")
    if not cluster.gpus:
        for line in slowness(generators, people * config.per_person, min(config.workers or cluster.cpus, cluster.cpus)):
            print(line)
    with clock("learn"):
        how = Learned(config.learning, config.images, config.seed, inputs.networks)
        generators = tuple(learnt(one, how, cluster, folder.out, lambda: crowd) for one in generators)
    order = Order(
        folder.out / PICTURES,
        generators,
        config.per_person,
        config.candidates,
        config.seed,
        seen_from_anywhere(config.recogniser),
        config.min_similarity,
        config.recode,
        config.images,
        inputs.extra,
    )
    with clock("make"):
        operators = make(config, cluster, folder, order, crowd, cut)
    with clock("pass on"):
        operators += pass_on(inputs, folder, order, landmarks, cluster)
    with clock("commit"):
        facts = publish(folder, order, len(landmarks), people * config.per_person, config.max_failed, cluster)
    with clock("report"):
        made_of = {"photos": config.photos, "faces": config.faces or "none: landmarks of the photos"}
        facts |= report(folder, order, crowd, made_of, inputs.threshold)
    shown = {"job": "fakes", "config": asdict(config), **facts, "people": people, "seed": config.seed}
    folder.finish({**shown, "seconds": clock.seconds, "operators": operators})


def gather_crowd(
    config: FakesConfig, inputs: Inputs, generators: tuple[Description, ...]
) -> tuple["PhotoPool", pa.ChunkedArray]:
    """The people, and the landmarks of each photo of the table.

    Raises:
        UserError: a photo has the name of a fake to come, or see `faceverify.fakes.photo_pool.gather`.
    """
    from faceverify.fakes.photo_pool import COLUMNS, gather, with_landmarks, with_originals
    from faceverify.fakes.rows import check_names

    rows = with_originals(pa.concat_tables(stream_table(inputs.photos, list(COLUMNS))))
    check_names(rows["photo"], generators, config.seed)
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
    return crowd, rows["landmarks"]


def make(
    config: FakesConfig, cluster: Cluster, folder: RunFolder, order: "Order", crowd: "PhotoPool", cut: list[range]
) -> list[dict[str, Any]]:
    """Make the fakes that are not yet made: generators that need a GPU on workers with one, the others on CPUs.

    Returns which of Ray Data's operators ran.
    """
    done = {turn: folder.done(generator.name) for turn, generator in enumerate(order.generators)}
    total = len(crowd.names) * order.per_person
    items = [(turn, shard) for turn in done for shard in range(len(cut)) if shard not in done[turn]]
    progress = Progress("fakes", total, done=total - total * len(items) // (len(done) * len(cut)))
    read = partial(people_of, order, crowd, cut)
    operators = []
    for on_gpus in (False, True):
        some = [
            turn * len(cut) + shard
            for turn, shard in items
            if on_gpus == (order.generators[turn].gpu and cluster.gpus > 0)
        ]
        has = {"num_gpus": 1.0, "num_cpus": 0.1} if on_gpus else {}
        most = cluster.gpus if on_gpus else cluster.cpus
        work = (folder.work, order, crowd, cut)
        source = Shards(read, some, "People")
        operators += map_shards(source, FakeMaker, work, cluster, progress, min(config.workers or most, most), **has)
    progress.finish()
    return operators


def people_of(order: "Order", crowd: "PhotoPool", cut: list[range], number: int) -> pa.Table:
    """The rows of a unit of work: for whom fakes are made, and by which generator."""
    turn, shard = divmod(number, len(cut))
    generator = order.generators[turn].name
    return pa.table({"person": [crowd.names[i] for i in cut[shard]], "generator": [generator] * len(cut[shard])})


class FakeMaker:
    """Makes the fakes of people; a generator is loaded when it is first wanted, and kept.

    Calls take the number of a unit of work (generator x shard of people) and the people of it.
    """

    def __init__(self, folder: Location, order: "Order", crowd: "PhotoPool", cut: list[range]) -> None:
        limit_threads(1)
        self.folder, self.order, self.crowd, self.cut = folder, order, crowd, cut
        self.maker: tuple[int, Maker] | None = None  # one alone: generators follow each other, and may be large
        self.recognisers: dict[str, Recogniser] = {}  # which several generators may share

    def __call__(self, number: int, _: pa.Table) -> tuple[int, int]:
        """One generator's fakes of one shard, written as a part; returns how many there are, and how many failed."""
        from faceverify.fakes.making import Maker
        from faceverify.models import EngineConfig

        turn, shard = divmod(number, len(self.cut))
        stage = self.order.generators[turn].name
        if part(self.folder, stage, shard).is_file():  # by an attempt that was killed later
            return 0, 0
        if self.maker is None or self.maker[0] != turn:
            self.maker = None  # goes before the next comes
            self.maker = turn, Maker(self.order, turn, EngineConfig(threads=1), self.recognisers)
        rows, rejects = self.maker[1].make(self.crowd, self.cut[shard], Stopwatch())
        write_part(self.folder, stage, shard, rows, rejects)
        return rows.num_rows + rejects.num_rows, rejects.num_rows


def pieces_of(files: list[Location], most: int) -> list[tuple[int, int, int]]:
    """The rows of a table's files, `most` at a time: a file's number, the first row, and the last."""
    counts = map(row_count, files)
    return [(i, at, min(at + most, rows)) for i, rows in enumerate(counts) for at in range(0, rows, most)]


def write_given(
    work: Location,
    order: "Order",
    landmarks: pa.ChunkedArray,
    pieces: list[tuple[int, int, int]],
    number: int,
    rows: pa.Table,
) -> tuple[int, int]:
    """Write the photos of a unit of work, with the columns that fakes add, as a part; stored again, if fakes are."""
    from faceverify.fakes.rows import given_rows
    from faceverify.fakes.storing import recode_given

    rejects, count = None, rows.num_rows
    rows = pa.concat_tables(given_rows([rows], order.extra))
    if order.recode:
        known = landmarks.slice(sum(stop - start for _, start, stop in pieces[:number]), count).combine_chunks()
        rows, rejects = recode_given(rows, known, order.pictures, order.seed, order.limits, Stopwatch())
    write_part(work, GIVEN, number, rows, rejects)
    return count, count - rows.num_rows


def pass_on(
    inputs: Inputs, folder: RunFolder, order: "Order", landmarks: pa.ChunkedArray, cluster: Cluster
) -> list[dict[str, Any]]:
    """Write the given photos that are not yet written; returns which of Ray Data's operators ran."""
    given = len(landmarks)
    pieces = pieces_of(inputs.photos, GIVEN_AT_ONCE if order.recode else max(given, 1))
    copied = folder.done(GIVEN)
    numbers = [number for number in range(len(pieces)) if number not in copied]
    progress = Progress("photos", given, done=folder.facts(GIVEN, f"{GIVEN}.rejects").rows)
    read = partial(read_photos, inputs.photos, pieces)
    operators = []
    if len(numbers) < 2 or (not order.recode and given <= GIVEN_HERE):
        for number in numbers:
            progress.add(*write_given(folder.work, order, landmarks, pieces, number, read(number)))
    else:
        source = Shards(read, numbers, "Photos")
        operators = map_shards(source, write_given, (folder.work, order, landmarks, pieces), cluster, progress)
    progress.finish()
    return operators


def read_photos(files: list[Location], pieces: list[tuple[int, int, int]], number: int) -> pa.Table:
    """The rows of a unit of work of `pieces_of`."""
    file, start, stop = pieces[number]
    return pa.concat_tables(stream_table([files[file]])).slice(start, stop - start)


def publish(
    folder: RunFolder, order: "Order", given: int, asked: int, max_failed: float, cluster: Cluster
) -> dict[str, Any]:
    """Publish the tables; returns the counts for the manifest.

    Raises:
        UserError: most photos could not be read, or most fakes not be made, for one reason.
    """
    from faceverify.fakes.rows import table_schema

    stages = [generator.name for generator in order.generators]
    failures.refuse_rejects(folder, [GIVEN], given, max_failed)
    failures.refuse_rejects(folder, stages, asked, max_failed, what="fakes")
    made, make_files = {stage: folder.facts(stage).rows for stage in stages}, maker(cluster)
    rows = folder.publish_parts("photos", table_schema(order.extra), [GIVEN, *stages], make_files).rows
    reasons = folder.publish_rejects([GIVEN, *stages], make=make_files)
    assert rows + sum(reasons.values()) == given + asked, f"{given} + {asked} rows became {rows} + {reasons}"
    counts = {"rows_in": {"photos": given}, "fakes_asked": asked, "rows_out": {"photos": rows}, "fakes": made}
    return {**counts, "rejects": reasons}


def summarise(folder: RunFolder) -> None:
    """The last lines: how many, what they are worth, what could not be made and why, where."""
    from faceverify.fakes.audit import Audit

    facts = folder.manifest()
    made = ", ".join(f"{count:,} {name}" for name, count in facts["fakes"].items())
    total, people = sum(facts["fakes"].values()), count_of(facts["people"], "person", "people")
    print(f"{count_of(total, 'fake')} of {people}: {made}")
    given, together = facts["rows_in"]["photos"], facts["rows_out"]["photos"]
    print(f"{together:,} photos are in the table photos, {given:,} of them given.")
    for one in facts["audit"].values():
        print(f"  {Audit(**one)}")
    if facts["rejects"]:
        print("Could not be made: " + ", ".join(f"{n:,} {why}" for why, n in facts["rejects"].items()))
    print(f"Output: {folder.out}, with {folder.out / 'report.html'}")


def main() -> int:
    """Entry point."""
    return run_job("fakes", FakesConfig, run, __doc__ or "", ("photos", "out"))


if __name__ == "__main__":
    sys.exit(main())
