"""The job `fakes` with the published swappers, on small networks of their form: killed, resumed, on more workers."""

import json
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from e2e.harness import Driver, People, Run, parts
from e2e.test_fakes import published
from fakes import graphs

from faceverify.fakes.swapper_table import SWAPPERS
from faceverify.models.files import sha256_of

GOLDEN = Path(__file__).parent.parent / "golden" / "generators"
CHOSEN = ("inswapper", "ghost_1_256", "uniface_256")  # a table, a converter, a picture of the person


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the files that they need, and a recogniser of 512 numbers in place of w600k_r50."""
    import torch

    from faceverify.models import card
    from faceverify.models.export import export_onnx
    from faceverify.models.iresnet import iresnet

    home = tmp_path_factory.mktemp("cache")
    for name in ("ghost_1_256", "crossface_ghost", "uniface_256"):
        graphs.write(graphs.published(name), home / "models" / name / f"{name}.onnx")
    (home / "models" / "inswapper_128").mkdir()
    shutil.copyfile(GOLDEN / "inswapper_standin.onnx", home / "models" / "inswapper_128" / "inswapper_128.onnx")
    torch.manual_seed(0)
    half = [127.5] * 3
    described = card.build(name="w600k_r50", architecture="tiny", colour="RGB", mean=half, std=half, dim=512)
    (home / "models" / "w600k_r50").mkdir()
    export_onnx(iresnet("tiny", 512).eval(), described, home / "models" / "w600k_r50" / "w600k_r50.onnx")
    return home


@pytest.fixture(autouse=True)
def cache_of_stand_ins(stand_ins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEVERIFY_CACHE", str(stand_ins))


def finished(out: Path) -> int:
    return sum(len(parts(out / ".work", stage)) for stage in CHOSEN)


def test_swappers_killed_resumed_and_on_more_workers(
    run: Run, drive: Callable[..., Driver], people: People, stand_ins: Path, tmp_path: Path
) -> None:
    options = ["--photos", people.photos, "--generators", ",".join(CHOSEN), "--per-person", 3, "--people-per-shard"]
    plain = run("fakes", *options, 20, "--out", tmp_path / "plain", "--workers", 1)
    assert plain.code == 0, plain.err
    driver = drive("fakes", *options, 2, "--out", tmp_path / "killed", "--workers", 2)
    driver.wait_until(lambda: finished(tmp_path / "killed") >= 3)
    driver.end(signal.SIGKILL)
    resumed = run("fakes", *options, 2, "--out", tmp_path / "killed", "--workers", 2)
    assert resumed.code == 0, resumed.err
    made, same = published(tmp_path / "plain"), published(tmp_path / "killed")
    assert made == same
    check_rows(made, stand_ins)
    for file in ("inswapper_128", "ghost_1_256", "crossface_ghost", "uniface_256"):
        assert plain.out.count(f"{file}: licence ") == 1
        assert plain.out.count(f"Warning: {file} has SHA-256 ") == 1

    # The place of a file is not part of what a run is, but its content is.
    (stand_ins / "models" / "uniface_256" / "uniface_256.onnx").rename(stand_ins / "models" / "uniface_256" / "u.onnx")
    assert run("fakes", *options, 20, "--out", tmp_path / "plain").code == 0
    model = graphs.published("uniface_256")
    model.doc_string = "of another day"
    graphs.write(model, stand_ins / "models" / "uniface_256" / "u.onnx")
    again = run("fakes", *options, 20, "--out", tmp_path / "plain")
    again.refused(2, "another run", "inputs.generators.uniface_256.weights")


@pytest.mark.thorough
def test_every_published_swapper_makes_fakes(
    run: Run, people: People, stand_ins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers give the same bytes as one."""
    home = tmp_path / "cache"
    shutil.copytree(stand_ins, home)
    for name in {file for row in SWAPPERS.values() for file in row.files} - {"inswapper_128"}:
        if not (home / "models" / name).exists():
            graphs.write(graphs.published(name), home / "models" / name / f"{name}.onnx")
    monkeypatch.setenv("FACEVERIFY_CACHE", str(home))
    options = ["--photos", people.photos, "--generators", ",".join(SWAPPERS), "--per-person", len(SWAPPERS)]
    for workers in (1, 2):
        ended = run("fakes", *options, "--workers", workers, "--people-per-shard", 8, "--out", tmp_path / f"{workers}")
        assert ended.code == 0, ended.err
    one, two = (published(tmp_path / f"{workers}") for workers in (1, 2))
    assert one == two
    made = Counter(row["generator"] for row in one["photos"] if row["source_photo"])
    assert made.keys() == set(SWAPPERS) and min(made.values()) >= 18


