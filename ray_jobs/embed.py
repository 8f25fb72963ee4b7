"""Aligned faces in, embeddings out.

python -m ray_jobs.embed configs/embed.yaml --faces runs/faces --model sface --out runs/embeddings
"""

import json
import sys
from dataclasses import dataclass, field, replace

from faceverify import tables
from faceverify.aligned import image_column_of
from faceverify.config import Input, JobConfig
from faceverify.inputs import fingerprint, open_table, stream_table
from faceverify.models import EngineConfig
from faceverify.storage import check_readable, open_location
from ray_jobs.engine.photo_pipeline import EmbeddingSink, FaceSource, engine_for
from ray_jobs.engine.session import run_job
from ray_jobs.engine.table_job import TableJob
from ray_jobs.engine.wanted_weights import default_model, shared_weights


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbedConfig(JobConfig):
    """Turn each face into an embedding."""

    faces: Input = ""
    """A faces table (the output of align). Required."""
    model: Input = ""
    """Name of a published model (see `faceverify models list`), a weights file, a checkpoint, or the output of train,
    tune, export or pipeline. Empty = sface."""
    engine: EngineConfig = field(default_factory=EngineConfig)
    faces_per_shard: int = 256
    """Faces per unit of work: what a killed worker has to do again."""


def run(config: EmbedConfig) -> None:
    """Check the input and run."""
    from faceverify.models.folders import weights_file
    from faceverify.models.loading import resolve

    config = replace(config, model=weights_file(config.model or default_model()))  # the same file for all workers
    place = open_location(config.faces)
    check_readable(place, "faces")
    files = open_table(place, "faces", tables.FACES, "faces", keyless=True)
    card = resolve(config.model)[1]
    shown = card.shown
    column = image_column_of(files, shown, "faces")
    columns = ("photo", column, "photo_version", "crop")
    TableJob(
        job="embed",
        config=config,
        digests={"faces": fingerprint(place), "model": card.digest},
        rows=lambda: stream_table(files, list(columns), rows=4096),
        files=files,
        columns=columns,
        stages=lambda cluster: (
            FaceSource(shown, column),
            EmbeddingSink(config.model, engine_for(config.engine, cluster, config.workers), card.digest),
        ),
        table="embeddings",
        schema=tables.embeddings(card.dim),
        rows_per_shard=config.faces_per_shard,
        facts={"model": json.loads(card.to_json())},
        gpu=True,
        shared=tuple(shared_weights(None, config.model)),
    ).run()


def main() -> int:
    """Entry point."""
    return run_job("embed", EmbedConfig, run, __doc__ or "", ("faces", "out"))


if __name__ == "__main__":
    sys.exit(main())
