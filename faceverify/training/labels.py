"""Who is on a face: what the pairs say (they know the cleaned photos), not what the faces table noted before cleaning.

Shape letters: F faces, P rows of a piece of the pairs table.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from faceverify.errors import UserError
from faceverify.inputs import stream_table
from faceverify.pairs.rows import KINDS
from faceverify.storage import Location
from faceverify.training.material import NOBODY, Faces, numbered

COLUMNS = ["photo_a", "photo_b", "kind", "person_a", "person_b"]
DEEPFAKE = KINDS.index("deepfake")


@dataclass(frozen=True, eq=False)
class Named:
    """Faces with the persons that the pairs name; how many differed from the faces table, and an example of one."""

    faces: Faces
    changed: int
    example: str

    def sentence(self) -> str:
        """What was done, for people; empty if the tables agree."""
        if not self.changed:
            return ""
        return (
            f"{self.changed:,} faces have another person in the pairs than in the faces table, which was made before "
            f"cleaning ({self.example}): the persons of the pairs are used, and no face that is in no pair."
        )


def name_by_pairs(faces: Faces, files: list[Location], identities: bool) -> Named:
    """Give every face the person that the pairs name.

    A face that is in no pair keeps its own, as long as the two tables contradict each other nowhere: otherwise its name
    is not to be trusted either, and it counts as nobody's.

    Args:
        faces: see `read_faces`.
        files: of the pairs table.
        identities: batches of identities are asked for, which learn from faces that are in no pair too.

    Raises:
        UserError: the pairs give a photo two persons, or call it a deepfake that the faces table calls real (or the
            other way round); with `identities`, that the tables disagree.
    """
    row_of = pd.Index(faces.photos.to_numpy())
    known = pa.array(faces.persons, pa.string())
    persons = pa.concat_arrays([known, *(names.cast(pa.string()) for names in _people(files))])
    _, names = numbered(pa.chunked_array([persons]), np.int32)
    number = pc.fill_null(pc.index_in(known, pa.array(names, pa.string())), NOBODY).to_numpy().astype(np.int32)
    before = np.append(number, NOBODY)[faces.person]  # NOBODY is the last
    after = np.full(len(faces), NOBODY, np.int32)
    for table in stream_table(files, COLUMNS):
        kind = pc.fill_null(pc.index_in(table["kind"], pa.array(KINDS)), -1).to_numpy()
        rows = [row_of.get_indexer(table[name].to_numpy()) for name in ("photo_a", "photo_b")]
        _check_kinds(faces, kind, *rows)
        for row, side in zip(rows, ("person_a", "person_b"), strict=True):
            said = pc.fill_null(pc.index_in(table[side], pa.array(names, pa.string())), NOBODY).to_numpy()
            _note(after, row, said, faces, names)
    differ = np.flatnonzero((after >= 0) & (before >= 0) & (after != before))
    if not len(differ):
        return Named(replace(faces, person=np.where(after >= 0, after, before), persons=names), 0, "")
    first = int(differ[0])
    example = f"'{faces.photos[first].as_py()}': '{names[before[first]]}' there, '{names[after[first]]}' in the pairs"
    if identities:
        raise UserError(
            f"faces: {len(differ):,} faces have another person there than in the pairs ({example}); batches of "
            "identities learn from faces that are in no pair too, so align the photos that the pairs were formed of "
            "(the output of clean or fakes) and give that."
        )
    return Named(replace(faces, person=after, persons=names), len(differ), example)


def _people(files: list[Location]) -> list[pa.Array]:
    return [
        pc.unique(table[side])
        for table in stream_table(files, ["person_a", "person_b"])
        for side in ("person_a", "person_b")
    ]


def _note(after: np.ndarray, row: np.ndarray, said: np.ndarray, faces: Faces, names: tuple[str, ...]) -> None:
    """Note the persons of some photos in `after` [F].

    Raises:
        UserError: one of them has another already.
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
