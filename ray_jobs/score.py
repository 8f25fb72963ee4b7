"""Photos and a list of pairs in, a similarity for every pair out.

python -m ray_jobs.score configs/score.yaml --photos PHOTOS --pairs pairs.csv --model model.onnx --out runs/scores
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pyarrow as pa

from faceverify.align import AlignConfig, build
from faceverify.config import JobConfig, identity
from faceverify.datasets import PairListConfig
from faceverify.errors import UserError
from faceverify.evaluation.calibration import Calibration, check_model
from faceverify.faces import Stopwatch
from faceverify.images import ImageLimits
from faceverify.inputs import fingerprint, one_photo, open_embeddings, open_photos, stream_table
from faceverify.models import EngineConfig
from faceverify.models.card import ModelCard
from faceverify.run_folder import RunFolder, dry_run, read_part
from faceverify.scoring.csv_output import CsvConfig, write_csv
from faceverify.scoring.photos import STAGE, photo_facts, published_rows
from faceverify.scoring.plan import ScorePlan, check_pairs, make_plan
from faceverify.scoring.similarity import OK
from faceverify.storage import Location, check_readable, check_writable, open_location
from faceverify.tables import embeddings as embeddings_schema
from ray_jobs import pair_tasks
from ray_jobs.session import Cluster, Progress, check_shared, connect, run_job
from ray_jobs.stages import Chain, EmbeddingSink, PhotoSource, engine_for, run_chain

OUTPUTS = ("scores", "scores.csv", "rejects", "embeddings")


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreConfig(JobConfig):
    """Score pairs of photos. Each photo is read, aligned and embedded once, however many pairs name it."""

    photos: str = ""
    """Folder of photos, or a photos table (the output of ingest). May be left out if `embeddings` holds all photos."""
    pairs: str = ""
    """CSV or Parquet with photo_a, photo_b[, label, ...], a pairs table, or LFW's pairs.txt. Required."""
    model: str = ""
    """Name of a published model (see `python -m ray_jobs.models list`), a file (.onnx, .pt, .pth, .ckpt, .safetensors),
    a checkpoint, or the output of train, tune, export or pipeline."""
    embeddings: str = ""
    """Embeddings table to re-use (the output of an earlier score or embed); photos that it lacks are embedded."""
    calibration: str = ""
    """calibration.json of `evaluate`: decides `accepted`. Without one nothing is decided."""
    align: AlignConfig = field(default_factory=AlignConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    images: ImageLimits = field(default_factory=ImageLimits)
    pair_list: PairListConfig = field(default_factory=PairListConfig)
    csv: CsvConfig = field(default_factory=CsvConfig)
    photos_per_shard: int = 128
    """Photos per unit of work: what a killed worker has to do again."""
    pairs_per_shard: int = 65_536
    """Pairs per unit of work."""
    shared_embeddings_gb: float = 4.0
    """Up to this size (GiB) all embeddings are shared by the workers of a node; beyond it they are spread over the
    cluster and looked up from there."""


@dataclass(frozen=True)
class Inputs:
    """What was found at the places that the configuration names."""

    photos: list[Location] | Location | None  # files of a table, or the folder of the pictures
    embeddings: list[Location]
    model: ModelCard | None
    calibration: Calibration | None
    digests: dict[str, str]
    shared: list[str | Location]  # what every node has to see

    def dim(self, plan: ScorePlan) -> int:
        """Numbers in an embedding."""
        return self.model.dim if self.model else plan.dim


def run(config: ScoreConfig) -> None:
    """Check, plan, embed, score, commit."""
    from faceverify.models.folders import weights_file

    config = replace(config, model=weights_file(config.model)) if config.model else config  # one file for all workers
    inputs = check_inputs(config)
    out = open_location(config.out)
    check_writable(out, "out")
    print_plan(config, inputs)
    plan = {"job": "score", "config": identity(config), "inputs": inputs.digests}
    if config.dry_run:
        dry_run(out, plan, config.overwrite)
        return
    folder = RunFolder(out, plan, OUTPUTS, config.overwrite)
    if not folder.complete:
        finish(config, inputs, folder)
    summarise(folder, inputs.calibration)


def check_inputs(config: ScoreConfig) -> Inputs:
    """Everything that can be checked before work starts.

    Raises:
        UserError: a field is missing or wrong.
        PlatformError: storage refuses.
    """
    if not config.photos and not config.embeddings:
        raise UserError("Required and not given: --photos DIR_OR_TABLE (or --embeddings TABLE that holds all photos).")
    if bool(config.photos) != bool(config.model):
        missing, given = ("--model", "--photos") if config.photos else ("--photos", "--model")
        raise UserError(f"{given} is given without {missing}; embedding photos needs both.")
    named = {"pairs": config.pairs, "photos": config.photos, "embeddings": config.embeddings}
    places = {name: open_location(uri) for name, uri in named.items() if uri}
    for name, place in places.items():
        check_readable(place, name)
    check_pairs(read_pairs(config), config.csv)
    embeddings = open_embeddings(places["embeddings"]) if config.embeddings else []
    model = card_of_model(config.model) if config.model else None
    digests = {name: fingerprint(place) for name, place in places.items() if name != "photos"}
    photos: list[Location] | Location | None = None
    if config.photos:
        photos = open_photos(places["photos"])
        digests["photos"] = fingerprint(places["photos"]) if isinstance(photos, list) else photos.uri
        build(config.align)  # checks the weights
    digest = model_digest(model, embeddings)
    calibration = read_calibration(config.calibration, digest)
    shared = [*([one_photo(photos)] if photos else []), config.align.weights, config.model]
    return Inputs(photos, embeddings, model, calibration, digests | {"model": digest}, shared)


def read_pairs(config: ScoreConfig) -> Iterator[pa.Table]:
    """The list of pairs in pieces (importing what that needs only now)."""
    from faceverify.datasets.pair_lists import open_pairs

    return (pa.Table.from_batches([piece]) for piece in open_pairs(open_location(config.pairs), config.pair_list))


def card_of_model(model: str) -> ModelCard:
    """The card of a model named by the user (importing what that needs only now)."""
    from faceverify.models.engines import resolve

    return resolve(model)[1]


def model_digest(model: ModelCard | None, embeddings: list[Location]) -> str:
    """The digest of the card of the model at work.

    Raises:
        UserError: the embeddings to re-use were made with another model.
    """
    first = next(stream_table(embeddings, ["model"], rows=1), None)
    made_with = first["model"][0].as_py() if first is not None and first.num_rows else None
    if model and made_with not in (None, model.digest):
        raise UserError(
            f"embeddings: they are of another model (card {made_with}), not of --model (card {model.digest})."
        )
    return model.digest if model else made_with or ""


def read_calibration(uri: str, digest: str) -> Calibration | None:
    """The calibration the user named, if it fits the model."""
    if not uri:
        return None
    calibration = Calibration.read(open_location(uri))
    check_model(calibration, digest)
    return calibration


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
    with clock("plan"), folder.planning():
        noted = folder.noted("plan_of_work")
        plan = ScorePlan(**noted) if noted else plan_work(config, inputs, folder)
    with clock("connect"):
        cluster = connect(config)
        check_shared(cluster, folder.work, *inputs.shared)
    print(f"Ray: {cluster}")
    with clock("embed"):
        workers = embed_photos(config, plan, folder, cluster) if inputs.model else {}
    with clock("score"):
        score_pairs(config, inputs, plan, folder, cluster)
    commit(config, inputs, plan, folder, {**clock.seconds, "workers": workers})


def plan_work(config: ScoreConfig, inputs: Inputs, folder: RunFolder) -> ScorePlan:
    """Cut pairs and photos into shards (done anew if it was interrupted)."""
    for name in ("pairs", "photos"):
        (folder.work / name).delete()
    cut = config.pairs_per_shard, config.photos_per_shard
    plan = make_plan(read_pairs(config), inputs.photos, inputs.embeddings, folder.work, *cut)
    if inputs.model and plan.dim not in (0, inputs.model.dim):
        raise UserError(
            f"embeddings: they have {plan.dim} numbers, the model gives {inputs.model.dim}; they are of another model."
        )
    folder.note("plan_of_work", plan.as_json())
    return plan


def embed_photos(config: ScoreConfig, plan: ScorePlan, folder: RunFolder, cluster: Cluster) -> dict[str, float]:
    """Embed the photos that have no embedding yet; seconds per stage, summed over workers."""
    done = folder.done(STAGE)
    todo = [shard for shard in range(plan.photo_shards) if shard not in done]
    engine = engine_for(config.engine, cluster, config.workers)
    chain = Chain(
        folder.work, "photos", STAGE, PhotoSource(config.align, config.images), EmbeddingSink(config.model, engine)
    )
    ready = min(len(done) * plan.rows_per_photo_shard, plan.photos)
    progress = Progress("photos", plan.photos - plan.reused, done=ready)
    seconds = run_chain(chain, todo, cluster, config.workers, progress, gpu=True)
    if todo:
        progress.finish()
    return seconds


def score_pairs(config: ScoreConfig, inputs: Inputs, plan: ScorePlan, folder: RunFolder, cluster: Cluster) -> None:
    """Score the shards of pairs that are not yet scored."""
    done = folder.done(pair_tasks.STAGE)
    todo = [shard for shard in range(plan.pair_shards) if shard not in done]
    if not todo:
        return
    rejects = folder.parts(f"{STAGE}.rejects")
    facts = photo_facts(folder.work, plan, rejects, embedded=inputs.model is not None)
    progress = Progress("pairs", plan.pairs, done=min(len(done) * config.pairs_per_shard, plan.pairs))
    threshold = inputs.calibration.threshold if inputs.calibration else None
    job = pair_tasks.PairJob(folder.work, plan, inputs.dim(plan), facts, threshold)
    pair_tasks.run_pairs(job, todo, cluster, int(config.shared_embeddings_gb * 2**30), progress)
    progress.finish()


def commit(config: ScoreConfig, inputs: Inputs, plan: ScorePlan, folder: RunFolder, seconds: dict[str, Any]) -> None:
    """Publish the tables, the CSV and the manifest."""
    digest, dim = inputs.digests["model"], inputs.dim(plan)
    embedded = folder.publish("embeddings", published_rows(folder.work, plan, dim, digest), embeddings_schema(dim))
    reasons = folder.publish_rejects([STAGE])
    parts = folder.parts("scores")
    schema = read_part(parts[0]).schema
    if config.csv.preset != "none" or config.csv.columns:
        write_csv(folder.out / "scores.csv", map(read_part, parts), config.csv, schema)
    statuses = Counter(status for p in parts for status in read_part(p)["status"].to_pylist())
    scored = folder.publish("scores", map(read_part, parts), schema)
    assert scored == plan.pairs, f"{plan.pairs} pairs became {scored} scores"
    if inputs.model:
        rejected = sum(reasons.values())
        assert embedded + rejected == plan.photos, f"{plan.photos} photos became {embedded} + {rejected}"
    folder.finish(
        {
            "job": "score",
            "config": asdict(config),
            "model": json.loads(inputs.model.to_json()) if inputs.model else {"digest": digest},
            "rows_in": {"pairs": plan.pairs, "photos": plan.photos},
            "rows_out": {"scores": scored, "embeddings": embedded},
            "rejects": reasons,
            "statuses": dict(statuses),
            "photos_root": inputs.photos.uri if isinstance(inputs.photos, Location) else None,
            "photos_table": config.photos if isinstance(inputs.photos, list) else None,
            "seconds": seconds,
        }
    )


def summarise(folder: RunFolder, calibration: Calibration | None) -> None:
    """The last lines: how many, what failed and why, the threshold, where."""
    facts = folder.manifest()
    pairs, failed = facts["rows_in"]["pairs"], {k: n for k, n in facts["statuses"].items() if k != OK}
    print(f"{pairs:,} pairs scored over {facts['rows_in']['photos']:,} photos.")
    if failed:
        print(
            f"{sum(failed.values()):,} pairs have no similarity: "
            + ", ".join(f"{n:,} {why}" for why, n in failed.items())
        )
    if facts["rejects"]:
        print("Photos rejected: " + ", ".join(f"{n:,} {why}" for why, n in facts["rejects"].items()))
    print(
        calibration.sentence() if calibration else "No threshold: without --calibration nothing is accepted or refused."
    )
    print(f"Output: {folder.out}")


def main() -> int:
    """Entry point."""
    return run_job("score", ScoreConfig, run, __doc__ or "", ("pairs", "out"))


if __name__ == "__main__":
    sys.exit(main())
