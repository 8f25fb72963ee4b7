"""The plan of a scoring run: photos numbered, found in tables, given embeddings re-used."""

import pickle
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faceverify import tables
from faceverify.datasets import PairListConfig, pair_units
from faceverify.datasets.pair_units import PairList, divide
from faceverify.datasets.paths import normalise_paths
from faceverify.errors import UserError
from faceverify.parts import read_part
from faceverify.scoring.numbering import Numbering, read_pairs_shard
from faceverify.scoring.plan import ScorePlan, make_plan
from faceverify.scoring.reuse import GIVEN
from faceverify.shards import read_column
from faceverify.storage import Location
from faceverify.units import LocalMapper

DIM = 4


def pairs_of(*named: tuple[str, str], fault: Iterable[int] = ()) -> pa.Table:
    """A piece of a pair list; `fault` numbers the pairs that leave the root."""
    values: dict[str, Any] = {"pair": [str(i) for i in range(len(named))]}
    values |= {"photo_a": [a for a, _ in named], "photo_b": [b for _, b in named]}
    columns = [
        pa.array(values[f.name], f.type) if f.name in values else pa.nulls(len(named), f.type) for f in tables.PAIRS
    ]
    faults = ["outside_root" if i in set(fault) else None for i in range(len(named))]
    return pa.table(columns, schema=tables.PAIRS).append_column("fault", pa.array(faults, pa.string()))


