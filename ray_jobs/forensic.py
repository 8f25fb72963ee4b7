"""Real photos in, a network out that tells manipulated photos from real ones; fakes to learn from are made on the spot.

python -m ray_jobs.forensic configs/forensic_small.yaml --photos PHOTOS --out runs/forensic
"""

import json
import sys
import tempfile
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from faceverify import failures, tables
from faceverify.align import AlignConfig, build
from faceverify.config import Input, JobConfig, plan_of
from faceverify.errors import UserError
from faceverify.faces import Stopwatch
from faceverify.fakes import GENERATORS, Description
from faceverify.fakes.learning import NETWORKS, Learning, given_networks
from faceverify.forensics.config import (
    ForensicLossConfig,
    ForensicNetworkConfig,
    ForensicSteps,
    ForensicValidation,
    MixConfig,
)
from faceverify.images import ImageLimits
from faceverify.inputs import fingerprint, open_photos, open_table, read_schema, stream_table
from faceverify.parts import part, write_part
from faceverify.run_folder import RunFolder
from faceverify.storage import Location, check_readable, check_writable, open_location
from faceverify.training.config import OptimiserConfig
from faceverify.wording import count_of
from ray_jobs.engine.cluster import Cluster, check_shared, connect
from ray_jobs.engine.dry_run import is_dry
from ray_jobs.engine.generator_networks import Learned, learnt
from ray_jobs.engine.progress import Progress
from ray_jobs.engine.resources import limit_threads
from ray_jobs.engine.session import run_job
from ray_jobs.engine.shards import Shards, map_shards
from ray_jobs.engine.wanted_weights import shared_weights, weights_seen

if TYPE_CHECKING:
    from faceverify.fakes.photo_pool import PhotoPool
    from faceverify.forensics.batches import ForensicBatch
    from faceverify.forensics.material import ForensicMaterial
    from ray_jobs.engine.training_group import Plan

FULL, HALF = "model.onnx", "model.fp16.onnx"
OUTPUTS = (FULL, HALF, "checkpoints", "leaderboard.csv", "metrics.jsonl", NETWORKS, "rejects", "report.html")
RUN_ONLY = ("max_failures", "decoders", "tell_every", "track")
COMPARED = 64  # photos that exported files are compared with PyTorch on
WORTH = (
    "Measured on fakes by the generators that it learnt from; those of unknown programs pass far more often (docs/"
    "forensics.md)."
)
PER_SHARD = 64  # photos whose patches are cut out as one unit of work


@dataclass(frozen=True, kw_only=True)
class ForensicConfig(JobConfig):
    """Train a forensic network: how much a photo of a face looks manipulated."""

    photos: Input = ""
    """A folder of real photos (those of a person in a folder of their own), or a photos table, also one with fakes.
    Required."""
    faces: Input = ""
    """A faces table (the output of align), for the landmarks; photos without any are searched with `align`."""
    networks: Input = ""
    """Output folder of an earlier run of this job or of fakes: autoencoder_swap takes the networks trained there."""
    mix: MixConfig = field(default_factory=MixConfig)
    learning: Learning = field(default_factory=Learning)
    batches: ForensicSteps = field(default_factory=ForensicSteps)
    losses: ForensicLossConfig = field(default_factory=ForensicLossConfig)
    network: ForensicNetworkConfig = field(default_factory=ForensicNetworkConfig)
    optimiser: OptimiserConfig = field(
        default_factory=lambda: OptimiserConfig(learning_rate=1.5e-3, schedule="cosine", warmup_steps=50)
    )
    validation: ForensicValidation = field(default_factory=ForensicValidation)
    align: AlignConfig = field(default_factory=AlignConfig)
    images: ImageLimits = field(default_factory=ImageLimits)
    track: Literal["none", "tensorboard", "mlflow"] = "none"
    """Where metrics go besides metrics.jsonl: tensorboard = event files in the output; mlflow = MLFLOW_TRACKING_URI."""
    max_failures: int = 3
    """Number of times a worker may die; all workers then restart from the last checkpoint."""
    decoders: int = 2
    """Processes per worker that make fakes and prepare batches; 0 = the worker does it itself."""
    tell_every: int = 10
    """Steps between lines of metrics.jsonl."""

    def __post_init__(self) -> None:
        if self.networks and not self.mix.autoencoder_swap:
            raise UserError("networks: autoencoder_swap has no share in `mix`, so nobody takes them; leave it out.")


