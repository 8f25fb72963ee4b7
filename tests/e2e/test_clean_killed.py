"""Cleaning killed before each of its changes of the disk, by signal, and worker by worker: the same comes out."""

import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cleaning.planted import Options, People, clean_here, published
from e2e.harness import Driver, Run, parts
from e2e.test_killed_workers import Killer

ROOT = Path(__file__).parent.parent.parent


def planted(people: int, photos: int) -> People:
    """People with strays, strangers, fakes, photos without embedding, a twin and files of the same bytes."""
    made = People().crowd(people, photos)
    rng = random.Random(0)
    for k in range(people // 2):
        owner, folder = rng.sample(range(people), 2)
        made.add(f"p{folder:02d}", f"stray{k}.jpg", made.vector(f"p{owner:02d}"))
        made.add(f"p{folder:02d}", f"fake{k}.png", made.vector(f"p{folder:02d}"), is_fake=True, generator="g")
    made.add("p00", "stranger.jpg", made.vector("nobody"))
    made.add("p01", "rejected.jpg", None)
    for k in range(3):
        made.add("twin", f"{k}.jpg", made.vector("p02"))
    return made


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return planted(24, 4).write(tmp_path_factory.mktemp("few"))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return planted(60, 5).write(tmp_path_factory.mktemp("many"))


@pytest.fixture(scope="module")
def undisturbed(many: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    clean_here(*many, out, Options())
    return published(out)


def options(tables: tuple[Path, Path], out: Path) -> list[str]:
    """A run of many small shards."""
    named = {"--photos": tables[0], "--embeddings": tables[1], "--out": out, "--photos-per-shard": 12}
    return [str(word) for item in named.items() for word in item]


@pytest.mark.thorough
def test_killed_before_each_change_of_the_disk(few: tuple[Path, Path], tmp_path: Path) -> None:
    clean_here(*few, tmp_path / "undisturbed", Options(photos_per_shard=70))
    wanted = published(tmp_path / "undisturbed")
    command = [sys.executable, str(ROOT / "tests" / "e2e" / "dying_clean.py"), *map(str, few), str(tmp_path / "dying")]
    env = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stderr
    runs = sorted((tmp_path / "dying").iterdir())
    assert len(runs) > 40
    for out in runs:
        assert published(out) == wanted, f"killed before change {out.name}"
        assert not (out / ".work").exists()


@pytest.mark.thorough
def test_sigkill_of_the_driver_at_many_moments(
    drive: Callable[..., Driver], many: tuple[Path, Path], undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    out, rng = tmp_path / "out", random.Random(3)
    work = out / ".work"
    stages = ("components", "same_person_candidates", "search", "decisions")
    written: dict[str, dict[str, tuple[int, int]]] = {}
    moments: list[tuple[str, Callable[[], bool]]] = [
        ("begun", lambda: (work / "plan.json").exists()),
        ("planned", lambda: (work / "plan_of_work.json").exists()),
    ]
    for stage in ("components", "components", "search", "decisions", "decisions"):
        more = rng.randint(1, 8)
        moments.append((stage, lambda s=stage, n=more: len(parts(work, s)) >= len(written.get(s, {})) + n))
    for name, reached in moments:
        driver = drive("clean", *options(many, out))
        assert driver.wait_until(reached), f"ended before '{name}': {driver.end()}"
        assert driver.end(signal.SIGKILL).code == -signal.SIGKILL
        now = {stage: parts(work, stage) for stage in stages}
        for stage, before in written.items():
            again = [part for part, facts in before.items() if now[stage].get(part) != facts]
            assert not again, f"{stage}: done again after the kill '{name}': {again}"
        written = now
    ended = drive("clean", *options(many, out)).end()
    assert ended.code == 0, ended.err
    assert "Going on where an earlier run stopped." in ended.out
    assert published(out) == undisturbed


@pytest.mark.parametrize(
    "stage, task",
    [
        ("components", "find_components"),
        pytest.param("search", "search_photos", marks=pytest.mark.thorough),
        pytest.param("decisions", "decide_shard", marks=pytest.mark.thorough),
    ],
)
def test_workers_killed(
    run: Run, many: tuple[Path, Path], undisturbed: dict[str, Any], tmp_path: Path, stage: str, task: str
) -> None:
    out = tmp_path / "out"
    with Killer(out / ".work", stage, task, times=3, most=12) as killer:
        ended = run("clean", *options(many, out))
    assert ended.code == 0, ended.err
    assert killer.killed >= 1
    assert published(out) == undisturbed