def photos_table(folder: Path, names: list[str], files: int = 1) -> list[Location]:
    rows = [{"photo": name, "uri": f"/data/{name}", "person": name[0]} for name in names]
    step = -(-len(rows) // files)
    made = []
    for number in range(files):
        place = folder / f"photos-{number}.parquet"
        pq.write_table(pa.Table.from_pylist(rows[number * step :][:step], tables.PHOTOS), place)
        made.append(Location(str(place)))
    return made


def embeddings_table(folder: Path, vectors: dict[str, list[float] | None]) -> list[Location]:
    schema = pa.schema([("photo", pa.string()), ("embedding", pa.list_(pa.float32(), DIM))])
    place = folder / "embeddings.parquet"
    pq.write_table(pa.table([list(vectors), list(vectors.values())], schema=schema), place)
    return [Location(str(place))]


@dataclass(frozen=True)
class Unit:
    """A unit of a list that is in memory."""

    number: int
    tables: list[pa.Table]

    def pieces(self) -> Iterator[pa.RecordBatch]:
        return (batch for table in self.tables for batch in table.to_batches())


def list_of(*units: list[pa.Table]) -> PairList:
    whole = Unit(0, [piece for unit in units for piece in unit])
    return PairList(whole, [Unit(number, unit) for number, unit in enumerate(units)])


def planned(
    folder: Path,
    pieces: list[pa.Table],
    photos: Any = None,
    embeddings: Any = (),
    pairs: int = 100,
    each: int = 100,
    apart: bool = False,
) -> tuple[ScorePlan, pa.Table, pa.Table]:
    """The plan, all planned pairs with the numbers of their photos, and all photos; `apart`: each piece is a unit."""
    work = Location(str(folder / "work"))
    work.delete()
    given = [list(embeddings)] if embeddings else []
    plan = make_plan(
        list_of(*([one] for one in pieces) if apart else [pieces]),
        photos,
        given,
        None,
        work,
        pairs,
        each,
        LocalMapper(),
    )
    rows = pa.concat_tables(read_pairs_shard(work, plan.shards_of_units, i) for i in range(plan.pair_shards))
    a, b = Numbering.read(work / "numbers").of(rows)
    rows = rows.set_column(rows.schema.get_field_index("a"), "a", [a]).set_column(
        rows.schema.get_field_index("b"), "b", [b]
    )
    return plan, rows, known(work)


def known(work: Location) -> pa.Table:
    """What is known of all photos."""
    files = [work / "known" / entry.path for entry in (work / "known").files()]
    return (
        pa.concat_tables(read_part(file) for file in files) if files else pa.table({"photo": pa.array([], pa.string())})
    )


def taken(folder: Path) -> dict[str, list[float]]:
    """The embeddings that are re-used, by photo."""
    work = Location(str(folder / "work"))
    tables = [read_part(work / GIVEN / entry.path) for entry in (work / GIVEN).files()]
    return {
        photo: vector
        for t in tables
        for photo, vector in zip(t["photo"].to_pylist(), t["embedding"].to_pylist(), strict=True)
    }


def test_photos_are_numbered_by_first_appearance_over_all_pieces(tmp_path: Path) -> None:
    pieces = [pairs_of(("c", "a"), ("a", "a")), pairs_of(("b", "c"))]
    plan, pairs, photos = planned(tmp_path, pieces, Location("/root"))
    names = photos["photo"].to_pylist()
    assert names == ["c", "a", "b"]
    assert [(names[a], names[b]) for a, b in zip(pairs["a"].to_pylist(), pairs["b"].to_pylist(), strict=True)] == [
        ("c", "a"), ("a", "a"), ("b", "c"),
    ]  # fmt: skip
    assert photos["uri"].to_pylist() == [f"/root/{name}" for name in names]
    assert (plan.pairs, plan.photos, plan.reused, plan.dim) == (3, 3, 0, 0)
    assert read_column(Location(str(tmp_path / "work" / "photos")), "row").to_pylist() == [0, 1, 2]


NAMES = st.sampled_from(["a", "b", "ü/c d.jpg", "=e", "<f>", "g\nh"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=20), st.integers(1, 7), st.integers(1, 3), st.integers(1, 20)
)
def test_every_pair_finds_its_photos_however_it_is_cut(
    tmp_path: Path, named: list[tuple[str, str]], pairs: int, each: int, step: int
) -> None:
    pieces = [pairs_of(*named[start : start + step]) for start in range(0, len(named), step)]
    plan, rows, photos = planned(tmp_path, pieces, Location("/r"), pairs=pairs, each=each, apart=True)
    assert plan.shards_of_units == [-(-len(piece) // pairs) for piece in pieces]
    assert plan.pair_shards == sum(plan.shards_of_units) and plan.photo_shards == -(-plan.photos // each)
    again, *_ = planned(tmp_path, pieces, Location("/r"), pairs=pairs, each=each)
    assert again.pair_shards == -(-len(named) // pairs)  # a single unit
    assert photos["photo"].to_pylist() == list(
        dict.fromkeys(n for piece in pieces for s in "ab" for n in piece[f"photo_{s}"].to_pylist())
    )
    names = photos["photo"].to_pylist()
    assert len(set(names)) == len(names) == plan.photos
    for side, column in ((0, "a"), (1, "b")):
        assert [names[number] for number in rows[column].to_pylist()] == [pair[side] for pair in named]


def test_forbidden_pairs_get_no_numbers_and_their_photos_no_row(tmp_path: Path) -> None:
    piece = pairs_of(("a", "b"), ("../x", "a"), ("c", "/etc/passwd"), fault=[1, 2])
    _, pairs, photos = planned(tmp_path, [piece], Location("/root"))
    assert pairs["a"].to_pylist()[1:] == pairs["b"].to_pylist()[1:] == [-1, -1]
    assert sorted(photos["photo"].to_pylist()) == ["a", "b"]


def test_only_forbidden_pairs(tmp_path: Path) -> None:
    work = Location(str(tmp_path / "work"))
    plan = make_plan(
        list_of([pairs_of(("../x", "a"), fault=[0])]), Location("/root"), [], None, work, 10, 10, LocalMapper()
    )
    assert (plan.pairs, plan.photos, plan.photo_shards) == (1, 0, 0)
    assert read_column(work / "known", "photo").to_pylist() == []


def test_no_pairs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the list is empty"):
        planned(tmp_path, [pairs_of()], Location("/root"))


@pytest.mark.parametrize("files", [1, 3])
def test_photos_of_a_table_are_numbered_in_its_order(tmp_path: Path, files: int) -> None:
    table = photos_table(tmp_path, ["e", "d", "c", "b", "a"], files)
    _, _, photos = planned(tmp_path, [pairs_of(("b", "e"), ("new", "a"))], table)
    rows = {row["photo"]: row for row in photos.to_pylist()}
    assert list(rows) == ["e", "b", "a", "new"]  # in the order of the table, then those that it does not have
    assert rows["b"]["uri"] == "/data/b" and rows["b"]["person"] == "b"
    assert rows["new"]["uri"] is None and rows["new"]["person"] is None


def test_a_table_with_a_photo_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="photos: the table names a photo twice"):
        planned(tmp_path, [pairs_of(("a", "b"))], photos_table(tmp_path, ["a", "b", "a"], files=2))
    planned(tmp_path, [pairs_of(("a", "b"))], photos_table(tmp_path, ["a", "b", "z", "z"]))  # not named by any pair


def test_given_embeddings_go_to_their_photos(tmp_path: Path) -> None:
    given = {"x": [9.0] * DIM, "b": [1.0, 2, 3, 4], "a": [5.0, 6, 7, 8]}
    plan, *_ = planned(
        tmp_path,
        [pairs_of(("a", "b"), ("c", "a"))],
        folder_of(tmp_path, *"abc"),
        embeddings_table(tmp_path, given),
        each=2,
    )
    assert (plan.reused, plan.dim, plan.photos) == (2, DIM, 3)
    assert taken(tmp_path) == {"a": given["a"], "b": given["b"]}
    assert read_column(Location(str(tmp_path / "work" / "photos")), "photo").to_pylist() == ["c"]


def test_given_embeddings_without_direction_count_as_missing(tmp_path: Path) -> None:
    given = {"a": [np.nan] * DIM, "b": [0.0] * DIM, "c": None, "d": [1.0] * DIM, "e": [np.inf] * DIM}
    plan, *_ = planned(
        tmp_path, [pairs_of(("a", "b"), ("c", "d"), ("e", "e"))], None, embeddings_table(tmp_path, given)
    )
    assert (plan.reused, plan.photos) == (1, 5) and taken(tmp_path) == {"d": given["d"]}


def test_a_photo_twice_among_given_embeddings_is_refused(tmp_path: Path) -> None:
    place = embeddings_table(tmp_path, {"a": [1.0] * DIM})
    with pytest.raises(UserError, match="embeddings: the table names a photo twice"):
        planned(tmp_path, [pairs_of(("a", "a"))], None, place * 2)


def test_no_given_embedding_fits(tmp_path: Path) -> None:
    plan, *_ = planned(tmp_path, [pairs_of(("a", "b"))], None, embeddings_table(tmp_path, {"z": [1.0] * DIM}))
    assert (plan.reused, plan.photos) == (0, 2) and taken(tmp_path) == {}


def test_the_same_input_gives_the_same_plan(tmp_path: Path) -> None:
    piece = pairs_of(*((f"p{i * 7 % 50}", f"p{i * 3 % 50}") for i in range(200)))
    first = planned(tmp_path / "1", [piece], Location("/r"), pairs=30, each=7)
    assert planned(tmp_path / "2", [piece], Location("/r"), pairs=30, each=7) == first


class Elsewhere(LocalMapper):
    """As a cluster does it: shared values and units are copies, the last unit comes first, and one is done twice."""

    def rows(self, work: Any, units: Any, shared: Any, schema: pa.Schema) -> pa.Table:
        sent = pickle.loads(pickle.dumps((list(units)[::-1], shared)))
        super().rows(work, sent[0][:1], sent[1], schema)
        return super().rows(work, *sent, schema)


@pytest.mark.parametrize("kind", ["folder", "table", "embeddings"])
def test_the_plan_does_not_depend_on_who_makes_it(tmp_path: Path, kind: str) -> None:
    named = [(f"{i * 7 % 50}.jpg", f"{i * 3 % 60}.jpg") for i in range(200)]
    pairs = list_of(*([pairs_of(*named[at : at + 30])] for at in range(0, 200, 30)))
    names = [f"{i}.jpg" for i in range(55)]
    given = [embeddings_table(tmp_path, {name: [float(i + 1)] * DIM for i, name in enumerate(names[:40])})]
    photos = {"folder": folder_of(tmp_path, *names), "table": photos_table(tmp_path, names), "embeddings": None}[kind]
    made = []
    for mapper in (LocalMapper(), Elsewhere()):
        work = Location(str(tmp_path / type(mapper).__name__))
        plan = make_plan(pairs, photos, given, None, work, 9, 10, mapper)
        places = sorted(path for path in Path(work.path).rglob("*.parquet"))
        made.append((plan, {str(path.relative_to(work.path)): path.read_bytes() for path in places}))
    assert made[0] == made[1] and made[0][0].reused == 40 and len(made[0][0].shards_of_units) == 7


def csv_of(folder: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> PairList:
    """A list that is divided."""
    monkeypatch.setattr(pair_units, "UNIT_BYTES", 100)
    (folder / "pairs.csv").write_text("\n".join(["photo_a,photo_b,label", *lines]) + "\n")
    found = divide(Location(str(folder / "pairs.csv")), PairListConfig())
    assert len(found.units) > 3
    return found


def test_a_mistake_in_a_divided_list_is_told_with_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"{i}.jpg,{i + 1}.jpg,1" for i in range(60)]
    work, known = (
        Location(str(tmp_path / "work")),
        embeddings_table(tmp_path, {f"{i}.jpg": [1.0] * DIM for i in range(61)}),
    )
    make_plan(csv_of(tmp_path, lines, monkeypatch), None, [known], None, work, 10, 10, LocalMapper())
    lines[41], lines[55] = "41.jpg,42.jpg,2", "55.jpg,x,7"
    with pytest.raises(UserError, match=r"row 41 \(the first is 0\) has label '2'"):
        make_plan(csv_of(tmp_path, lines, monkeypatch), None, [known], None, work, 10, 10, LocalMapper())
    lines[41] = "41.jpg"
    with pytest.raises(UserError, match=r"cannot be read after .* rows \(.*Expected 3 columns, got 1"):
        make_plan(csv_of(tmp_path, lines, monkeypatch), None, [known], None, work, 10, 10, LocalMapper())


def test_pairs_of_a_divided_list_that_cannot_be_scored_are_counted_in_all_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"{'gone' if i % 10 else i}.jpg,{i}.jpg,1" for i in range(60)]
    known = embeddings_table(tmp_path, {f"{i}.jpg": [1.0] * DIM for i in range(60)})
    pairs, work = csv_of(tmp_path, lines, monkeypatch), Location(str(tmp_path / "work"))
    with pytest.raises(UserError, match=r"^54 of 60 pairs failed with unknown_photo \('gone.jpg'"):
        make_plan(pairs, None, [known], None, work, 10, 10, LocalMapper(), 0.5)
    plan = make_plan(pairs, None, [known], None, work, 10, 10, LocalMapper(), 0.9)
    assert (plan.pairs, plan.photos, plan.reused) == (60, 61, 60)


# -- names that are not there as they are ------------------------------------------------------------------------------


def folder_of(tmp_path: Path, *names: str) -> Location:
    root = tmp_path / "set" / "photos"
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return Location(str(root))


LIST = [("ana/1.jpg", "ana/2.jpg"), ("ana/1.jpg", "bo/1.jpg"), ("bo/1.jpg", "bo/2.jpg")]


def test_photos_are_read_where_they_are_and_keep_the_name_of_the_list(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "ana/1.png", "ana/2.jpg", "bo/1.png", "bo/2.jpg")
    plan, pairs, photos = planned(tmp_path, [pairs_of(*LIST)], root)
    names = photos["photo"].to_pylist()
    assert set(names) == {name for pair in LIST for name in pair}
    there = {n: n.replace("1.jpg", "1.png") for n in names}
    assert photos["uri"].to_pylist() == [f"{root.uri}/{there[name]}" for name in names]
    assert plan.found == {"under another extension": (2, "ana/1.jpg", "ana/1.png")}
    assert pairs["photo_a"].to_pylist() == [a for a, _ in LIST]


def test_rows_of_a_table_are_found_under_another_name_too(tmp_path: Path) -> None:
    table = photos_table(tmp_path, ["ana/1.png", "ana/2.jpg", "bo/1.jpg", "bo/2.jpg"])
    plan, _, photos = planned(tmp_path, [pairs_of(*LIST)], table)
    rows = {row["photo"]: (row["uri"], row["person"]) for row in photos.to_pylist()}
    assert rows["ana/1.jpg"] == ("/data/ana/1.png", "a") and rows["ana/2.jpg"] == ("/data/ana/2.jpg", "a")
    assert plan.found["under another extension"][0] == 1


def stopped(tmp_path: Path, pieces: list[pa.Table], photos: Any, share: float, embeddings: Any = ()) -> str:
    work, given = Location(str(tmp_path / "work")), [list(embeddings)] if embeddings else []
    with pytest.raises(UserError) as caught:
        make_plan(list_of(pieces), photos, given, None, work, 10, 10, LocalMapper(), share)
    make_plan(list_of(pieces), photos, given, None, work, 10, 10, LocalMapper(), 1)  # accepts all
    return str(caught.value)


def test_it_stops_where_most_pairs_have_no_photo(tmp_path: Path) -> None:
    root = folder_of(tmp_path, *(f"cy/{i}.jpg" for i in range(9)))
    said = stopped(tmp_path, [pairs_of(*LIST)], root, 0.5)
    assert said.startswith("4 of 4 photos failed with missing ('ana/1.jpg' (there is 'cy/1.jpg'), ")
    assert said.endswith("; --max-failed 1 accepts it.")
    # One photo of many, and yet most pairs need it.
    pairs = [("gone.jpg", f"cy/{i}.jpg") for i in range(9)]
    assert stopped(tmp_path, [pairs_of(*pairs)], root, 0.5).startswith("9 of 9 pairs failed with missing ('gone.jpg')")
    plan, *_ = planned(tmp_path, [pairs_of(*pairs, *[("cy/1.jpg", "cy/2.jpg")] * 9)], root)
    assert plan.pairs == 18


def test_a_single_pair_without_its_photo_is_told_the_nearest(tmp_path: Path) -> None:
    root = folder_of(tmp_path, "ana/1.jpg", "ana/22.jpg")
    said = stopped(tmp_path, [pairs_of(("ana/1.jpg", "ana/2.jpg"))], root, 0.5)
    assert said.startswith("1 of 1 pairs failed with missing ('ana/2.jpg' (there is 'ana/22.jpg'))")


@pytest.mark.parametrize(
    ("before", "below", "options"),
    [
        ("lfw/", "", "--pair-list.strip-prefix 'lfw'"),
        ("lfw/", "images/", "--photos '{root}/images' and --pair-list.strip-prefix 'lfw'"),
    ],
)
def test_a_change_of_folders_is_proposed(tmp_path: Path, before: str, below: str, options: str) -> None:
    root = folder_of(tmp_path, *(below + name for pair in LIST for name in pair))
    said = stopped(tmp_path, [pairs_of(*((before + a, before + b) for a, b in LIST))], root, 0.5)
    assert f"if the photos are the same ones, give {options.format(root=root)};" in said


@pytest.mark.parametrize("before", ["/home/me/", "C:\\photos\\", "s3://bucket/photos/"])
def test_absolute_paths_of_another_machine(tmp_path: Path, before: str) -> None:
    root = folder_of(tmp_path, *(name for pair in LIST for name in pair))
    named = [tuple(before + name.replace("/", before[-1]) for name in pair) for pair in LIST]
    said = stopped(tmp_path, [pairs_of(*named, fault=range(3))], root, 0.5)
    slashed = before.replace("\\", "/")
    assert said.startswith(f"3 of 3 pairs failed with outside_root ('{slashed}ana/1.jpg', ")
    assert f"give --pair-list.strip-prefix '{slashed[:-1]}';" in said
    normal, bad = normalise_paths(pa.array([name for pair in named for name in pair]), slashed[:-1])
    assert not any(bad.to_pylist()) and normal.to_pylist() == [name for pair in LIST for name in pair]


def test_names_that_neither_the_table_nor_the_embeddings_have(tmp_path: Path) -> None:
    table = photos_table(tmp_path, ["ana/1.jpg", "cy/1.jpg"])
    assert "3 of 4 photos failed with unknown_photo" in stopped(tmp_path, [pairs_of(*LIST)], table, 0.5)
    given = embeddings_table(tmp_path, {"ana/1.jpg": [1, 0, 0, 0], "bo/22.jpg": [1, 0, 0, 0]})
    said = stopped(tmp_path, [pairs_of(*LIST)], None, 0.5, given)
    assert "3 of 4 photos failed with unknown_photo" in said and "there is 'bo/22.jpg'" in said
