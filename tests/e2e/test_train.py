"""Training from end to end on Ray: drivers and workers killed, signals, several workers: always the same losses."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from e2e.harness import Driver, Run
from safetensors.torch import load_file
from training.small import Data, draw, run_options

from ray_jobs.engine.cluster import Cluster
from ray_jobs.engine.training_board import Board
from ray_jobs.engine.training_group import worker_needs

CONFIGS = Path(__file__).parent.parent.parent / "configs"
STEPS = 10


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """12 persons with 4 photos and 2 fakes each; 3 of them to validate with."""
    return draw(tmp_path_factory.mktemp("train"))


def options(data: Data, out: Path, *more: str) -> list[str]:
    """Of a short run with a checkpoint every two steps."""
    length = {"batches.epochs": 50, "batches.max-steps": STEPS, "validation.every": 5, "validation.checkpoint-every": 2}
    return [*run_options(data, out, **length), *more]


def losses(out: Path) -> list[float]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, STEPS + 1))
    return [line["loss"] for line in lines if "loss" in line]


@pytest.fixture(scope="module")
def finished(cluster: object, data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which nothing is killed."""
    from faceverify.config import load
    from ray_jobs.train import TrainConfig, run

    out = tmp_path_factory.mktemp("undisturbed") / "out"
    run(load(TrainConfig, options(data, out), prog="train", description=""))
    names = {path.name for path in out.iterdir()}
    assert names == {"checkpoints", "leaderboard.csv", "metrics.jsonl", "report.html", "manifest.json"}
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["steps"] == STEPS and manifest["best"]["eer"] <= manifest["first"]["eer"]
    assert 'aria-label="Loss over the steps"' in (out / "report.html").read_text()
    return out


@pytest.fixture(scope="module")
def undisturbed(finished: Path) -> list[float]:
    """Its losses."""
    return losses(finished)


def checkpointed(out: Path, step: int) -> Callable[[], bool]:
    return lambda: any(int(p.parent.name[5:]) >= step for p in (out / "checkpoints").glob("step-*/done.json"))


