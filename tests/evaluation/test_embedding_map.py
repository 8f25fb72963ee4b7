"""The map of embeddings: who is on it, where, and that the same comes again."""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceverify import tables
from faceverify.errors import UserError
from faceverify.evaluation.embedding_map import MOST, choose, closeness, make_map, project, turned
from faceverify.parts import parquet_bytes
from faceverify.storage import Location
from faceverify.vectors import unit

DIM = 16


def rows(counts: dict[str, tuple[int, int]]) -> list[tuple[str, str, bool, str]]:
    """Photos of people: real ones and fakes, as many of each as asked for."""
    found = []
    for person, (real, fake) in counts.items():
        found += [(f"{person}/r{at:02d}", person, False, "") for at in range(real)]
        found += [(f"{person}/f{at:02d}", person, True, "swap") for at in range(fake)]
    return found


def write(folder: Path, listed: list[tuple[str, str, bool, str]], spread: float, seed: int = 0) -> Path:
    """photos.parquet and embeddings of it: people apart, fakes `spread` from their person."""
    random, people = np.random.default_rng(seed), sorted({row[1] for row in listed})
    centres = random.normal(size=(len(people), DIM))
    off = random.normal(size=DIM)
    own = np.stack([centres[people.index(row[1])] + spread * row[2] * off for row in listed])
    vectors = (own + random.normal(0, 0.1, own.shape)).astype(np.float32)
    columns = ("photo", "person", "is_fake", "generator")
    photos = [dict(zip(columns, row, strict=True)) | {"uri": row[0]} for row in listed]
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(photos, schema=tables.PHOTOS), folder / "photos.parquet")
    columns = {
        "photo": [row[0] for row in listed],
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIM),
        "norm": pa.array(np.linalg.norm(vectors, axis=1)),
    }
    table = pa.table({f.name: columns.get(f.name, pa.nulls(len(listed), f.type)) for f in tables.embeddings(DIM)})
    (folder / "embeddings.parquet").write_bytes(parquet_bytes(table.cast(tables.embeddings(DIM))))
    return folder


def files(folder: Path) -> list[Location]:
    return [Location(str(folder / "embeddings.parquet"))]


