"""Chains that several jobs share: read a shard, make crops, make faces or embeddings, write a part; and where each
part of a chain runs.

On CPUs the whole chain runs in one process per core, so that pixels never leave it. With GPUs it is cut, and what
travels between the workers passes through the object store:

    network of the sink on GPUs        crops: CPU actors -> sink: GPU actors
    network of the aligner too         photos read and decoded: CPU tasks -> crops and sink: GPU actors
    only that of the aligner           photos: CPU tasks -> crops: GPU actors -> sink: CPU actors

Decoded photos are large. A piece of them is at most about 100 MB (`faces.GROUP_PIXELS`, and one photo more), a decoding
task waits when two are not taken, and Ray Data starts no further one while what is on its way fills the share of the
object store that it allows itself (half of it): slow GPUs hold the decoding back, not the memory.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from faceverify.align import AlignConfig, Aligner, build
from faceverify.align.cards import look_side
from faceverify.align.crops import ARCFACE, Crop
from faceverify.errors import UserError
from faceverify.faces import (
    GROUP_PHOTOS,
    Pictures,
    Stopwatch,
    align_pictures,
    crop_photos,
    decode_faces,
    decode_photos,
    embed_crops,
    encode_faces,
)
from faceverify.images import ImageLimits
from faceverify.models import EngineConfig
from faceverify.provenance import Origin, PhotoIdentity, crop_difference, describe_crop
from faceverify.storage import Location
from ray_jobs.engine.cluster import Cluster
from ray_jobs.engine.photo_workers import (
    AlignPictures,
    Cropper,
    Finisher,
    Fused,
    GpuCropper,
    GpuFinisher,
    Joiner,
    MakeCrops,
    Piece,
    UseCrops,
    decode_shards,
)
from ray_jobs.engine.progress import Progress
from ray_jobs.engine.resources import AlignResources, Placement, fitted, place, threads_as_before
from ray_jobs.engine.shards import (
    OF_ACTORS,
    OF_READERS,
    OF_TASKS,
    READERS,
    Shards,
    consume,
    guarded,
    pool,
    read,
    shards_per_task,
    tasks,
)
from ray_jobs.engine.wanted_weights import seen_from_anywhere, weights_seen

if TYPE_CHECKING:
    from faceverify.forensics.model import ForensicModel
    from faceverify.models.engines import Engine

ROWS = "Photos"  # how Ray's statistics call the rows that are read


class Source(Protocol):
    """Describes how rows become crops; `open` loads what that needs, once in each worker."""

    def open(self) -> MakeCrops:
        """Load and return the function."""
        ...


class Sink(Protocol):
    """Describes what is made of crops: (rows, rejects); `open` loads what that needs, once in each worker."""

    def open(self) -> UseCrops:
        """Load and return the function."""
        ...


@dataclass(frozen=True)
class PhotoSource:
    """Photos, read and aligned."""

    align: AlignConfig
    limits: ImageLimits
    resources: AlignResources = field(default_factory=AlignResources)
    batch: int = GROUP_PHOTOS
    identity: PhotoIdentity = "stat"
    crop: str = ""  # what the aligner must come to, on every node; empty = whatever it comes to
    crops: tuple[Crop, ...] = (ARCFACE,)  # what is cut out of each photo

    def __post_init__(self) -> None:
        object.__setattr__(self, "align", replace(self.align, weights=weights_seen(self.align)))

    def at(self, placement: Placement) -> "PhotoSource":
        """The same for workers that have what was settled."""
        return replace(self, align=fitted(self.align, placement), batch=placement.batch)

    def open(self) -> MakeCrops:
        """Build the aligner."""
        aligner, origin = self.build()
        return lambda rows, watch: crop_photos(rows, aligner, self.limits, watch, self.batch, origin)

    def read(self, rows: pa.Table, watch: Stopwatch) -> Iterator[Pictures]:
        """The first half of it: read and decode, in pieces bounded by memory only."""
        side = look_side(self.align, self.crops)
        return decode_photos(rows, self.limits, watch, rows.num_rows + 1, self.identity, side)

    def open_aligner(self) -> AlignPictures:
        """The second half of it: build the aligner."""
        aligner, origin = self.build()
        return lambda pictures, watch: align_pictures(pictures, aligner, watch, self.batch, origin)

    def build(self) -> tuple[Aligner, Origin]:
        """The aligner, and what it comes to: the weights that were loaded here may not be those that were checked.

        Raises:
            UserError: they are not.
        """
        aligner = build(self.align)
        crop = describe_crop(self.align, aligner.name, self.crops[0])
        if self.crop and crop != self.crop:
            raise UserError(
                f"align.weights {self.align.weights!r} changed after the job began, or is another file on this node "
                f"({crop_difference(json.loads(crop), json.loads(self.crop))}); run the same command again."
            )
        return aligner, Origin(crop, self.identity, self.crops, look_side(self.align, self.crops))


@dataclass(frozen=True)
class FaceSource:
    """Rows of a `faces` table: one of its crops."""

    crop: Crop
    column: str = "image"

    def open(self) -> MakeCrops:
        """Nothing to load."""
        return lambda rows, watch: decode_faces(rows, watch, self.crop, self.column)


@dataclass(frozen=True)
class FaceSink:
    """Rows of a `faces` table."""

    def open(self) -> UseCrops:
        """Nothing to load."""
        return lambda crops, watch: (encode_faces(crops, watch), crops.rejects)


@dataclass(frozen=True)
class EmbeddingSink:
    """Rows of an `embeddings` table."""

    model: str
    engine: EngineConfig
    digest: str = ""  # of the card that the model must have, on every node; empty = whatever it has
    forensic: str = ""  # a forensic model that scores the photos too, whose crop is cut out as well; empty = none
    forensic_digest: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", seen_from_anywhere(self.model))
        object.__setattr__(self, "forensic", seen_from_anywhere(self.forensic))

    def open(self) -> UseCrops:
        """Load the networks; raises as `load`."""
        engine = self.load()
        forensic = load_forensic(self.forensic, self.engine, self.forensic_digest) if self.forensic else None
        return lambda crops, watch: embed_crops(crops, engine, watch, forensic)

    def load(self) -> "Engine":
        """The network.

        Raises:
            UserError: it is not the one that was checked when the job began.
        """
        from faceverify.models import load_engine

        engine = load_engine(self.model, self.engine)
        if self.digest and engine.card.digest != self.digest:
            raise UserError(
                f"model '{self.model}' changed after the job began, or is another file on this node (card "
                f"{engine.card.digest[:12]}, not {self.digest[:12]}); run the same command again."
            )
        return engine


def load_forensic(model: str, config: EngineConfig, digest: str) -> "ForensicModel":
    """A forensic model.

    Raises:
        UserError: it is not the one that was checked when the job began.
    """
    from faceverify.forensics.model import ForensicModel, forensic_file

    found = ForensicModel(forensic_file(model), config)
    if digest and found.card.digest != digest:
        raise UserError(
            f"forensic '{model}' changed after the job began, or is another file on this node; run the same command "
            "again."
        )
    return found


@dataclass(frozen=True)
class Chain:
    """Rows of shards through source and sink into parts of `work/<stage>`; `read` gives the rows of a shard."""

    work: Location
    read: Callable[[int], pa.Table]
    stage: str
    source: Source
    sink: Sink


@dataclass
class Ran:
    """How a chain ran: seconds per stage, summed over the workers, and which of Ray Data's operators."""

    seconds: dict[str, float] = field(default_factory=dict)
    operators: list[dict[str, Any]] = field(default_factory=list)