def check_rows(made: dict[str, Any], stand_ins: Path) -> None:
    """Each person has a swap of each, into another person's photo, with what it was made by."""
    fakes = [row for row in made["photos"] if row["source_photo"]]
    assert len(fakes) + len(made["rejects"]) == 3 * 20 and len(fakes) >= 55
    assert {row["reason"] for row in made["rejects"]} <= {"bad_landmarks"}
    asked = Counter((row["person"], row["generator"]) for row in fakes)
    assert max(asked.values()) == 1 and {generator for _, generator in asked} == set(CHOSEN)
    assert {f"/{name}" for name in made["pictures"]} == {row["uri"] for row in made["photos"]}
    assert len({made["pictures"][row["uri"].lstrip("/")] for row in fakes}) == len(fakes)
    files = {"inswapper": ["inswapper_128"], "ghost_1_256": ["ghost_1_256", "crossface_ghost"]}
    for row in fakes:
        names = files.get(row["generator"], ["uniface_256"])
        sums = [sha256_of(next((stand_ins / "models" / name).glob("*.onnx"))) for name in names]
        assert row["weights"] == [f"{name} {sha256}" for name, sha256 in zip(names, sums, strict=True)]
        assert row["is_fake"] and row["target_person"] != row["person"] and row["pasted_box"] and row["landmarks"]
        assert row["how"] == ("square mask" if row["generator"] == "inswapper" else "box mask")


def test_what_is_missing_is_named_before_anything_starts(run: Run, people: People, tmp_path: Path) -> None:
    options = ["--photos", people.photos, "--out", tmp_path / "out", "--generators"]
    missing = run("fakes", *options, "inswapper,ghost,hyperswap_1a_256")
    missing.refused(2, "ghost needs G_unet_2blocks.pth", "hyperswap_1a_256 needs hyperswap_1a_256.onnx", "models fetch")
    assert "inswapper_128" not in missing.err and "Ray" not in missing.out
    run("fakes", *options, "inswaper").refused(2, "no generator 'inswaper'", "did you mean 'inswapper'?")
    assert not (tmp_path / "out").exists()


def test_a_file_of_another_model_is_refused_before_anything_starts(
    run: Run, people: People, stand_ins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(stand_ins, cache)
    monkeypatch.setenv("FACEVERIFY_CACHE", str(cache))
    options = ["--photos", people.photos, "--out", tmp_path / "out", "--generators", "inswapper"]
    place = cache / "models" / "inswapper_128" / "inswapper_128.onnx"
    place.write_bytes((cache / "models" / "ghost_1_256" / "ghost_1_256.onnx").read_bytes())
    run("fakes", *options).refused(2, "inswapper_128.onnx is another model", "target [N, 3, 128, 128]")
    whole = (GOLDEN / "inswapper_standin.onnx").read_bytes()
    place.write_bytes(whole[: len(whole) // 3])
    run("fakes", *options).refused(2, "inswapper_128.onnx is damaged or no ONNX file")
    assert not (tmp_path / "out").exists()


@pytest.mark.thorough
def test_ghost_with_networks_of_published_size(run: Run, people: People, tmp_path: Path, monkeypatch) -> None:
    import torch
    from golden import recipe

    monkeypatch.setenv("FACEVERIFY_CACHE", str(tmp_path / "cache"))
    keys = json.loads((GOLDEN / "ghost_keys.json").read_text())
    for name, file, of in (
        ("ghost_unet_1block", "G_unet_1block.pth", "unet_1block"),
        ("ghost_backbone", "backbone.pth", "iresnet100"),
    ):
        place = tmp_path / "cache" / "models" / name / file
        place.parent.mkdir(parents=True)
        torch.save({key: torch.from_numpy(value) for key, value in recipe.weights(keys[of], 0).items()}, place)
    graphs.write(graphs.points_106(), tmp_path / "cache" / "models" / "2d106det" / "2d106det.onnx")
    rows = pq.read_table(people.photos)
    kept = [name < "person_0004" for name in rows["person"].to_pylist()]
    pq.write_table(rows.filter(kept), tmp_path / "few.parquet")
    options = ["--photos", tmp_path / "few.parquet", "--generators", "ghost_1block", "--per-person", 2]
    made = []
    for workers, shard in ((1, 4), (2, 1)):
        out = tmp_path / str(workers)
        ended = run("fakes", *options, "--out", out, "--workers", workers, "--people-per-shard", shard)
        assert ended.code == 0, ended.err
        made.append(published(out))
    assert made[0] == made[1]
    fakes = [row for row in made[0]["photos"] if row["source_photo"]]
    assert len(fakes) + len(made[0]["rejects"]) == 8 and len(fakes) >= 4
    assert all(row["how"].startswith("hull ") and len(row["weights"]) == 3 for row in fakes)
    shutil.rmtree(tmp_path / "cache")
