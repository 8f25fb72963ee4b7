"""Photos and a list of pairs in, a similarity for every pair out.

python -m ray_jobs.score configs/score.yaml --photos PHOTOS --pairs pairs.csv --model sface --out runs/scores
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from annotated_types import Interval

from faceverify.align import AlignConfig, build
from faceverify.align.cards import crops_for
from faceverify.config import Input, JobConfig, plan_of
from faceverify.datasets import PairListConfig
from faceverify.errors import UserError
from faceverify.evaluation.calibration import Calibration, check_fits, threshold_sentence
from faceverify.faces import Stopwatch
from faceverify.failures import refuse_rejects, refuse_run
from faceverify.forensics.thresholds import ForensicThresholds, check_same_model
from faceverify.images import ImageLimits
from faceverify.inputs import fingerprint, one_photo, open_embeddings, open_photos, root_of
from faceverify.models import EngineConfig
from faceverify.models.card import ModelCard
from faceverify.naming import describe_renames
from faceverify.parts import NOT_JUDGED, REFUSED_FOR
from faceverify.provenance import (
    NAMES,
    Identifier,
    PhotoIdentity,
    describe_crop,
    describe_scoring,
    one_origin,
    outdated,
    reasons_told,
)
from faceverify.run_folder import RunFolder
from faceverify.scoring.csv_output import CsvConfig, csv_header
from faceverify.scoring.photos import STAGE, planned_versions, published_versions
from faceverify.scoring.plan import ScorePlan, check_pairs, make_plan
from faceverify.scoring.reuse import GIVEN, GivenTable, Wanted, blocks_of
from faceverify.scoring.similarity import OK, PairDecision
from faceverify.shards import read_shard
from faceverify.storage import Location, check_readable, check_writable, open_location
from faceverify.tables import embeddings as embeddings_schema
from faceverify.units import LocalMapper
from faceverify.wording import count_of
from ray_jobs.engine import pair_scores
from ray_jobs.engine.cluster import Cluster, check_shared, connect
from ray_jobs.engine.dry_run import is_dry
from ray_jobs.engine.failure_limit import Watch, Watched
from ray_jobs.engine.photo_pipeline import Chain, EmbeddingSink, PhotoSource, Ran, engine_for, run_chain
from ray_jobs.engine.progress import Progress
from ray_jobs.engine.session import run_job
from ray_jobs.engine.shards import joiner, maker
from ray_jobs.engine.units import mapper_for
from ray_jobs.engine.wanted_weights import default_model, seen_from_anywhere, shared_weights

if TYPE_CHECKING:
    from faceverify.datasets.pair_units import PairList
    from faceverify.forensics.card import ForensicCard

OUTPUTS = ("scores", "scores.csv", "rejects", "embeddings")
BLOCKS_ALONE = 4  # of embeddings that this process looks through sooner than a cluster starts


@dataclass(frozen=True, kw_only=True)
class EmbeddingConfig(JobConfig):
    """What is given to jobs that embed photos and compare the embeddings."""

    model: Input = ""
    """Name of a published model (see `faceverify models list`), a file (.onnx, .pt, .pth, .ckpt, .safetensors), a
    checkpoint, or the output of train, tune, export or pipeline. Empty = sface, if photos are given."""
    embeddings: Input = ""
    """Embeddings table to re-use (the output of an earlier score, all_pairs or embed): rows of the same photo,
    alignment and model are taken, all other photos are embedded."""
    calibration: Input = ""
    """calibration.json of `evaluate`: decides `accepted`. Without it or `threshold` nothing is decided."""
    threshold: Annotated[float, Interval(ge=-1, le=1)] | None = None
    """Instead of a calibration: pairs of at least this similarity are accepted, with no error rate claimed."""
    photo_identity: PhotoIdentity = "stat"
    """By what a photo is known again: stat = its place, size and time of change (of objects in S3: ETag and size);
    content = the SHA-256 of its bytes, which reads every photo whose embedding is re-used."""
    align: AlignConfig = field(default_factory=AlignConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    images: ImageLimits = field(default_factory=ImageLimits)
    csv: CsvConfig = field(default_factory=CsvConfig)
    photos_per_shard: int = 128
    """Photos per unit of work: what a killed worker has to do again."""
    shared_embeddings_gb: float = 4.0
    """Up to this size (GiB) all embeddings are shared by the workers of a node; beyond it they are spread over the
    cluster and looked up from there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreConfig(EmbeddingConfig):
    """Score pairs of photos. Each photo is read, aligned and embedded once, however many pairs name it."""

    photos: Input = ""
    """Folder of photos, or a photos table (the output of ingest). May be left out if `embeddings` holds all photos."""
    pairs: Input = ""
    """CSV or Parquet with photo_a, photo_b[, label, ...], a pairs table, or LFW's pairs.txt. Required."""
    forensic: Input = ""
    """A forensic model, which says how much each photo looks manipulated: an ONNX file with its card, or the output of
    forensic. A calibration that was made with it decides by both numbers."""
    forensic_threshold: float | None = None
    """Instead of a calibration's: photos of at least this forensic score count as manipulated, with no error rate
    claimed."""
    too_small: Literal["similarity", "refuse"] = "similarity"
    """What a pair does of which a photo is too small to be judged by its pixels: its similarity alone decides, or it is
    refused."""
    pair_list: PairListConfig = field(default_factory=PairListConfig)
    pairs_per_shard: int = 65_536
    """Pairs per unit of work."""


