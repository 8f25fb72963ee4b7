"""The Arrow schema of every table that passes between jobs, and `validate`.

A table is a folder of Parquet files. Extra columns are allowed behind the named ones and travel along unchanged
(a fold number of a pair list, say); the named ones must be there with these types.
Pixels are RGB uint8, paths are `/`-separated and relative to the photos' root, coordinates are (x, y) in pixels.
"""

from typing import Any

import pyarrow as pa

from faceverify.errors import UserError

# 5 points x 2 coordinates, row by row: x0 y0 x1 y1 ...; order image-left eye, image-right eye, nose,
# image-left mouth corner, image-right mouth corner.
LANDMARKS = pa.list_(pa.float32(), 10)

PHOTOS = pa.schema(
    [
        pa.field("photo", pa.string(), nullable=False),  # key: path relative to the root
        pa.field("uri", pa.string(), nullable=False),  # where the bytes are: local path or s3://
        ("person", pa.string()),
        ("is_fake", pa.bool_()),
        ("generator", pa.string()),  # null if real
        ("split", pa.string()),
        ("landmarks", LANDMARKS),  # in the pixels of the photo after its EXIF turn; null if not annotated
        ("bytes_size", pa.int64()),
    ]
)

# What a row was made of (faceverify.provenance): tables of other programs may lack these columns, or hold nulls there.
PROVENANCE = ("photo_version", "crop", "scored_with")

FACES = pa.schema(
    [
        pa.field("photo", pa.string(), nullable=False),
        ("person", pa.string()),
        ("is_fake", pa.bool_()),
        ("generator", pa.string()),
        ("split", pa.string()),
        pa.field("image", pa.binary(), nullable=False),  # the crop, encoded RGB (PNG)
        ("landmarks", LANDMARKS),  # in the photo
        ("detection_score", pa.float32()),  # null where the aligner detects nothing (annotated, none)
        ("faces_found", pa.int32()),
        ("aligner", pa.string()),
        ("photo_version", pa.string()),  # of the file when the face was cut out of it
        ("crop", pa.string()),  # how `image` was cut out: JSON
    ]
)


def image_column(crop: str) -> str:
    """The column of a `faces` table that holds a further crop of each face: `image:box160`."""
    return f"image:{crop}"


def faces(others: list[str]) -> pa.Schema:
    """The schema of `faces` with further crops of these names."""
    fields = list(FACES)
    return pa.schema([*fields, *(pa.field(image_column(name), pa.binary(), nullable=False) for name in others)])


# What embeddings have besides where a forensic model was given: its score of the photo in log-odds, eye distance in
# pixels of the photo, digest of the model's card and of the crop that it was shown.
FORENSIC = pa.schema([("forensic", pa.float32()), ("eyes", pa.float32()), ("forensic_with", pa.string())])
# Of scores: the same of both photos; what refused the pair: similarity, forensic, both, too_small, or null; and which
# photos the forensic thresholds say nothing of, too small or without a score: a, b, both, or null.
FORENSIC_SCORES = pa.schema(
    [
        ("forensic_a", pa.float32()),
        ("forensic_b", pa.float32()),
        ("eyes_a", pa.float32()),
        ("eyes_b", pa.float32()),
        ("forensic_with", pa.string()),
        ("refused_for", pa.string()),
        ("not_judged", pa.string()),
    ]
)


def embeddings(dim: int, forensic: bool = False) -> pa.Schema:
    """The schema of `embeddings` for vectors of `dim` numbers (un-normalised; `norm` is their length)."""
    return pa.schema(
        [
            pa.field("photo", pa.string(), nullable=False),
            pa.field("embedding", pa.list_(pa.float32(), dim), nullable=False),
            pa.field("norm", pa.float32(), nullable=False),
            ("model", pa.string()),  # digest of the model card
            ("photo_version", pa.string()),
            ("crop", pa.string()),
            *(FORENSIC if forensic else ()),
        ]
    )


PAIRS = pa.schema(
    [
        pa.field("pair", pa.string(), nullable=False),  # key
        pa.field("photo_a", pa.string(), nullable=False),
        pa.field("photo_b", pa.string(), nullable=False),
        ("label", pa.int8()),  # 1 same real person, 0 otherwise, null unknown
        ("kind", pa.string()),  # genuine | impostor | deepfake, null unknown
        ("generator", pa.string()),  # of the fake in the pair
        ("split", pa.string()),
        ("person_a", pa.string()),  # for intervals: the bootstrap draws persons
        ("person_b", pa.string()),
    ]
)

SCORES = pa.schema(
    [
        *PAIRS,
        ("similarity", pa.float32()),  # cosine in [-1, 1]; null if a photo failed
        ("accepted", pa.bool_()),  # similarity >= threshold; null without a calibration or a similarity
        pa.field("status", pa.string(), nullable=False),  # "ok" or a Reason
        ("scored_with", pa.string()),  # JSON: the model, and the crop of both photos
    ]
)

