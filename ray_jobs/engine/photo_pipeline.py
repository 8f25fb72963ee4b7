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
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import pyarrow as pa

from faceverify.align import AlignConfig, Aligner, build
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
from ray_jobs.engine.tasks import MAX_RETRIES, ours
from ray_jobs.engine.wanted_weights import seen_from_anywhere, weights_seen

SHARDS_PER_TASK = 8
# Of one task in an actor whose worker died. A lost node takes the cluster up to a minute to notice, and each attempt to
# reach it meanwhile is counted: with the pause between two (cluster.RETRY_PAUSE_MS) these last longer than that.
ACTOR_RETRIES = 20


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

    def __post_init__(self) -> None:
        object.__setattr__(self, "align", replace(self.align, weights=weights_seen(self.align)))

    def at(self, placement: Placement) -> "PhotoSource":
        """The same for workers that have what was settled."""
        return replace(self, align=fitted(self.align, placement), batch=placement.batch)

    def open(self) -> MakeCrops:
        """Build the aligner."""
        aligner, crop = self._aligner()
        origin = Origin(crop, self.identity)
        return lambda rows, watch: crop_photos(rows, aligner, self.limits, watch, self.batch, origin)

    def read(self, rows: pa.Table, watch: Stopwatch) -> Iterator[Pictures]:
        """The first half of it: read and decode, in pieces bounded by memory only."""
        return decode_photos(rows, self.limits, watch, rows.num_rows + 1, self.identity)

    def open_aligner(self) -> AlignPictures:
        """The second half of it: build the aligner."""
        aligner, crop = self._aligner()
        return lambda pictures, watch: align_pictures(pictures, aligner, watch, self.batch, crop)

    def _aligner(self) -> tuple[Aligner, str]:
        """The aligner, and what it is: the weights that were loaded here may not be those that were checked.

        Raises:
            UserError: they are not.
        """
        aligner = build(self.align)
        crop = describe_crop(self.align, aligner.name)
        if self.crop and crop != self.crop:
            raise UserError(
                f"align.weights {self.align.weights!r} changed after the job began, or is another file on this node "
                f"({crop_difference(json.loads(crop), json.loads(self.crop))}); run the same command again."
            )
        return aligner, crop


@dataclass(frozen=True)
class FaceSource:
    """Rows of a `faces` table."""

    def open(self) -> MakeCrops:
        """Nothing to load."""
        return decode_faces


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

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", seen_from_anywhere(self.model))

    def open(self) -> UseCrops:
        """Load the network.

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
        return lambda crops, watch: embed_crops(crops, engine, watch)


@dataclass(frozen=True)
class Chain:
    """Shards of `work/<input>` through source and sink into parts of `work/<stage>`."""

    work: Location
    input: str
    stage: str
    source: Source
    sink: Sink


def run_chain(
    chain: Chain, shards: list[int], cluster: Cluster, workers: int, progress: Progress, gpu: bool
) -> dict[str, float]:
    """Run the chain over the given shards; returns seconds per stage, summed over the workers.

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
    if not shards:
        return {}
    if cluster.here:
        return _counted(_done_here(chain, shards, cluster), chain, progress)
    import ray

    try:
        rows = _laid_out(chain, shards, cluster, workers, gpu and cluster.gpus > 0).iter_rows()
        return _counted(rows, chain, progress)
    except ray.exceptions.RayError as error:
        raise ours(error) from None


def _counted(pieces: Iterable[dict[str, Any]], chain: Chain, progress: Progress) -> dict[str, float]:
    """Take the counts of finished pieces as they come; returns seconds per stage."""
    joiner = Joiner(chain.work, chain.stage)
    seconds: dict[str, float] = {}
    for counts in pieces:
        joiner.add(Piece(*(counts[name] for name in ("shard", "number", "last", "rows"))))
        spent_on = json.loads(counts["seconds"])
        progress.gpu_seconds(spent_on)
        progress.add(counts["rows"], counts["rejected"])
        for stage, spent in spent_on.items():
            seconds[stage] = seconds.get(stage, 0.0) + spent
    return {stage: round(spent, 3) for stage, spent in seconds.items()}


def _done_here(chain: Chain, shards: list[int], cluster: Cluster) -> Iterator[dict[str, Any]]:
    """The counts of finished pieces, made in this process."""
    if isinstance(chain.source, PhotoSource):
        placement = place(chain.source.resources, chain.source.align, cluster, 1)
        chain = replace(chain, source=chain.source.at(placement))
    with threads_as_before():
        yield from Fused(chain)(pa.table({"shard": shards})).to_pylist()


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
    if gpu_sink:
        dataset = _pool(_numbers(shards, 1), Cropper, (chain, threads), cpus, num_cpus=0.9 * share)
        return _pool(dataset, Finisher, (chain,), min(cluster.gpus, len(shards)), num_gpus=1, num_cpus=0.1)
    # A task costs Ray some 20 ms: give it several shards, but every worker sixteen tasks, so that all end together.
    each = max(1, min(SHARDS_PER_TASK, len(shards) // (16 * cpus)))
    return _pool(_numbers(shards, each), Fused, (chain, threads), cpus, num_cpus=0.95 * share)


def _with_gpu_aligner(chain: Chain, placement: Placement, shards: list[int], cpus: int, gpu_sink: bool) -> Any:
    """Decoding in CPU tasks, the aligner's network in actors with GPUs, and the sink there too or on CPUs."""
    source = chain.source
    assert isinstance(source, PhotoSource)
    photos = {"chain": chain, "read": source.read}
    dataset = _mapped(
        _numbers(shards, 1), decode_shards, _tasks(cpus), fn_kwargs=photos, num_cpus=0.8, max_retries=MAX_RETRIES
    )
    aligners = min(placement.workers, len(shards))
    has = {"num_gpus": placement.gpus, "num_cpus": 0.1}
    if gpu_sink:
        return _pool(dataset, GpuFinisher, (chain, source.open_aligner), aligners, **has)
    dataset = _pool(dataset, GpuCropper, (chain, source.open_aligner), aligners, **has)
    return _pool(dataset, Finisher, (chain,), cpus, num_cpus=0.1)


def _numbers(shards: list[int], each: int) -> Any:
    import ray

    return ray.data.from_arrow([pa.table({"shard": shards[i : i + each]}) for i in range(0, len(shards), each)])


def _tasks(most: int) -> Any:
    import ray

    return ray.data.TaskPoolStrategy(size=most)


def _pool(dataset: Any, stage: type, arguments: tuple[Any, ...], workers: int, **resources: float) -> Any:
    import ray

    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers)
    return _mapped(dataset, stage, pool, fn_constructor_args=arguments, max_task_retries=ACTOR_RETRIES, **resources)


def _mapped(dataset: Any, stage: Any, compute: Any, **options: Any) -> Any:
    """A stage that takes a row at a time, or whole blocks where the rows are no more than shard numbers."""
    size = None if stage is Fused else 1  # None is refused for workers with a GPU
    with warnings.catch_warnings():
        # Ray 2.60 announces another way to say this for 2.64, and does not have it yet.
        warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
        return dataset.map_batches(stage, compute=compute, batch_size=size, batch_format="pyarrow", **options)


def engine_for(config: EngineConfig, cluster: Cluster, workers: int) -> EngineConfig:
    """Threads of one worker's network, unless the user set them: the workers share the CPUs evenly."""
    each = max(1, cluster.cpus // max(1, 1 if cluster.here else workers or cluster.cpus))
    return config if config.threads or cluster.gpus else replace(config, threads=each)
