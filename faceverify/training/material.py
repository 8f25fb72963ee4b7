"""What is learnt from: a faces table and a pairs table brought together as arrays of numbers.

Shape letters: F faces, P pairs of one split, C persons.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from faceverify.aligned import examples
from faceverify.errors import UserError
from faceverify.inputs import stream_table
from faceverify.pairs.rows import KINDS
from faceverify.storage import Location

PAIR_COLUMNS = ["photo_a", "photo_b", "label", "kind", "split"]
FACE_COLUMNS = ["photo", "person", "is_fake", "generator", "split"]
NOBODY = -1


@dataclass(frozen=True, eq=False)
class Faces:
    """The faces in the order of their table, without the pictures.

    photos: [F] names; person: [F] int32 number of the person, NOBODY if none is named; is_fake: [F] bool;
    generator: [F] int16 number in `generators`, -1 if real; split: [F] int16 number in `splits`, -1 if none.
    """

    photos: pa.ChunkedArray
    person: np.ndarray
    is_fake: np.ndarray
    generator: np.ndarray
    split: np.ndarray
    persons: tuple[str, ...]
    generators: tuple[str, ...]
    splits: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.person)


@dataclass(frozen=True, eq=False)
class Pairs:
    """P pairs: a, b [P] int32 rows of the faces; label [P] int8; kind [P] int8, place in KINDS."""

    a: np.ndarray
    b: np.ndarray
    label: np.ndarray
    kind: np.ndarray

    def __len__(self) -> int:
        return len(self.a)

    def take(self, rows: np.ndarray) -> "Pairs":
        """Some of them."""
        return Pairs(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True, eq=False)
class Material:
    """All that a training needs to know of its data, but the pictures; of identities `train` may be None."""

    faces: Faces
    train: Pairs | None
    val: Pairs

    @cached_property
    def taught(self) -> np.ndarray:
        """Rows of the real faces of the persons to train with: those of the training pairs, else of the split train."""
        faces = self.faces
        if self.train is not None:
            mine = np.zeros(len(faces.persons) + 1, bool)  # the last is NOBODY
            mine[faces.person[self.train.a]] = mine[faces.person[self.train.b]] = True
            of_train = mine[faces.person]
        else:
            of_train = faces.split == (faces.splits.index("train") if "train" in faces.splits else len(faces.splits))
        return np.flatnonzero(of_train & ~faces.is_fake & (faces.person >= 0))

    @cached_property
    def judged(self) -> int:
        """How many persons there are in the validation pairs."""
        people = np.unique(self.faces.person[np.concatenate([self.val.a, self.val.b])])
        return int((people >= 0).sum())

    @cached_property
    def classes(self) -> np.ndarray:
        """Class [F] int64 of each face: the persons of `taught` numbered from 0, NOBODY for all others."""
        known = np.unique(self.faces.person[self.taught])
        number = np.full(len(self.faces.persons) + 1, NOBODY, np.int64)
        number[known] = np.arange(len(known))
        return number[self.faces.person]


def read_faces(files: list[Location]) -> Faces:
    """Read what is known of the faces.

    Raises:
        UserError: the table is empty, or names a photo twice.
    """
    tables = list(stream_table(files, FACE_COLUMNS))
    if not tables:
        raise UserError("faces: the table is empty; there is nothing to learn from.")
    rows = pa.concat_tables(tables)
    person, persons = numbered(rows["person"], np.int32)
    generator, generators = numbered(rows["generator"], np.int16)
    split, splits = numbered(rows["split"], np.int16)
    fake = pc.fill_null(rows["is_fake"], False).to_numpy()
    return Faces(rows["photo"], person, fake, generator, split, persons, generators, splits)


def numbered(column: pa.ChunkedArray, kind: type) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers of the distinct texts, sorted, -1 for null; and the texts."""
    names = sorted(name for name in pc.unique(column).to_pylist() if name is not None)
    at = pc.index_in(column, pa.array(names, pa.string()))
    return pc.fill_null(at, -1).to_numpy().astype(kind), tuple(names)


def any_faces() -> str:
    """What to do about photos without a face where nothing is known of where the pairs came from."""
    return "form the pairs with --faces, or give the faces table that belongs to them"


def read_pairs(files: list[Location], faces: Faces, remedy: Callable[[], str] = any_faces) -> dict[str, Pairs]:
    """The pairs of each split by its name.

    Args:
        files: of the pairs table.
        faces: whose rows the pairs name.
        remedy: asked for what to do where photos have no face.

    Raises:
        UserError: a photo has no face, a pair has no label, kind or split.
    """
    row_of = pd.Index(faces.photos.to_numpy())
    if not row_of.is_unique:
        twice = faces.photos.to_numpy()[row_of.duplicated()][0]
        raise UserError(f"faces: '{twice}' is there more than once; each photo may come once.")
    parts: dict[str, list[Pairs]] = {}
    absent: set[str] = set()
    for table in stream_table(files, PAIR_COLUMNS):
        a, b = (_found(table[name], row_of, absent) for name in ("photo_a", "photo_b"))
        if absent:
            continue  # all that have no face are counted
        kind, label = _codes(table)
        splits, at = _splits_of(table)
        for number, split in enumerate(splits):
            rows = np.flatnonzero(at == number)
            parts.setdefault(split, []).append(Pairs(a[rows], b[rows], label[rows], kind[rows]))
    if absent:
        raise UserError(
            f"pairs: {len(absent):,} of their photos have no face in this faces table ({examples(sorted(absent))}); "
            f"{remedy()}."
        )
    return {split: _joined(some) for split, some in parts.items()}


def _found(names: pa.ChunkedArray, row_of: pd.Index, absent: set[str]) -> np.ndarray:
    """Rows of the faces; names that have none go into `absent`."""
    rows = row_of.get_indexer(names.to_numpy())
    if len(without := np.flatnonzero(rows < 0)):
        absent.update(names.take(pa.array(without)).to_pylist())
    return rows.astype(np.int32)


def _codes(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    kind = pc.index_in(table["kind"], pa.array(KINDS))
    if kind.null_count or table["label"].null_count:
        raise UserError(f"pairs: a pair has no label, or a kind other than {', '.join(KINDS)}; learning needs both.")
    return kind.to_numpy().astype(np.int8), table["label"].to_numpy().astype(np.int8)


def _splits_of(table: pa.Table) -> tuple[list[str], np.ndarray]:
    if table["split"].null_count:
        raise UserError("pairs: a pair has no split; `pairs` puts every person into train or val.")
    names = pc.unique(table["split"]).to_pylist()
    return names, pc.index_in(table["split"], pa.array(names)).to_numpy()


def _joined(parts: list[Pairs]) -> Pairs:
    return Pairs(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Pairs)))
