"""What a forensic network learns from: patches of photos as a table, and who is learnt from, who validated with.

Shape letters: N patches.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify import tables
from faceverify.align import Aligner
from faceverify.errors import BadData, Reason, UserError
from faceverify.faces import GROUP_PHOTOS, Pictures, Rejects, Stopwatch, decode_each, decode_photos
from faceverify.fakes import FaceInput
from faceverify.fakes.checks import check_face
from faceverify.fakes.photo_pool import ORIGINALS, with_originals
from faceverify.forensics.bands import LEAST_EYES, eye_distance
from faceverify.forensics.patches import Patch, cut_patch
from faceverify.images import ImageLimits, decode, encode_png
from faceverify.images.decoded import DecodedPhoto
from faceverify.inputs import stream_table
from faceverify.provenance import column_or_null
from faceverify.storage import Location
from faceverify.training.material import encode_names

STAGE = "patch"
PATCHES = pa.schema(
    [
        pa.field("photo", pa.string(), nullable=False),
        ("person", pa.string()),
        ("host", pa.string()),  # of a fake: whose photo the face was put into; null = unknown
        ("generator", pa.string()),  # null = a real photo
        pa.field("eyes", pa.float32(), nullable=False),  # eye distance in pixels of the photo
        pa.field("landmarks", tables.LANDMARKS, nullable=False),  # in pixels of the patch
        pa.field("in_photo", tables.LANDMARKS, nullable=False),  # the same in pixels of the photo
        pa.field("image", pa.binary(), nullable=False),  # PNG
        pa.field("is_original", pa.bool_(), nullable=False),  # the same part of the photo that the fake `photo` is of
    ]
)
WANTED = ("photo", "uri", "person", "host", "generator", "landmarks", "original_uri")


def cut_patches(rows: pa.Table, aligner: Aligner, limits: ImageLimits, watch: Stopwatch) -> tuple[pa.Table, pa.Table]:
    """Read photos and cut their patches out.

    Args:
        rows: columns WANTED; `original_uri` is where the photo is that a fake was made of, or null.
        aligner: finds the landmarks of photos that have none.
        limits: of photos.
        watch: counts the seconds.

    Returns:
        Rows of PATCHES; rows of tables.REJECTS: no face found, one that is too small or cut off, a file that cannot be
        read.
    """
    rejects, kept = Rejects(), list[dict[str, object]]()
    originals = decode_each(rows["original_uri"].to_pylist(), limits, "stat", watch)
    for group in decode_photos(rows, limits, watch, GROUP_PHOTOS):
        given = group.rows.to_pylist()
        for row, picture, landmarks in zip(given, group.photos, _landmarks(group, aligner, watch), strict=False):
            original, _ = next(originals)
            try:
                kept += _patch_rows(row, picture, original, landmarks)
            except BadData as fault:
                stage = "read" if fault is picture else "align" if fault is landmarks else STAGE
                rejects.add(row["photo"], stage, fault, row["photo_version"])
    return pa.Table.from_pylist(kept, schema=PATCHES), rejects.table()


def _landmarks(group: Pictures, aligner: Aligner, watch: Stopwatch) -> list[np.ndarray | BadData | None]:
    """The landmarks [5, 2] of each photo: those of its row, else those that are found; None where it is unreadable."""
    known = group.rows["landmarks"].to_pylist()
    found: list[np.ndarray | BadData | None] = [
        None if given is None else np.array(given, np.float32).reshape(5, 2) for given in known
    ]
    decoded = enumerate(group.photos)
    wanted = {at: one.pixels for at, one in decoded if found[at] is None and not isinstance(one, BadData)}
    with watch("align"):
        faces = aligner.find(list(wanted.values()), [None] * len(wanted)) if wanted else []
    for at, face in zip(wanted, faces, strict=True):
        found[at] = face if isinstance(face, BadData) else face.landmarks
    return found


def _patch_rows(
    row: dict[str, Any],
    picture: DecodedPhoto | BadData,
    original: DecodedPhoto | BadData,
    landmarks: np.ndarray | BadData | None,
) -> list[dict[str, object]]:
    """The patch of a photo; of a fake also that of its original, if that has as many pixels."""
    if isinstance(picture, BadData):
        raise picture
    if isinstance(landmarks, BadData):
        raise landmarks
    if landmarks is None:
        raise BadData(Reason.NO_LANDMARKS, "the aligner gives no landmarks")
    pixels = [picture.pixels]
    check_face(FaceInput(pixels[0], landmarks), "photo")
    eyes = float(eye_distance(landmarks[None])[0])
    if eyes < LEAST_EYES:
        raise BadData(Reason.BAD_LANDMARKS, f"{eyes:.0f} pixels between the eyes, {LEAST_EYES:.0f} are needed")
    if not isinstance(original, BadData) and original.pixels.shape == pixels[0].shape:
        pixels.append(original.pixels)
    patches = [cut_patch(one, landmarks) for one in pixels]
    shared: dict[str, object] = {name: row[name] for name in ("photo", "person", "host", "generator")}
    shared |= {"eyes": eyes, "in_photo": landmarks.reshape(-1).tolist()}
    shared |= {"landmarks": patches[0].landmarks.reshape(-1).tolist()}
    return [{**shared, "image": encode_png(one.image), "is_original": at > 0} for at, one in enumerate(patches)]


@dataclass(frozen=True, eq=False)
class ForensicMaterial:
    """The rows of a table of patches without the pictures.

    photos: [N] names; person: [N] int32 number of the person, each photo of nobody is a person of its own; generator:
    [N] int16 number in `generators`, -1 = real; landmarks: [N, 5, 2] float32 in the patches' pixels; train, val: rows
    of real photos; given, given_val: rows of fakes; original: [N] int32, of a fake the row of the same part of the
    photo that it was made of, -1 = unknown.
    """

    photos: pa.ChunkedArray
    person: np.ndarray
    generator: np.ndarray
    generators: tuple[str, ...]
    landmarks: np.ndarray
    train: np.ndarray
    val: np.ndarray
    given: np.ndarray
    given_val: np.ndarray
    original: np.ndarray

    def __len__(self) -> int:
        return len(self.person)

    def patch(self, row: int, picture: bytes) -> Patch:
        """The patch of a row, of its encoded picture.

        Raises:
            UserError: it is damaged.
        """
        try:
            return Patch(decode(picture), self.landmarks[row])
        except BadData as fault:
            raise UserError(
                f"the patch of '{self.photos[row].as_py()}' is damaged ({fault}); delete the run."
            ) from None


def read_material(files: list[Location], share: float, seed: int) -> ForensicMaterial:
    """Read a table of patches without its pictures, and divide the people.

    A fake goes where its claimed person and its host both are; one whose two people are on different sides is left out,
    so that nobody is validated with who was learnt from.

    Args:
        files: of the table.
        share: of the people to validate with.
        seed: of the division.

    Raises:
        UserError: fewer than two people to learn from, or one to validate with.
    """
    columns = ["photo", "person", "host", "generator", "landmarks", "is_original"]
    rows = pa.concat_tables([PATCHES.empty_table().select(columns), *stream_table(files, columns)])
    names = pc.coalesce(rows["person"], pc.binary_join_element_wise("photo ", rows["photo"], ""))
    hosts = pc.coalesce(rows["host"], names)
    known = sorted({*pc.unique(names).to_pylist(), *pc.unique(hosts).to_pylist()})
    person, host = (
        pc.index_in(column, pa.array(known, pa.string())).to_numpy().astype(np.int32) for column in (names, hosts)
    )
    generator, generators = encode_names(rows["generator"], np.int16)
    beside = rows["is_original"].to_numpy()
    real = generator < 0
    people = np.unique(person[real])
    judged = np.zeros(len(known), bool)
    drawn = np.random.default_rng([seed, len(people)]).permutation(people)
    judged[drawn[: round(share * len(people))]] = True
    learnt = np.setdiff1d(people, np.flatnonzero(judged))
    if len(learnt) < 2 or not judged.any():
        raise UserError(
            f"photos: {len(people):,} people have a usable real photo; a forensic network needs two to learn from and "
            "one to validate with: give more photos."
        )
    fake = ~real & ~beside
    fake_val, fake_train = (fake & (judged[person] == side) & (judged[host] == side) for side in (True, False))
    original = np.full(len(real), -1, np.int32)
    original[np.flatnonzero(beside) - 1] = np.flatnonzero(beside)  # each follows its fake
    landmarks = np.array(rows["landmarks"].combine_chunks().flatten(), np.float32).reshape(-1, 5, 2)
    return ForensicMaterial(
        photos=rows["photo"],
        person=person,
        generator=generator,
        generators=generators,
        landmarks=landmarks,
        train=np.flatnonzero(real & ~judged[person]),
        val=np.flatnonzero(real & judged[person]),
        given=np.flatnonzero(fake_train),
        given_val=np.flatnonzero(fake_val),
        original=original,
    )


def wanted_rows(photos: pa.Table, faces: pa.Table | None) -> pa.Table:
    """The photos of a photos table with the columns WANTED.

    Args:
        photos: columns of tables.PHOTOS that `asked_columns` names; photos that were stored again come as they were
            before.
        faces: columns photo, landmarks of a faces table; its landmarks go before those of the photos.
    """
    rows = with_originals(photos)
    names = rows["photo"].combine_chunks().cast(pa.string())
    landmarks = rows["landmarks"].combine_chunks()
    if faces is not None:
        known = faces["photo"].combine_chunks().cast(pa.string())
        found = faces["landmarks"].combine_chunks().take(pc.index_in(names, known))
        landmarks = pc.if_else(found.is_valid(), found, landmarks)
    fake = pc.fill_null(rows["is_fake"], False).combine_chunks()
    target = column_or_null(rows, "target_photo").combine_chunks().cast(pa.string())
    columns = {
        "photo": names,
        "uri": rows["uri"],
        "person": rows["person"],
        "host": pc.if_else(fake, column_or_null(rows, "target_person").combine_chunks().cast(pa.string()), None),
        "generator": pc.if_else(fake, pc.fill_null(rows["generator"], "unknown"), None),
        "landmarks": landmarks,
        "original_uri": rows["uri"].combine_chunks().take(pc.index_in(target, names)),
    }
    return pa.table(columns)


def asked_columns(schema: pa.Schema) -> list[str]:
    """The columns of a photos table that `wanted_rows` takes, as far as the table has them."""
    more = ("target_photo", "target_person", *ORIGINALS)
    given = ("photo", "uri", "person", "is_fake", "generator", "landmarks")
    return [*given, *(name for name in more if name in schema.names)]
