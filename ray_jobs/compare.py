"""Several networks on several sets of pairs, in one go: one table, one page.

python -m ray_jobs.compare --models sface w600k_mbf --sets lfw=PHOTOS,PAIRS --out runs/compare
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, Literal

import pyarrow as pa

from faceverify import tables
from faceverify.align import AlignConfig, build
from faceverify.align.cards import crops_for
from faceverify.align.crops import Crop
from faceverify.config import JobConfig, command_line, plan_of
from faceverify.errors import UserError
from faceverify.faces import Crops, Stopwatch, embed_crops
from faceverify.failures import refuse_rejects
from faceverify.images import ImageLimits
from faceverify.inputs import fingerprint, one_photo, open_photos
from faceverify.models import EngineConfig
from faceverify.models.card import ModelCard
from faceverify.parts import part as part_of
from faceverify.parts import read_part, write_part
from faceverify.provenance import Identifier, PhotoIdentity, describe_crop, outdated, reasons_told
from faceverify.run_folder import MANIFEST, RunFolder
from faceverify.scoring.photos import published_versions
from faceverify.shards import read_shard
from faceverify.storage import Location, check_readable, check_writable, open_location
from ray_jobs.engine.cluster import Cluster, check_shared, connect
from ray_jobs.engine.dry_run import is_dry
from ray_jobs.engine.failure_limit import Watch, Watched
from ray_jobs.engine.photo_pipeline import Chain, PhotoSource, Ran, engine_for, run_chain
from ray_jobs.engine.photo_workers import UseCrops
from ray_jobs.engine.progress import Progress
from ray_jobs.engine.session import run_job
from ray_jobs.engine.shards import Shards, maker, map_shards
from ray_jobs.engine.wanted_weights import seen_from_anywhere, shared_weights

OUTPUTS = ("results", "results.csv", "report.html")
STAGE = "vectors"  # of all networks, side by side
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareConfig(JobConfig):
    """Compare networks on sets of pairs. Each photo is decoded, and its face found, once for all networks."""

    models: tuple[str, ...] = ()
    """Networks: names of `faceverify models list`, files, outputs of train or export. Required."""
    sets: tuple[str, ...] = ()
    """NAME=PHOTOS,PAIRS each: a folder or table of photos and a list of pairs, as `score` takes them. The first one
    gives each network its threshold, at which the others count what is accepted. Required."""
    calibrate_at: Literal["eer"] | float = "eer"
    """Where that threshold is put: `eer`, or a false match rate such as 0.001, on the impostors of the first set."""
    replicates: int = 500
    """Bootstrap replicates behind each interval and each difference; 0 = none."""
    seed: int = 0
    """Seed of the bootstrap."""
    photo_identity: PhotoIdentity = "stat"
    """By what a photo is known again, see `score`."""
    align: AlignConfig = field(default_factory=AlignConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    images: ImageLimits = field(default_factory=ImageLimits)
    photos_per_shard: int = 128
    """Photos per unit of work: what a killed worker has to do again."""


@dataclass(frozen=True)
class Network:
    """One of the networks: as the user named it, its card, a name for folders, its crop, and what rows say of that."""

    model: str
    card: ModelCard
    slug: str
    shown: Crop
    crop: str

    @property
    def bytes(self) -> int:
        """Size of its file."""
        from faceverify.models.loading import resolve

        return resolve(self.model)[0].stat().st_size


@dataclass(frozen=True)
class PairSet:
    """One of the sets."""

    name: str
    photos: str
    pairs: str


def run(config: CompareConfig) -> None:
    """Check everything, embed each set once, score and evaluate each network on it, write table and page."""
    networks, sets = open_networks(config), open_sets(config)
    out = open_location(config.out)
    check_writable(out, "out")
    digests = {"align.weights": networks[0].crop}
    digests |= {network.slug: f"{network.card.digest} {network.crop}" for network in networks}
    for one in sets:
        digests |= {f"{one.name} {what}": value for what, value in inputs_of(one).items()}
    plan = plan_of("compare", config, digests)
    if is_dry(config, out, plan, OUTPUTS):
        return
    folder = RunFolder(out, plan, OUTPUTS, config.overwrite)
    if folder.complete:
        check_unchanged(config, networks[0], sets, out)
    else:
        finish(config, networks, sets, folder)
    facts = folder.manifest()
    print(facts["summary"])
    print(f"Report: {folder.out / 'report.html'}")


def open_networks(config: CompareConfig) -> list[Network]:
    """The networks, checked.

    Raises:
        UserError: there is none, one is named twice, or the aligner cannot cut its crop.
    """
    from faceverify.models.folders import weights_file
    from faceverify.models.loading import resolve

    if not config.models:
        raise UserError("models is empty: name the networks to compare.")
    aligner, found = build(replace(config.align, device="cpu")).name, list[Network]()
    for model in config.models:
        path = weights_file(model)
        card = resolve(path)[1]
        [shown] = crops_for(config.align, card.shown)
        slug = re.sub(r"[^A-Za-z0-9._-]+", "_", card.name)
        if any(one.slug == slug for one in found):
            slug = f"{slug}_{card.digest[:8]}"
        if any(one.card.digest == card.digest for one in found):
            raise UserError(f"models: '{model}' is there twice; name each network once.")
        found.append(Network(path, card, slug, shown, describe_crop(config.align, aligner, shown)))
    return found


def open_sets(config: CompareConfig) -> list[PairSet]:
    """The sets, checked.

    Raises:
        UserError: there is none, or one is not NAME=PHOTOS,PAIRS.
    """
    found = list[PairSet]()
    for text in config.sets:
        name, _, places = text.partition("=")
        photos, _, pairs = places.partition(",")
        if not (NAME.match(name) and photos and pairs):
            raise UserError(f"sets: '{text}' is not NAME=PHOTOS,PAIRS, as in lfw=lfw/images,lfw/pairs.txt.")
        if any(one.name == name for one in found):
            raise UserError(f"sets: two are named '{name}'; give each a name of its own.")
        for place in (photos, pairs):
            check_readable(open_location(place), f"sets: {name}")
        found.append(PairSet(name, photos, pairs))
    if not found:
        raise UserError("sets is empty: give NAME=PHOTOS,PAIRS, as in lfw=lfw/images,lfw/pairs.txt.")
    return found


def inputs_of(one: PairSet) -> dict[str, str]:
    """What tells one set from another."""
    photos = open_photos(open_location(one.photos))
    of_photos = fingerprint(open_location(one.photos)) if isinstance(photos, list) else photos.real
    return {"photos": of_photos, "pairs": fingerprint(open_location(one.pairs))}


def check_unchanged(config: CompareConfig, network: Network, sets: list[PairSet], out: Location) -> None:
    """Refuse to repeat the figures of a finished run whose photos have changed since.

    Raises:
        UserError: some have.
    """
    photos = Identifier(config.photo_identity, config.align.method == "annotated", config.images.max_bytes)
    for one in sets:
        seen = published_versions(
            out / "sets" / one.name / network.slug / "scores", open_photos(open_location(one.photos))
        )
        if changed := outdated(seen, photos):
            raise UserError(
                f"sets: the photos of {one.name} are not what they were ({reasons_told(changed)}); pass --overwrite to "
                "compare again, or choose another --out."
            )


def finish(config: CompareConfig, networks: list[Network], sets: list[PairSet], folder: RunFolder) -> None:
    """All the work; each step has a folder of its own, which a further run finds finished."""
    from faceverify.evaluation.networks import NetworkResult, compare_networks, results_table
    from faceverify.report.networks import ComparedNetwork, render_networks

    results, speed = list[NetworkResult](), dict[str, float]()
    clock = Stopwatch()
    for number, one in enumerate(sets):
        place = folder.out / "sets" / one.name
        print(f"\n== {one.name}: {one.photos}, {one.pairs}")
        with clock(one.name):
            embed(config, networks, one, place / "embeddings")
            for network in networks:
                reference = folder.out / "sets" / sets[0].name / network.slug if number else None
                score(config, network, one, place, reference)
    for network in networks:
        speed[network.slug] = photos_per_second(folder.out, sets, network)
        for one in sets:
            made = folder.out / "sets" / one.name / network.slug
            results.append(NetworkResult.read(network.slug, one.name, made / "scores", made / "evaluation"))
    about = [ComparedNetwork(one.slug, one.card, one.bytes, speed[one.slug], one.shown) for one in networks]
    compared = compare_networks(results, config.replicates, config.seed)
    table = results_table(results)
    folder.publish("results", [table], table.schema)
    (folder.out / "results.csv").write_bytes(table.to_pandas().to_csv(index=False).encode())
    page = render_networks(results, compared, about, command_line(), sets[0].name, str(config.calibrate_at))
    (folder.out / "report.html").write_bytes(page.encode())
    folder.finish(
        {
            "job": "compare",
            "config": asdict(config),
            "models": {network.slug: json.loads(network.card.to_json()) for network in networks},
            "rows_in": {one.name: len(next(r for r in results if r.set_name == one.name).similarity) for one in sets},
            "rows_out": {"results": table.num_rows},
            "rejects": rejected(folder.out, sets),
            "summary": compared.summary,
            "photos_per_second": speed,
            "seconds": dict(clock.seconds),
        }
    )


# -- one pass over the photos of a set ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class NetworksSink:
    """The embeddings of every crop by the networks that want it: a column for each network."""

    networks: tuple[tuple[str, Crop], ...]  # as named, and its crop
    engine: EngineConfig

    def open(self) -> UseCrops:
        """Load them."""
        from faceverify.models import load_engine

        engines = [(load_engine(model, self.engine), str(crop)) for model, crop in self.networks]

        def use(crops: Crops, watch: Stopwatch) -> tuple[pa.Table, pa.Table]:
            rows, rejects = crops.rows.select(["photo", "photo_version"]), crops.rejects
            for number, (engine, crop) in enumerate(engines):
                own = Stopwatch()
                faces = crops.others.get(crop, crops.faces)
                made, _ = embed_crops(replace(crops, faces=faces, others={}), engine, own)
                watch.seconds[f"network {number}"] += own.seconds["embed"]
                rows = rows.append_column(f"network {number}", aligned_to(rows["photo"], made))
            return rows, rejects

        return use


def aligned_to(photos: pa.ChunkedArray, made: pa.Table) -> pa.Array:
    """The embeddings of a table in the order of the photos; null where a network gave none that can be used."""
    import pyarrow.compute as pc

    return made["embedding"].combine_chunks().take(pc.index_in(photos, value_set=made["photo"]).combine_chunks())


def embed(config: CompareConfig, networks: list[Network], one: PairSet, out: Location) -> None:
    """Embed the photos that the pairs of a set name, by all networks in one pass."""
    from faceverify.datasets.pair_units import divide
    from faceverify.scoring.plan import ScorePlan, make_plan
    from faceverify.units import LocalMapper

    photos, inputs = open_photos(open_location(one.photos)), inputs_of(one)
    inputs |= {network.slug: f"{network.card.digest} {network.crop}" for network in networks}
    outputs = (*(network.slug for network in networks), "rejects")
    decides = {"set": one.name, "images": asdict(config.images), "photos_per_shard": config.photos_per_shard}
    folder = RunFolder(out, {"job": "compare", "config": decides, "inputs": inputs}, outputs, config.overwrite)
    if folder.complete:
        return
    clock = Stopwatch()
    with folder.planning(), clock("plan"):
        noted = folder.noted("plan_of_work")
        if noted is None:
            pairs = divide(open_location(one.pairs), pair_list(), photos if isinstance(photos, Location) else None)
            cut = 65_536, config.photos_per_shard
            plan = make_plan(pairs, photos, [], None, folder.work, *cut, LocalMapper(), config.max_failed)
            folder.note("plan_of_work", plan.as_json())
        else:
            plan = ScorePlan(**noted)
    cluster = connect(config, plan.photo_shards)
    weights = [weight for network in networks for weight in shared_weights(config.align, network.model)]
    check_shared(cluster, folder.work, one_photo(photos), *weights)
    print(f"Ray: {cluster}")
    with clock("embed"):
        ran, photos_now = embed_photos(config, networks, plan, folder, cluster)
    refuse_rejects(folder, [STAGE], plan.photos, config.max_failed)
    with clock("commit"):
        made = publish(networks, plan, folder, cluster)
    rejects = folder.publish_rejects([STAGE], make=maker(cluster))
    folder.finish(
        {
            "job": "compare",
            "config": asdict(config),
            "models": {network.slug: json.loads(network.card.to_json()) for network in networks},
            "rows_in": {"photos": plan.photos},
            "rows_out": made,
            "photos_of_this_run": photos_now,  # which the seconds were spent on: others were done before a stop
            "rejects": rejects,
            "seconds": {**clock.seconds, "workers": ran.seconds},
            "operators": ran.operators,
        }
    )


def pair_list() -> Any:
    """How lists of pairs are read (importing what that needs only now)."""
    from faceverify.datasets.options import PairListConfig

    return PairListConfig()


def embed_photos(
    config: CompareConfig, networks: list[Network], plan: Any, folder: RunFolder, cluster: Cluster
) -> tuple[Ran, int]:
    """Decode each photo once, cut each crop once, run all networks; parts with a column for each network.

    Returns:
        How it ran, and how many photos were left to do.
    """
    crops = tuple(dict.fromkeys(network.shown for network in networks))
    engine = engine_for(config.engine, cluster, config.workers)
    crop = networks[0].crop
    source = PhotoSource(config.align, config.images, identity=config.photo_identity, crop=crop, crops=crops)
    sink = NetworksSink(tuple((seen_from_anywhere(one.model), one.shown) for one in networks), engine)
    chain = Chain(folder.work, partial(read_photos, folder.work), STAGE, source, sink)
    done = folder.done(STAGE)
    ready = min(len(done) * plan.rows_per_photo_shard, plan.photos)
    watch = Watch(folder, STAGE, plan.photos, config.max_failed, ready)
    progress = Watched("photos", plan.photos, done=ready, watch=watch)
    todo = [shard for shard in range(plan.photo_shards) if shard not in done]
    ran = run_chain(chain, todo, cluster, config.workers, progress, gpu=True)
    if todo:
        progress.finish()
    return ran, plan.photos - ready


def read_photos(work: Location, shard: int) -> pa.Table:
    """The photos of a shard, as rows of the photos table."""
    return read_shard(work / "photos", shard).drop_columns("row")


def read_vectors(work: Location, shard: int) -> pa.Table:
    """The embeddings of a shard by all networks."""
    return read_part(part_of(work, STAGE, shard))


def split_networks(work: Location, networks: list[tuple[str, str, str]], shard: int, rows: pa.Table) -> tuple[int, int]:
    """Write the embeddings of each network (its slug, digest and crop) as a part of its own."""
    import numpy as np
    import pyarrow.compute as pc

    for number, (slug, digest, crop) in enumerate(networks):
        known = rows.filter(rows[f"network {number}"].is_valid())
        column = known[f"network {number}"].combine_chunks()
        dim = column.type.list_size
        vectors = column.flatten().to_numpy().reshape(len(column), dim)
        columns = {
            "photo": known["photo"],
            "embedding": pa.FixedSizeListArray.from_arrays(pc.cast(column.flatten(), pa.float32()), dim),
            "norm": pa.array(np.linalg.norm(vectors, axis=1), pa.float32()),
            "model": pa.repeat(digest, len(column)),
            "photo_version": known["photo_version"],
            "crop": pa.repeat(crop, len(column)),
        }
        write_part(work, slug, shard, pa.table(columns, schema=tables.embeddings(dim)), None)
    return rows.num_rows, 0


def publish(networks: list[Network], plan: Any, folder: RunFolder, cluster: Cluster) -> dict[str, int]:
    """An embeddings table for each network; workers write what becomes part of it."""
    described = [(network.slug, network.card.digest, network.crop) for network in networks]
    last = folder.done(networks[-1].slug)
    todo = [shard for shard in sorted(folder.done(STAGE)) if shard not in last]
    source = Shards(partial(read_vectors, folder.work), todo, "Embeddings")
    map_shards(source, split_networks, (folder.work, described), cluster, Progress("photos", plan.photos))
    return {
        network.slug: folder.publish_parts(
            network.slug, tables.embeddings(network.card.dim), [network.slug], maker(cluster)
        ).rows
        for network in networks
    }


# -- one network on one set --------------------------------------------------------------------------------------------


def score(config: CompareConfig, network: Network, one: PairSet, place: Location, reference: Location | None) -> None:
    """Score the pairs by the embeddings that are there, and evaluate them."""
    from ray_jobs import evaluate, score

    common = {"overwrite": config.overwrite, "workers": config.workers, "max_failed": config.max_failed}
    given = {"align": config.align, "engine": config.engine, "images": config.images}
    scored = score.ScoreConfig(
        photos=one.photos,
        pairs=one.pairs,
        model=network.model,
        embeddings=str(place / "embeddings" / network.slug),
        photo_identity=config.photo_identity,
        out=str(place / network.slug / "scores"),
        **common,
        **given,
    )
    evaluated = evaluate.EvaluateConfig(
        scores=scored.out,
        out=str(place / network.slug / "evaluation"),
        calibrate_at="eer" if reference else config.calibrate_at,
        calibration=str(reference / "evaluation" / "calibration.json") if reference else "",
        replicates=config.replicates,
        seed=config.seed,
        title=f"{network.card.name} on {one.name}",
        **common,
    )
    quietly(partial(score.run, scored))
    quietly(partial(evaluate.run, evaluated))


def quietly(work: Callable[[], None]) -> None:
    """Run a step without its summary: the page has it all."""
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()):
        work()


def rejected(out: Location, sets: list[PairSet]) -> dict[str, int]:
    """Photos without an embedding, by reason, of all sets."""
    found = Counter[str]()
    for one in sets:
        found.update(json.loads((out / "sets" / one.name / "embeddings" / MANIFEST).read_bytes())["rejects"])
    return dict(found)


def photos_per_second(out: Location, sets: list[PairSet], network: Network) -> float:
    """Photos that one worker embeds in a second with this network, decoding and alignment apart."""
    photos = seconds = 0.0
    for one in sets:
        facts = json.loads((out / "sets" / one.name / "embeddings" / MANIFEST).read_bytes())
        number, workers = list(facts["rows_out"]).index(network.slug), facts["seconds"]["workers"]
        if spent := workers.get(f"network {number}", 0.0):
            photos, seconds = photos + facts["photos_of_this_run"], seconds + spent
    return photos / seconds if seconds else float("nan")


def main() -> int:
    """Entry point."""
    return run_job("compare", CompareConfig, run, __doc__ or "", ("models", "sets", "out"))


if __name__ == "__main__":
    sys.exit(main())
