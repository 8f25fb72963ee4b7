"""Data that nothing can be learnt from is refused before anything starts, in one sentence."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from training.small import Data

from faceverify.errors import UserError
from faceverify.training import checks
from faceverify.training.material import Pairs


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
    assert len(material.taught) == 9 * 4 and not faces.is_fake[material.taught].any()
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
    some = checks.sample(pairs, 100, 3)
    assert np.bincount(some.kind).tolist() == [50, 25, 25] and (np.diff(some.a) > 0).all()
    assert np.array_equal(some.a, checks.sample(pairs, 100, 3).a)
    assert not np.array_equal(some.a, checks.sample(pairs, 100, 4).a)
    assert checks.sample(pairs, 0, 0) is pairs and checks.sample(pairs, 5000, 0) is pairs
