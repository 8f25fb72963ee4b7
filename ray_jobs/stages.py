"""Ray Data stages that several jobs share: read a shard, make crops, make faces or embeddings, write a part.

On CPUs the whole chain runs in one process per core, so that pixels never leave it. With GPUs it is cut in two: crops
are made by CPU workers and travel through the object store to the workers that hold the network.
"""

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from faceverify.align import AlignConfig
from faceverify.faces import Crops, Stopwatch
from faceverify.images import ImageLimits
from faceverify.models import EngineConfig
from faceverify.run_folder import part, read_part, write_part
from faceverify.shards import read_shard
from faceverify.storage import Location
from ray_jobs.session import Cluster, Progress
from ray_jobs.tasks import MAX_RETRIES, guarded, ours

SHARDS_PER_TASK = 8
MakeCrops = Callable[[pa.Table, Stopwatch], Crops]
UseCrops = Callable[[Crops, Stopwatch], tuple[pa.Table, pa.Table]]


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

    def open(self) -> MakeCrops:
        """Build the aligner."""
        from faceverify.align import build
        from faceverify.faces import crop_photos

        aligner = build(self.align)
        return lambda rows, watch: crop_photos(rows, aligner, self.limits, watch)


@dataclass(frozen=True)
class FaceSource:
    """Rows of a `faces` table."""

    def open(self) -> MakeCrops:
        """Nothing to load."""
        from faceverify.faces import decode_faces

        return decode_faces


@dataclass(frozen=True)
class FaceSink:
    """Rows of a `faces` table."""

    def open(self) -> UseCrops:
        """Nothing to load."""
        from faceverify.faces import encode_faces

        return lambda crops, watch: (encode_faces(crops, watch), crops.rejects)


@dataclass(frozen=True)
class EmbeddingSink:
    """Rows of an `embeddings` table."""

    model: str
    engine: EngineConfig

    def open(self) -> UseCrops:
        """Load the network."""
        from faceverify.faces import embed_crops
        from faceverify.models import load_engine

        engine = load_engine(self.model, self.engine)
        return lambda crops, watch: embed_crops(crops, engine, watch)


@dataclass(frozen=True)
class Chain:
    """Shards of `work/<input>` through source and sink into parts of `work/<stage>`."""

    work: Location
    input: str
    stage: str
    source: Source
    sink: Sink


class Fused:
    """The whole chain in one process."""

    def __init__(self, chain: Chain) -> None:
        _one_thread()
        self.chain, self.make, self.use = chain, chain.source.open(), chain.sink.open()

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        """Shard numbers in, counts out."""
        return _counts([guarded(self._shard, int(shard)) for shard in batch["shard"]])

    def _shard(self, shard: int) -> dict[str, Any]:
        watch = Stopwatch()
        rows = _pending(self.chain, shard)
        written = part(self.chain.work, self.chain.stage, shard)
        if written.is_file():  # by an attempt at this task that was killed later
            done = read_part(written).num_rows
            return {"rows": rows.num_rows, "rejected": rows.num_rows - done, "seconds": "{}"}
        return _finish(self.chain, shard, rows.num_rows, self.make(rows, watch), self.use, watch)


class Cropper:
    """The first half of the chain; hands the crops on as Arrow bytes."""

    def __init__(self, chain: Chain) -> None:
        _one_thread()
        self.chain, self.make = chain, chain.source.open()

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        """One shard number in, its crops out."""
        return guarded(self._shard, int(batch["shard"][0]))

    def _shard(self, shard: int) -> dict[str, Any]:
        watch = Stopwatch()
        rows = _pending(self.chain, shard)
        crops = self.make(rows, watch)
        columns = {"shard": [shard], "rows": [rows.num_rows], "seconds": [json.dumps(watch.seconds)]}
        parts = {"kept": crops.rows, "found": crops.found, "rejects": crops.rejects}
        columns |= {name: [_to_ipc(table)] for name, table in parts.items()}
        return columns | {"pixels": [crops.faces.tobytes()]}


