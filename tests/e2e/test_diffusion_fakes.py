"""The job `fakes` with Arc2Face and InstantID: the same pictures on any number of workers and after a kill."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from e2e.harness import Driver, People, Run, parts
from e2e.test_fakes import published

pytestmark = pytest.mark.thorough
GENERATORS = ("arc2face_lcm", "instantid_lcm")
PROMPTS = ("in a car", "at sea")


@dataclass(frozen=True)
class Studio:
    """A weights cache with tiny networks in the published forms, and a photos table of six people."""

    cache: Path
    photos: Path

    def args(self, out: Path) -> list[str]:
        """The options of a run."""
        return [
            "--photos",
            str(self.photos),
            "--out",
            str(out),
            "--generators",
            ",".join(GENERATORS),
            "--per-person",
            "2",
        ]


@pytest.fixture(scope="module")
def studio(people: People, golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Studio:
    for name in ("diffusers", "transformers", "peft"):
        pytest.importorskip(name, reason=f"needs {name}: pip install 'faceverify[fakes]'")
    import torch
    from fakes.diffusion import tiny as networks

    from faceverify.models import card
    from faceverify.models.export import export_onnx
    from faceverify.models.iresnet import iresnet

    home = tmp_path_factory.mktemp("studio")
    networks.arc2face(golden, home)
    networks.instantid(golden, home)
    half = [127.5] * 3
    for seed, name in enumerate(("arcface_webface42m", "glintr100")):
        torch.manual_seed(seed)
        described = card.build(name=name, architecture="tiny", colour="RGB", mean=half, std=half, dim=512)
        (home / "models" / name).mkdir()
        export_onnx(iresnet("tiny", 512).eval(), described, home / "models" / name / "network.onnx")
    rows = pq.read_table(people.photos)
    kept = rows.filter([name < "person_0006" for name in rows["person"].to_pylist()])
    pq.write_table(kept, home / "photos.parquet")
    return Studio(home, home / "photos.parquet")


@pytest.fixture(autouse=True)
def cache(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache of the job; the cluster's workers do not know it."""
    monkeypatch.setenv("FACEVERIFY_CACHE", str(studio.cache))


@pytest.fixture(scope="module")
def undisturbed(cluster: object, studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What two workers make."""
    from faceverify.config import load
    from ray_jobs.fakes import FakesConfig
    from ray_jobs.fakes import run as run_fakes

    out = tmp_path_factory.mktemp("undisturbed") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACEVERIFY_CACHE", str(studio.cache))
        run_fakes(load(FakesConfig, [*studio.args(out), "--people-per-shard", "2"], prog="", description=""))
    return published(out)


def test_rows_tell_who_painted_what(undisturbed: dict[str, Any], studio: Studio) -> None:
    given = pq.read_table(studio.photos).num_rows
    made = undisturbed["photos"][given:]
    assert len(made) == len(undisturbed["pictures"]) == 12 and undisturbed["rejects"] == []
    assert len(set(undisturbed["pictures"].values())) == 12
    for row in made:
        words = row["how"].split(", ", 2)
        assert row["is_fake"] and row["landmarks"] is None and row["pasted_box"] is None
        assert row["source_photo"].startswith(row["person"])
        [weights] = row["weights"]
        assert weights.startswith(f"{row['generator']} ") and len(weights.split()[1]) == 64
        if row["generator"] == "arc2face_lcm":
            assert words == ["4 steps", "guidance 1"] and row["target_photo"] is None
        else:
            assert words[:2] == ["10 steps", "guidance 1"] and "person" in words[2]
            assert row["target_person"] != row["person"]


def test_one_worker_makes_the_same(run: Run, studio: Studio, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    ended = run("fakes", *studio.args(tmp_path / "out"), "--workers", 1)
    assert ended.code == 0, ended.err
    assert published(tmp_path / "out") == undisturbed
    assert "12 fakes of 6 people: 6 arc2face_lcm, 6 instantid_lcm" in ended.out
    assert "arc2face_lcm has no GPU here: a fake takes about 2 minutes on a CPU core, 6 on 1 core" in ended.out
    assert "ip-adapter.bin has SHA-256" in ended.out
    more = run("fakes", *studio.args(tmp_path / "out"), "--prompts", *PROMPTS)
    more.refused(2, "another run", "config.prompts")


def test_killed_it_goes_on(
    drive: Callable[..., Driver], studio: Studio, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = [*studio.args(out), "--people-per-shard", "1"]
    finished = lambda: sum(len(parts(out / ".work", name)) for name in GENERATORS)  # noqa: E731
    driver = drive("fakes", *options)
    assert driver.wait_until(lambda: finished() >= 3), driver.end()
    assert driver.end(signal.SIGKILL).code == -signal.SIGKILL
    before = {name: parts(out / ".work", name) for name in GENERATORS}
    assert 3 <= sum(map(len, before.values())) < 12
    again = drive("fakes", *options).end()
    assert again.code == 0 and "Going on where an earlier run stopped." in again.out, again.err
    assert published(out) == undisturbed


def test_the_prompts_of_the_run_are_drawn(run: Run, studio: Studio, tmp_path: Path) -> None:
    options = ["--photos", studio.photos, "--out", tmp_path / "out", "--generators", "instantid_lcm", "--per-person", 1]
    ended = run("fakes", *options, "--prompts", *PROMPTS)
    assert ended.code == 0, ended.err
    rows = pq.read_table(tmp_path / "out" / "photos").to_pylist()
    told = {row["how"].split(", ", 2)[2] for row in rows if row["generator"] == "instantid_lcm"}
    assert told and told <= set(PROMPTS)
