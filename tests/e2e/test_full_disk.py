"""Storage that fails in the middle of the work: one sentence, exit code 3, and the same command goes on."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from resource import RLIMIT_FSIZE, setrlimit

import pyarrow.parquet as pq
import pytest
from e2e.harness import Driver, People, Run, pair_up, parts, score_plainly, without_work


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", place], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system is not permitted here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(disk: Path, leave: int) -> Path:
    """A file that leaves so many bytes of the disk free."""
    filler = disk / "filler"
    filler.write_bytes(b"x" * (2 * 1024 * 1024 - leave))
    return filler


@pytest.mark.parametrize(
    "leave, stage",
    [pytest.param(2 * 4096, "", marks=pytest.mark.thorough), (36 * 4096, "embeddings")],
    ids=["planning", "embedding"],
)
def test_a_full_disk(
    leave: int,
    stage: str,
    drive: Callable[..., Driver],
    run: Run,
    small_disk: Path,
    people: People,
    tiny: Path,
    tmp_path: Path,
) -> None:
    out = small_disk / "out"
    options = [*people.args(tiny, out), "--photos-per-shard", "4", "--pairs-per-shard", "20"]
    filler = fill(small_disk, leave)
    drive("score", *options).end().refused(3, "No space left on device", "run the same command again")
    assert not (out / "manifest.json").exists()
    assert not stage or 0 < len(parts(out / ".work", stage)) < 28
    filler.unlink()
    ended = run("score", *options)
    assert ended.code == 0 and "Going on where an earlier run stopped." in ended.out, ended.err
    assert without_work(out) == score_plainly(tmp_path / "plain", people.args(tiny, tmp_path / "plain"))


def test_a_file_that_may_not_grow(run: Run, people: People, tiny: Path, tmp_path: Path) -> None:
    """The driver itself cannot write its list of pairs."""
    names = pq.read_table(people.photos)["photo"].to_pylist() * 200
    pq.write_table(pair_up(names, 7), tmp_path / "pairs.parquet")
    options = [*people.args(tiny, tmp_path / "out"), "--pairs", str(tmp_path / "pairs.parquet")]
    driver = Driver("score", *options, preexec_fn=lambda: setrlimit(RLIMIT_FSIZE, (10_000, 10_000)))
    driver.end().refused(3, "storage failed", "File too large", "run the same command again")
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert run("score", *options).code == 0
    assert len(without_work(tmp_path / "out")["scores"]) == 24_000


def test_a_worker_that_cannot_write(
    drive: Callable[..., Driver], run: Run, people: People, tiny: Path, tmp_path: Path
) -> None:
    out, lost = tmp_path / "out", tmp_path / "lost.jpg"
    photos = pq.read_table(people.photos)
    names, places = photos["photo"].to_pylist(), photos["uri"].to_pylist()
    pq.write_table(pair_up(names), tmp_path / "pairs.parquet")
    moved = photos.set_column(1, photos.schema.field("uri"), [[str(lost), *places[1:]]])
    pq.write_table(moved, tmp_path / "photos.parquet")
    options = People(people.root, tmp_path / "photos.parquet", tmp_path / "pairs.parquet").args(tiny, out)
    for stage in ("embeddings", "scores"):
        in_the_way = out / ".work" / stage / "00000000.parquet"
        in_the_way.mkdir(parents=True)
        drive("score", *options).end().refused(3, "storage failed", "run the same command again")
        in_the_way.rmdir()
        if stage == "embeddings":  # a photo that was missing in the first attempt is there in the second
            assert parts(out / ".work", "embeddings.rejects")
            lost.write_bytes(Path(places[0]).read_bytes())
    assert run("score", *options).code == 0
    made = without_work(out)
    assert made["rejects"] == [] and len(made["embeddings"]) == len(names)
    assert [(row["photo_a"], row["status"]) for row in made["scores"]] == [(name, "ok") for name in names]
