"""Several networks on several sets, in one go: one table, one page.

python -m ray_jobs.compare --models sface w600k_mbf --sets lfw=PHOTOS,PAIRS --out runs/compare
"""

import itertools
import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from faceverify import tables
from faceverify.align import AlignConfig, build
from faceverify.align.cards import crops_for
from faceverify.align.crops import Crop
from faceverify.config import JobConfig, command_line, plan_of
from faceverify.errors import UserError
from faceverify.evaluation.compared_sets import ComparedSet, parse_sets, read_features
from faceverify.evaluation.networks import NetworkResult, ProtocolResult
from faceverify.faces import Stopwatch
from faceverify.failures import refuse_rejects
from faceverify.images import ImageLimits
from faceverify.inputs import open_photos, stream_table, table_files
from faceverify.models import EngineConfig
from faceverify.models.card import ModelCard
from faceverify.provenance import Identifier, PhotoIdentity, describe_crop, outdated, reasons_told
from faceverify.run_folder import MANIFEST, RunFolder
from faceverify.storage import Location, check_writable, open_location
from ray_jobs.engine.cluster import Cluster, check_shared, connect
from ray_jobs.engine.dry_run import is_dry
from ray_jobs.engine.failure_limit import Watch, Watched
from ray_jobs.engine.networks_sink import STAGE, NetworksSink, read_photos, read_vectors, split_networks
from ray_jobs.engine.photo_pipeline import Chain, PhotoSource, Ran, engine_for, run_chain
from ray_jobs.engine.progress import Progress
from ray_jobs.engine.session import run_job
from ray_jobs.engine.shards import Shards, maker, map_shards
from ray_jobs.engine.wanted_weights import seen_from_anywhere, shared_weights

if TYPE_CHECKING:
    from faceverify.scoring.plan import ScorePlan

OUTPUTS = ("results", "results.csv", "report.html")
MIRRORED = ".mirrored"  # behind a network's name: the table of the mirror images


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareConfig(JobConfig):
    """Compare networks on several sets. Each photo is decoded, and its face found, once for all networks."""

    models: tuple[str, ...] = ()
    """Networks: names of `faceverify models list`, files, outputs of train or export. Required."""
    sets: tuple[str, ...] = ()
    """NAME=PHOTOS,PAIRS each: a folder or table of photos and a list of pairs, as `score` takes them. The first one
    gives each network its threshold, at which the others count what is accepted. NAME=ijb:FOLDER, NAME=tinyface:FOLDER
    and NAME=gallery:PROBES,GALLERY are measured by their protocols. Required."""
    calibrate_at: Literal["eer"] | float = "eer"
    """Where that threshold is put: `eer`, or a false match rate such as 0.001, on the impostors of the first list."""
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


def run(config: CompareConfig) -> None:
    """Check everything, embed each set once, score and evaluate each network on it, write table and page."""
    networks, sets = open_networks(config), parse_sets(config.sets)
    out = open_location(config.out)
    check_writable(out, "out")
    digests = {"align.weights": networks[0].crop}
    digests |= {network.slug: f"{network.card.digest} {network.crop}" for network in networks}
    for one in sets:
        crops_of(config, one, networks)
        digests |= {f"{one.name} {what}": value for what, value in one.inputs().items()}
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


def check_unchanged(config: CompareConfig, network: Network, sets: list[ComparedSet], out: Location) -> None:
    """Refuse to repeat the figures of a finished run whose photos have changed since.

    Raises:
        UserError: some have.
    """
    for one in sets:
        photos = Identifier(
            config.photo_identity, one.align(config.align).method == "annotated", config.images.max_bytes
        )
        made = out / "sets" / one.name / "embeddings"
        files = (table_files(made, name) for name in (network.slug, "rejects"))
        seen = one.seen(itertools.chain.from_iterable(stream_table(some, ["photo", "photo_version"]) for some in files))
        if changed := outdated(seen, photos):
            raise UserError(
                f"sets: the photos of {one.name} are not what they were ({reasons_told(changed)}); pass --overwrite to "
                "compare again, or choose another --out."
            )


def crops_of(config: CompareConfig, one: ComparedSet, networks: list[Network]) -> list[Network]:
    """The networks with the crops of a set, whose faces may be found in another way.

    Raises:
        UserError: one wants a crop that cannot be cut there.
    """
    align = one.align(config.align)
    if align == config.align:
        return networks
    for network in networks:
        if network.shown.template == "box":
            raise UserError(
                f"sets: '{one.name}' is aligned by the landmarks of its lists, which have no box, but {network.slug} "
                f"wants the crop '{network.shown}'; leave one of them out."
            )
    return [replace(one, crop=describe_crop(align, align.method, one.shown)) for one in networks]