class Embedder:
    """The second half of the chain."""

    def __init__(self, chain: Chain) -> None:
        self.chain, self.use = chain, chain.sink.open()

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, Any]:
        """Crops of shards in, counts out."""
        rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
        return _counts([guarded(self._shard, row) for row in rows])

    def _shard(self, row: dict[str, Any]) -> dict[str, Any]:
        watch = Stopwatch()
        watch.seconds.update(json.loads(row["seconds"]))
        faces = np.frombuffer(row["pixels"], np.uint8).reshape(-1, 112, 112, 3)
        crops = Crops(_from_ipc(row["kept"]), faces, _from_ipc(row["found"]), _from_ipc(row["rejects"]))
        return _finish(self.chain, int(row["shard"]), int(row["rows"]), crops, self.use, watch)


def run_chain(
    chain: Chain, shards: list[int], cluster: Cluster, workers: int, progress: Progress, gpu: bool
) -> dict[str, float]:
    """Run the chain over the given shards; returns seconds per stage, summed over the workers.

    Raises:
        FaceverifyError: what a worker raised for the user to see.
    """
    import ray

    if not shards:
        return {}
    cpus = min(workers or cluster.cpus, len(shards))
    cut = gpu and cluster.gpus > 0
    # A task costs Ray some 20 ms: give it several shards, but every worker sixteen tasks, so that all end together.
    each = 1 if cut else max(1, min(SHARDS_PER_TASK, len(shards) // (16 * cpus)))
    dataset = ray.data.from_arrow([pa.table({"shard": shards[i : i + each]}) for i in range(0, len(shards), each)])
    if cut:
        dataset = _mapped(dataset, Cropper, chain, cpus, num_cpus=0.9)
        dataset = _mapped(dataset, Embedder, chain, min(cluster.gpus, len(shards)), num_gpus=1, num_cpus=0.1)
    else:
        dataset = _mapped(dataset, Fused, chain, cpus, num_cpus=0.95)
    seconds: dict[str, float] = {}
    try:
        for counts in dataset.iter_rows():
            progress.add(counts["rows"], counts["rejected"])
            for stage, spent in json.loads(counts["seconds"]).items():
                seconds[stage] = seconds.get(stage, 0.0) + spent
    except ray.exceptions.RayError as error:
        raise ours(error) from None
    return {stage: round(spent, 3) for stage, spent in seconds.items()}


def _mapped(dataset: Any, stage: type, chain: Chain, workers: int, **resources: float) -> Any:
    import ray

    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers)
    options = {"max_task_retries": MAX_RETRIES, **resources}
    with warnings.catch_warnings():
        # Ray 2.60 announces another way to say this for 2.64, and does not have it yet.
        warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
        return dataset.map_batches(stage, fn_constructor_args=(chain,), batch_size=None, compute=pool, **options)


def _pending(chain: Chain, shard: int) -> pa.Table:
    """The rows of a shard, but for those whose embedding was given."""
    rows = read_shard(chain.work / chain.input, shard)
    return (
        rows.filter(rows["embedding"].is_null()).drop_columns("embedding") if "embedding" in rows.column_names else rows
    )


def _finish(chain: Chain, shard: int, rows_in: int, crops: Crops, use: UseCrops, watch: Stopwatch) -> dict[str, Any]:
    rows, rejects = use(crops, watch)
    assert rows.num_rows + rejects.num_rows == rows_in, (
        f"shard {shard}: {rows_in} rows became {rows.num_rows} + {rejects.num_rows}"
    )
    with watch("write"):
        write_part(chain.work, chain.stage, shard, rows, rejects)
    return {"rows": rows_in, "rejected": rejects.num_rows, "seconds": json.dumps(watch.seconds)}


def _counts(results: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: [result[name] for result in results] for name in ("rows", "rejected", "seconds")}


def engine_for(config: EngineConfig, cluster: Cluster, workers: int) -> EngineConfig:
    """Threads of one worker's network, unless the user set them: the workers share the CPUs evenly."""
    each = max(1, cluster.cpus // max(1, workers or cluster.cpus))
    return config if config.threads or cluster.gpus else replace(config, threads=each)


def _one_thread() -> None:
    """Each worker owns one core; OpenCV would otherwise start one thread per core of the machine in each of them."""
    import cv2

    cv2.setNumThreads(1)


def _to_ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _from_ipc(data: bytes) -> pa.Table:
    return pa.ipc.open_stream(data).read_all()
