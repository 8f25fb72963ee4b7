"""Photos and labelled pairs in, error rates over the strength of attacks out: noise, blur, JPEG, FGSM, PGD.

python -m ray_jobs.attack configs/attack.yaml --photos PHOTOS --pairs pairs.csv --out runs/attack
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from faceverify import tables
from faceverify.align import AlignConfig, build
from faceverify.align.cards import crops_for
from faceverify.attacks.options import Attack, Condition, Strengths, conditions_of
from faceverify.config import Input, JobConfig, command_line, plan_of
from faceverify.datasets import PairListConfig
from faceverify.errors import UserError
from faceverify.faces import Stopwatch
from faceverify.failures import refuse_rejects, refuse_run
from faceverify.images import ImageLimits
from faceverify.inputs import fingerprint, one_photo, open_photos, root_of, stream_table, table_files
from faceverify.models import EngineConfig
from faceverify.models.card import ModelCard
from faceverify.provenance import Identifier, PhotoIdentity, describe_crop, describe_scoring, outdated, reasons_told
from faceverify.run_folder import RunFolder
from faceverify.scoring.csv_output import CsvConfig
from faceverify.scoring.photos import STAGE, planned_versions, published_versions
from faceverify.scoring.plan import ScorePlan, check_pairs, make_plan
from faceverify.scoring.similarity import OK
from faceverify.shards import read_shard
from faceverify.storage import Location, check_readable, check_writable, open_location
from faceverify.units import LocalMapper
from faceverify.wording import count_of
from ray_jobs.engine.attack_work import PAIRS, AttackedSink, AttackedSource, AttackJob, PairsUnderAttack
from ray_jobs.engine.cluster import Cluster, check_shared, connect
from ray_jobs.engine.dry_run import is_dry
from ray_jobs.engine.failure_limit import Watch, Watched
from ray_jobs.engine.photo_pipeline import Chain, EmbeddingSink, Ran, engine_for, run_chain
from ray_jobs.engine.progress import Progress
from ray_jobs.engine.session import run_job
from ray_jobs.engine.shards import Shards, maker, map_shards
from ray_jobs.engine.wanted_weights import default_model, seen_from_anywhere, shared_weights

OUTPUTS = ("scores", "curves", "curves.csv", "embeddings", "rejects", "report.html")


@dataclass(frozen=True, kw_only=True, slots=True)
class AttackConfig(JobConfig):
    """Measure how error rates grow with the strength of attacks on the second photo of each pair."""

    photos: Input = ""
    """Folder of photos, or a photos table (the output of ingest); aligned faces with `align.method` none. Required."""
    pairs: Input = ""
    """List of labelled pairs, as `score` takes it; photo_a is the enrolled photo, photo_b the attacked one. Required.
    """
    model: Input = ""
    """Name of a published model (see `faceverify models list`), a weights file, a checkpoint, or the output of train,
    tune, export or pipeline. Empty = sface, which has no gradients: fgsm and pgd need PyTorch weights."""
    attacks: tuple[Attack, ...] = ("noise", "blur", "jpeg", "low_resolution")
    """Which attacks: noise, blur, jpeg and low_resolution on the photo; fgsm and pgd on the pixels of the crop, by the
    gradient of the similarity (PyTorch weights only)."""
    strengths: Strengths = field(default_factory=Strengths)
    calibrate_at: Literal["eer"] | float = "eer"
    """Where the threshold is put on the photos as they are: `eer`, or an FMR such as 0.001; FNMR, FMR and IAPAR of all
    attacks are at it."""
    replicates: int = 200
    """Bootstrap replicates behind each interval; 0 = no intervals."""
    seed: int = 0
    """Seed of the noise, of the starts of PGD and of the bootstrap."""
    examples: int = 1
    """Pairs of each kind that the report shows under every attack."""
    pair_list: PairListConfig = field(default_factory=PairListConfig)
    photo_identity: PhotoIdentity = "stat"
    """By what a photo is known again: stat = its place, size and time of change; content = the SHA-256 of its bytes."""
    align: AlignConfig = field(default_factory=AlignConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    images: ImageLimits = field(default_factory=ImageLimits)
    photos_per_shard: int = 64
    """Photos per unit of work: what a killed worker has to do again."""
    pairs_per_shard: int = 128
    """Pairs per unit of work."""

    def __post_init__(self) -> None:
        for name in ("replicates", "examples"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} is {getattr(self, name)}: give 0 or more.")


@dataclass(frozen=True)
class Inputs:
    """What was found at the places that the configuration names."""

    photos: list[Location] | Location
    card: ModelCard
    crop: str
    conditions: tuple[Condition, ...]
    digests: dict[str, str]
    shared: list[str | Location]

    @property
    def degradations(self) -> tuple[Condition, ...]:
        """The attacks on photos."""
        return tuple(condition for condition in self.conditions if not condition.on_gradients)

    @property
    def on_gradients(self) -> bool:
        """Whether there are others."""
        return len(self.degradations) < len(self.conditions)

    def source(self, config: AttackConfig) -> AttackedSource:
        """What makes crops."""
        align = (config.align, config.images, config.photo_identity, self.crop)
        [shown] = crops_for(config.align, self.card.shown)
        return AttackedSource(*align, shown, self.degradations, config.seed)


def run(config: AttackConfig) -> None:
    """Check, plan, embed, attack, measure, commit."""
    from faceverify.models.folders import weights_file

    config = replace(config, model=weights_file(config.model or default_model()))  # the same file for all workers
    inputs = check_inputs(config)
    out = open_location(config.out)
    check_writable(out, "out")
    attacks = ", ".join(dict.fromkeys(condition.attack for condition in inputs.conditions))
    print(f"Model: {inputs.card.name} (card {inputs.card.digest[:12]}); attacks: {attacks}")
    plan = plan_of("attack", config, inputs.digests)
    if is_dry(config, out, plan, OUTPUTS):
        return
    folder = RunFolder(out, plan, OUTPUTS, config.overwrite)
    look_again(config, inputs, folder)
    if not folder.complete:
        finish(config, inputs, folder)
    summarise(folder)


def check_inputs(config: AttackConfig) -> Inputs:
    """Everything that can be checked before work starts.

    Raises:
        UserError: a field is missing or wrong.
        PlatformError: storage refuses.
    """
    from faceverify.models.loading import resolve

    conditions = tuple(conditions_of(config.attacks, config.strengths))
    path, card = resolve(config.model)
    if path.suffix.lower() == ".onnx" and (wanted := [c.attack for c in conditions if c.on_gradients]):
        raise UserError(
            f"attacks holds {wanted[0]}, and model '{config.model}' is an ONNX graph, which has no gradients: give "
            "PyTorch weights as --model, or leave fgsm and pgd out of --attacks."
        )
    places = {name: open_location(getattr(config, name)) for name in ("photos", "pairs")}
    for name, place in places.items():
        check_readable(place, name)
    check_pairs(read_pairs(config), CsvConfig())
    photos = open_photos(places["photos"])
    table = isinstance(photos, list)
    [shown] = crops_for(config.align, card.shown)
    crop = describe_crop(config.align, build(config.align).name, shown)
    digests = {
        "photos": fingerprint(places["photos"]) if table else places["photos"].real,
        "pairs": fingerprint(places["pairs"]),
        "model": card.digest,
        "align.weights": crop,
    }
    shared = [one_photo(photos), *shared_weights(config.align, config.model)]
    return Inputs(photos, card, crop, conditions, digests, shared)


def read_pairs(config: AttackConfig) -> Iterator[pa.Table]:
    """The list of pairs in pieces."""
    from faceverify.datasets.pair_lists import open_pairs

    pieces = open_pairs(open_location(config.pairs), config.pair_list)
    return (pa.Table.from_batches([piece]) for piece in pieces)


def look_again(config: AttackConfig, inputs: Inputs, folder: RunFolder) -> None:
    """Refuse a run, finished or not, whose photos have changed since it dealt with them.

    Raises:
        UserError: they have.
    """
    noted = folder.noted("plan_of_work")
    if not (folder.complete or noted):
        return
    if folder.complete:
        seen = published_versions(folder.out, inputs.photos)
    else:
        seen = planned_versions(folder.work, ScorePlan(**noted or {}), folder.done(STAGE))
    photos = Identifier(config.photo_identity, config.align.method == "annotated", config.images.max_bytes)
    if changed := outdated(seen, photos):
        raise UserError(
            f"photos: {folder.out} was made of photos that are not what they were ({reasons_told(changed)}); pass "
            "--overwrite to make it again, or choose another --out."
        )


def finish(config: AttackConfig, inputs: Inputs, folder: RunFolder) -> None:
    """All the work that is not yet done."""
    if folder.resumed:
        print("Going on where an earlier run stopped.")
    clock = Stopwatch()
    with folder.planning(), clock("plan"):
        plan = ScorePlan(**noted) if (noted := folder.noted("plan_of_work")) else plan_work(config, inputs, folder)
    with clock("connect"):
        cluster = connect(config, max(plan.photo_shards, plan.pair_shards))
        check_shared(cluster, folder.work, *inputs.shared)
    print(f"Ray: {cluster}")
    with clock("photos"):
        ran = attack_photos(config, inputs, plan, folder, cluster)
    with clock("pairs"):
        ran.operators += attack_pairs(config, inputs, plan, folder, cluster)
    with clock("commit"):
        facts = commit(config, inputs, plan, folder, cluster)
    folder.finish({**facts, "seconds": {**clock.seconds, "workers": ran.seconds}, "operators": ran.operators})


def plan_work(config: AttackConfig, inputs: Inputs, folder: RunFolder) -> ScorePlan:
    """Cut pairs and photos into shards (again if it was interrupted).

    Raises:
        UserError: the list does not fit the photos, or is too short for the false match rate asked for.
    """
    from faceverify.datasets.pair_units import divide
    from faceverify.evaluation.metrics import allowed_matches

    pairs = divide(open_location(config.pairs), config.pair_list, root_of(inputs.photos))
    cut = config.pairs_per_shard, config.photos_per_shard
    digest = inputs.card.digest
    plan = make_plan(pairs, inputs.photos, [], None, folder.work, *cut, LocalMapper(), config.max_failed, digest)
    if config.calibrate_at != "eer":
        allowed_matches(config.calibrate_at, plan.pairs)  # not even if all of them were impostors
    folder.note("plan_of_work", plan.as_json())
    return plan


def attack_photos(config: AttackConfig, inputs: Inputs, plan: ScorePlan, folder: RunFolder, cluster: Cluster) -> Ran:
    """Embed the photos as they are and under every degradation."""
    done = folder.done(STAGE)
    todo = [shard for shard in range(plan.photo_shards) if shard not in done]
    sink = EmbeddingSink(config.model, engine_for(config.engine, cluster, config.workers), inputs.card.digest)
    attacked = AttackedSink(sink, len(inputs.degradations), inputs.on_gradients)
    chain = Chain(folder.work, partial(photos_of, folder.work), STAGE, inputs.source(config), attacked)
    ready = min(len(done) * plan.rows_per_photo_shard, plan.photos)
    watch = Watch(folder, STAGE, plan.photos, config.max_failed, ready)
    progress = Watched("photos", plan.photos, done=ready, watch=watch)
    ran = run_chain(chain, todo, cluster, config.workers, progress, gpu=True)
    if todo:
        progress.finish()
    refuse_rejects(folder, [STAGE], plan.photos, config.max_failed)
    return ran


def photos_of(work: Location, shard: int) -> pa.Table:
    """The photos of a shard, with their `row`."""
    return read_shard(work / "photos", shard)


def attack_pairs(
    config: AttackConfig, inputs: Inputs, plan: ScorePlan, folder: RunFolder, cluster: Cluster
) -> list[dict[str, Any]]:
    """Score the shards of pairs that are not yet scored; returns which of Ray Data's operators ran."""
    from ray_jobs.engine.pair_scores import pairs_of

    done = folder.done(PAIRS)
    todo = [shard for shard in range(plan.pair_shards) if shard not in done]
    if not todo:
        return []
    progress = Progress("pairs", plan.pairs, done=min(len(done) * config.pairs_per_shard, plan.pairs))
    job = AttackJob(
        work=folder.work,
        plan=plan,
        conditions=inputs.conditions,
        rejects=tuple(folder.parts(f"{STAGE}.rejects")),
        scored_with=describe_scoring(inputs.card.digest, inputs.crop),
        model=seen_from_anywhere(config.model),
        engine=engine_for(config.engine, cluster, config.workers),
        digest=inputs.card.digest,
        dim=inputs.card.dim,
        steps=config.strengths.pgd_steps,
        seed=config.seed,
        threads=0 if cluster.here else 1,
    )
    has = {"num_gpus": 1, "num_cpus": 0.1} if inputs.on_gradients and cluster.gpus else {}
    most = min(config.workers or cluster.gpus, cluster.gpus) if has else config.workers
    rows = Shards(partial(pairs_of, folder.work, plan.shards_of_units), todo, "Pairs")
    operators = map_shards(rows, PairsUnderAttack, (job,), cluster, progress, most, **has)
    progress.finish()
    return operators