def finish(config: CompareConfig, networks: list[Network], sets: list[ComparedSet], folder: RunFolder) -> None:
    """All the work; each step has a folder of its own, which a further run finds finished."""
    from faceverify.evaluation.networks import compare_networks, results_table
    from faceverify.report.networks import ComparedNetwork, render_networks

    results, speed = list[NetworkResult | ProtocolResult](), dict[str, float]()
    clock = Stopwatch()
    first = next((one for one in sets if one.has_pairs), None)
    for one in sets:
        place = folder.out / "sets" / one.name
        print(f"\n== {one.name}: {one}")
        with clock(one.name):
            embed(config, crops_of(config, one, networks), one, place / "embeddings")
            if one.has_pairs and first:
                reference = None if one is first else folder.out / "sets" / first.name
                results += [score(config, network, one, place, reference) for network in networks]
            else:
                results += measure(networks, one, place / "embeddings", folder)
    for network in networks:
        speed[network.slug] = photos_per_second(folder.out, sets, network)
    about = [ComparedNetwork(one.slug, one.card, one.bytes, speed[one.slug], one.shown) for one in networks]
    of_pairs = [one for one in results if isinstance(one, NetworkResult)]
    compared = compare_networks(of_pairs, config.replicates, config.seed)
    table = results_table(results)
    folder.publish("results", [table], table.schema)
    (folder.out / "results.csv").write_bytes(table.to_pandas().to_csv(index=False).encode())
    page = render_networks(
        results, compared, about, command_line(), first.name if first else "", str(config.calibrate_at)
    )
    (folder.out / "report.html").write_bytes(page.encode())
    folder.finish(
        {
            "job": "compare",
            "config": asdict(config),
            "models": {network.slug: json.loads(network.card.to_json()) for network in networks},
            "rows_in": {one.set_name: one.rows for one in results},
            "rows_out": {"results": table.num_rows},
            "rejects": rejected(folder.out, sets),
            "summary": compared.summary,
            "photos_per_second": speed,
            "seconds": dict(clock.seconds),
        }
    )


# -- one pass over the photos of a set ---------------------------------------------------------------------------------


def embed(config: CompareConfig, networks: list[Network], one: ComparedSet, out: Location) -> None:
    """Embed the photos of a set by all networks in one pass; for a protocol also their mirror images."""
    from faceverify.scoring.plan import ScorePlan

    inputs = one.inputs() | {network.slug: f"{network.card.digest} {network.crop}" for network in networks}
    outputs = (*(table for _, table, *_ in columns_of(networks, one)), "rejects")
    decides = {"set": one.name, "images": asdict(config.images), "photos_per_shard": config.photos_per_shard}
    folder = RunFolder(out, {"job": "compare", "config": decides, "inputs": inputs}, outputs, config.overwrite)
    if folder.complete:
        return
    clock = Stopwatch()
    with folder.planning(), clock("plan"):
        noted = folder.noted("plan_of_work")
        plan = ScorePlan(**noted) if noted else plan_photos_of(config, one, folder)
    cluster = connect(config, plan.photo_shards)
    weights = [weight for network in networks for weight in shared_weights(config.align, network.model)]
    check_shared(cluster, folder.work, open_location(read_photos(folder.work, 0)["uri"][0].as_py()), *weights)
    print(f"Ray: {cluster}")
    with clock("embed"):
        ran, photos_now = embed_photos(config, networks, one, plan, folder, cluster)
    refuse_rejects(folder, [STAGE], plan.photos, config.max_failed)
    with clock("commit"):
        made = publish(networks, one, plan, folder, cluster)
    rejects = folder.publish_rejects([STAGE], make=maker(cluster))
    folder.finish(
        {
            "job": "compare",
            "config": asdict(config),
            "models": {network.slug: json.loads(network.card.to_json()) for network in networks},
            "rows_in": {"photos": plan.photos},
            "rows_out": made,
            # What the seconds were spent on: others were done before a stop.
            "pictures_of_this_run": photos_now * (1 if one.has_pairs else 2),
            "rejects": rejects,
            "seconds": {**clock.seconds, "workers": ran.seconds},
            "operators": ran.operators,
        }
    )


def plan_photos_of(config: CompareConfig, one: ComparedSet, folder: RunFolder) -> "ScorePlan":
    """Cut the photos of a set into shards."""
    from faceverify.datasets.options import PairListConfig
    from faceverify.datasets.pair_units import divide
    from faceverify.scoring.plan import make_plan, plan_photos
    from faceverify.units import LocalMapper

    if one.has_pairs:
        photos, cut = open_photos(open_location(one.places[0])), (65_536, config.photos_per_shard)
        root = photos if isinstance(photos, Location) else None
        pairs = divide(open_location(one.places[1]), PairListConfig(), root)
        plan = make_plan(pairs, photos, [], None, folder.work, *cut, LocalMapper(), config.max_failed)
    else:
        rows = one.open()[1]
        rows = rows.set_column(0, "photo", rows["photo"].cast(pa.large_string()))
        cut = (0, rows.num_rows, 0)
        plan = plan_photos(rows, [], None, "", folder.work, config.photos_per_shard, LocalMapper(), cut)
    folder.note("plan_of_work", plan.as_json())
    return plan