def run(config: ForensicConfig) -> None:
    """Check, cut patches out, train, export, report."""
    photos, inputs = check_inputs(config)
    out = open_location(config.out)
    check_writable(out, "out")
    plan = plan_of("forensic", config, inputs, RUN_ONLY)
    if is_dry(config, out, plan, OUTPUTS):
        return
    folder = RunFolder(out, plan, OUTPUTS, config.overwrite)
    if not folder.complete:
        finish(config, photos, folder)
    summarise(folder)


def check_inputs(config: ForensicConfig) -> tuple[pa.Table, dict[str, Any]]:
    """Everything that can be checked before work starts: the photos (columns WANTED), and digests of all inputs.

    Raises:
        UserError: a field is missing or wrong, or there are no photos.
        PlatformError: storage refuses.
    """
    from faceverify.datasets.listing import list_photos, persons, photos_table
    from faceverify.forensics.material import asked_columns, wanted_rows

    place = open_location(config.photos)
    check_readable(place, "photos")
    given = open_photos(place)
    if isinstance(given, list):
        names = asked_columns(read_schema(given[0]))
        rows, known = pa.concat_tables(stream_table(given, names)), fingerprint(place)
    else:
        rows = photos_table(given, list_photos(given)[0])
        whose = persons(rows["photo"].to_pylist())
        rows = rows.set_column(rows.schema.get_field_index("person"), "person", whose)
        known = fingerprint(place)
    faces = None
    inputs: dict[str, Any] = {"photos": known}
    if config.faces:
        beside = open_location(config.faces)
        check_readable(beside, "faces")
        files = open_table(beside, "faces", tables.FACES, "faces")
        faces = pa.concat_tables(stream_table(files, ["photo", "landmarks"]))
        inputs["faces"] = fingerprint(beside)
    wanted = wanted_rows(rows, faces)
    inputs["align.weights"] = build(config.align).name if wanted["landmarks"].null_count else ""
    if config.networks:
        networks = open_location(config.networks)
        check_readable(networks, "networks")
        inputs["networks"] = given_networks(networks, GENERATORS["autoencoder_swap"]).sha256()
    if not wanted.num_rows:
        raise UserError(f"photos: '{config.photos}' holds no photo; check the path.")
    return wanted, inputs


def generators_of(mix: MixConfig) -> tuple[Description, ...]:
    """Who makes fakes on the spot."""
    names = ("self_blend", "landmark_swap", "autoencoder_swap")
    return tuple(GENERATORS[name] for name in names if getattr(mix, name) > 0)


