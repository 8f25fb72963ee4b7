"""Aligning from end to end: drivers and workers killed, GPUs or none: always the same faces and rejects."""

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from e2e.harness import ONE_WORKER, Driver, People, Run, pair_up, parts, repeated
from e2e.test_killed_workers import Killer

from faceverify.errors import Reason
from faceverify.images import decode
from faceverify.models import EngineConfig, load_engine


def published(out: Path) -> dict[str, list[dict[str, Any]]]:
    """What a run of `align` made, ready to be compared with `==`."""
    return {table: pq.read_table(out / table).to_pylist() for table in ("faces", "rejects")}


@pytest.fixture(scope="module")
def photos(people: People, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 480 photos, some of them unusable."""
    home = tmp_path_factory.mktemp("align")
    table = repeated(pq.read_table(people.photos), 4)
    places = table["uri"].to_pylist()
    (home / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    for i in range(0, len(places), 40):
        places[i] = str(home / ("broken.jpg" if i % 80 else "missing.jpg"))
    pq.write_table(table.set_column(1, table.schema.field("uri"), [places]), home / "photos.parquet")
    return home / "photos.parquet"


def options(photos: Path, out: Path) -> list[str]:
    """Of a run with 120 shards."""
    return ["--photos", str(photos), "--align.method", "annotated", "--photos-per-shard", "4", "--out", str(out)]


@pytest.fixture(scope="module")
def undisturbed(cluster: object, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list]:
    """What comes out if nothing is killed."""
    from faceverify.config import load
    from ray_jobs.align import AlignJobConfig, run

    out = tmp_path_factory.mktemp("undisturbed") / "out"
    run(load(AlignJobConfig, [*options(photos, out), *ONE_WORKER], prog="align", description=""))
    made = published(out)
    assert (len(made["faces"]), len(made["rejects"])) == (468, 12)
    return made


def moments(work: Path, rng: random.Random) -> Iterator[Callable[[], bool]]:
    """Moments of one run, in order; those of the work itself are drawn."""
    for name in ("plan.json", "input", "cut.json"):
        yield lambda name=name: (work / name).exists()
    for _ in range(4):
        enough = len(parts(work, "faces")) + rng.randint(1, 20)
        yield lambda enough=enough: len(parts(work, "faces")) >= enough
    yield lambda: (work / "publish").exists()


@pytest.mark.thorough
def test_drivers_killed_at_random_moments(
    drive: Callable[..., Driver], photos: Path, undisturbed: dict[str, list], tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    before: dict[str, tuple[int, int]] = {}
    for reached in moments(out / ".work", random.Random(7)):
        driver = drive("align", *options(photos, out))
        assert driver.wait_until(reached), driver.end()
        assert driver.end(signal.SIGKILL).code == -signal.SIGKILL
        now = parts(out / ".work", "faces")
        assert all(now.get(name) == facts for name, facts in before.items()), "done again"
        before = now
    last = drive("align", *options(photos, out)).end()
    assert last.code == 0, last.err
    assert "Going on where an earlier run stopped." in last.out
    assert published(out) == undisturbed
    assert sorted(path.name for path in out.iterdir()) == ["faces", "manifest.json", "rejects"]


def test_workers_killed(run: Run, photos: Path, undisturbed: dict[str, list], tmp_path: Path) -> None:
    out = tmp_path / "killed"
    with Killer(out / ".work", "faces", "ray::MapWorker", times=3, most=20) as killer:
        ended = run("align", *options(photos, out))
    assert ended.code == 0, ended.err
    assert killer.killed == 3
    assert published(out) == undisturbed


# -- GPUs --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def eager_mtcnn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of an MTCNN that takes every window for a face, so that it has something to say of any photo."""
    import torch

    from faceverify.align.mtcnn_networks import OutputNet, ProposalNet, RefineNet

    folder = tmp_path_factory.mktemp("mtcnn")
    torch.manual_seed(0)
    last = {"pnet": (ProposalNet, "conv4_1"), "rnet": (RefineNet, "dense5_1"), "onet": (OutputNet, "dense6_1")}
    for name, (kind, layer) in last.items():
        tensors = kind().state_dict()
        tensors[f"{layer}.bias"] = torch.tensor([0.0, 1.0])
        torch.save(tensors, folder / f"{name}.pt")
    return folder


@pytest.fixture
def large(photos: Path, tmp_path: Path) -> Path:
    """A table of 24 photos of 6 megapixels, some of them unusable: a shard of 8 is handed on in several pieces."""
    table = pq.read_table(photos).slice(30, 24)
    places = []
    for number, place in enumerate(table["uri"].to_pylist()):
        picture = cv2.imread(place) if Path(place).exists() else None
        places.append(place if picture is None else str(tmp_path / f"{number}.jpg"))
        if picture is not None:
            cv2.imwrite(places[-1], cv2.resize(picture, (3000, 2000)))
    pq.write_table(table.set_column(1, table.schema.field("uri"), [places]), tmp_path / "large.parquet")
    return tmp_path / "large.parquet"


@pytest.mark.thorough
def test_networks_on_gpus_make_the_same(eager_mtcnn: Path, large: Path, tiny: Path, tmp_path: Path) -> None:
    """The chain cut in three (align), with workers killed, against the fused one; in two (score), against none."""
    pq.write_table(pair_up(pq.read_table(large)["photo"].to_pylist()), tmp_path / "pairs.parquet")
    common = ["--photos", str(large), "--align.method", "mtcnn", "--align.weights", str(eager_mtcnn)]
    common += ["--align.detect-side", "96"]
    common += ["--photos-per-shard", "8"]
    score = [*common, "--pairs", str(tmp_path / "pairs.parquet"), "--model", str(tiny)]
    jobs = [
        ["align", *common, "--out", str(tmp_path / "faces_gpu")],
        ["align", *common, "--out", str(tmp_path / "faces_cpu"), "--resources.gpus", "0"],
        ["score", *score, "--out", str(tmp_path / "scores")],
    ]
    program = [sys.executable, str(Path(__file__).with_name("with_gpu.py")), json.dumps(jobs)]
    work = tmp_path / "faces_gpu" / ".work"
    with (
        Killer(work, "faces", "ray::MapWorker(MapBatches(GpuCropper))", times=1, most=1) as cropper,
        Killer(work, "input", "ray::MapBatches(decode_shards)", times=1, most=1) as decoder,
    ):
        ended = subprocess.run(program, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stderr
    assert (cropper.killed, decoder.killed) == (1, 1)
    said = [
        line
        for line in ended.stdout.splitlines()
        if line.startswith("Aligning: 1 worker") or "Aligning: 2 workers" in line
    ]
    assert [("1 GPU each" in line) for line in said] == [True, False, True]

    on_gpu, on_cpu = published(tmp_path / "faces_gpu"), published(tmp_path / "faces_cpu")
    assert on_gpu == on_cpu
    assert len(on_gpu["faces"]) >= 12 and len(on_gpu["faces"]) + len(on_gpu["rejects"]) == 24
    scored = {name: pq.read_table(tmp_path / "scores" / name).to_pylist() for name in ("embeddings", "rejects")}
    assert [row["photo"] for row in on_gpu["rejects"]] == [row["photo"] for row in scored["rejects"]]
    crops = {row["photo"]: decode(row["image"]) for row in on_cpu["faces"]}
    alone = load_engine(str(tiny), EngineConfig()).embed(
        np.stack([crops[row["photo"]] for row in scored["embeddings"]])
    )
    np.testing.assert_allclose([row["embedding"] for row in scored["embeddings"]], alone, atol=1e-5)


def test_resources_do_not_make_another_run(run: Run, photos: Path, tmp_path: Path) -> None:
    job = ["align", *options(photos, tmp_path / "out"), *ONE_WORKER]
    assert run(*job, "--resources.batch", "5").code == 0
    ended = run(*job, "--resources.cpus", "2")
    assert ended.code == 0 and "468 of 480 photos" in ended.out, ended.err
    run(*job, "--resources.gpus", "1").refused(2, "resources.gpus", "annotated")


def test_dry_run_says_what_the_aligner_needs(run: Run, photos: Path, eager_mtcnn: Path, tmp_path: Path) -> None:
    mtcnn = ["--align.method", "mtcnn", "--align.weights", str(eager_mtcnn), "--dry-run"]
    ended = run("align", *options(photos, tmp_path / "out"), *mtcnn)
    assert ended.code == 0, ended.err
    assert "RGB, (x - 127.5) / 128" in ended.out and "if the cluster has GPUs, a worker per 1 GPU" in ended.out
    assert not (tmp_path / "out").exists()


# -- real photos -------------------------------------------------------------------------------------------------------

WEIGHTS = {
    "yunet": "face_detection_yunet_2026may.onnx",
    "scrfd": "scrfd_2.5g_bnkps.onnx",
    "retinaface": "pytorch_retinaface_mobilenet0.25_Final.pth",
    "mtcnn": "",
}


@pytest.mark.parametrize("method", WEIGHTS)
def test_every_real_photo_is_a_face_or_a_reject(method: str, run: Run, shared_data: Path, tmp_path: Path) -> None:
    """Of a sample, and of photos with several faces, which the policy refuses."""
    faces = sorted((shared_data / "lfw").rglob("*.jpg"))[:: 16 if method == "yunet" else 64]
    odd = sorted((shared_data / "odd").iterdir())
    folder = tmp_path / "photos" / "all"
    folder.mkdir(parents=True)
    for place in [*faces, *odd]:
        (folder / place.name).symlink_to(place)
    given = ["--photos", tmp_path / "photos", "--align.weights", shared_data / "models" / WEIGHTS[method]]
    given += ["--align.method", method, "--align.policy", "refuse", *ONE_WORKER]
    ended = run("align", *given, "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    made = published(tmp_path / "out")
    found, told = ({Path(row["photo"]).name: row for row in made[name]} for name in ("faces", "rejects"))
    assert sorted([*found, *told]) == sorted(place.name for place in [*faces, *odd])
    assert {row["faces_found"] for row in found.values()} == {1} and len(found) > len(faces) // 2
    assert {row["reason"] for row in told.values()} <= {Reason.SEVERAL_FACES, Reason.NO_FACE, Reason.NOT_AN_IMAGE}
    assert {place.name: told[place.name]["reason"] for place in odd} == {
        "many_faces.jpg": "several_faces",
        "two_faces.jpg": "several_faces",
        "small_lfw.bin": "not_an_image",
    }
