"""Persons are those of the pairs: a faces table made before cleaning teaches no wrong label, and is named."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from training.small import Data
from training.test_checks import changed, with_column

from faceverify.errors import UserError
from faceverify.storage import Location
from faceverify.training import checks
from faceverify.training.labels import Named, name_by_pairs
from faceverify.training.material import read_faces, read_pairs


def named(data: Data, identities: bool = False) -> Named:
    return name_by_pairs(read_faces([Location(str(data.faces))]), [Location(str(data.pairs))], identities)


def person_of(found: Named, photo: str) -> str | None:
    number = found.faces.person[found.faces.photos.to_pylist().index(photo)]
    return None if number < 0 else found.faces.persons[number]


def test_tables_that_agree_change_nothing(data: Data) -> None:
    faces, found = read_faces([Location(str(data.faces))]), named(data, identities=True)
    assert np.array_equal(found.faces.person, faces.person) and found.faces.persons == faces.persons
    assert (found.changed, found.sentence()) == (0, "")


def test_names_from_before_cleaning_are_replaced(data: Data, tmp_path: Path) -> None:
    """A validation person's photo that lay under a training person's name: refused before as being in both splits."""
    faces, pairs = pq.read_table(data.faces), pq.read_table(data.pairs)
    val, train = (
        next(r for r in pairs.to_pylist() if r["split"] == s and r["kind"] == "genuine") for s in ("val", "train")
    )
    names = dict(zip(faces["photo"].to_pylist(), faces["person"].to_pylist(), strict=True))
    old = with_column(faces, "person", [*(names | {val["photo_a"]: train["person_a"]}).values()])
    paired = {row[side] for row in pairs.to_pylist() for side in ("photo_a", "photo_b")}
    alone = old.slice(0, 1).set_column(0, old.schema.field("photo"), [["in_no_pair.jpg"]])
    before = changed(data, tmp_path, faces=pa.concat_tables([old, alone]))
    found = named(before)
    assert (found.changed, person_of(found, val["photo_a"])) == (1, val["person_a"])
    assert f"'{val['photo_a']}': '{train['person_a']}' there, '{val['person_a']}' in the pairs" in found.sentence()
    assert all(person_of(found, photo) == names[photo] for photo in paired)
    assert person_of(found, "in_no_pair.jpg") is None, "its name is from before cleaning too"
    splits = read_pairs([Location(str(data.pairs))], found.faces)
    assert len(checks.choose(splits, found.faces, False).val) == 36
    with pytest.raises(UserError, match="1 faces have another person there than in the pairs"):
        named(before, identities=True)


def test_contradictions_are_named(data: Data, tmp_path: Path) -> None:
    pairs = pq.read_table(data.pairs)
    persons = pairs["person_a"].to_pylist()
    persons[0] = "somebody"
    with pytest.raises(UserError, match=r"is of person_.* and of somebody; a photo shows one person"):
        named(changed(data, tmp_path, with_column(pairs, "person_a", persons)))
    faces = pq.read_table(data.faces)
    real = changed(data, tmp_path, faces=with_column(faces, "is_fake", [False] * len(faces)))
    with pytest.raises(UserError, match="are a deepfake, but the faces table says that both are real"):
        named(real)
    fake = changed(data, tmp_path, faces=with_column(faces, "is_fake", [True] * len(faces)))
    with pytest.raises(UserError, match="are genuine, but the faces table says that one of them is a deepfake"):
        named(fake)
