"""Every photo with every other one: of one folder (look-alikes, near duplicates), or of two.

python -m ray_jobs.all_pairs --photos PHOTOS --others OTHERS --at-least .4 --out runs/alike
"""

import json
import sys
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
from annotated_types import Interval

from faceverify.align import build
from faceverify.align.cards import crops_for
from faceverify.config import Input, digest, plan_of
from faceverify.errors import UserError
from faceverify.evaluation.calibration import check_similarity_alone, threshold_sentence
from faceverify.faces import Stopwatch
from faceverify.inputs import fingerprint, open_embeddings, stream_table, table_files
from faceverify.provenance import NAMES, Identifier, describe_crop, describe_scoring, one_origin
from faceverify.run_folder import RunFolder
from faceverify.scoring.all_pairs import ALL_PAIRS_SIDE, SIDE, Tiles
from faceverify.scoring.photo_sets import PhotoSet, numbered, open_sets
from faceverify.scoring.photos import STAGE
from faceverify.scoring.plan import ScorePlan, plan_photos
from faceverify.scoring.reuse import GivenTable, Wanted, blocks_of
from faceverify.scoring.similarity import PairDecision
from faceverify.storage import Location, check_readable, check_writable, open_location
from faceverify.units import LocalMapper
from faceverify.wording import count_of
from ray_jobs.engine import pair_scores
from ray_jobs.engine.cluster import Cluster
from ray_jobs.engine.dry_run import is_dry
from ray_jobs.engine.photo_pipeline import Ran
from ray_jobs.engine.progress import Progress
from ray_jobs.engine.session import run_job
from ray_jobs.engine.units import mapper_for
from ray_jobs.engine.wanted_weights import check_fetched, default_model, shared_weights
from ray_jobs.score import (
    BLOCKS_ALONE,
    EmbeddingConfig,
    Inputs,
    card_of_model,
    connected,
    embed_photos,
    publish_photos,
    publish_scores,
    read_calibration,
    reuse_line,
)

OUTPUTS = ("scores", "scores.csv", "rejects", "embeddings")
MOST_ROWS = 100_000_000  # without at_least: some gigabytes
SHOWN = 5  # of the pairs most alike


@dataclass(frozen=True, kw_only=True, slots=True)
class AllPairsConfig(EmbeddingConfig):
    """Compare every photo with every other one. Each photo is aligned and embedded once."""

    photos: Input = ""
    """Folder of photos, a photos table (the output of ingest), or embeddings (the output of embed, score or all_pairs).
    Required."""
    others: Input = ""
    """The same, of the photos that these are compared with; empty = with each other."""
    person: str = ""
    """Only photos of this person: the person of the table, in a folder the name of the person's folder."""
    at_least: Annotated[float, Interval(ge=-1, le=1)] | None = None
    """Keep the pairs of at least this similarity (near duplicates: from about .9 on); none = all pairs."""


@dataclass(frozen=True)
class Sets:
    """The photos that are compared.

    Args:
        sets: one or two.
        rows: of all of them, in order.
        tiles: what is compared with what.
    """

    sets: list[PhotoSet]
    rows: pa.Table
    tiles: Tiles


def run(config: AllPairsConfig) -> None:
    """Check, plan, embed, compare, commit."""
    from faceverify.models.folders import weights_file

    sets = open_photo_sets(config)
    if not sets.sets[0].embedded:
        config = config if config.model else replace(config, model=default_model())
        check_fetched("all_pairs", config)
    config = replace(config, model=weights_file(config.model)) if config.model else config  # one file for all workers
    inputs = check_inputs(config, sets)
    out = open_location(config.out)
    check_writable(out, "out")
    print(f"Pairs: {sets.tiles.pairs:,} of {count_of(sets.rows.num_rows, 'photo')} -> {config.out}")
    plan = plan_of("all_pairs", config, inputs.digests)
    if is_dry(config, out, plan, OUTPUTS):
        return
    folder = RunFolder(out, plan, OUTPUTS, config.overwrite)
    if not folder.complete:
        finish(config, inputs, sets, folder)
    summarise(folder, threshold_sentence(config.threshold, inputs.calibration))


