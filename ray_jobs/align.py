"""Photos in, aligned faces out.

python -m ray_jobs.align configs/align.yaml --photos PHOTOS --out runs/faces
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pyarrow as pa

from faceverify import tables
from faceverify.align import AlignConfig, build
from faceverify.align.cards import card, crops_for
from faceverify.align.crops import NAME, Crop, parse
from faceverify.config import Input, JobConfig
from faceverify.errors import UserError
from faceverify.images import ImageLimits
from faceverify.inputs import fingerprint, names_in, one_photo, open_photos, stream_table
from faceverify.models.loading import resolve
from faceverify.provenance import Identifier, PhotoIdentity, describe_crop
from faceverify.storage import Location, check_readable, open_location
from ray_jobs.engine.photo_pipeline import FaceSink, PhotoSource
from ray_jobs.engine.resources import AlignResources, describe
from ray_jobs.engine.session import run_job
from ray_jobs.engine.table_job import TableJob
from ray_jobs.engine.wanted_weights import shared_weights


@dataclass(frozen=True, kw_only=True, slots=True)
class AlignJobConfig(JobConfig):
    """Find the face in each photo and cut it out, as the networks want it that are to see it."""

    photos: Input = ""
    """A photos table (the output of ingest), or a folder of photos. Required."""
    crop: tuple[str, ...] = ("arcface112",)
    """What is cut out of each photo, one or several, in one pass: names of models, each of which has a crop, or crops
    such as arcface112, arcface256 or box160:margin=14. The first is the column `image` of the table."""
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
    crops = crops_for(config.align, *named_crops(config.crop))
    crop = describe_crop(config.align, aligner.name, crops[0])
    print(f"Crops: {', '.join(map(str, crops))}")
    identity = config.photo_identity
    source = PhotoSource(config.align, config.images, config.resources, identity=identity, crop=crop, crops=crops)
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
        schema=tables.faces([str(one) for one in crops[1:]]),
        rows_per_shard=config.photos_per_shard,
        shared=(one_photo(opened), *shared_weights(config.align)),
        run_only=("resources",),
        facts={"aligner": aligner.name, "crop": json.loads(crop)},
        photos=Identifier(identity, config.align.method == "annotated", config.images.max_bytes),
    ).run()


def named_crops(names: tuple[str, ...]) -> list[Crop]:
    """The crops that the user named, each once, in order.

    Raises:
        UserError: none is named, or a name is neither a crop nor a model.
    """
    if not names:
        raise UserError("crop is empty: name a model, or a crop such as arcface112.")
    return list(dict.fromkeys(parse(name) if NAME.match(name) else resolve(name)[1].shown for name in names))


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
