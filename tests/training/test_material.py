"""Unusable data is refused in one sentence; persons are those of the pairs; samples are seeded and stratified."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from training.small import Data

from faceverify.errors import UserError
from faceverify.images import encode_png
from faceverify.storage import Location
from faceverify.tables import FACES, PAIRS
from faceverify.training.batches import decode_pairs
from faceverify.training.material import (
    Pairs,
    RelabelledFaces,
    build_material,
    choose_pairs,
    read_faces,
    read_pairs,
    relabel_by_pairs,
    sample_pairs,
)


def changed(data: Data, home: Path, pairs: pa.Table | None = None, faces: pa.Table | None = None) -> Data:
    for name, table in (("pairs", pairs), ("faces", faces)):
        if table is not None:
            pq.write_table(table, home / f"{name}.parquet")
    return Data(
        home / "faces.parquet" if faces is not None else data.faces,
        home / "pairs.parquet" if pairs is not None else data.pairs,
    )


def with_column(table: pa.Table, name: str, values: object) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.set_column(at, table.schema.field(name), pa.array(values, table.schema.field(name).type))


def test_good_data(data: Data) -> None:
    material = data.material()
    faces = material.faces
    assert len(faces.persons) == 12 and set(faces.generators) == {"swap", "synthesis"}
    assert material.train is not None and len(material.train) == 9 * 12 and len(material.val) == 3 * 12
    assert sorted(np.unique(material.classes)) == [-1, *range(9)]
    assert len(material.train_faces) == 9 * 4 and not faces.is_fake[material.train_faces].any()
    table = pq.read_table(data.pairs).filter(pc.equal(pq.read_table(data.pairs)["split"], "train"))
    names = faces.photos.to_pylist()
    assert [names[row] for row in material.train.a] == table["photo_a"].to_pylist()


def test_labels_of_one_kind(data: Data, tmp_path: Path) -> None:
    pairs = pq.read_table(data.pairs)
    with pytest.raises(
        UserError, match="of the split 'train' are genuine; learning needs others too: two people in the split"
    ):
        changed(
            data, tmp_path, pairs.filter(pc.or_(pc.equal(pairs["label"], 1), pc.equal(pairs["split"], "val")))
        ).material()


def test_a_person_in_both_splits(data: Data, tmp_path: Path) -> None:
    pairs = pq.read_table(data.pairs)
    splits = np.array(pairs["split"].to_pylist())
    splits[np.flatnonzero(splits == "train")[:3]] = "val"
    with pytest.raises(UserError, match="in both train and val, 'person_"):
        changed(data, tmp_path, with_column(pairs, "split", splits.tolist())).material()


def test_no_validation_split(data: Data, tmp_path: Path) -> None:
    pairs = pq.read_table(data.pairs)
    with pytest.raises(UserError, match=r"no pair is of the split 'val' \(there are train\).* --validation-share"):
        changed(data, tmp_path, pairs.filter(pc.equal(pairs["split"], "train"))).material()


def test_a_missing_face(data: Data, tmp_path: Path) -> None:
    faces = pq.read_table(data.faces)
    pairs = pq.read_table(data.pairs)
    paired = {*pairs["photo_a"].to_pylist(), *pairs["photo_b"].to_pylist()}
    missing = sorted(paired & {*faces["photo"][:6].to_pylist()})
    words = (
        rf"{len(missing)} of their photos have no face in this faces table \({', '.join(missing[:3])}, ...\); form the"
    )
    with pytest.raises(UserError, match=words):
        changed(data, tmp_path, faces=faces.slice(6)).material()


def test_a_face_twice_and_an_empty_table(data: Data, tmp_path: Path) -> None:
    faces = pq.read_table(data.faces)
    with pytest.raises(UserError, match="is there more than once"):
        changed(data, tmp_path, faces=pa.concat_tables([faces, faces.slice(3, 1)])).material()
    with pytest.raises(UserError, match="the table is empty"):
        changed(data, tmp_path, faces=faces.slice(0, 0)).material()


@pytest.mark.parametrize("column, value, words", [("label", None, "no label"), ("kind", "odd", "kind other than")])
def test_pairs_without_what_learning_needs(data: Data, tmp_path: Path, column: str, value: object, words: str) -> None:
    pairs = pq.read_table(data.pairs)
    values = pairs[column].to_pylist()
    values[5] = value
    with pytest.raises(UserError, match=words):
        changed(data, tmp_path, with_column(pairs, column, values)).material()


def test_a_sample_keeps_the_shares_and_the_order() -> None:
    kind = np.repeat([0, 1, 2], [500, 250, 250]).astype(np.int8)
    pairs = Pairs(np.arange(1000), np.arange(1000), (kind == 0).astype(np.int8), kind)
    some = sample_pairs(pairs, 100, 3)
    assert np.bincount(some.kind).tolist() == [50, 25, 25] and (np.diff(some.a) > 0).all()
    assert np.array_equal(some.a, sample_pairs(pairs, 100, 3).a)
    assert not np.array_equal(some.a, sample_pairs(pairs, 100, 4).a)
    assert sample_pairs(pairs, 0, 0) is pairs and sample_pairs(pairs, 5000, 0) is pairs


def named(data: Data, identities: bool = False) -> RelabelledFaces:
    return relabel_by_pairs(read_faces([Location(str(data.faces))]), [Location(str(data.pairs))], identities)


def person_of(found: RelabelledFaces, photo: str) -> str | None:
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
    assert len(build_material(splits, found.faces, False).val) == 36
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


COUNT = 40


def picture(number: int) -> np.ndarray:
    return np.full((112, 112, 3), number, np.uint8)


@pytest.fixture
def faces(tmp_path: Path) -> list[Location]:
    """Face n is a picture of the level n; in two files."""
    rows = [
        {"photo": f"{n}.jpg", "person": f"p{n // 4}", "is_fake": n % 4 == 3, "image": encode_png(picture(n))}
        for n in range(COUNT)
    ]
    places = []
    for name, part in (("a", rows[:25]), ("b", rows[25:])):
        places.append(tmp_path / f"{name}.parquet")
        pq.write_table(pa.Table.from_pylist(part, FACES), places[-1])
    return [Location(str(place)) for place in places]


@pytest.fixture
def pairs(tmp_path: Path) -> list[Location]:
    """Per person p of four photos, a pair of each kind; the last two persons are of val."""
    rows = []
    for p in range(COUNT // 4):
        split = "val" if p >= COUNT // 4 - 4 else "train"
        first, other = 4 * p, (4 * p + 4) % COUNT
        for kind, b in (("genuine", first + 1), ("genuine", first + 2), ("impostor", other), ("deepfake", first + 3)):
            name, label = f"{p}-{kind}-{b}", int(kind == "genuine")
            ends = {"photo_a": f"{first}.jpg", "photo_b": f"{b}.jpg"}
            rows.append({"pair": name, **ends, "label": label, "kind": kind, "split": split})
    pq.write_table(pa.Table.from_pylist(rows, PAIRS), tmp_path / "pairs.parquet")
    return [Location(str(tmp_path / "pairs.parquet"))]


def test_each_pair_gets_its_faces(faces: list[Location], pairs: list[Location]) -> None:
    chosen = choose_pairs(faces, pairs, "val", 0, 0)
    found = decode_pairs(faces, chosen)
    want = [row for row in pq.read_table(pairs[0].path).to_pylist() if row["split"] == "val"]
    assert len(want) == 16 == len(found.label)
    for row, a, b, label in zip(want, found.a, found.b, found.label, strict=True):
        for name, place in ((row["photo_a"], a), (row["photo_b"], b)):
            assert np.array_equal(found.faces[place], picture(int(name.removesuffix(".jpg"))))
        assert row["label"] == label
    assert len(found.faces) == len({row[side] for row in want for side in ("photo_a", "photo_b")})
    assert found.fewest == 8


def test_a_choice_is_seeded_and_keeps_the_shares(faces: list[Location], pairs: list[Location]) -> None:
    one, same, other = (choose_pairs(faces, pairs, "train", 12, seed) for seed in (0, 0, 1))
    assert np.array_equal(one.a, same.a) and np.array_equal(one.b, same.b)
    assert not (np.array_equal(one.a, other.a) and np.array_equal(one.b, other.b))
    assert np.bincount(one.kind).tolist() == [6, 3, 3] == np.bincount(other.kind).tolist()


def test_what_cannot_be_compared_is_told(faces: list[Location], pairs: list[Location], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"split is 'test', but the pairs are of train, val"):
        choose_pairs(faces, pairs, "test", 0, 0)
    table = pq.read_table(pairs[0].path)
    pq.write_table(table.filter(pa.compute.equal(table["kind"], "genuine")), tmp_path / "genuine.parquet")
    with pytest.raises(UserError, match=r"the 8 pairs taken of the split 'val' are not of both labels"):
        choose_pairs(faces, [Location(str(tmp_path / "genuine.parquet"))], "val", 0, 0)
    with pytest.raises(UserError, match=r"the \d pairs taken .* more --max-pairs"):
        choose_pairs(faces, pairs, "val", 1, 0)
    with pytest.raises(UserError, match=r"photos have no face"):
        choose_pairs(faces[:1], pairs, "val", 0, 0)