def run_chain(chain: Chain, shards: list[int], cluster: Cluster, workers: int, progress: Progress, gpu: bool) -> Ran:
    """Run the chain over the given shards.

    Args:
        chain: what to do.
        shards: shard numbers.
        cluster: what Ray offers.
        workers: JobConfig.workers.
        progress: counts the rows.
        gpu: whether the sink's network uses a GPU where there is one.

    Raises:
        FaceverifyError: what a worker raised for the user to see.
    """
    joiner, ran = Joiner(chain.work, chain.stage), Ran()

    def take(counts: dict[str, Any]) -> None:
        joiner.add(Piece(*(counts[name] for name in ("shard", "number", "last", "rows"))))
        spent_on = json.loads(counts["seconds"])
        progress.gpu_seconds(spent_on)
        progress.add(counts["rows"], counts["rejected"])
        for stage, spent in spent_on.items():
            ran.seconds[stage] = round(ran.seconds.get(stage, 0.0) + spent, 3)

    if not shards:
        return ran
    if cluster.here:
        for counts in _done_here(chain, shards, cluster):
            take(counts)
    else:
        ran.operators = consume(_laid_out(chain, shards, cluster, workers, gpu and cluster.gpus > 0), take)
    return ran


def _done_here(chain: Chain, shards: list[int], cluster: Cluster) -> Iterator[dict[str, Any]]:
    """The counts of finished pieces, made in this process."""
    if isinstance(chain.source, PhotoSource):
        placement = place(chain.source.resources, chain.source.align, cluster, 1)
        chain = replace(chain, source=chain.source.at(placement))
    with threads_as_before():
        fused = Fused(chain)
        for shard in shards:
            yield from guarded(fused.shard, (shard, chain.read(shard))).to_pylist()


