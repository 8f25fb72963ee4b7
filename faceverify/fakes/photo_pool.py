"""The photos that fakes are made of: all real photos with landmarks, ordered by split and person.

Shape letters: P persons, R photos.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify.align.geometry import fit_similarity, usable
from faceverify.errors import UserError
from faceverify.pairs import people

ORIGINALS = ("original_uri", "original_landmarks")  # which only a table has that fakes made
COLUMNS = ("photo", "uri", "person", "is_fake", "generator", "split", "landmarks", *ORIGINALS)


@dataclass(frozen=True, eq=False)
class PhotoPool:
    """Real photos that can give or receive a face. Persons are sorted by split and name, photos by person and name.

    Args:
        names: [P] persons who have a real photo.
        keys: [P] uint64, the origin of each person's random numbers.
        splits: [P] of each person, or null.
        start, count: [P] the first photo of each person, and how many there are (0 if none has landmarks).
        split_photos: [P, 2] the photos of the person's split: from the first to behind the last.
        photos, uris: [R] of the photos.
        landmarks: [R, 5, 2] float32 in the photos' pixels.
        poses: [R, 5, 2] float32, the landmarks in the aligned 112x112 crop: how the head is turned, and the person.
        sizes: [R] float32, pixels of the photo per pixel of that crop.
    """

    names: pa.Array
    keys: np.ndarray
    splits: pa.Array
    start: np.ndarray
    count: np.ndarray
    split_photos: np.ndarray
    photos: pa.Array
    uris: pa.Array
    landmarks: np.ndarray
    poses: np.ndarray
    sizes: np.ndarray

    def person_of(self, photo: int) -> str:
        """The name of the person in photo number `photo`."""
        # Persons without photos start where the next one does, so the last of those that start there has it.
        return self.names[int(np.searchsorted(self.start, photo, side="right")) - 1].as_py()


def gather(rows: pa.Table, seed: int) -> PhotoPool:
    """Collect the real photos with usable landmarks, sorted by split, person and name.

    Args:
        rows: of a photos table, with COLUMNS; the order does not matter.
        seed: of everything random.

    Raises:
        UserError: a photo comes twice, a person is in two splits, or no real photo has landmarks.
    """
    named = people.usable(rows)
    # Persons without a split are a split of their own: their hosts come from among them.
    at = named.schema.get_field_index("split")
    named = named.set_column(at, "split", pc.fill_null(named["split"], ""))
    everybody = people.gather(named, seed, 0.0)
    row_of = pc.index_in(everybody.photos, named["photo"].cast(pa.large_string())).to_numpy()
    points = landmarks_of(named)[row_of]
    person = np.repeat(np.arange(len(everybody.names)), everybody.reals + everybody.fakes)
    real = np.arange(len(person)) - everybody.start[person] < everybody.reals[person]
    kept = np.flatnonzero(real & usable(points))
    if not len(kept):
        raise UserError(
            f"photos: none of {rows.num_rows:,} photos names a person, is real and has usable landmarks, which fakes "
            "need; give the landmarks that align found with --faces."
        )
    asked = np.flatnonzero(everybody.reals > 0)
    asked = asked[np.argsort(everybody.split[asked], kind="stable")]
    kept = kept[np.argsort(everybody.split[person[kept]], kind="stable")]
    count = np.bincount(person[kept], minlength=len(everybody.names))[asked]
    ends = np.searchsorted(everybody.split[person[kept]], np.arange(len(everybody.splits) + 1))
    of_split = everybody.split[asked]
    names = [name or None for name in everybody.splits]
    return PhotoPool(
        names=everybody.names.take(pa.array(asked)),
        keys=everybody.keys[asked],
        splits=pa.array([names[number] for number in of_split.tolist()], pa.string()),
        start=np.cumsum(count) - count,
        count=count,
        split_photos=np.stack([ends[of_split], ends[of_split + 1]], axis=1),
        photos=everybody.photos.take(pa.array(kept)),
        uris=named["uri"].combine_chunks().cast(pa.large_string()).take(pa.array(row_of[kept])),
        landmarks=points[kept],
        **_seen(points[kept]),
    )


def _seen(points: np.ndarray) -> dict[str, np.ndarray]:
    matrices = fit_similarity(points)
    poses = np.einsum("rij,rkj->rki", matrices[:, :, :2], points) + matrices[:, None, :, 2]
    sizes = 1 / np.hypot(matrices[:, 0, 0], matrices[:, 1, 0])
    return {"poses": poses.astype(np.float32), "sizes": sizes.astype(np.float32)}


def landmarks_of(rows: pa.Table) -> np.ndarray:
    """The column `landmarks` as [N, 5, 2] float32; NaN where there are none."""
    column = rows["landmarks"].combine_chunks()
    points = np.full((len(column), 5, 2), np.nan, np.float32)
    found = column.drop_null().flatten().to_numpy(zero_copy_only=False)
    points[column.is_valid().to_numpy(zero_copy_only=False)] = found.reshape(-1, 5, 2)
    return points


def with_originals(rows: pa.Table) -> pa.Table:
    """The photos as they were before an earlier run stored them again: what fakes are made of, so that these are stored
    again as often as real photos are."""
    if "original_uri" not in rows.column_names:
        return rows
    again = rows["original_uri"].is_valid()
    for name in ("uri", "landmarks"):
        if name in rows.column_names:
            at = rows.schema.get_field_index(name)
            values = pc.if_else(again, rows[f"original_{name}"], rows[name])
            rows = rows.set_column(at, rows.schema.field(at), values)
    return rows


def with_landmarks(rows: pa.Table, faces: pa.Table) -> pa.Table:
    """The photos with the landmarks that a faces table (columns photo, landmarks) holds, and no others."""
    names, known = (table["photo"].combine_chunks().cast(pa.string()) for table in (rows, faces))
    found = faces["landmarks"].combine_chunks().take(pc.index_in(names, known))
    return rows.set_column(rows.schema.get_field_index("landmarks"), rows.schema.field("landmarks"), found)
