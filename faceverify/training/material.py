"""What is learnt from: a faces table and a pairs table as checked arrays of numbers.

Shape letters: F faces, P pairs of one split, C persons.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
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
from faceverify.wording import count_of

PAIR_COLUMNS = ["photo_a", "photo_b", "label", "kind", "split"]
FACE_COLUMNS = ["photo", "person", "is_fake", "generator", "split"]
NO_PERSON = -1


@dataclass(frozen=True, eq=False)
class Faces:
    """The rows of a faces table, without the pictures.

    photos: [F] names; person: [F] int32 number of the person, NO_PERSON if none is named; is_fake: [F] bool;
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
        """The pairs at some rows."""
        return Pairs(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True, eq=False)
class Material:
    """The data of a training without the pictures; `train` may be None where batches are of identities."""

    faces: Faces
    train: Pairs | None
    val: Pairs

    @cached_property
    def train_faces(self) -> np.ndarray:
        """Rows of the real faces of the training persons: those of the training pairs, else of the split "train"."""
        faces = self.faces
        if self.train is not None:
            mine = np.zeros(len(faces.persons) + 1, bool)  # the last is NO_PERSON
            mine[faces.person[self.train.a]] = mine[faces.person[self.train.b]] = True
            of_train = mine[faces.person]
        else:
            of_train = faces.split == (faces.splits.index("train") if "train" in faces.splits else len(faces.splits))
        return np.flatnonzero(of_train & ~faces.is_fake & (faces.person >= 0))

    @cached_property
    def people_judged(self) -> int:
        """The number of persons in the validation pairs."""
        people = np.unique(self.faces.person[np.concatenate([self.val.a, self.val.b])])
        return int((people >= 0).sum())

    @cached_property
    def classes(self) -> np.ndarray:
        """Class [F] int64 of each face: the persons of `train_faces` numbered from 0, NO_PERSON for all others."""
        known = np.unique(self.faces.person[self.train_faces])
        number = np.full(len(self.faces.persons) + 1, NO_PERSON, np.int64)
        number[known] = np.arange(len(known))
        return number[self.faces.person]


def read_faces(files: list[Location]) -> Faces:
    """Read a faces table without its pictures.

    Raises:
        UserError: the table is empty.
    """
    tables = list(stream_table(files, FACE_COLUMNS))
    if not tables:
        raise UserError("faces: the table is empty; there is nothing to learn from.")
    rows = pa.concat_tables(tables)
    person, persons = encode_names(rows["person"], np.int32)
    generator, generators = encode_names(rows["generator"], np.int16)
    split, splits = encode_names(rows["split"], np.int16)
    fake = pc.fill_null(rows["is_fake"], False).to_numpy()
    return Faces(rows["photo"], person, fake, generator, split, persons, generators, splits)


def encode_names(column: pa.ChunkedArray, kind: type) -> tuple[np.ndarray, tuple[str, ...]]:
    """Encode texts as numbers: the place of each among the sorted distinct texts, -1 for null; and these texts."""
    names = sorted(name for name in pc.unique(column).to_pylist() if name is not None)
    at = pc.index_in(column, pa.array(names, pa.string()))
    return pc.fill_null(at, -1).to_numpy().astype(kind), tuple(names)


def default_remedy() -> str:
    """The advice for photos without a face where the origin of the pairs is unknown."""
    return "form the pairs with --faces, or give the faces table that belongs to them"