def finish(config: ForensicConfig, photos: pa.Table, folder: RunFolder) -> None:
    """All the work that is not yet done."""
    from faceverify.forensics.batches import ForensicBuilder
    from faceverify.forensics.material import STAGE, read_material
    from faceverify.forensics.task import validation_batch
    from faceverify.training.loop import check_shares
    from ray_jobs.engine import forensic_training, training_group
    from ray_jobs.train import workers_of

    if folder.resumed:
        print("Going on where an earlier run stopped.")
    clock = Stopwatch()
    with clock("connect"):
        cluster = connect(config)
        check_shared(cluster, folder.work, open_location(photos["uri"][0].as_py()), *shared_weights(config.align))
    print(f"Ray: {cluster}")
    with clock("patches"):
        operators = cut_out(config, photos, folder, cluster)
    failures.refuse_rejects(folder, [STAGE], photos.num_rows, config.max_failed)
    patches = folder.parts(STAGE)
    with clock("plan"), folder.planning():
        material = read_material(patches, config.validation.share, config.batches.seed)
        workers = workers_of(config, cluster)
        check_shares(config.batches.size, workers, config.batches.accumulate)
    people = len(set(material.person[material.train])), len(set(material.person[material.val]))
    print(
        f"{len(material.train):,} real photos of {count_of(people[0], 'person', 'people')} to learn from, "
        f"{len(material.val):,} of {people[1]:,} others to validate with; {len(material.given):,} given fakes."
    )
    with clock("learn"):
        how = Learned(config.learning, config.images, config.batches.seed, networks_of(config))
        pool = partial(pool_of, photos, patches, material, config.batches.seed)
        generators = tuple(learnt(one, how, cluster, folder.out, pool) for one in generators_of(config.mix))
    with clock("train"):
        planned = forensic_training.plan(config, material, patches, generators)
        ended = training_group.Group(config, folder.out, cluster, workers).run(planned)
    with clock("export"):
        builder = ForensicBuilder(material, config.batches, generators, config.mix)
        seen = validation_batch(builder, planned.images, COMPARED)
        exported = export_best(folder, planned, ended["best"]["checkpoint"], seen)
    facts = {"job": "forensic", "config": asdict(config), "rows_in": {"photos": photos.num_rows}}
    facts |= {"rejects": folder.publish_rejects([STAGE]), "workers": workers, "people": people, **ended, **exported}
    with clock("report"):
        report(config, folder.out, people)
    folder.finish({**facts, "seed": config.batches.seed, "seconds": clock.seconds, "operators": operators})


def networks_of(config: ForensicConfig) -> Location | None:
    """The earlier run whose networks are taken."""
    return open_location(config.networks) if config.networks else None