@pytest.mark.thorough
def test_a_driver_that_ends_goes_on(
    drive: Callable[..., Driver], data: Data, undisturbed: list[float], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for kill, code, step in ((signal.SIGKILL, -signal.SIGKILL, 2), (signal.SIGTERM, 143, 4)):
        driver = drive("train", *options(data, out))
        assert driver.wait_until(checkpointed(out, step)), driver.end()
        assert driver.end(kill).code == code
    ended = drive("train", *options(data, out)).end()
    assert ended.code == 0, ended.err
    assert "Going on where an earlier run stopped." in ended.out
    assert losses(out) == pytest.approx(undisturbed, abs=1e-6)


@pytest.mark.parametrize(
    "number, code, word",
    [pytest.param(signal.SIGTERM, 143, "SIGTERM", marks=pytest.mark.thorough), (signal.SIGINT, 130, "Ctrl-C")],
)
def test_a_signal_ends_a_long_training_at_once(
    drive: Callable[..., Driver], data: Data, tmp_path: Path, number: int, code: int, word: str
) -> None:
    out = tmp_path / "out"
    driver = drive("train", *options(data, out), "--batches.epochs", "9999", "--batches.max-steps", "9999")
    assert driver.wait_until(checkpointed(out, 2)), driver.end()
    driver.end(number).refused(code, word, "the same command goes on from here")


def test_a_worker_that_dies_is_replaced(
    drive: Callable[..., Driver], data: Data, undisturbed: list[float], tmp_path: Path
) -> None:
    out, died = tmp_path / "out", tmp_path / "died"
    env = {"DIED": str(died), "PYTHONPATH": str(Path(__file__).parents[2])}
    hook = {"worker_process_setup_hook": "tests.e2e.dying_worker.at_step_five", "env_vars": env}
    ended = drive("train", *options(data, out), runtime_env=hook).end()
    assert ended.code == 0 and died.exists(), ended.err
    assert losses(out) == pytest.approx(undisturbed, abs=1e-6)


def test_two_workers_and_another_job_take_all_cpus(run: Run, cluster: Cluster, data: Data, tmp_path: Path) -> None:
    import ray

    left = cluster.cpus - 2 * worker_needs(cluster, 2)["cpu"]
    other = ray.remote(num_cpus=left)(Board).remote()
    ray.get(other.read.remote())
    ended = run("train", *options(data, tmp_path / "out", "--workers", "2", "--network.bn", "frozen"))
    assert ended.code == 0 and "2 CPU workers" in ended.out, ended.err
    assert losses(tmp_path / "out")
    ray.kill(other)


def test_it_is_scored_and_goes_on_from_its_best(run: Run, data: Data, finished: Path, tmp_path: Path) -> None:
    out = finished
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    again = run("train", *options(data, out))
    assert again.code == 0 and "Best checkpoint" in again.out
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    run("train", *options(data, out, "--batches.seed", "1")).refused(2, "another run", "config.batches.seed")

    best = next((out / "checkpoints").iterdir()) / "model.safetensors"
    ended = run("embed", "--faces", data.faces, "--model", best, "--out", tmp_path / "embedded")
    assert ended.code == 0, ended.err
    assert pq.read_table(tmp_path / "embedded" / "embeddings").num_rows == pq.read_table(data.faces).num_rows

    given = options(data, tmp_path / "second", "--start", str(out), "--losses.weights.distill", "0.1")
    given += ["--batches.max-steps", "2"]
    ended = run("train", *given)
    assert ended.code == 0, ended.err
    first = json.loads((tmp_path / "second" / "manifest.json").read_text())["first"]
    assert first["eer"] == json.loads((out / "manifest.json").read_text())["best"]["eer"]


def test_the_branch_learns_alone(run: Run, data: Data, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = options(data, out, "--start", str(finished), "--batches.max-steps", "3", "--validation.every", "3")
    ended = run("train", CONFIGS / "detail.yaml", *given)
    assert ended.code == 0, ended.err
    told = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert "detail_threshold" in told[-1] and "loss" in told[-2]
    start, end = (load_file(best(folder)) for folder in (finished, out))
    assert all(torch.equal(end[name], value) for name, value in start.items())
    assert any(name.startswith("detail.score") for name in end.keys() - start.keys())
    run("train", CONFIGS / "detail.yaml", *given, "--network.bn", "frozen", "--overwrite").refused(
        2, "network.bn is frozen"
    )


def best(out: Path) -> Path:
    """The network of the checkpoint that a manifest names."""
    manifest = json.loads((out / "manifest.json").read_text())
    return out / "checkpoints" / manifest["best"]["checkpoint"] / "model.safetensors"


@pytest.mark.parametrize(
    "more, code, words",
    [
        (["--batches.size", "7", "--workers", "2"], 2, ["batches.size is 7", "2 workers"]),
        (["--batches.size", "5000"], 2, ["batches.size is 5000", "give fewer"]),
        (["--batches.kind", "identities"], 2, ["adaptive_margin", "learn from pairs"]),
        (["--network.architecture", "ir_9"], 2, ["no architecture 'ir_9'"]),
        (["--network.architecture", ""], 2, ["start is empty"]),
        (["--network.train-last", "99"], 2, ["network.train_last is 99"]),
        (["--network.precision", "fp16"], 2, ["fp16", "CPUs"]),
        (["--network.bn", "sync"], 2, ["network.bn is sync"]),
        (["--start", "/nowhere/model.pt"], 2, ["/nowhere/model.pt"]),
        pytest.param(
            *(["--optimiser.learning-rate", "1e30", "--optimiser.clip-norm", "0"], 3),
            ["the loss of step", "learning rate"],
            marks=pytest.mark.thorough,
        ),
    ],
)
def test_mistakes_are_told_in_one_sentence(
    run: Run, data: Data, tmp_path: Path, more: list[str], code: int, words: list[str]
) -> None:
    ended = run("train", *options(data, tmp_path / "out", *more))
    sentences = [line for line in ended.err.splitlines() if line.startswith("train: ")]
    assert ended.code == code, ended.err
    assert len(sentences) == 1 and "Traceback" not in ended.err
    assert all(word in sentences[0] for word in words), sentences[0]
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_checkpoint_of_another_architecture(run: Run, data: Data, tmp_path: Path) -> None:
    from faceverify.models import card as cards
    from faceverify.models import checkpoints

    file = tmp_path / "model.safetensors"
    checkpoints.save(checkpoints.build("tiny", 16).state_dict(), file)
    card = cards.build(name="n", architecture="ir_18", colour="RGB", mean=[0.0] * 3, std=[1.0] * 3, dim=16)
    (tmp_path / "model.safetensors.card.json").write_text(card.to_json())
    ended = run("train", *options(data, tmp_path / "out", "--start", str(file)))
    ended.refused(2, "does not fit the architecture ir_18", "those of tiny with 16 dimensions")


@pytest.mark.parametrize("option", ["--faces", "--pairs", "--out"])
def test_an_unreachable_bucket(
    run: Run, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    for name, value in {"ENDPOINT_URL": "http://127.0.0.1:9", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    ended = run("train", *options(data, tmp_path / "out", option, "s3://nobucket/place"))
    ended.refused(3, option[2:], "cannot reach the bucket 'nobucket'")
    assert not (tmp_path / "out").exists()
