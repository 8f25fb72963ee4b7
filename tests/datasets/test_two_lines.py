"""CALFW and CPLFW: two lines a pair, by the fixture and on small trees."""

import json
from pathlib import Path

import pytest

from faceverify.datasets import DatasetConfig, looks_like, read
from faceverify.datasets.two_lines import read_two_lines, with_folds
from faceverify.errors import UserError
from faceverify.storage import open_location


@pytest.fixture(scope="module")
def formats(golden: Path) -> dict:
    return json.loads((golden / "zoo/pair_formats.json").read_text())


@pytest.mark.parametrize("name", ["calfw", "cplfw"])
def test_the_text_means_what_the_fixture_says(name: str, formats: dict, tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text(formats[name]["text"])
    found = read_two_lines(open_location(str(tmp_path / "pairs.txt")))
    assert [list(pair) for pair in found] == formats[name]["pairs"]


def test_impostor_pairs_of_calfw_go_with_the_folds_in_runs(formats: dict, tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text(formats["calfw"]["text"])
    table = with_folds(read_two_lines(open_location(str(tmp_path / "pairs.txt"))))
    assert table["label"].to_pylist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert table["fold"].to_pylist() == [0, 0, 1, 1, 0, 0, 1, 1]


def tree(folder: Path, layout: str, names: list[str], lines: list[str]) -> None:
    (folder / "aligned images").mkdir()
    for name in names:
        (folder / "aligned images" / name).write_bytes(b"x")
    (folder / f"pairs_{layout.upper()}.txt").write_text("\n".join(lines) + "\n")


def test_cplfw_as_a_layout(tmp_path: Path) -> None:
    names = [f"Person_{letter}_{number}.jpg" for letter in "ab" for number in range(1, 21)]
    same = [(f"Person_a_{n}.jpg", f"Person_a_{n + 1}.jpg", 1) for n in range(1, 11)]
    other = [(f"Person_a_{n}.jpg", f"Person_b_{n}.jpg", 0) for n in range(1, 11)]
    tree(tmp_path, "cplfw", names, [f"{name}\t{pair[2]}" for pair in same + other for name in pair[:2]])
    source = open_location(str(tmp_path))
    assert looks_like(source) == ["cplfw", "folders"]
    listing = read(source, DatasetConfig(layout="cplfw"))
    assert listing.photos["photo"].to_pylist() == sorted(names)
    assert set(listing.photos["person"].to_pylist()) == {"Person_a", "Person_b"}
    assert listing.pairs is not None and listing.pairs["fold"].to_pylist() == [*range(10), *range(10)]
    assert listing.pairs["person_b"].to_pylist() == ["Person_a"] * 10 + ["Person_b"] * 10


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["a_1.jpg 1"], "has 1 lines; a pair takes two"),
        (["a_1.jpg 1", "a_2.jpg 0"], "line 2 ends with 0 and the line before with 1"),
        (["a_1.jpg 1", "a_2.jpg -1"], "line 2 is 'a_2.jpg -1'"),
        (["a_1.jpg", "a_2.jpg 1"], "line 1 is 'a_1.jpg'"),
        (["../a_1.jpg 1", "a_2.jpg 1"], r"line 1 is '\.\./a_1.jpg 1'"),
    ],
)
def test_malformed_lists_are_sentences(lines: list[str], sentence: str, tmp_path: Path) -> None:
    tree(tmp_path, "calfw", ["a_1.jpg"], lines)
    with pytest.raises(UserError, match=sentence):
        read(open_location(str(tmp_path)), DatasetConfig(layout="calfw"))


def test_a_missing_list_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no 'pairs_CALFW\.txt'"):
        read(open_location(str(tmp_path)), DatasetConfig(layout="calfw"))