@dataclass(frozen=True)
class Inputs:
    """What was found at the places that the configuration names."""

    photos: list[Location] | Location | None  # files of a table, or the folder of the pictures
    embeddings: list[Location]
    model: ModelCard | None
    calibration: Calibration | None
    crop: str | None  # how faces are or were cut out (faceverify.provenance); None if unknown
    digests: dict[str, str]
    shared: list[str | Location]  # what every node has to see
    forensic: "ForensicCard | None" = None

    def dim(self, plan: ScorePlan) -> int:
        """Numbers in an embedding."""
        return self.model.dim if self.model else plan.dim

    def threshold(self, config: EmbeddingConfig) -> float | None:
        """From which similarity on a pair is accepted; None decides nothing."""
        return self.calibration.threshold if self.calibration else config.threshold

    def wanted(self, config: ScoreConfig) -> Wanted | None:
        """What an embedding must be made of to be taken; None where all are, because no photos are given."""
        if self.model is None:
            return None
        photos = Identifier(config.photo_identity, config.align.method == "annotated", config.images.max_bytes)
        return Wanted(self.model.digest, self.model.dim, self.crop or "", photos, self.forensic_digest)

    @property
    def forensic_digest(self) -> str:
        """Of the forensic model's card; empty if there is none."""
        return self.forensic.digest if self.forensic else ""

    def decision(self, config: ScoreConfig) -> PairDecision:
        """When a pair is accepted."""
        limits = None
        if config.forensic_threshold is not None:
            limits = ForensicThresholds.of_own(config.forensic_threshold, self.forensic_digest)
        elif self.calibration and self.calibration.forensic:
            limits = self.calibration.forensic
        return PairDecision(
            threshold=self.threshold(config),
            forensic=limits,
            too_small=config.too_small,
            forensic_with=self.forensic_digest,
        )


def run(config: ScoreConfig) -> None:
    """Check, plan, embed, score, commit."""
    from faceverify.models.folders import weights_file

    if config.photos and not config.model:
        config = replace(config, model=default_model())
    config = replace(config, model=weights_file(config.model)) if config.model else config  # one file for all workers
    inputs = check_inputs(config)
    out = open_location(config.out)
    check_writable(out, "out")
    print_plan(config, inputs)
    plan = plan_of("score", config, inputs.digests)
    if is_dry(config, out, plan, OUTPUTS):
        return
    folder = RunFolder(out, plan, OUTPUTS, config.overwrite)
    look_again(config, inputs, folder)
    if not folder.complete:
        finish(config, inputs, folder)
    summarise(folder, threshold_sentence(config.threshold, inputs.calibration))