def embed_photos(
    config: CompareConfig,
    networks: list[Network],
    one: ComparedSet,
    plan: "ScorePlan",
    folder: RunFolder,
    cluster: Cluster,
) -> tuple[Ran, int]:
    """Decode each photo once, cut each crop once, run all networks; parts with a column for each network.

    Returns:
        How it ran, and how many photos were left to do.
    """
    crops = tuple(dict.fromkeys(network.shown for network in networks))
    engine = engine_for(config.engine, cluster, config.workers)
    crop = networks[0].crop
    source = PhotoSource(one.align(config.align), config.images, identity=config.photo_identity, crop=crop, crops=crops)
    named = tuple((seen_from_anywhere(network.model), network.shown) for network in networks)
    sink = NetworksSink(named, engine, mirrored=not one.has_pairs)
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


def columns_of(networks: list[Network], one: ComparedSet) -> list[tuple[str, str, str, str]]:
    """The columns of a pass, see `split_networks`; tables of the photos first."""
    views = {"network": ""} | ({} if one.has_pairs else {"mirrored": MIRRORED})
    return [
        (f"{view} {number}", f"{network.slug}{suffix}", network.card.digest, network.crop)
        for view, suffix in views.items()
        for number, network in enumerate(networks)
    ]


def publish(
    networks: list[Network], one: ComparedSet, plan: "ScorePlan", folder: RunFolder, cluster: Cluster
) -> dict[str, int]:
    """An embeddings table for each column; workers write what becomes part of it."""
    columns = columns_of(networks, one)
    last = folder.done(columns[-1][1])
    todo = [shard for shard in sorted(folder.done(STAGE)) if shard not in last]
    source = Shards(partial(read_vectors, folder.work), todo, "Embeddings")
    map_shards(source, split_networks, (folder.work, columns), cluster, Progress("photos", plan.photos))
    dims = [network.card.dim for network in networks] * 2
    return {
        table: folder.publish_parts(table, tables.embeddings(dim), [table], maker(cluster)).rows
        for (_, table, *_), dim in zip(columns, dims, strict=False)
    }


# -- one network on one set --------------------------------------------------------------------------------------------


def score(
    config: CompareConfig, network: Network, one: ComparedSet, place: Location, reference: Location | None
) -> NetworkResult:
    """Score the pairs by the embeddings that are there, and evaluate them, at the threshold of the set `reference`."""
    from ray_jobs import evaluate, score

    common = {"overwrite": config.overwrite, "workers": config.workers, "max_failed": config.max_failed}
    given = {"align": config.align, "engine": config.engine, "images": config.images}
    scored = score.ScoreConfig(
        photos=one.places[0],
        pairs=one.places[1],
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
        calibration=str(reference / network.slug / "evaluation" / "calibration.json") if reference else "",
        replicates=config.replicates,
        seed=config.seed,
        title=f"{network.card.name} on {one.name}",
        **common,
    )
    quietly(partial(score.run, scored))
    quietly(partial(evaluate.run, evaluated))
    return NetworkResult.read(network.slug, one.name, open_location(scored.out), open_location(evaluated.out))


def measure(networks: list[Network], one: ComparedSet, made: Location, folder: RunFolder) -> list[ProtocolResult]:
    """What each network reaches by the protocol of a set; kept, for a run that is stopped and goes on."""
    opened, found = None, list[ProtocolResult]()
    for network in networks:
        name = f"measured.{one.name}.{network.slug}"
        noted = folder.noted(name)
        if noted is None:
            opened = opened or one.open()[0]
            plain, mirrored = (
                read_features(table_files(made, network.slug + view), opened.photos, network.card.dim)
                for view in ("", MIRRORED)
            )
            result = ProtocolResult.of(network.slug, opened, opened.measure(plain, mirrored))
            folder.note(name, asdict(result))
        else:
            result = ProtocolResult(**noted)
        found.append(result)
    return found


def quietly(work: Callable[[], None]) -> None:
    """Run a step without its summary: the page has it all."""
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()):
        work()


def rejected(out: Location, sets: list[ComparedSet]) -> dict[str, int]:
    """Photos without an embedding, by reason, of all sets."""
    found = Counter[str]()
    for one in sets:
        found.update(json.loads((out / "sets" / one.name / "embeddings" / MANIFEST).read_bytes())["rejects"])
    return dict(found)


def photos_per_second(out: Location, sets: list[ComparedSet], network: Network) -> float:
    """Photos that one worker embeds in a second with this network, decoding and alignment apart."""
    photos = seconds = 0.0
    for one in sets:
        facts = json.loads((out / "sets" / one.name / "embeddings" / MANIFEST).read_bytes())
        number, workers = list(facts["rows_out"]).index(network.slug), facts["seconds"]["workers"]
        if spent := workers.get(f"network {number}", 0.0):
            photos, seconds = photos + facts["pictures_of_this_run"], seconds + spent
    return photos / seconds if seconds else float("nan")


def main() -> int:
    """Entry point."""
    return run_job("compare", CompareConfig, run, __doc__ or "", ("models", "sets", "out"))


if __name__ == "__main__":
    sys.exit(main())
