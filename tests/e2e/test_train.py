"""Training from end to end on Ray: drivers and workers killed, signals, several workers: always the same losses."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from e2e.harness import Driver, Run
from safetensors.torch import load_file
from training.small import Data, draw, run_options

from ray_jobs.engine.cluster import Cluster
from ray_jobs.engine.training_group import worker_needs
from ray_jobs.engine.training_progress import Board

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


def trained_here(data: Data, out: Path, *more: object, recipe: Path | None = None) -> None:
    """What the only worker of a job does, in this process, without Ray Train."""
    from faceverify.config import load
    from faceverify.storage import Location
    from ray_jobs.engine.training_group import plan, train_here
    from ray_jobs.train import TrainConfig, prepare

    given = options(data, out, *map(str, more), "--decoders", "0")
    config = load(TrainConfig, given if recipe is None else [str(recipe), *given], prog="train", description="")
    train_here(config, plan(config, prepare(config)), Location(config.out), 2, lambda step, steps, line: None)


def dying_at_step_five(died: Path) -> Callable[[dict[str, Any]], None]:
    """What a worker runs that kills itself when it is at step 5 for the first time; it leaves the file `died`."""
    from ray_jobs.engine.training_group import train_worker

    def train(given: dict[str, Any]) -> None:
        from faceverify.training.metrics_log import MetricsLog

        add = MetricsLog.add

        def add_or_die(log: MetricsLog, line: dict[str, Any]) -> None:
            if line["step"] == 5 and not died.exists():
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            add(log, line)

        MetricsLog.add = add_or_die
        train_worker(given)

    return train


@pytest.fixture(scope="module")
def finished(cluster: Cluster, data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose worker died and was replaced."""
    from ray.train.torch import TorchTrainer

    from faceverify.config import load
    from ray_jobs.engine import training_group
    from ray_jobs.train import TrainConfig, run

    home = tmp_path_factory.mktemp("finished")
    out, results, fit = home / "out", [], TorchTrainer.fit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TorchTrainer, "fit", lambda trainer: results.append(fit(trainer)) or results[-1])
        patch.setattr(training_group, "train_worker", dying_at_step_five(home / "died"))
        run(load(TrainConfig, options(data, out), prog="train", description=""))
    assert (home / "died").exists()
    check_result(results[0], out)
    names = {path.name for path in out.iterdir()}
    assert names == {"checkpoints", "leaderboard.csv", "metrics.jsonl", "report.html", "manifest.json"}
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["steps"] == STEPS and manifest["best"]["eer"] <= manifest["first"]["eer"]
    assert 'aria-label="Loss over the steps"' in (out / "report.html").read_text()
    return out


def check_result(result: Any, out: Path) -> None:
    """Ray Train's own result has the metrics of all validations and its checkpoints in place, and left no notes."""
    judged = [line for line in map(json.loads, (out / "metrics.jsonl").read_text().splitlines()) if "eer" in line]
    rows = result.metrics_dataframe.set_index("step")["eer"].dropna()
    assert rows.to_dict() == {line["step"]: line["eer"] for line in judged if line["step"]}
    assert result.metrics == judged[-1]
    assert Path(result.checkpoint.path) == out / "checkpoints" / f"step-{STEPS:08d}"
    assert all(path.is_dir() for path in (out / "checkpoints").iterdir())


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster, data: Data, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The losses of a training in which nothing is killed."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    trained_here(data, out)
    return losses(out)


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


@pytest.mark.thorough
def test_checkpoints_in_s3(
    drive: Callable[..., Driver], data: Data, undisturbed: list[float], bucket: str, bucket_env: dict[str, str]
) -> None:
    from faceverify.storage import open_location

    out = open_location(f"s3://{bucket}/runs/train")
    ended = drive("train", *options(data, Path("/"), "--out", out.uri), runtime_env={"env_vars": bucket_env}).end()
    assert ended.code == 0, ended.err
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_bytes().splitlines()]
    assert [line["loss"] for line in lines if "loss" in line] == pytest.approx(undisturbed, abs=1e-6)
    files = {entry.path for entry in (out / "checkpoints").files()}
    assert f"step-{STEPS:08d}/done.json" in files and all(name.startswith("step-") for name in files)


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


def test_a_worker_that_dies_is_replaced(finished: Path, undisturbed: list[float]) -> None:
    assert losses(finished) == pytest.approx(undisturbed, abs=1e-6)


def test_it_is_scored(run: Run, data: Data, finished: Path, tmp_path: Path) -> None:
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


def test_two_workers_go_on_from_the_best_while_another_job_takes_all_cpus(
    run: Run, cluster: Cluster, data: Data, finished: Path, tmp_path: Path
) -> None:
    import ray

    left = cluster.cpus - 2 * worker_needs(cluster, 2)["cpu"]
    other = ray.remote(num_cpus=left)(Board).remote()
    ray.get(other.read.remote())
    given = options(data, tmp_path / "second", "--start", str(finished), "--losses.weights.distill", "0.1")
    ended = run("train", *given, "--batches.max-steps", "2", "--workers", "2", "--network.bn", "frozen")
    assert ended.code == 0 and "2 CPU workers" in ended.out, ended.err
    ray.kill(other)
    first = json.loads((tmp_path / "second" / "manifest.json").read_text())["first"]
    best = json.loads((finished / "manifest.json").read_text())["best"]
    assert first["eer"] == pytest.approx(best["eer"], abs=1e-9)


def test_the_branch_learns_alone(run: Run, data: Data, finished: Path, tmp_path: Path) -> None:
    out, recipe = tmp_path / "out", CONFIGS / "detail.yaml"
    given = ["--start", finished, "--batches.max-steps", "3", "--validation.every", "3"]
    trained_here(data, out, *given, recipe=recipe)
    told = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert "detail_threshold" in told[-1] and "loss" in told[-2]
    start = load_file(best(finished))
    end = load_file(out / "checkpoints" / "step-00000003" / "model.safetensors")
    assert all(torch.equal(end[name], value) for name, value in start.items())
    assert any(name.startswith("detail.score") for name in end.keys() - start.keys())
    run("train", recipe, *options(data, out, *map(str, given)), "--network.bn", "frozen", "--overwrite").refused(
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