def check_inputs(config: ScoreConfig) -> Inputs:
    """Everything that can be checked before work starts.

    Raises:
        UserError: a field is missing or wrong.
        PlatformError: storage refuses.
    """
    if not config.photos and not config.embeddings:
        raise UserError("Required and not given: --photos DIR_OR_TABLE (or --embeddings TABLE that holds all photos).")
    if config.model and not config.photos:
        raise UserError("--model is given without --photos; embedding photos needs both.")
    named = {"pairs": config.pairs, "photos": config.photos, "embeddings": config.embeddings}
    places = {name: open_location(uri) for name, uri in named.items() if uri}
    for name, place in places.items():
        check_readable(place, name)
    if left_out := check_pairs(read_pairs(config), config.csv):
        print(
            f"scores.csv leaves out {', '.join(left_out)}, which a CSV cannot hold; the table scores has all columns."
        )
    embeddings = open_embeddings(places["embeddings"], bool(config.photos)) if config.embeddings else []
    model = card_of_model(config.model) if config.model else None
    digests = {name: fingerprint(place) for name, place in places.items() if name != "photos"}
    photos: list[Location] | Location | None = None
    if config.photos:
        photos = open_photos(places["photos"])
        digests["photos"] = fingerprint(places["photos"]) if isinstance(photos, list) else photos.real
    if model:
        [shown] = crops_for(config.align, model.shown)
        digest, crop = model.digest, describe_crop(config.align, build(config.align).name, shown)
    else:
        digest, crop = one_origin(embeddings, "embeddings")
    calibration = read_calibration(config, digest, crop)
    forensic = forensic_card(config, calibration)
    digests |= {
        "forensic": forensic.digest if forensic else "",
        "model": digest,
        "align.weights": crop or "",
        "calibration": calibration.to_json() if calibration else "",
    }
    shared = [one_photo(photos), *shared_weights(config.align, config.model)] if photos else []
    shared += [seen_from_anywhere(config.forensic)] if config.forensic else []
    return Inputs(photos, embeddings, model, calibration, crop, digests, shared, forensic)


def forensic_card(config: ScoreConfig, calibration: Calibration | None) -> "ForensicCard | None":
    """The card of the forensic model, if one is named.

    Raises:
        UserError: there is no such model, it cannot be used here, or the calibration was made with another.
    """
    known = calibration.forensic if calibration else None
    if not config.forensic:
        if config.forensic_threshold is not None:
            raise UserError(f"--forensic-threshold {config.forensic_threshold:g} is given without --forensic.")
        if known:
            raise UserError(
                f"The calibration '{config.calibration}' decides by forensic scores too: give the forensic model that "
                "it was made with as --forensic."
            )
        return None
    from faceverify.forensics.card import card_of
    from faceverify.forensics.model import forensic_file

    if not config.photos:
        raise UserError("--forensic is given without --photos; scoring photos needs both.")
    if config.align.method == "none":
        raise UserError("--forensic needs landmarks, and --align.method none finds none: take another method.")
    card = card_of(forensic_file(config.forensic))
    if known and config.forensic_threshold is None:
        check_same_model(known, card.digest)
    return card


def read_pairs(config: ScoreConfig) -> Iterator[pa.Table]:
    """The list of pairs in pieces (importing what that needs only now)."""
    from faceverify.datasets.pair_lists import open_pairs

    pieces = open_pairs(open_location(config.pairs), config.pair_list)
    return (pa.Table.from_batches([piece]) for piece in pieces)


def card_of_model(model: str) -> ModelCard:
    """The card of a model named by the user (importing what that needs only now)."""
    from faceverify.models.loading import resolve

    return resolve(model)[1]


def read_calibration(config: EmbeddingConfig, digest: str, crop: str | None) -> Calibration | None:
    """The calibration the user named, if it fits model and crop, and if no other threshold is given."""
    if not config.calibration:
        return None
    if config.threshold is not None:
        raise UserError(f"--calibration and --threshold {config.threshold:g} are given: give one of them.")
    calibration = Calibration.read(open_location(config.calibration))
    check_fits(calibration, digest, json.loads(crop) if crop else None)
    return calibration


def look_again(config: ScoreConfig, inputs: Inputs, folder: RunFolder) -> None:
    """Have a run begin again whose photos have changed since it dealt with them; what still holds will be re-used."""
    wanted, noted = inputs.wanted(config), folder.noted("plan_of_work")
    if wanted is None or inputs.photos is None or not (folder.complete or noted):
        return
    if folder.complete:
        seen = published_versions(folder.out, inputs.photos)
    else:
        seen = planned_versions(folder.work, ScorePlan(**noted or {}), folder.done(STAGE))
    if not (changed := outdated(seen, wanted.photos)):
        return
    print(f"Photos are not what they were: {reasons_told(changed)}. What depends on them is made again.")
    if folder.complete:
        folder.reopen()
    else:
        folder.put_aside(STAGE)
        for name in (pair_scores.STAGE, "plan_of_work.json"):
            (folder.work / name).delete()