DECISIONS = pa.schema(
    [
        pa.field("photo", pa.string(), nullable=False),  # every photo that cleaning was given, exactly once
        ("person", pa.string()),  # the folder it came in
        ("is_fake", pa.bool_()),
        pa.field("decision", pa.string(), nullable=False),  # kept | moved | review | dropped
        ("new_person", pa.string()),  # the person it belongs to from now on; null for review and dropped
        ("suggested_person", pa.string()),  # whose photo it probably is; null where no one is near
        pa.field("reason", pa.string(), nullable=False),  # from the closed list of faceverify/cleaning
        ("evidence", pa.string()),  # a sentence for a person to read, with the numbers it rests on
        ("component", pa.int32()),  # of the person's graph: 0 is the kept one; null where there is no embedding
        ("similarity_own", pa.float32()),  # cosine to the mean of the person's kept component
        ("similarity_suggested", pa.float32()),  # cosine to the mean of the suggested person's
        ("decided_by", pa.string()),  # "cleaning", or the reviewer
    ]
)

# One row per person with something to look at, hardest first: all that the review page shows, so that it opens nothing
# but this table and the photos themselves. Lists run over the P photos shown.
CASES = pa.schema(
    [
        pa.field("person", pa.string(), nullable=False),
        pa.field("hardness", pa.float32(), nullable=False),  # 0 clear .. 1 a coin toss
        ("headline", pa.string()),  # why this person is here, in a sentence
        ("photos_total", pa.int32()),  # of the person; more than P where only the most telling are shown
        ("photo", pa.list_(pa.string())),
        ("uri", pa.list_(pa.string())),
        ("is_fake", pa.list_(pa.bool_())),
        ("component", pa.list_(pa.int32())),
        ("decision", pa.list_(pa.string())),
        ("suggested_person", pa.list_(pa.string())),
        ("suggested_uri", pa.list_(pa.string())),  # a typical kept photo of the suggested person
        ("similarity_suggested", pa.list_(pa.float32())),
        ("evidence", pa.list_(pa.string())),
        ("open", pa.list_(pa.bool_())),  # which photos wait for a decision; none: all do, for the folder has a twin
        ("matrix", pa.list_(pa.float32())),  # cosines, P x P row by row
        ("bridges", pa.list_(pa.int32())),  # links that are all that holds two groups together: places, two by two
    ]
)

REJECTS = pa.schema(
    [
        ("photo", pa.string()),  # one of photo and pair says what was rejected
        ("pair", pa.string()),
        pa.field("stage", pa.string(), nullable=False),  # ingest | read | align | embed | score | clean | fake
        pa.field("reason", pa.string(), nullable=False),  # a Reason
        ("detail", pa.string()),
        ("photo_version", pa.string()),  # of the file that was rejected; null where there was none
    ]
)


def parquet_options(schema: pa.Schema) -> dict[str, Any]:
    """How a table is encoded in Parquet: what `ParquetWriter` takes besides the schema.

    Vectors, pictures and scores never repeat: to look for repetitions first costs time, and makes their files larger.
    """
    repeats = [f.name for f in schema if not (pa.types.is_nested(f.type) or _is_unique(f.type))]
    return {"compression": "zstd", "compression_level": 1, "use_dictionary": repeats}


def _is_unique(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def with_sound_text(piece: pa.RecordBatch) -> pa.RecordBatch:
    """The same rows, whose text is UTF-8 indeed: the reader of Parquet does not look.

    Raises:
        ArrowInvalid: some is not.
    """
    for column in piece.columns:
        column.validate(full=pa.types.is_string(column.type) or pa.types.is_large_string(column.type))
    return piece


def validate(schema: pa.Schema, want: pa.Schema, what: str) -> None:
    """Check that `schema` holds every field of `want` with its type (strings and lists in either width).

    The columns of PROVENANCE may be missing.

    Raises:
        UserError: names the table `what` and every missing or mistyped column at once.
    """
    faults = []
    for field in want:
        index = schema.get_field_index(field.name)
        if index < 0 and field.name in PROVENANCE:
            continue
        if index < 0:
            faults.append(f"column '{field.name}' is missing")
        elif not _same_type(schema.field(index).type, field.type):
            faults.append(f"column '{field.name}' is {schema.field(index).type}, not {field.type}")
    if faults:
        raise UserError(f"{what} is not a table of the expected form: {'; '.join(faults)}.")


def _same_type(have: pa.DataType, want: pa.DataType) -> bool:
    if pa.types.is_string(want):
        return pa.types.is_string(have) or pa.types.is_large_string(have)
    if pa.types.is_binary(want):
        return pa.types.is_binary(have) or pa.types.is_large_binary(have)
    if pa.types.is_fixed_size_list(want) and pa.types.is_fixed_size_list(have):
        return have.list_size == want.list_size and have.value_type == want.value_type
    return have == want