def commit(
    config: AttackConfig, inputs: Inputs, plan: ScorePlan, folder: RunFolder, cluster: Cluster
) -> dict[str, Any]:
    """Publish the tables and the report; returns what the manifest says of them."""
    from faceverify.attacks.curves import SCHEMA, as_csv, as_table, measure

    statuses = folder.facts(PAIRS).counts
    failed = {status: count for status, count in statuses.items() if status != OK}
    refuse_run(folder, failed, plan.pairs, config.max_failed, stages=[STAGE], what="pairs")
    scores = pa.concat_tables(stream_table(folder.parts(PAIRS)))
    curves = measure(scores, inputs.conditions, config.calibrate_at, config.replicates, config.seed)
    page = report(config, inputs, folder, scores, curves)
    make = maker(cluster)
    dim = inputs.card.dim
    embedded = folder.publish("embeddings", plain_embeddings(inputs, folder), tables.embeddings(dim))
    reasons = folder.publish_rejects([STAGE], make=make)
    assert embedded + sum(reasons.values()) == plan.photos, f"{plan.photos} photos became {embedded} + {reasons}"
    scored = folder.publish_parts("scores", scores.schema, [PAIRS], make).rows
    assert scored == plan.pairs, f"{plan.pairs} pairs became {scored} scores"
    folder.publish("curves", [as_table(curves)], SCHEMA)
    (folder.out / "curves.csv").write_bytes(as_csv(curves).encode())
    (folder.out / "report.html").write_bytes(page.encode())
    return {
        "job": "attack",
        "config": asdict(config),
        "model": json.loads(inputs.card.to_json()),
        "rows_in": {"pairs": plan.pairs, "photos": plan.photos},
        "rows_out": {"scores": scored, "embeddings": embedded, "curves": len(curves.points)},
        "rejects": reasons,
        "statuses": dict(statuses),
        "threshold": curves.threshold,
        "found": plan.found,
    }


