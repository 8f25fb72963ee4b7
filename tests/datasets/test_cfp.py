"""CFP by the fixture's texts, and on a small tree."""

import json
from pathlib import Path

import pytest

from faceverify.datasets import DatasetConfig, looks_like, read
from faceverify.datasets.cfp import read_cfp
from faceverify.errors import UserError
from faceverify.storage import open_location


@pytest.fixture
def texts(golden: Path, tmp_path: Path) -> dict:
    formats = json.loads((golden / "zoo/pair_formats.json").read_text())["cfp"]
    for name, text in formats.items():
        if name.endswith(".txt"):
            path = tmp_path / "Protocol" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    (tmp_path / "Protocol/Split/FF/01/diff.txt").touch()
    return formats


@pytest.mark.parametrize("kind", ["FP", "FF"])
def test_the_lists_mean_what_the_fixture_says(kind: str, texts: dict, tmp_path: Path) -> None:
    found = read_cfp(open_location(str(tmp_path / "Protocol")), kind)
    assert [list(pair) for pair in found] == texts[f"pairs_{kind}"]


@pytest.mark.usefixtures("texts")
def test_cfp_as_a_layout(tmp_path: Path) -> None:
    for path in ("001/frontal/01.jpg", "002/profile/01.jpg"):
        (tmp_path / "Data/Images" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "Data/Images" / path).write_bytes(b"x")
    source = open_location(str(tmp_path))
    assert looks_like(source)[:2] == ["cfp_fp", "cfp_ff"]
    listing = read(source, DatasetConfig(layout="cfp_fp"))
    assert listing.photos["person"].to_pylist() == ["001", "002"]
    assert listing.pairs is not None and listing.pairs["label"].to_pylist() == [1, 1, 0, 0]
    assert listing.pairs["fold"].to_pylist() == [0] * 4


@pytest.mark.usefixtures("texts")
@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("Split/FP/01/same.txt", "1,3\n", r"same.txt' line 1 is '1,3'; .* Pair_list_F.txt and Pair_list_P.txt"),
        ("Split/FP/01/same.txt", "1\n", "line 1 is '1'"),
        ("Pair_list_P.txt", "1 elsewhere/01.jpg\n", "Pair_list_P.txt' line 1 is '1 elsewhere/01.jpg'"),
        ("Pair_list_P.txt", "1 ../Data/Images/../x.jpg\n", "line 1 is"),
        ("Pair_list_P.txt", "1 ../Data/Images/a.jpg\n1 ../Data/Images/b.jpg\n", "gives the number 1 a second time"),
    ],
)
def test_malformed_lists_are_sentences(file: str, text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "Protocol" / file).write_text(text)
    with pytest.raises(UserError, match=sentence):
        read_cfp(open_location(str(tmp_path / "Protocol")), "FP")


@pytest.mark.usefixtures("texts")
def test_without_folds_or_files_it_is_a_sentence(tmp_path: Path) -> None:
    protocol = open_location(str(tmp_path / "Protocol"))
    (tmp_path / "Protocol/Split/FP/01/diff.txt").unlink()
    with pytest.raises(UserError, match=r"no file '.*diff.txt'"):
        read_cfp(protocol, "FP")
    for place in (tmp_path / "Protocol/Split/FP").glob("*"):
        for name in ("same.txt", "diff.txt"):
            (place / name).write_text("")
    with pytest.raises(UserError, match=r"no fold of .* has a pair"):
        read_cfp(protocol, "FP")
    (tmp_path / "Protocol/Split").rename(tmp_path / "Protocol/Elsewhere")
    with pytest.raises(UserError, match="there is no fold"):
        read_cfp(protocol, "FP")
