"""A driver killed again and again: the same command goes on, and nothing is lost, doubled or done twice."""

import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from e2e.harness import Driver, People, pair_up, parts, repeated, score_plainly, without_work

PHOTOS_PER_SHARD, PAIRS_PER_SHARD = 4, 16


@pytest.fixture(scope="module")
def job(people: People, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], list[str]]:
    """The options of a run with some hundred shards, whose photos include unusable ones."""
    home = tmp_path_factory.mktemp("killed")
    photos = repeated(pq.read_table(people.photos), 2)
    places = photos["uri"].to_pylist()
    (home / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    for i in range(0, len(places), 50):
        places[i] = str(home / ("broken.jpg" if i % 100 else "missing.jpg"))
    photos = photos.set_column(1, photos.schema.field("uri"), [places])
    pq.write_table(photos, home / "photos.parquet")
    pq.write_table(pair_up(photos["photo"].to_pylist(), 7), home / "pairs.parquet")
    made = People(people.root, home / "photos.parquet", home / "pairs.parquet")
    cut = ["--photos-per-shard", str(PHOTOS_PER_SHARD), "--pairs-per-shard", str(PAIRS_PER_SHARD)]
    return lambda out: [*made.args(tiny, out), *cut]


@pytest.fixture(scope="module")
def undisturbed(
    cluster: object, job: Callable[[Path], list[str]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list]:
    """What comes out if nothing is killed."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    made = score_plainly(out, job(out))
    assert len(made["scores"]) == 240 and len(made["rejects"]) == 5
    return made


def moments(work: Path, rng: random.Random) -> Iterator[tuple[str, Callable[[], bool]]]:
    """Ten moments of one run, in order; those within a stage are drawn."""

    def grown(stage: str, by: int) -> Callable[[], bool]:
        enough = len(parts(work, stage)) + by
        return lambda: len(parts(work, stage)) >= enough

    def there(name: str) -> Callable[[], bool]:
        return lambda: (work / name).exists()

    yield "at the start", lambda: True
    yield "begun", there("plan.json")
    yield "planning", there("pairs")
    yield "planned", there("plan_of_work.json")
    for _ in range(3):
        yield "embedding", grown("embeddings", rng.randint(1, 15))
    for _ in range(2):
        yield "scoring", grown("scores", rng.randint(1, 4))
    yield "committing", there("publish")


@pytest.mark.thorough
def test_sigkill_at_ten_moments(
    drive: Callable[..., Driver], job: Callable[[Path], list[str]], undisturbed: dict[str, list], tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    work, written = out / ".work", {}
    for name, reached in moments(work, random.Random(20)):
        driver = drive("score", *job(out))
        assert driver.wait_until(reached), f"ended before the moment '{name}': {driver.end()}"
        assert driver.end(signal.SIGKILL).code == -signal.SIGKILL
        now = {stage: parts(work, stage) for stage in ("embeddings", "scores")}
        for stage, before in written.items():
            again = [part for part, facts in before.items() if now[stage].get(part) != facts]
            assert not again, f"{stage}: done again after the kill '{name}': {again}"
        written = now
    last = drive("score", *job(out)).end()
    assert last.code == 0, last.err
    assert "Going on where an earlier run stopped." in last.out
    assert without_work(out) == undisturbed
    assert not work.exists()


def test_polite_signals_end_with_a_sentence(
    drive: Callable[..., Driver], job: Callable[[Path], list[str]], undisturbed: dict[str, list], tmp_path: Path
) -> None:
    out = tmp_path / "stopped"
    for number, code, word, stage, count in (
        (signal.SIGTERM, 143, "SIGTERM", "embeddings", 10),
        (signal.SIGINT, 130, "Ctrl-C", "scores", 3),
    ):
        driver = drive("score", *job(out))
        assert driver.wait_until(lambda: len(parts(out / ".work", stage)) >= count)  # noqa: B023
        driver.end(number).refused(code, word, "the same command goes on from here")
    assert drive("score", *job(out)).end().code == 0
    assert without_work(out) == undisturbed
