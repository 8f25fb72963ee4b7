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
from faceverify.config import Input, digest, plan_of
from faceverify.errors import UserError
from faceverify.evaluation.calibration import threshold_sentence
from faceverify.faces import Stopwatch
from faceverify.inputs import fingerprint, open_embeddings, stream_table, table_files
from faceverify.parts import parquet_bytes
from faceverify.provenance import NAMES, Identifier, describe_crop, describe_scoring, one_origin
from faceverify.run_folder import RunFolder
from faceverify.scoring.all_pairs import ALL_PAIRS_SIDE, SIDE, Tiles
from faceverify.scoring.photo_sets import PhotoSet, numbered, open_sets
from faceverify.scoring.photos import STAGE, photo_facts
from faceverify.scoring.plan import ScorePlan, photo_rows
from faceverify.scoring.reuse import Reused, Wanted
from faceverify.scoring.similarity import PhotoIndex
from faceverify.shards import read_column, write_shards
from faceverify.storage import Location, check_readable, check_writable, open_location
from faceverify.wording import count_of
from ray_jobs.engine import pair_scores
from ray_jobs.engine.cluster import Cluster, check_shared, connect
from ray_jobs.engine.dry_run import is_dry
from ray_jobs.engine.photo_pipeline import Ran
from ray_jobs.engine.progress import Progress
from ray_jobs.engine.session import run_job
from ray_jobs.engine.wanted_weights import check_fetched, default_model, shared_weights
from ray_jobs.score import (
    EmbeddingConfig,
    Inputs,
    card_of_model,
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
        origin, crop = model.digest, describe_crop(config.align, build(config.align).name)
        # Photos that change make another run of it.
        versions = _identifier(config).versions(sets.rows).to_pylist()
        which = digest([sets.rows["photo"].to_pylist(), versions])
    else:
        origin, crop = one_origin(files, "photos")
        which = digest([fingerprint(one.place) for one in sets.sets])
    calibration = read_calibration(config, origin, crop)
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
    with clock("plan"), folder.planning():
        noted = folder.noted("plan_of_work")
        plan = ScorePlan(**noted) if noted else plan_work(config, inputs, sets, folder)
    with clock("connect"):
        cluster = connect(config, max(plan.photo_shards, plan.pair_shards))
        check_shared(cluster, folder.work, *inputs.shared)
    print(f"Ray: {cluster}")
    with clock("embed"):
        ran = embed_photos(config, inputs, plan, folder, cluster) if inputs.model else Ran()
    with clock("compare"):
        ran.operators += compare(config, inputs, plan, sets.tiles, folder, cluster)
    with clock("commit"):
        facts = commit(config, inputs, plan, sets.tiles, folder, cluster)
    folder.finish({**facts, "seconds": {**clock.seconds, "workers": ran.seconds}, "operators": ran.operators})


def plan_work(config: AllPairsConfig, inputs: Inputs, sets: Sets, folder: RunFolder) -> ScorePlan:
    """Cut the photos into shards (again if it was interrupted)."""
    (folder.work / "photos").delete()
    index = PhotoIndex()
    index.encode(sets.rows["photo"])
    if inputs.model is None:
        reused, listed = Reused(index.numbers, None), None
        for one in sets.sets:
            reused.add(one.files, one.prefix)
    else:
        place = folder.work / "listed.parquet"
        place.write_bytes(parquet_bytes(sets.rows))
        wanted = Wanted(inputs.model.digest, inputs.model.dim, inputs.crop or "", _identifier(config))
        reused, listed = Reused(index.numbers, wanted), [place]
        if inputs.embeddings:
            reused.add(inputs.embeddings)
    shards = write_shards(folder.work / "photos", photo_rows(index, listed, reused, {}), config.photos_per_shard)
    cut = (sets.tiles.pairs, sets.rows.num_rows, len(sets.tiles), shards, config.photos_per_shard)
    plan = ScorePlan(*cut, reused.dim, reused.taken, dict(reused.why_not))
    if inputs.model and (line := reuse_line(plan.reused, plan.not_reused)):
        print(f"Embeddings: {line}")
    folder.note("plan_of_work", plan.as_json())
    return plan


def compare(
    config: AllPairsConfig, inputs: Inputs, plan: ScorePlan, tiles: Tiles, folder: RunFolder, cluster: Cluster
) -> list[dict[str, Any]]:
    """Compare the tiles that are not yet compared; returns which of Ray Data's operators ran."""
    done = folder.done(pair_scores.STAGE)
    todo = [tile for tile in range(len(tiles)) if tile not in done]
    if not todo:
        return []
    facts = photo_facts(folder.work, plan, folder.parts(f"{STAGE}.rejects"), embedded=inputs.model is not None)
    threshold = inputs.threshold(config)
    scored_with = describe_scoring(inputs.digests["model"], inputs.crop)
    common = (folder.work, plan, inputs.dim(plan), facts, threshold, scored_with, config.csv)
    names = read_column(folder.work / "photos", "photo").combine_chunks()
    job = pair_scores.TileJob(*common, tiles=tiles, names=names, at_least=config.at_least)
    progress = Progress("pairs", tiles.pairs, done=sum(tiles.pairs_of(tile) for tile in done))
    operators = pair_scores.run_pairs(job, todo, cluster, int(config.shared_embeddings_gb * 2**30), progress)
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