def plain_embeddings(inputs: Inputs, folder: RunFolder) -> Iterator[pa.Table]:
    """Rows of tables.embeddings: the photos as they are."""
    dim = inputs.card.dim
    for table in stream_table(folder.parts(STAGE), ["photo", "photo_version", "vectors"]):
        vectors = np.array(table["vectors"].combine_chunks().flatten()).reshape(len(table), -1, dim)[:, 0]
        columns = {
            "photo": table["photo"],
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), dim),
            "norm": pa.array(np.linalg.norm(vectors, axis=1).astype(np.float32)),
            "model": pa.repeat(inputs.card.digest, len(table)),
            "photo_version": table["photo_version"],
            "crop": pa.repeat(inputs.crop, len(table)),
        }
        yield pa.table(columns, schema=tables.embeddings(dim))


def report(config: AttackConfig, inputs: Inputs, folder: RunFolder, scores: pa.Table, curves: Any) -> str:
    """The page."""
    from faceverify.report.attack import render_attack
    from faceverify.report.page import ReportAbout
    from ray_jobs.engine.attack_examples import examples_of
    from ray_jobs.evaluate import versions

    about = ReportAbout(
        title="Attacks",
        command=command_line(),
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        summary=f"How {inputs.card.name} holds out when the photo that is shown to it is made worse, or changed on "
        f"purpose: {count_of(len(scores), 'pair')}, attacked in {count_of(len(inputs.conditions), 'way')}.",
        inputs={name: getattr(config, name) for name in ("photos", "pairs", "model")},
        versions=versions(),
    )
    source = inputs.source(config)
    examples = examples_of(config, source, inputs.conditions, inputs.card.digest, folder.work, scores, curves.threshold)
    return render_attack(curves, examples, about, asdict(config))


def summarise(folder: RunFolder) -> None:
    """The last lines: how many, what was rejected and why, the EER at the strongest of each attack, where."""
    facts = folder.manifest()
    pairs, photos = (count_of(facts["rows_in"][name], name[:-1]) for name in ("pairs", "photos"))
    print(f"{pairs} over {photos}.")
    if facts["rejects"]:
        print("Photos rejected: " + ", ".join(f"{n:,} {why}" for why, n in facts["rejects"].items()))
    rows = pa.concat_tables(stream_table(table_files(folder.out / "curves", "curves"))).to_pylist()
    strongest = {row["attack"]: row for row in rows}
    for attack, row in strongest.items():
        eer = row["eer"] if row["eer_real"] is None else row["eer_real"]
        if eer is not None:
            at = "as the photos are" if row["strength"] is None else f"{attack} at {row['strength']:g}"
            print(f"  EER {eer:7.2%}  {at}")
    print(f"Report: {folder.out / 'report.html'}")


def main() -> int:
    """Entry point."""
    return run_job("attack", AttackConfig, run, __doc__ or "", ("photos", "pairs", "out"))


if __name__ == "__main__":
    sys.exit(main())
