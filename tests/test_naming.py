"""Names of a list looked for in folders, buckets and tables; and what that costs."""

import os
import unicodedata
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faceverify import naming, tables
from faceverify.errors import PlatformError
from faceverify.matching import CASE, EXTENSION, NORMAL_FORM, Shift
from faceverify.naming import FURTHER_DOWN, OWN_NAME, Naming, describe_renames, in_folder, in_table
from faceverify.storage import Location

PEOPLE = [f"{name}/{name}_{i}.jpg" for name in ("ana", "bo", "Ñandú") for i in range(3)]
PNGS = [name.replace("jpg", "png") for name in PEOPLE]


@pytest.fixture
def made(tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    """Makes a folder `photos` of empty files, local or in a bucket."""

    def make(where: str, files: list[str]) -> Location:
        if where == "s3":
            bucket = request.getfixturevalue("bucket")
            client = boto3.Session().client("s3")
            for name in files:
                client.put_object(Bucket=bucket, Key=f"set/photos/{name}", Body=b"x")
            return Location(f"s3://{bucket}/set/photos")
        root = tmp_path / "set" / "photos"
        for name in files:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"x")
        return Location(str(root))

    return make


CASES: dict[str, tuple[list[str], list[str], dict[str, str], str]] = {
    # what is wrong: (the list, the files, what is found, in which way)
    "nothing": (PEOPLE, PEOPLE, {}, ""),
    "extension": (PEOPLE, PNGS, dict(zip(PEOPLE, PNGS, strict=True)), EXTENSION),
    "case": (PEOPLE, [n.upper() for n in PEOPLE], {n: n.upper() for n in PEOPLE}, CASE),
    "form": (
        PEOPLE,
        [unicodedata.normalize("NFD", n) for n in PEOPLE],
        {n: unicodedata.normalize("NFD", n) for n in PEOPLE[6:]},
        NORMAL_FORM,
    ),
    "further down": (PEOPLE, [f"a/b/{n}" for n in PEOPLE], {n: f"a/b/{n}" for n in PEOPLE}, FURTHER_DOWN),
    "own name": ([f"photos/{n}" for n in PEOPLE], PEOPLE, {f"photos/{n}": n for n in PEOPLE}, OWN_NAME),
    "both": ([f"set/photos/{n}" for n in PEOPLE], PEOPLE, {f"set/photos/{n}": n for n in PEOPLE}, OWN_NAME),
    "and extension": (PEOPLE, [f"a/{n[:-3]}PNG" for n in PEOPLE], {n: f"a/{n[:-3]}PNG" for n in PEOPLE}, FURTHER_DOWN),
}  # fmt: skip


IN_BUCKETS = ("nothing", "form", "further down", "own name")


@pytest.mark.parametrize(("where", "case"), [*(("local", case) for case in CASES), *(("s3", c) for c in IN_BUCKETS)])
def test_what_is_found(made: Any, where: str, case: str) -> None:
    names, files, others, way = CASES[case]
    found = in_folder(names, made(where, files))
    assert found.others == others and not found.missing and found.shift is None
    assert {name: count for name, (count, _, _) in found.ways.items()} == ({way: len(others)} if way else {})
    for line, (_, name, other) in zip(describe_renames(found.ways), found.ways.values(), strict=True):
        assert line == f"{len(others)} names found {way}: '{name}' -> '{other}'"
        assert others[name] == other


@pytest.mark.parametrize(
    ("names", "files", "shift"),
    [
        # Equal names in another data set may be other photos: only proposed.
        ([f"other/{n}" for n in PEOPLE], PEOPLE, Shift("other/", "")),
        ([f"other/{n}" for n in PEOPLE], [f"a/{n}" for n in PEOPLE], Shift("other/", "a/")),
        # Only part of the list is from elsewhere.
        ([PEOPLE[0], *(f"photos/{n}" for n in PEOPLE)], PEOPLE, Shift("photos/", "")),
        # Which of the two folders?
        (PEOPLE, [f"{top}/{n}" for n in PEOPLE for top in "ab"], None),
        (["x.jpg", ""], PEOPLE, None),
    ],
)
def test_what_is_not_taken(made: Any, names: list[str], files: list[str], shift: Shift | None) -> None:
    found = in_folder(names, made("local", files))
    assert found.others == {} == found.ways and found.shift == shift
    assert found.missing == [name for name in names if name not in files]
    assert set(found.near.values()) <= set(files)


def test_three_examples_with_the_nearest_names(made: Any) -> None:
    found = in_folder(["ana/ana_7.jpg", "q.jpg", "bo/bo_1.jpg"], made("local", PEOPLE))
    assert found.missing == ["ana/ana_7.jpg", "q.jpg"]
    assert found.examples() == "'ana/ana_7.jpg' (there is 'ana/ana_2.jpg'), 'q.jpg'"