def cut_out(config: ForensicConfig, photos: pa.Table, folder: RunFolder, cluster: Cluster) -> list[dict[str, Any]]:
    """Cut out the patches that are not there yet; returns which of Ray Data's operators ran."""
    from faceverify.forensics.material import STAGE

    done, count = folder.done(STAGE), -(-photos.num_rows // PER_SHARD)
    numbers = [number for number in range(count) if number not in done]
    rows = folder.facts(STAGE, f"{STAGE}.rejects").rows
    progress = Progress("patches", photos.num_rows, done=min(rows, photos.num_rows))
    align = replace(config.align, weights=weights_seen(config.align))
    source = Shards(partial(photos_of, photos), numbers, "Photos")
    work = (folder.work, align, config.images)
    operators = map_shards(source, PatchCutter, work, cluster, progress, config.workers)
    progress.finish()
    return operators


def photos_of(photos: pa.Table, number: int) -> pa.Table:
    """The rows of a unit of work."""
    return photos.slice(number * PER_SHARD, PER_SHARD)


class PatchCutter:
    """Cuts the patches of photos out; calls take the number of a unit of work and its photos."""

    def __init__(self, folder: Location, align: AlignConfig, limits: ImageLimits) -> None:
        limit_threads(1)
        self.folder, self.align, self.limits = folder, align, limits
        self.aligner: Any = None

    def __call__(self, number: int, rows: pa.Table) -> tuple[int, int]:
        """The patches of some photos, written as a part; returns how many photos there were, and how many failed."""
        from faceverify.forensics.material import STAGE, cut_patches

        if part(self.folder, STAGE, number).is_file():  # by an attempt that was killed later
            return rows.num_rows, 0
        if rows["landmarks"].null_count:
            self.aligner = self.aligner or build(self.align)
        patches, rejects = cut_patches(rows, self.aligner, self.limits, Stopwatch())
        write_part(self.folder, STAGE, number, patches, rejects)
        return rows.num_rows, rejects.num_rows


def pool_of(photos: pa.Table, patches: list[Location], material: "ForensicMaterial", seed: int) -> "PhotoPool":
    """The photos that generators learn from: those that the network learns from, and no others."""
    import pyarrow.compute as pc

    from faceverify.fakes.photo_pool import gather

    learnt_from = material.photos.take(pa.array(material.train)).combine_chunks()
    known = pa.concat_tables(stream_table(patches, ["photo", "in_photo"]))
    at = pc.index_in(learnt_from, known["photo"].combine_chunks())
    rows = photos.take(pc.index_in(learnt_from, photos["photo"].combine_chunks()))
    nobody, text = pa.nulls(len(rows), pa.string()), pa.string()
    columns = {
        "photo": rows["photo"],
        "uri": rows["uri"],
        "person": pc.coalesce(rows["person"], pc.binary_join_element_wise("photo ", rows["photo"], "")).cast(text),
        "is_fake": pa.repeat(False, len(rows)),
        "generator": nobody,
        "split": nobody,
        "landmarks": known["in_photo"].combine_chunks().take(at),
    }
    return gather(pa.table(columns), seed)


def export_best(folder: RunFolder, plan: "Plan", best: str, seen: tuple["ForensicBatch", np.ndarray]) -> dict[str, Any]:
    """Write the network of the best checkpoint as ONNX; returns by how much scores of the files differ from PyTorch's.

    Args:
        folder: of the run.
        plan: of the training.
        best: name of the checkpoint.
        seen: photos to compare scores on.
    """
    import ray

    from faceverify.forensics.bands import EYES_112
    from faceverify.forensics.export import export
    from faceverify.training.checkpoints import load_network

    network = ray.get(plan.network)
    load_network(folder.out / "checkpoints" / best, network)
    batch, _ = seen
    crop = plan.card.shown
    eyes = EYES_112 * crop.size / 112 / crop.view / np.exp2(batch.scale[:, 0])
    files, cards = {}, {}
    with tempfile.TemporaryDirectory() as at:
        for name, half in ((FULL, False), (HALF, True)):
            place = Path(at) / name
            card, worst = export(network, plan.card, place, batch.faces, eyes, half)
            (folder.out / name).write_bytes(place.read_bytes())
            cards[name] = json.loads(card.to_json())
            files[name] = {"digest": card.digest, "bytes": place.stat().st_size, "deviation": worst}
    return {"files": files, "model": cards[FULL]}


def report(config: ForensicConfig, out: Location, people: tuple[int, int]) -> None:
    """Write the page with the curves."""
    from datetime import UTC, datetime
    from importlib.metadata import version

    from faceverify.config import command_line
    from faceverify.report.page import ReportAbout
    from faceverify.report.training import render_training
    from faceverify.training.metrics_log import MetricsLog

    log = MetricsLog(out, [])
    log.resume()
    about = ReportAbout(
        title=f"Forensic network {out.name}",
        command=command_line(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        summary=f"{WORTH} {people[0]:,} people were learnt from, {people[1]:,} others validated with.",
        inputs={"photos": config.photos, "faces": config.faces or "none: searched"},
        versions={name: version(name) for name in ("faceverify", "ray", "torch", "numpy")},
    )
    (out / "report.html").write_bytes(render_training(log.lines, about, asdict(config), forensic=True).encode())


def summarise(folder: RunFolder) -> None:
    """The last lines: what the network is worth, what the files are, what to do next."""
    facts = folder.manifest()
    best = facts["best"]
    if facts["rejects"]:
        print("Not used: " + ", ".join(f"{n:,} {why}" for why, n in facts["rejects"].items()))
    print(
        f"Step {best['step']:,} of {facts['steps']:,}: EER {best['eer']:.1%}, AUC {best['auc']:.3f} on "
        f"{count_of(facts['people'][1], 'person', 'people')} who were not learnt from, photos and fakes stored again."
    )
    for name, accepted in best["accepted_by_generator"].items():
        print(
            f"  {name}: AUC {best['auc_by_generator'][name]:.3f}; {accepted:.0%} pass where 5 % of real photos do not"
        )
    print(WORTH)
    for name, file in facts["files"].items():
        print(f"{name}, {file['bytes'] / 1e6:.1f} MB: scores within {file['deviation']:.1e} of PyTorch's.")
    print(f"Use it: score --forensic {folder.out}, then evaluate, which chooses its thresholds.")
    print(f"Report: {folder.out / 'report.html'}")


def main() -> int:
    """Entry point."""
    return run_job("forensic", ForensicConfig, run, __doc__ or "", ("photos", "out"))


if __name__ == "__main__":
    sys.exit(main())
