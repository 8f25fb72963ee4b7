"""The committed division of the test data: nobody and no clip on two sides, and made again the same."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from benchmarks.splits import DEV, FILE, TEST, TRAIN, Row, read, write
from benchmarks.splits.make_deepfakes import _SAME, make, side_of

ROWS = read()


def everybody(row: Row) -> Iterator[str]:
    """The person of a row and the clip it lies in, in one spelling."""
    yield row.person.casefold()
    if "|" in row.unit:
        yield row.unit.partition("|")[0].casefold()


def test_no_person_and_no_clip_is_on_two_sides() -> None:
    sides = defaultdict(set)
    for row in ROWS:
        for name in everybody(row):
            sides[name].add(row.split)
    assert {name: found for name, found in sides.items() if len(found) > 1} == {}
    assert {row.split for row in ROWS} == {TRAIN, DEV, TEST}


def test_a_fake_and_its_host_are_on_one_side_and_the_host_is_real() -> None:
    by_path = {row.path: row for row in ROWS}
    hosts = [(row, by_path[row.host_path]) for row in ROWS if row.host_path]
    assert len(hosts) > 100
    assert all(fake.split == host.split and host.role != "fake" for fake, host in hosts)
    assert all(row.role == "fake" for row in ROWS if row.host_path)


def test_people_go_where_the_hash_of_their_name_says_unless_view_1_has_them() -> None:
    published = {row.person.casefold() for row in ROWS if row.source == "view1"}
    grouped = {name for group in _SAME for name in group}
    people = {
        row.person: row.split for row in ROWS if row.source in ("lfw", "pins") and row.person.casefold() not in grouped
    }
    assert len(people) > 300
    for person, split in people.items():
        assert split == (TEST if person.casefold() in published else side_of([person])), person
    assert {row.split for row in ROWS if row.source == "view1"} == {TEST}


def test_both_directions_of_a_pair_of_clips_are_on_one_side() -> None:
    split = {row.person: row.split for row in ROWS if row.source == "ffpp"}
    assert split["ffpp_183"] == split["ffpp_253"] == TEST
    assert split["ffpp_585"] == side_of(["ffpp_599", "ffpp_585"])
    assert split["ffpp_469"] == split["ffpp_481"] and split["ffpp_585"] == split["ffpp_599"]


def test_one_person_under_two_names_is_on_one_side() -> None:
    sides = defaultdict(set)
    for row in ROWS:
        for name in everybody(row):
            sides[name].add(row.split)
    for names in _SAME:
        assert len({split for name in names for split in sides[name]}) == 1, names
    assert {row.split for row in ROWS if row.family == "faceshifter" or "HifiFace" in row.path} == {TEST}


def test_no_picture_is_on_two_sides(shared_data: Path) -> None:
    sides = defaultdict(set)
    for row in ROWS:
        sides[hashlib.sha256((shared_data / row.path).read_bytes()).digest()].add(row.split)
    assert max(map(len, sides.values())) == 1


def test_side_of_knows_neither_case_nor_order() -> None:
    assert side_of(["Ada"]) == side_of(["ada"])
    assert side_of(["b", "A"]) == side_of(["a", "B", "b"])
    drawn = [side_of([f"person {number}"]) for number in range(2000)]
    assert [
        abs(drawn.count(side) / 2000 - share) < 0.04 for side, share in ((TRAIN, 0.6), (DEV, 0.2), (TEST, 0.2))
    ] == [True] * 3


def test_every_fake_has_a_family_and_reenactments_are_apart() -> None:
    assert all(bool(row.family) == (row.role == "fake") for row in ROWS)
    apart = {row.generator for row in ROWS if row.family == "reenactment"}
    assert apart == {"FFpp_Face2Face", "FFpp_NeuralTextures"}
    assert {row.detector for row in ROWS if row.family == "segmind"} == {False}


def test_written_again_it_is_the_same_file(tmp_path: Path) -> None:
    write(reversed(ROWS), tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == FILE.read_bytes()


def test_the_program_makes_the_committed_file(shared_data: Path, tmp_path: Path) -> None:
    write(make(shared_data), tmp_path / "made.csv")
    assert (tmp_path / "made.csv").read_bytes() == FILE.read_bytes()