def test_hidden_files_links_out_and_names_that_are_no_text_are_not_taken(made: Any, tmp_path: Path) -> None:
    root = made("local", [".thumbs/ana.png", "bo/bo.jpg"])
    with open(os.fsencode(root.path) + b"/ana\xff.png", "wb"):
        pass
    assert in_folder(["thumbs/ana.jpg", "ana.jpg", ".thumbs/ana.jpg"], root).others == {}


PARTS = st.sampled_from(["a", "A", "b", "photos", "set"])
PATHS = st.lists(PARTS, max_size=3).map("/".join).flatmap(lambda p: st.sampled_from([f"{p}/x.jpg", f"{p}/x.png"]))
NAMES = PATHS.map(lambda path: path.lstrip("/"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(names=st.sets(NAMES, min_size=1, max_size=6), files=st.sets(NAMES, max_size=6))
def test_only_what_exists_is_found_and_exact_names_win(
    tmp_path_factory: pytest.TempPathFactory, names: set[str], files: set[str]
) -> None:
    root = tmp_path_factory.mktemp("any") / "set" / "photos"
    root.mkdir(parents=True)
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    (root.parent / "x.jpg").write_bytes(b"")  # outside
    found = in_folder(sorted(names), Location(str(root)))
    assert set(found.others.values()) <= files
    assert not found.others.keys() & files
    assert found.others.keys() | set(found.missing) | (names & files) == names
    assert in_folder(sorted(names, reverse=True), Location(str(root))).others == found.others


def test_names_of_a_table(tmp_path: Path) -> None:
    rows = [{"photo": name, "uri": f"/data/{name}"} for name in PEOPLE]
    pq.write_table(pa.Table.from_pylist(rows, tables.PHOTOS), tmp_path / "photos.parquet")
    files = [Location(str(tmp_path / "photos.parquet"))]
    assert in_table(PEOPLE, files) == Naming()
    found = in_table([PEOPLE[0], PEOPLE[1].replace("jpg", "PNG"), "zz.jpg"], files)
    assert found.others == {PEOPLE[1].replace("jpg", "PNG"): PEOPLE[1]} and found.missing == ["zz.jpg"]


# -- cost --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What S3 is asked for: `list`, or the name of an object."""
    asked: list[str] = []
    listing, info = naming.Bucket.names, Location.is_file

    def counted(*arguments: Any) -> Any:
        for number, key in enumerate(listing(*arguments)):
            if number % 1000 == 0:
                asked.append("list")
            yield key

    def one(self: Location) -> bool:
        asked.append(self.name)
        return info(self)

    monkeypatch.setattr(naming.Bucket, "names", counted)
    monkeypatch.setattr(Location, "is_file", one)
    return asked


def test_a_short_list_does_not_list_the_bucket(made: Any, requests: list[str]) -> None:
    root = made("s3", PEOPLE)
    assert in_folder(PEOPLE[:2], root) == Naming()
    assert sorted(requests) == ["ana_0.jpg", "ana_1.jpg"]


def test_a_long_list_lists_the_bucket_and_asks_for_no_object(
    made: Any, requests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(naming, "ASKED", 3)
    root = made("s3", PEOPLE)
    assert in_folder([*PEOPLE[:5], "ana/ana_2.png"], root).missing == ["ana/ana_2.png"]
    assert set(requests) == {"list"}


def test_a_bucket_that_is_much_larger_than_the_list_is_not_listed(
    made: Any, requests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(naming, "ASKED", 3)
    monkeypatch.setattr(naming, "LISTED", 1)
    root = made("s3", PEOPLE)
    assert in_folder(PEOPLE[:5], root) == Naming()
    assert requests.count("list") == 1 and len(requests) == 1 + 3
    # Once something is missing, everything is asked for; another extension is found all the same.
    requests.clear()
    names = [PEOPLE[0], PEOPLE[8].replace("jpg", "png"), *PEOPLE[1:4]]
    assert in_folder(names, root).others == {names[1]: PEOPLE[8]}
    assert set(requests) >= {name.rpartition("/")[2] for name in names}


def test_a_large_local_folder_is_listed_no_further_than_is_worth_it(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "WALKED", 2)
    monkeypatch.setattr(naming, "LISTED", 1)
    root = made("local", PEOPLE)
    assert in_folder(["bo/bo_1.png"], root).others == {"bo/bo_1.png": "bo/bo_1.jpg"}


def test_a_bucket_that_may_not_be_listed_is_a_sentence(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made("s3", ["a.jpg"])
    with pytest.raises(PlatformError, match=r"photos: cannot list 's3://elsewhere/photos' \(.*NoSuchBucket"):
        list(naming.Bucket(Location("s3://elsewhere/photos")).names())
