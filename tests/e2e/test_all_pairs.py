"""Every photo with every other one: the similarities of `score`, whatever is kept and however it is cut."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from e2e.harness import People, Run, pair_up

from ray_jobs import all_pairs


def made(out: Path) -> dict[frozenset[str], float]:
    """Similarity by pair."""
    rows = pq.read_table(out / "scores").to_pylist()
    found = {frozenset((row["photo_a"], row["photo_b"])): row["similarity"] for row in rows}
    assert len(found) == len(rows)
    return found


@pytest.fixture(scope="module")
def whole(cluster: object, people: People, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All pairs of 120 photos."""
    from faceverify.config import load

    out = tmp_path_factory.mktemp("whole") / "out"
    options = ["--photos", people.photos, "--model", tiny, "--align.method", "annotated", "--out", out]
    all_pairs.run(load(all_pairs.AllPairsConfig, list(map(str, options)), prog="all_pairs", description=""))
    return out


def test_all_pairs_of_a_table_as_score_gives_them(
    run: Run, whole: Path, people: People, tiny: Path, tmp_path: Path
) -> None:
    photos = pq.read_table(people.photos)["photo"].to_pylist()
    found = made(whole)
    assert len(found) == len(photos) * (len(photos) - 1) // 2
    pq.write_table(pair_up(photos, 7), tmp_path / "pairs.parquet")
    assert run("score", *people.args(tiny, tmp_path / "s"), "--pairs", tmp_path / "pairs.parquet").code == 0
    scored = made(tmp_path / "s")
    assert scored and all(found[pair] == similarity for pair, similarity in scored.items())
    rows = pq.read_table(whole / "scores").to_pylist()
    assert {row["kind"] for row in rows} == {"genuine", "impostor", "deepfake"}


def test_embeddings_in_two_sets_what_is_alike_and_a_threshold(run: Run, whole: Path, tmp_path: Path) -> None:
    """On Ray: more than one tile."""
    least = sorted(made(whole).values())[-50]
    table = pq.read_table(whole / "embeddings")
    for name, part in (("a", table.slice(0, 70)), ("b", table.slice(70))):
        pq.write_table(part, tmp_path / f"{name}.parquet")
    a, b = (f"{tmp_path}/{name}.parquet" for name in "ab")
    ended = run("all_pairs", "--photos", a, "--others", b, "--threshold", "0.5", "--out", tmp_path / "two")
    assert ended.code == 0 and "no error rate is known" in ended.out, ended.err
    both = made(tmp_path / "two")
    assert len(both) == 70 * 50
    plain = {frozenset(name.split(".parquet/")[1] for name in pair): value for pair, value in both.items()}
    assert plain.items() <= made(whole).items()
    rows = pq.read_table(tmp_path / "two" / "scores").to_pylist()
    assert all(row["accepted"] == (row["similarity"] >= 0.5) for row in rows)

    ended = run("all_pairs", "--photos", whole, "--at-least", str(least), "--out", tmp_path / "alike")
    assert ended.code == 0, ended.err
    assert made(tmp_path / "alike") == {pair: value for pair, value in made(whole).items() if value >= least}
    assert f"{max(made(whole).values()):.4f}" in ended.out
    run("evaluate", "--scores", tmp_path / "alike", "--out", tmp_path / "e").refused(2, "at least", "need all of them")


def test_the_pairs_of_one_person(run: Run, people: People, tiny: Path, tmp_path: Path) -> None:
    rows = pq.read_table(people.photos)
    name = rows["person"][0].as_py()
    own = [
        photo
        for photo, person in zip(rows["photo"].to_pylist(), rows["person"].to_pylist(), strict=True)
        if person == name
    ]
    given = ["--model", tiny, "--align.method", "none", "--person", name]
    ended = run("all_pairs", "--photos", people.root, *given, "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    found = made(tmp_path / "out")
    assert len(found) == len(own) * (len(own) - 1) // 2 and frozenset(own[:2]) in found
    run("all_pairs", "--photos", people.root, *given[:-1], "nobody", "--out", tmp_path / "x").refused(2, "of 'nobody'")


def test_mistakes(run: Run, whole: Path, people: People, tiny: Path, tmp_path: Path, monkeypatch: object) -> None:
    out = ["--out", tmp_path / "out"]
    run("all_pairs", "--photos", whole, "--model", tiny, *out).refused(2, "--model", "holds embeddings", "leave it out")
    run("all_pairs", "--photos", whole, "--others", people.photos, *out).refused(2, "both of a kind")
    monkeypatch.setattr(all_pairs, "MOST_ROWS", 1000)
    run("all_pairs", "--photos", whole, *out).refused(2, "--at-least is not given", "7,140 pairs")