def open_photo_sets(config: AllPairsConfig) -> Sets:
    """The photos to compare.

    Raises:
        UserError: there are none, or too many for all pairs to be written.
        PlatformError: storage refuses.
    """
    named = {name: uri for name in ("photos", "others") if (uri := getattr(config, name))}
    for name, uri in named.items():
        check_readable(open_location(uri), name)
    sets = open_sets(named)
    rows, counts = numbered(sets, config.person)
    second = counts[1] if len(counts) > 1 else 0
    tiles = Tiles(counts[0], second, ALL_PAIRS_SIDE if config.at_least is None else SIDE)
    if not tiles.pairs:
        raise UserError(f"photos: '{config.photos}' holds a single photo, and --others is not given.")
    if config.at_least is None and tiles.pairs > MOST_ROWS:
        raise UserError(
            f"--at-least is not given, and {tiles.pairs:,} pairs would be written: give a similarity, such as "
            "--at-least .3, that pairs must have to be kept."
        )
    return Sets(sets, rows, tiles)


def check_inputs(config: AllPairsConfig, sets: Sets) -> Inputs:
    """Everything else that can be checked before work starts.

    Raises:
        UserError: a field is missing or wrong.
        PlatformError: storage refuses.
    """
    embedded, files = sets.sets[0].embedded, [file for one in sets.sets for file in one.files]
    if config.model and embedded:
        raise UserError(f"--model is {config.model!r}, and --photos holds embeddings: leave it out.")
    reused = open_embeddings(open_location(config.embeddings), True) if config.embeddings else []
    model = card_of_model(config.model) if config.model else None
    if model:
        [shown] = crops_for(config.align, model.shown)
        origin, crop = model.digest, describe_crop(config.align, build(config.align).name, shown)
        # Photos that change make another run of it.
        versions = _identifier(config).versions(sets.rows).to_pylist()
        which = digest([sets.rows["photo"].to_pylist(), versions])
    else:
        origin, crop = one_origin(files, "photos")
        which = digest([fingerprint(one.place) for one in sets.sets])
    calibration = read_calibration(config, origin, crop)
    if calibration:
        check_similarity_alone(calibration, config.calibration)
    digests = {
        "photos": which,
        "others": which,
        "embeddings": fingerprint(open_location(config.embeddings)) if config.embeddings else "",
        "model": origin,
        "align.weights": crop or "",
        "calibration": calibration.to_json() if calibration else "",
    }
    weights = shared_weights(config.align, config.model) if config.model else []
    shared = [*(one.place for one in sets.sets), *weights]
    return Inputs(None, reused, model, calibration, crop, digests, shared)


def _identifier(config: AllPairsConfig) -> Identifier:
    return Identifier(config.photo_identity, config.align.method == "annotated", config.images.max_bytes)


