"""Photos in, aligned 112x112 faces out.

python -m ray_jobs.align configs/align.yaml --photos PHOTOS --out runs/faces
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pyarrow as pa

from faceverify import tables
from faceverify.align import AlignConfig, build
from faceverify.align.cards import card
from faceverify.config import Input, JobConfig
from faceverify.images import ImageLimits
from faceverify.inputs import fingerprint, names_in, one_photo, open_photos, stream_table
from faceverify.provenance import Identifier, PhotoIdentity, describe_crop
from faceverify.storage import Location, check_readable, open_location
from ray_jobs.engine.photo_pipeline import FaceSink, PhotoSource
from ray_jobs.engine.resources import AlignResources, describe
from ray_jobs.engine.session import run_job
from ray_jobs.engine.table_job import TableJob
from ray_jobs.engine.wanted_weights import shared_weights


@dataclass(frozen=True, kw_only=True, slots=True)
class AlignJobConfig(JobConfig):
    """Find the face in each photo and cut it out, aligned to the 112x112 template."""

    photos: Input = ""
    """A photos table (the output of ingest), or a folder of photos. Required."""
    align: AlignConfig = field(default_factory=AlignConfig)
    images: ImageLimits = field(default_factory=ImageLimits)
    resources: AlignResources = field(default_factory=AlignResources)
    photo_identity: PhotoIdentity = "stat"
    """By what a photo is known again: stat = its place, size and time of change (of objects in S3: ETag and size);
    content = the SHA-256 of its bytes."""
    photos_per_shard: int = 128
    """Photos per unit of work: what a killed worker has to do again."""


def run(config: AlignJobConfig) -> None:
    """Check the input and run."""
    place = open_location(config.photos)
    check_readable(place, "photos")
    opened = open_photos(place)
    aligner = build(replace(config.align, device="cpu"))  # checks the weights; the GPUs may be on other machines
    print(f"Aligner: {card(config.align.method)}, name {aligner.name}")
    print(describe(config.resources, config.align))
    refused: list[pa.Table] = []
    crop = describe_crop(config.align, aligner.name)
    identity = config.photo_identity
    source = PhotoSource(config.align, config.images, config.resources, identity=identity, crop=crop)
    TableJob(
        job="align",
        config=config,
        # A changed photo is noticed by itself: here only which photos there are.
        digests={"photos": fingerprint(place) if isinstance(opened, list) else names_in(opened), "align.weights": crop},
        rows=lambda: stream_table(opened, tables.PHOTOS.names) if isinstance(opened, list) else listed(opened, refused),
        files=opened if isinstance(opened, list) else None,
        columns=tuple(tables.PHOTOS.names),
        refused=refused,
        stages=lambda _: (source, FaceSink()),
        table="faces",
        schema=tables.FACES,
        rows_per_shard=config.photos_per_shard,
        shared=(one_photo(opened), *shared_weights(config.align)),
        run_only=("resources",),
        facts={"aligner": aligner.name, "crop": json.loads(crop)},
        photos=Identifier(identity, config.align.method == "annotated", config.images.max_bytes),
    ).run()


def listed(folder: Location, refused: list[pa.Table]) -> Iterator[pa.Table]:
    """The photos of a folder `<person>/<photo>`, as rows of the table `photos`; what is no photo goes to `refused`."""
    from faceverify.datasets import DatasetConfig, read

    listing = read(folder, DatasetConfig(layout="folders"))
    for note in listing.notes:
        print(f"{note}.")
    refused.append(listing.rejects)
    yield listing.photos.select(tables.PHOTOS.names)


def main() -> int:
    """Entry point."""
    return run_job("align", AlignJobConfig, run, __doc__ or "", ("photos", "out"))


if __name__ == "__main__":
    sys.exit(main())
