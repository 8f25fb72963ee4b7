"""The faces of chosen pairs: the right pictures at the right places, whatever the table's files and pieces."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceverify.errors import UserError
from faceverify.images import encode_png
from faceverify.storage import Location
from faceverify.tables import FACES, PAIRS
from faceverify.training import pair_faces

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
    chosen = pair_faces.choose(faces, pairs, "val", 0, 0)
    found = pair_faces.read(faces, chosen)
    want = [row for row in pq.read_table(pairs[0].path).to_pylist() if row["split"] == "val"]
    assert len(want) == 16 == len(found.label)
    for row, a, b, label in zip(want, found.a, found.b, found.label, strict=True):
        for name, place in ((row["photo_a"], a), (row["photo_b"], b)):
            assert np.array_equal(found.faces[place], picture(int(name.removesuffix(".jpg"))))
        assert row["label"] == label
    assert len(found.faces) == len({row[side] for row in want for side in ("photo_a", "photo_b")})
    assert found.fewest == 8


def test_a_choice_is_seeded_and_keeps_the_shares(faces: list[Location], pairs: list[Location]) -> None:
    one, same, other = (pair_faces.choose(faces, pairs, "train", 12, seed) for seed in (0, 0, 1))
    assert np.array_equal(one.a, same.a) and np.array_equal(one.b, same.b)
    assert not (np.array_equal(one.a, other.a) and np.array_equal(one.b, other.b))
    assert np.bincount(one.kind).tolist() == [6, 3, 3] == np.bincount(other.kind).tolist()


def test_what_cannot_be_compared_is_told(faces: list[Location], pairs: list[Location], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"split is 'test', but the pairs are of train, val"):
        pair_faces.choose(faces, pairs, "test", 0, 0)
    table = pq.read_table(pairs[0].path)
    pq.write_table(table.filter(pa.compute.equal(table["kind"], "genuine")), tmp_path / "genuine.parquet")
    with pytest.raises(UserError, match=r"the 8 pairs taken of the split 'val' are not of both labels"):
        pair_faces.choose(faces, [Location(str(tmp_path / "genuine.parquet"))], "val", 0, 0)
    with pytest.raises(UserError, match=r"the \d pairs taken .* more --max-pairs"):
        pair_faces.choose(faces, pairs, "val", 1, 0)
    with pytest.raises(UserError, match=r"photos have no face"):
        pair_faces.choose(faces[:1], pairs, "val", 0, 0)