def print_plan(config: ScoreConfig, inputs: Inputs) -> None:
    """What is about to be done."""
    if inputs.model:
        card = inputs.model
        print(f"Model: {card.name} ({card.dim} numbers, {card.colour}, card {card.digest[:12]})")
        print(f"Photos: {config.photos}, faces by {config.align.method}")
    if inputs.embeddings:
        print(f"Re-using embeddings of {config.embeddings}")
    print(f"Pairs: {config.pairs} -> {config.out}")


def finish(config: ScoreConfig, inputs: Inputs, folder: RunFolder) -> None:
    """All the work that is not yet done."""
    if folder.resumed:
        print("Going on where an earlier run stopped.")
    clock = Stopwatch()
    cluster, operators = None, []
    with folder.planning():
        if noted := folder.noted("plan_of_work"):
            plan = ScorePlan(**noted)
        else:
            with clock("plan"):
                pairs = pair_list(config, root_of(inputs.photos))
                given = given_embeddings(config, inputs, folder)
                units = max(len(pairs.units), blocks_to_search(given) // BLOCKS_ALONE)
            if units > 1:  # else it is read sooner here than a cluster starts
                cluster = connected(config, inputs, folder, units, clock, *tables_of(config, inputs))
            with clock("plan"):
                plan, operators = plan_work(config, inputs, folder, pairs, given, cluster)
    cluster = cluster or connected(config, inputs, folder, max(plan.photo_shards, plan.pair_shards), clock)
    print(f"Ray: {cluster}")
    with clock("embed"):
        ran = embed_photos(config, inputs, plan, folder, cluster) if inputs.model else Ran()
    with clock("score"):
        ran.operators += score_pairs(config, inputs, plan, folder, cluster)
    with clock("commit"):
        facts = commit(config, inputs, plan, folder, cluster)
    seconds = {**clock.seconds, "workers": ran.seconds}
    folder.finish({**facts, "seconds": seconds, "operators": operators + ran.operators})


def connected(
    config: EmbeddingConfig, inputs: Inputs, folder: RunFolder, units: int, clock: Stopwatch, *planned_from: Location
) -> Cluster:
    """The cluster, all of whose nodes see the run's folder and the inputs, those that workers plan from among them."""
    with clock("connect"):
        cluster = connect(config, units)
        check_shared(cluster, folder.work, *inputs.shared, *planned_from)
    return cluster


def tables_of(config: ScoreConfig, inputs: Inputs) -> list[Location]:
    """The list of pairs, and the tables that are given."""
    named = [config.pairs, config.embeddings, config.photos if isinstance(inputs.photos, list) else ""]
    return [open_location(uri) for uri in named if uri]


def pair_list(config: ScoreConfig, root: Location | None) -> "PairList":
    """The list of pairs, divided (importing what that needs only now)."""
    from faceverify.datasets.pair_units import divide

    return divide(open_location(config.pairs), config.pair_list, root)


def given_embeddings(config: ScoreConfig, inputs: Inputs, folder: RunFolder) -> list[list[Location]]:
    """The tables whose embeddings may be re-used, the first before the others."""
    given = [inputs.embeddings]
    if inputs.wanted(config) is not None:  # what this very run made before its photos changed is as good as any
        earlier = folder.out / "embeddings"
        own = [earlier / entry.path for entry in earlier.files(recursive=False) if entry.path.endswith(".parquet")]
        given = [*folder.aside(STAGE), own, inputs.embeddings]
    return list(filter(None, given))


def blocks_to_search(given: list[list[Location]]) -> int:
    """How many blocks workers look through for embeddings to re-use."""
    return sum(len(blocks_of(GivenTable(files))) for files in given)


def plan_work(
    config: ScoreConfig,
    inputs: Inputs,
    folder: RunFolder,
    pairs: "PairList",
    given: list[list[Location]],
    cluster: Cluster | None,
) -> tuple[ScorePlan, list[dict[str, Any]]]:
    """Cut pairs and photos into shards (again if it was interrupted); also says which of Ray Data's operators ran."""
    mapper = mapper_for(cluster, config.workers) if cluster else LocalMapper()
    cut = config.pairs_per_shard, config.photos_per_shard
    wanted, model = inputs.wanted(config), inputs.digests["model"]
    plan = make_plan(pairs, inputs.photos, given, wanted, folder.work, *cut, mapper, config.max_failed, model)
    if reuse := reuse_line(plan.reused, plan.not_reused):
        print(f"Embeddings: {reuse}")
    folder.note("plan_of_work", plan.as_json())
    return plan, getattr(mapper, "operators", [])


def embed_photos(config: EmbeddingConfig, inputs: Inputs, plan: ScorePlan, folder: RunFolder, cluster: Cluster) -> Ran:
    """Embed the photos that have no embedding yet."""
    done = folder.done(STAGE)
    todo = [shard for shard in range(plan.photo_shards) if shard not in done]
    engine = engine_for(config.engine, cluster, config.workers)
    crop, digest = inputs.crop or "", inputs.digests["model"]
    assert inputs.model is not None
    crops = crops_for(config.align, inputs.model.shown)
    forensic = getattr(config, "forensic", "")
    if inputs.forensic and inputs.forensic.shown not in crops:
        crops = (*crops, inputs.forensic.shown)
    source = PhotoSource(config.align, config.images, identity=config.photo_identity, crop=crop, crops=crops)
    read = partial(read_photos, folder.work)
    sink = EmbeddingSink(config.model, engine, digest, forensic, inputs.forensic_digest)
    chain = Chain(folder.work, read, STAGE, source, sink)
    ready = min(len(done) * plan.rows_per_photo_shard, plan.photos - plan.reused)
    watch = Watch(folder, STAGE, plan.photos, config.max_failed, ready)
    progress = Watched("photos", plan.photos - plan.reused, done=ready, watch=watch)
    ran = run_chain(chain, todo, cluster, config.workers, progress, gpu=True)
    if todo:
        progress.finish()
    return ran


def read_photos(work: Location, shard: int) -> pa.Table:
    """The photos of a shard, as rows of the photos table."""
    return read_shard(work / "photos", shard).drop_columns("row")


def score_pairs(
    config: ScoreConfig, inputs: Inputs, plan: ScorePlan, folder: RunFolder, cluster: Cluster
) -> list[dict[str, Any]]:
    """Score the shards of pairs that are not yet scored; returns which of Ray Data's operators ran."""
    done = folder.done(pair_scores.STAGE)
    todo = [shard for shard in range(plan.pair_shards) if shard not in done]
    if not todo:
        return []
    progress = Progress("pairs", plan.pairs, done=min(len(done) * config.pairs_per_shard, plan.pairs))
    scored_with = describe_scoring(inputs.digests["model"], inputs.crop)
    embedded, decision = inputs.model is not None, inputs.decision(config)
    job = pair_scores.PairJob(folder.work, plan, inputs.dim(plan), embedded, decision, scored_with, config.csv)
    shared, rejects = int(config.shared_embeddings_gb * 2**30), folder.parts(f"{STAGE}.rejects")
    operators = pair_scores.run_pairs(job, todo, cluster, shared, rejects, progress)
    progress.finish()
    return operators


def commit(config: ScoreConfig, inputs: Inputs, plan: ScorePlan, folder: RunFolder, cluster: Cluster) -> dict[str, Any]:
    """Publish the tables and the CSV; returns what the manifest says of them."""
    embedded, reasons = publish_photos(config, inputs, plan, folder, cluster)
    counts = folder.facts(pair_scores.STAGE).counts
    statuses = {name: count for name, count in counts.items() if not name.startswith((REFUSED_FOR, NOT_JUDGED))}
    refused = {name.removeprefix(REFUSED_FOR): n for name, n in counts.items() if name.startswith(REFUSED_FOR)}
    failed = {status: count for status, count in statuses.items() if status != OK}
    refuse_run(folder, failed, plan.pairs, config.max_failed, stages=[STAGE], what="pairs")
    scored = publish_scores(config, folder, cluster)
    assert scored == plan.pairs, f"{plan.pairs} pairs became {scored} scores"
    return {
        "job": "score",
        "config": asdict(config),
        "model": json.loads(inputs.model.to_json()) if inputs.model else {"digest": inputs.digests["model"]},
        "rows_in": {"pairs": plan.pairs, "photos": plan.photos},
        "rows_out": {"scores": scored, "embeddings": embedded},
        "rejects": reasons,
        "reused": plan.reused,
        "not_reused": plan.not_reused,
        "photo_identity": NAMES[config.photo_identity],
        "statuses": statuses,
        "refused_for": refused,
        "not_judged": sum(count for name, count in counts.items() if name.startswith(NOT_JUDGED)),
        "found": plan.found,
        "photos_root": inputs.photos.uri if isinstance(inputs.photos, Location) else None,
        "photos_table": config.photos if isinstance(inputs.photos, list) else None,
    }


def publish_photos(
    config: EmbeddingConfig, inputs: Inputs, plan: ScorePlan, folder: RunFolder, cluster: Cluster
) -> tuple[int, dict[str, int]]:
    """Publish the embeddings and the rejects; returns how many embeddings there are, and the rejects by reason.

    Raises:
        UserError: too many photos were rejected for one reason.
    """
    refuse_rejects(folder, [STAGE], plan.photos, config.max_failed)
    schema, make = embeddings_schema(inputs.dim(plan), inputs.forensic is not None), maker(cluster)
    embedded = folder.publish_parts("embeddings", schema, [GIVEN, STAGE], make).rows
    reasons = folder.publish_rejects([STAGE], make=make)
    if inputs.model:
        rejected = sum(reasons.values())
        assert embedded + rejected == plan.photos, f"{plan.photos} photos became {embedded} + {rejected}"
    return embedded, reasons


def publish_scores(config: EmbeddingConfig, folder: RunFolder, cluster: Cluster) -> int:
    """Publish the scores, as a table and as CSV; returns how many there are."""
    with folder.parts(pair_scores.STAGE)[0].open_input() as stream:
        schema = pq.read_schema(stream)
    if config.csv.wanted:
        folder.publish_text("scores.csv", csv_header(schema, config.csv), pair_scores.STAGE, joiner(cluster))
    return folder.publish_parts("scores", schema, [pair_scores.STAGE], maker(cluster)).rows


def reuse_line(reused: int, not_reused: dict[str, int], embeddings: int | None = None) -> str:
    """What became of given embeddings, for people; empty if there were none: "re-used 9; embedded 3: 2 other model"."""
    if not reused and not not_reused:
        return ""
    why = f": {reasons_told(Counter(not_reused))}" if not_reused else ""
    rest = f"; {'not taken' if embeddings is None else f'embedded {embeddings - reused:,}'}{why}"
    return f"re-used {reused:,}" + (rest if not_reused or embeddings is not None else "")


def summarise(folder: RunFolder, threshold: str) -> None:
    """The last lines: how many, what failed and why, the threshold, where."""
    facts = folder.manifest()
    pairs, failed = facts["rows_in"]["pairs"], {k: n for k, n in facts["statuses"].items() if k != OK}
    scored = pairs - sum(failed.values())
    print(f"{scored:,} of {count_of(pairs, 'pair')} scored over {count_of(facts['rows_in']['photos'], 'photo')}.")
    for line in describe_renames(facts.get("found", {})):
        print(line)
    if reuse := reuse_line(facts["reused"], facts["not_reused"], facts["rows_out"]["embeddings"]):
        print(f"Embeddings: {reuse}")
    if failed:
        print(
            f"Without a similarity: {count_of(sum(failed.values()), 'pair')}: "
            + ", ".join(f"{n:,} {why}" for why, n in failed.items())
        )
    if facts["rejects"]:
        print("Photos rejected: " + ", ".join(f"{n:,} {why}" for why, n in facts["rejects"].items()))
    print(threshold)
    if refused := facts.get("refused_for"):
        print("Refused: " + ", ".join(f"{refused[name]:,} {said}" for name, said in _WHY.items() if name in refused))
    if unseen := facts.get("not_judged"):
        print(f"Not judged by pixels: a photo of {count_of(unseen, 'pair')}, too small or without a forensic score.")
    print(f"Output: {folder.out}")


_WHY = {
    "similarity": "not alike enough",
    "forensic": "with a photo that looks manipulated",
    "both": "for both reasons",
    "too_small": "with a photo too small to judge",
}


def main() -> int:
    """Entry point."""
    return run_job("score", ScoreConfig, run, __doc__ or "", ("pairs", "out"))


if __name__ == "__main__":
    sys.exit(main())