def _laid_out(chain: Chain, shards: list[int], cluster: Cluster, workers: int, gpu_sink: bool) -> Any:
    """The dataset whose rows are the counts of finished pieces: which part of the chain runs where."""
    source, placement = chain.source, None
    cpus = min(workers or cluster.cpus, len(shards))
    if isinstance(source, PhotoSource):
        placement = place(source.resources, source.align, cluster, workers)
        print(placement)
        chain = replace(chain, source=source.at(placement))
        if placement.gpus:
            return _with_gpu_aligner(chain, placement, shards, cpus, gpu_sink)
        cpus = min(placement.workers, len(shards))
    share, threads = (placement.cpus, placement.threads) if placement else (1.0, 1)
    if placement is None:
        print(f"Workers: {f'{min(cluster.gpus, len(shards))}, 1 GPU' if gpu_sink else f'{cpus}, CPU core'} each")
    rows = Shards(chain.read, shards, ROWS)
    if gpu_sink:
        has = OF_ACTORS | {"num_cpus": 0.9 * share}
        crops = pool(read(rows, 1, READERS, OF_READERS), Cropper, (chain, threads), cpus, has)
        gpu = OF_ACTORS | {"num_gpus": 1, "num_cpus": 0.1}
        return pool(crops, Finisher, (chain,), min(cluster.gpus, len(shards)), gpu)
    has = OF_ACTORS | {"num_cpus": 0.95 * share}
    return pool(read(rows, shards_per_task(len(shards), cpus), READERS, OF_READERS), Fused, (chain, threads), cpus, has)


def _with_gpu_aligner(chain: Chain, placement: Placement, shards: list[int], cpus: int, gpu_sink: bool) -> Any:
    """Decoding in CPU tasks, the aligner's network in actors with GPUs, and the sink there too or on CPUs."""
    source = chain.source
    assert isinstance(source, PhotoSource)
    on_cpus = OF_TASKS | {"num_cpus": 0.8}
    dataset = read(Shards(chain.read, shards, ROWS), 1, cpus, on_cpus)
    dataset = tasks(dataset, decode_shards, {"read": source.read}, cpus, on_cpus)
    aligners = min(placement.workers, len(shards))
    has = OF_ACTORS | {"num_gpus": placement.gpus, "num_cpus": 0.1}
    if gpu_sink:
        return pool(dataset, GpuFinisher, (chain, source.open_aligner), aligners, has)
    dataset = pool(dataset, GpuCropper, (chain, source.open_aligner), aligners, has)
    return pool(dataset, Finisher, (chain,), cpus, OF_ACTORS | {"num_cpus": 0.1})


def engine_for(config: EngineConfig, cluster: Cluster, workers: int) -> EngineConfig:
    """Threads of one worker's network, unless the user set them: the workers share the CPUs evenly."""
    each = max(1, cluster.cpus // max(1, 1 if cluster.here else workers or cluster.cpus))
    return config if config.threads or cluster.gpus else replace(config, threads=each)
