"""`evaluate --map`: people of the photos table, before and after, in the report."""

import re
from pathlib import Path

import pytest
from e2e.harness import People, Run


@pytest.fixture
def scores(run: Run, people: People, tiny: Path, other_model: Path, tmp_path: Path) -> Path:
    for name, model in (("before", other_model), ("after", tiny)):
        assert run("score", *people.args(model, tmp_path / name)).code == 0
    return tmp_path


def test_a_map_before_and_after(run: Run, scores: Path) -> None:
    given = ["--scores", scores / "after", "--before", scores / "before", "--replicates", "0", "--map", "4"]
    ended = run("evaluate", *given, "--out", scores / "one")
    assert ended.code == 0, ended.err
    report = (scores / "one" / "report.html").read_text()
    pictures = re.findall(r'aria-label="Map of embeddings, (\w+)"', report)
    assert pictures == ["before", "after"]
    drawn = re.search(r'<section id="map">(.*?)</section>', report, re.DOTALL)[1]
    assert drawn.count("<circle") == 2 * 4 * (4 + 2), "of each person 4 real photos and 2 fakes, twice"
    assert "a fake and a real photo of the person it claims to be" in drawn and 'download="map.csv"' in drawn
    again = run("evaluate", *given, "--out", scores / "two")
    assert again.code == 0
    assert drawn in (scores / "two" / "report.html").read_text(), "the same seed, the same picture"


def test_mistakes(run: Run, scores: Path, people: People, tmp_path: Path) -> None:
    given = ["--scores", scores / "after", "--replicates", "0", "--out", scores / "x"]
    run("evaluate", *given, "--map-embeddings", scores / "after").refused(2, "map_embeddings is given without --map")
    run("evaluate", *given, "--map", 3, "--photos", people.root).refused(2, "map is 3", "no photos table", "--photos")
    only = scores / "after" / "scores"
    run("evaluate", "--scores", only, "--map", 3, "--photos", people.photos, "--out", scores / "x").refused(
        2, "holds no embeddings table", "--map-embeddings"
    )