def read_pairs(files: list[Location], faces: Faces, remedy: Callable[[], str] = default_remedy) -> dict[str, Pairs]:
    """Read a pairs table: the pairs of each split by its name.

    Args:
        files: files of the pairs table.
        faces: the faces that the pairs are of.
        remedy: gives the advice for the error where photos have no face.

    Raises:
        UserError: a photo has no face or two, or a pair has no label, kind or split.
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
    """Rows of the faces; names without a face are added to `absent`."""
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


GENUINE = KINDS.index("genuine")
LACKS_OTHERS = (
    "learning needs others too: two people in the split, or deepfakes of one (form the pairs of more people, with a "
    "larger --validation-share, or of the output of fakes)"
)
LACKS_GENUINE = "learning needs both kinds: form the pairs of people with two real photos or more"


def build_material(splits: dict[str, Pairs], faces: Faces, identities: bool) -> Material:
    """Combine faces and pairs into the material of a training, and check it.

    Args:
        splits: the pairs by split.
        faces: all faces.
        identities: batches are of identities, so that no training pairs are needed.

    Raises:
        UserError: a split is missing or of one label, a person is in both, or there are too few persons to tell apart.
    """
    for name in ("val",) if identities else ("train", "val"):
        if name not in splits:
            raise UserError(
                f"pairs: no pair is of the split '{name}' (there are {', '.join(sorted(splits)) or 'none'}), and "
                "training needs train and val; `pairs` divides people whose photos name no split, if there are two or "
                "more, by --validation-share (above 0, below 1)."
            )
    for name in ("train", "val"):
        if name in splits and not (identities and name == "train"):
            _check_labels(name, splits[name])
    material = Material(faces, splits.get("train"), splits["val"])
    _check_disjoint(material)
    if identities and len(np.unique(faces.person[material.train_faces])) < 2:
        raise UserError("faces: fewer than two persons to train with have real faces; there is nobody to tell apart.")
    return material


def _check_labels(name: str, pairs: Pairs) -> None:
    count = np.bincount(pairs.label, minlength=2)
    if len(pairs) and (count[0] == 0 or count[1] == 0):
        only, lacks = ("genuine", LACKS_OTHERS) if count[1] else ("not genuine", LACKS_GENUINE)
        raise UserError(f"pairs: all {len(pairs):,} pairs of the split '{name}' are {only}; {lacks}.")
    if not len(pairs):
        raise UserError(f"pairs: the split '{name}' is empty.")


def _check_disjoint(material: Material) -> None:
    faces = material.faces
    learnt = material.train_faces if material.train is None else np.concatenate([material.train.a, material.train.b])
    judged = np.concatenate([material.val.a, material.val.b])
    both = np.intersect1d(faces.person[learnt], faces.person[judged])
    both = both[both >= 0]
    if len(both):
        raise UserError(
            f"pairs: {count_of(len(both), 'person', 'people')} in both train and val, '{faces.persons[both[0]]}' for "
            "one; a person whom the network has seen says nothing about strangers."
        )


def sample_pairs(pairs: Pairs, most: int, seed: int) -> Pairs:
    """A seeded sample of at most `most` pairs (0 = all), stratified by kind, in their order."""
    if most == 0 or len(pairs) <= most:
        return pairs
    rng = np.random.default_rng([seed, len(pairs)])
    chosen = []
    for kind in range(len(KINDS)):
        of_kind = np.flatnonzero(pairs.kind == kind)
        chosen.append(rng.permutation(of_kind)[: round(most * len(of_kind) / len(pairs))])
    return pairs.take(np.sort(np.concatenate(chosen)))


COLUMNS = ["photo_a", "photo_b", "kind", "person_a", "person_b"]
DEEPFAKE = KINDS.index("deepfake")


@dataclass(frozen=True, eq=False)
class RelabelledFaces:
    """Faces with the persons that the pairs name; how many changed, and an example of a change."""

    faces: Faces
    changed: int
    example: str

    def sentence(self) -> str:
        """A sentence for the user that says what changed; empty if the tables agree."""
        if not self.changed:
            return ""
        return (
            f"{self.changed:,} faces have another person in the pairs than in the faces table, which was made before "
            f"cleaning ({self.example}): the persons of the pairs are used, and no face that is in no pair."
        )


def relabel_by_pairs(faces: Faces, files: list[Location], identities: bool) -> RelabelledFaces:
    """Give every face the person that the pairs name: they know the cleaned photos, the faces table may be older.

    A face in no pair keeps its person if the two tables agree everywhere; otherwise it cannot be trusted either and
    counts as nobody's.

    Args:
        faces: the faces as their table names them.
        files: files of the pairs table.
        identities: batches are of identities, which learn from faces in no pair too.

    Raises:
        UserError: the pairs give a photo two persons, or call it a deepfake that the faces table calls real (or the
            other way round); with `identities`, that the tables disagree.
    """
    row_of = pd.Index(faces.photos.to_numpy())
    known = pa.array(faces.persons, pa.string())
    persons = pa.concat_arrays([known, *(names.cast(pa.string()) for names in _people(files))])
    _, names = encode_names(pa.chunked_array([persons]), np.int32)
    number = pc.fill_null(pc.index_in(known, pa.array(names, pa.string())), NO_PERSON).to_numpy().astype(np.int32)
    before = np.append(number, NO_PERSON)[faces.person]  # NO_PERSON is the last
    after = np.full(len(faces), NO_PERSON, np.int32)
    for table in stream_table(files, COLUMNS):
        kind = pc.fill_null(pc.index_in(table["kind"], pa.array(KINDS)), -1).to_numpy()
        rows = [row_of.get_indexer(table[name].to_numpy()) for name in ("photo_a", "photo_b")]
        _check_kinds(faces, kind, *rows)
        for row, side in zip(rows, ("person_a", "person_b"), strict=True):
            said = pc.fill_null(pc.index_in(table[side], pa.array(names, pa.string())), NO_PERSON).to_numpy()
            _assign(after, row, said, faces, names)
    differ = np.flatnonzero((after >= 0) & (before >= 0) & (after != before))
    if not len(differ):
        return RelabelledFaces(replace(faces, person=np.where(after >= 0, after, before), persons=names), 0, "")
    first = int(differ[0])
    example = f"'{faces.photos[first].as_py()}': '{names[before[first]]}' there, '{names[after[first]]}' in the pairs"
    if identities:
        raise UserError(
            f"faces: {len(differ):,} faces have another person there than in the pairs ({example}); batches of "
            "identities learn from faces that are in no pair too, so align the photos that the pairs were formed of "
            "(the output of clean or fakes) and give that."
        )
    return RelabelledFaces(replace(faces, person=after, persons=names), len(differ), example)


def _people(files: list[Location]) -> list[pa.Array]:
    return [
        pc.unique(table[side])
        for table in stream_table(files, ["person_a", "person_b"])
        for side in ("person_a", "person_b")
    ]


def _assign(after: np.ndarray, row: np.ndarray, said: np.ndarray, faces: Faces, names: tuple[str, ...]) -> None:
    """Write the persons of some photos into `after` [F].

    Raises:
        UserError: one of them has another person already.
    """
    row, said = row[said >= 0], said[said >= 0]
    noted = after[row]
    after[row] = said
    torn = np.flatnonzero(((noted >= 0) & (noted != said)) | (after[row] != said))
    if len(torn):
        at = torn[0]
        two = {names[said[at]], names[after[row[at]]], *([names[noted[at]]] if noted[at] >= 0 else [])}
        raise UserError(
            f"pairs: photo '{faces.photos[int(row[at])].as_py()}' is of {' and of '.join(sorted(two)[:2])}; a photo "
            "shows one person: form the pairs again."
        )


def _check_kinds(faces: Faces, kind: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    fake = faces.is_fake[a] | faces.is_fake[b]
    wrong = np.flatnonzero((kind >= 0) & (fake != (kind == DEEPFAKE)))
    if len(wrong):
        at = wrong[0]
        photos = " and ".join(f"'{faces.photos[int(row[at])].as_py()}'" for row in (a, b))
        said = (
            "a deepfake, but the faces table says that both are real"
            if kind[at] == DEEPFAKE
            else (f"{KINDS[kind[at]]}, but the faces table says that one of them is a deepfake")
        )
        raise UserError(
            f"faces: {len(wrong):,} pairs contradict the faces table: {photos} are {said}; align the photos that the "
            "pairs were formed of and give that table."
        )


def choose_pairs(
    faces: list[Location],
    pairs: list[Location],
    split: str,
    most: int,
    seed: int,
    remedy: Callable[[], str] = default_remedy,
) -> Pairs:
    """A seeded sample of pairs of one split, stratified by kind, for comparing finished networks.

    Args:
        faces: files of a faces table.
        pairs: files of a pairs table.
        split: name of the split.
        most: number of pairs at most; 0 = all.
        seed: seed of the sample.
        remedy: gives the advice for the error where photos have no face.

    Returns:
        Pairs of rows of the faces table.

    Raises:
        UserError: no such split, pairs of one label only, or a faulty table (see `read_pairs`).
    """
    splits = read_pairs(pairs, read_faces(faces), remedy)
    if split not in splits:
        raise UserError(f"split is '{split}', but the pairs are of {', '.join(sorted(splits)) or 'none'}; give one.")
    chosen = sample_pairs(splits[split], most, seed)
    if len(np.unique(chosen.label)) < 2:
        raise UserError(
            f"pairs: the {len(chosen):,} pairs taken of the split '{split}' are not of both labels, which an EER "
            "needs; give another --split, or more --max-pairs."
        )
    return chosen