def test_people_with_the_most_fakes_and_then_the_most_real_photos_are_chosen() -> None:
    listed = rows(
        {"a": (9, 0), "b": (2, 3), "c": (5, 3), "d": (5, 3), "only fakes": (0, 9), "e": (1, 1), "f": (40, 30)}
    )
    everything = {row[0] for row in listed}
    names, drawn = choose(listed, [everything], 4)
    assert names == ["b", "c", "d", "f"]
    names, drawn = choose(listed, [everything, everything - {"c/f00"}], 3)
    assert names == ["b", "d", "f"], "what is missing in one table is drawn in none"
    of_f = [one for one in drawn if one.person == names.index("f")]
    assert sum(one.is_fake for one in of_f) == sum(not one.is_fake for one in of_f) == MOST
    assert of_f[0].photo == "f/r00" and {one.generator for one in of_f if one.is_fake} == {"swap"}
    assert choose(reversed(listed), [everything], 4) == choose(listed, [everything], 4)
    with pytest.raises(UserError, match="no person of the photos table has a real photo"):
        choose(listed, [{"only fakes/f00"}], 4)


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_the_same_comes_again_and_people_lie_apart(method: str) -> None:
    random = np.random.default_rng(0)
    person = np.repeat(np.arange(3), 12)
    vectors = unit((random.normal(size=(3, DIM))[person] + random.normal(0, 0.1, (36, DIM))).astype(np.float32))
    xy = project(vectors, method, 0)
    assert xy.shape == (36, 2) and (project(vectors, method, 0) == xy).all()
    centres = np.stack([xy[person == one].mean(axis=0) for one in range(3)])
    own = np.linalg.norm(xy - centres[person], axis=1)
    between = [np.linalg.norm(centres[a] - centres[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert own.max() < min(between) / 2


@pytest.mark.parametrize("photos", [1, 2, 4, 5])
def test_few_photos_and_equal_ones_have_a_place(photos: int) -> None:
    vectors = unit(np.random.default_rng(1).normal(size=(photos, DIM)).astype(np.float32))
    for some in (vectors, np.repeat(vectors[:1], photos, axis=0)):
        xy = project(some, "tsne", 0)
        assert xy.shape == (photos, 2) and np.isfinite(xy).all()


def test_a_picture_is_turned_to_lie_like_another() -> None:
    like = np.random.default_rng(0).normal(size=(20, 2))
    angle = 2.0
    turn = np.array([[np.cos(angle), np.sin(angle)], [np.sin(angle), -np.cos(angle)]])  # and mirrored
    assert np.allclose(turned(like @ turn + 7, like), like - like.mean(axis=0))


def test_what_has_not_changed_stays_where_it_was(tmp_path: Path) -> None:
    """Other directions, the same distances: t-SNE from PCA of each would arrange the groups in another way."""
    listed = rows({name: (6, 0) for name in "abcdefgh"})
    folder = write(tmp_path / "one", listed, 0.0)
    table = pq.read_table(folder / "embeddings.parquet")
    vectors = np.array(table["embedding"].to_pylist())
    other = vectors + np.random.default_rng(5).normal(0, 0.5, vectors.shape).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(other.astype(np.float32).reshape(-1)), DIM)
    (tmp_path / "two.parquet").write_bytes(
        parquet_bytes(table.set_column(1, table.schema.field(1), column).cast(tables.embeddings(DIM)))
    )
    found = make_map(
        [Location(str(folder / "photos.parquet"))],
        {"before": files(folder), "after": [Location(str(tmp_path / "two.parquet"))]},
        8,
        "tsne",
        0,
    )
    centres = [
        np.array([lay.xy[[one.person == p for one in found.photos]].mean(axis=0) for p in range(8)])
        for lay in found.layouts
    ]
    ways = [one - one.mean(axis=0) for one in centres]
    same = (ways[0] * ways[1]).sum() / np.sqrt((ways[0] ** 2).sum() * (ways[1] ** 2).sum())
    assert same > 0.9


def test_mean_similarities_are_of_the_embeddings() -> None:
    listed = rows({"a": (2, 1), "b": (1, 2)})
    _, drawn = choose(listed, [{row[0] for row in listed}], 2)
    vectors = unit(np.random.default_rng(0).normal(size=(len(drawn), DIM)).astype(np.float32)).astype(float)
    place = {one.photo: vectors[at] for at, one in enumerate(drawn)}

    def mean(*pairs: tuple[str, str]) -> float:
        return float(np.mean([place[one] @ place[other] for one, other in pairs]))

    same, fakes, others = closeness(vectors, drawn)
    assert same == pytest.approx(mean(("a/r00", "a/r01")))
    pairs = [("a/r00", "a/f00"), ("a/r01", "a/f00"), ("b/r00", "b/f00"), ("b/r00", "b/f01")]
    assert fakes == pytest.approx(mean(*pairs))
    assert others == pytest.approx(mean(("a/r00", "b/r00"), ("a/r01", "b/r00")))
    assert closeness(vectors[:1], drawn[:1]) == (None, None, None)


def test_before_and_after(tmp_path: Path) -> None:
    listed = rows({name: (6, 4) for name in "abcde"})
    before, after = write(tmp_path / "before", listed, 0.1), write(tmp_path / "after", listed, 3.0)
    photos = [Location(str(before / "photos.parquet"))]
    tables_of = {"before": files(before), "after": files(after)}
    found = make_map(photos, tables_of, 3, "auto", 0)
    assert found.people == ["a", "b", "c"] and len(found.photos) == 30
    assert [layout.name for layout in found.layouts] == ["before", "after"]
    assert found.layouts[1].fakes < found.layouts[0].fakes - 0.3
    assert "t-SNE (seed 0)" in found.method and "turned" in found.method and "3 people" in found.rule
    again = make_map(photos, tables_of, 3, "auto", 0)
    assert all((one.xy == other.xy).all() for one, other in zip(found.layouts, again.layouts, strict=True))


def test_without_scikit_learn_it_is_pca_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = rows({name: (3, 2) for name in "ab"})
    folder = write(tmp_path / "one", listed, 1.0)
    photos = [Location(str(folder / "photos.parquet"))]
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    found = make_map(photos, {"embeddings": files(folder)}, 2, "auto", 0)
    assert "PCA, because scikit-learn (the extra `map`) is not installed" in found.method
    with pytest.raises(UserError, match=r"map_method is tsne, .* pip install 'faceverify\[map\]'"):
        make_map(photos, {"embeddings": files(folder)}, 2, "tsne", 0)