def finish(config: AllPairsConfig, inputs: Inputs, sets: Sets, folder: RunFolder) -> None:
    """All the work that is not yet done."""
    if folder.resumed:
        print("Going on where an earlier run stopped.")
    clock = Stopwatch()
    cluster, operators = None, []
    with folder.planning():
        if noted := folder.noted("plan_of_work"):
            plan = ScorePlan(**noted)
        else:
            given = given_tables(inputs, sets)
            if (units := sum(len(blocks_of(table)) for table in given) // BLOCKS_ALONE) > 1:
                cluster = connected(config, inputs, folder, units, clock, *inputs.embeddings)
            with clock("plan"):
                plan, operators = plan_work(config, inputs, sets, folder, given, cluster)
    cluster = cluster or connected(config, inputs, folder, max(plan.photo_shards, plan.pair_shards), clock)
    print(f"Ray: {cluster}")
    with clock("embed"):
        ran = embed_photos(config, inputs, plan, folder, cluster) if inputs.model else Ran()
    with clock("compare"):
        ran.operators += compare(config, inputs, plan, sets, folder, cluster)
    with clock("commit"):
        facts = commit(config, inputs, plan, sets.tiles, folder, cluster)
    seconds = {**clock.seconds, "workers": ran.seconds}
    folder.finish({**facts, "seconds": seconds, "operators": operators + ran.operators})


def given_tables(inputs: Inputs, sets: Sets) -> list[GivenTable]:
    """The tables whose embeddings are taken."""
    if inputs.model is None:
        return [GivenTable(one.files, one.prefix) for one in sets.sets]
    return [GivenTable(inputs.embeddings)] if inputs.embeddings else []


def plan_work(
    config: AllPairsConfig,
    inputs: Inputs,
    sets: Sets,
    folder: RunFolder,
    given: list[GivenTable],
    cluster: Cluster | None,
) -> tuple[ScorePlan, list[dict[str, Any]]]:
    """Cut the photos into shards (again if it was interrupted); also says which of Ray Data's operators ran."""
    for name in ("photos", "known"):
        (folder.work / name).delete()
    mapper = mapper_for(cluster, config.workers) if cluster else LocalMapper()
    names = sets.rows["photo"].cast(pa.large_string())
    rows = sets.rows.set_column(0, "photo", names) if inputs.model else pa.table({"photo": names})
    wanted = None
    if inputs.model:
        wanted = Wanted(inputs.model.digest, inputs.model.dim, inputs.crop or "", _identifier(config))
    cut = sets.tiles.pairs, rows.num_rows, len(sets.tiles)
    origin, each = inputs.digests["model"], config.photos_per_shard
    plan = plan_photos(rows, given, wanted, origin, folder.work, each, mapper, cut)
    if inputs.model and (line := reuse_line(plan.reused, plan.not_reused)):
        print(f"Embeddings: {line}")
    folder.note("plan_of_work", plan.as_json())
    return plan, getattr(mapper, "operators", [])


def compare(
    config: AllPairsConfig, inputs: Inputs, plan: ScorePlan, sets: Sets, folder: RunFolder, cluster: Cluster
) -> list[dict[str, Any]]:
    """Compare the tiles that are not yet compared; returns which of Ray Data's operators ran."""
    tiles = sets.tiles
    done = folder.done(pair_scores.STAGE)
    todo = [tile for tile in range(len(tiles)) if tile not in done]
    if not todo:
        return []
    decision = PairDecision(threshold=inputs.threshold(config))
    scored_with = describe_scoring(inputs.digests["model"], inputs.crop)
    common = (folder.work, plan, inputs.dim(plan), inputs.model is not None, decision, scored_with, config.csv)
    job = pair_scores.TileJob(*common, tiles=tiles, names=sets.rows["photo"].combine_chunks(), at_least=config.at_least)
    progress = Progress("pairs", tiles.pairs, done=sum(tiles.pairs_of(tile) for tile in done))
    shared, rejects = int(config.shared_embeddings_gb * 2**30), folder.parts(f"{STAGE}.rejects")
    operators = pair_scores.run_pairs(job, todo, cluster, shared, rejects, progress)
    progress.finish()
    return operators


def commit(
    config: AllPairsConfig, inputs: Inputs, plan: ScorePlan, tiles: Tiles, folder: RunFolder, cluster: Cluster
) -> dict[str, Any]:
    """Publish the tables and the CSV; returns what the manifest says of them."""
    origin = inputs.digests["model"]
    embedded, reasons = publish_photos(config, inputs, plan, folder, cluster) if inputs.model else (0, {})
    found = publish_scores(config, folder, cluster)
    return {
        "job": "all_pairs",
        "config": asdict(config),
        "model": json.loads(inputs.model.to_json()) if inputs.model else {"digest": origin},
        "rows_in": {"photos": plan.photos, "pairs": tiles.pairs},
        "rows_out": {"scores": found, "embeddings": embedded},
        "rejects": dict(reasons),
        "at_least": config.at_least,
        "reused": plan.reused,
        "not_reused": plan.not_reused,
        "photo_identity": NAMES[config.photo_identity],
    }


def summarise(folder: RunFolder, threshold: str) -> None:
    """The last lines: how many, what was rejected and why, the pairs most alike, where."""
    facts = folder.manifest()
    least = facts["at_least"]
    kept = f" of at least {least:g}" if least is not None else ""
    pairs, photos = count_of(facts["rows_in"]["pairs"], "pair"), count_of(facts["rows_in"]["photos"], "photo")
    print(f"{pairs} of {photos} compared: {facts['rows_out']['scores']:,}{kept} written.")
    if facts["rejects"]:
        rejected = ", ".join(f"{n:,} {why}" for why, n in facts["rejects"].items())
        print(f"Photos rejected, and compared with none: {rejected}")
    for row in most_alike(folder.out / "scores"):
        print(f"  {row['similarity']:.4f}  {row['photo_a']}  {row['photo_b']}")
    print(threshold)
    print(f"Output: {folder.out}")


def most_alike(scores: Location) -> list[dict[str, Any]]:
    """The rows of the pairs most alike, most alike first; of equal ones the first."""
    best = pa.table({"similarity": [], "photo_a": [], "photo_b": []})
    for table in stream_table(table_files(scores, "scores"), best.column_names):
        best = pa.concat_tables([best.cast(table.schema), table]) if best.num_rows else table
        order = pc.sort_indices(best, sort_keys=[("similarity", "descending")])
        best = best.take(order[:SHOWN])
    return best.to_pylist()


def main() -> int:
    """Entry point."""
    return run_job("all_pairs", AllPairsConfig, run, __doc__ or "", ("photos", "out"))


if __name__ == "__main__":
    sys.exit(main())
