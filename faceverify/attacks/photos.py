"""Photos -> crops and embeddings, as they are and under every degradation, for one shard of rows at a time."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from faceverify import tables
from faceverify.align import Aligner
from faceverify.attacks.degrade import degrade, face_width
from faceverify.attacks.options import Condition
from faceverify.errors import BadData
from faceverify.faces import (
    GROUP_PHOTOS,
    Crops,
    Pictures,
    Rejects,
    Stopwatch,
    align_pictures,
    bad_embedding,
    decode_photos,
    embed_each,
    join_crops,
)
from faceverify.images import ImageLimits, encode_png
from faceverify.images.decoded import DecodedPhoto
from faceverify.models.engines import Engine
from faceverify.provenance import Origin, column_or_null


def vectors_schema(width: int) -> pa.Schema:
    """Of the rows that `embedded` makes, one per photo.

    `vectors` holds 1 + C embeddings one after another, `width` numbers in all, first that of the photo as it is; NaN
    where a degraded photo shows no face.
    """
    return pa.schema(
        [
            ("row", pa.int64()),
            ("photo", pa.string()),
            ("photo_version", pa.string()),
            ("vectors", pa.list_(pa.float32(), width)),
            ("image", pa.binary()),  # the crop of the photo as it is (PNG), where gradients are wanted
        ]
    )


def attacked_crops(
    rows: pa.Table,
    aligner: Aligner,
    limits: ImageLimits,
    conditions: Sequence[Condition],
    seed: int,
    watch: Stopwatch,
    origin: Origin,
) -> Crops:
    """Read, decode and align photos as they are and under every degradation.

    Args:
        rows: photos with `row`, photo, uri, landmarks.
        aligner: finds the face in each picture by itself.
        limits: of the photos.
        conditions: the degradations.
        seed: of the noise.
        watch: seconds by stage.
        origin: see `faces.crop_photos`.

    Returns:
        The crops, with a column `condition` in their rows: 0 as it is, else the place in `conditions`, from 1. Rejected
        are photos that show no face as they are; one that shows none under a degradation has no crop of that.

    Raises:
        PlatformError: storage refuses all photos.
    """
    parts = []
    for group in decode_photos(rows, limits, watch, GROUP_PHOTOS, origin.identity):
        clean = align_pictures(group, aligner, watch, origin=origin)
        parts.append(_numbered(clean, 0))
        place = {row: at for at, row in enumerate(group.rows["row"].to_pylist())}
        found_in = (group.photos[place[row]] for row in clean.rows["row"].to_pylist())
        kept = [photo.pixels for photo in found_in if not isinstance(photo, BadData)]  # all: a face was found in them
        # The file's version as it was read: the aligner adds the landmarks to it once more.
        left = group.rows.take(pa.array([place[row] for row in clean.rows["row"].to_pylist()], pa.int64()))
        landmarks = [None if v is None else np.reshape(v, (5, 2)) for v in clean.found["landmarks"].to_pylist()]
        for number, condition in enumerate(conditions, 1):
            names = left["photo"].to_pylist()
            with watch("degrade"):
                worse: list[DecodedPhoto | BadData] = [
                    DecodedPhoto(degrade(pixels, condition, face_width(points, pixels.shape), name, seed))
                    for pixels, points, name in zip(kept, landmarks, names, strict=True)
                ]
            found = align_pictures(Pictures(left, worse), aligner, watch, origin=origin)
            parts.append(_numbered(replace(found, rejects=tables.REJECTS.empty_table()), number))
    return join_crops(parts)


def _numbered(crops: Crops, condition: int) -> Crops:
    numbers = pa.array(np.full(crops.rows.num_rows, condition, np.int32))
    return replace(crops, rows=crops.rows.append_column("condition", numbers))


def embedded(
    crops: Crops, engine: Engine, conditions: int, pictures: bool, watch: Stopwatch
) -> tuple[pa.Table, pa.Table]:
    """Rows of `vectors_schema` and rejects, of the crops that `attacked_crops` gave.

    Args:
        crops: with `condition`.
        engine: the network.
        conditions: how many degradations there are.
        pictures: whether the crops of the photos as they are go into the rows.
        watch: seconds by stage.
    """
    with watch("embed"):
        vectors, norms, usable = embed_each(crops.faces, engine)
    rows, number = crops.rows["row"].to_numpy(), crops.rows["condition"].to_numpy()
    as_it_is, rejects = np.flatnonzero(number == 0), Rejects()
    names, versions = crops.rows["photo"], column_or_null(crops.rows, "photo_version")
    for at in as_it_is[~usable[as_it_is]].tolist():
        rejects.add(names[at].as_py(), "embed", bad_embedding(norms[at]), versions[at].as_py())
    kept = as_it_is[usable[as_it_is]]
    place = {row: at for at, row in enumerate(rows[kept].tolist())}
    out = np.full((len(kept), 1 + conditions, engine.card.dim), np.nan, np.float32)
    for at in np.flatnonzero(usable).tolist():
        if (row := place.get(int(rows[at]))) is not None:
            out[row, number[at]] = vectors[at]
    with watch("encode"):
        images = [encode_png(crops.faces[at]) if pictures else None for at in kept.tolist()]
    chosen, width = pa.array(kept), (1 + conditions) * engine.card.dim
    columns = {
        "row": crops.rows["row"].take(chosen),
        "photo": names.take(chosen),
        "photo_version": versions.take(chosen),
        "vectors": pa.FixedSizeListArray.from_arrays(pa.array(out.reshape(-1)), width),
        "image": pa.array(images, pa.binary()),
    }
    return pa.table(columns, schema=vectors_schema(width)), pa.concat_tables([crops.rejects, rejects.table()])
