"""Rendered people, a tiny network, and a way to run jobs on the session's cluster."""

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from e2e.harness import Driver, Ended, People, Run


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    """20 persons with 4 real photos and 2 fakes each, and their 240 labelled pairs."""
    from faceverify.pairs.people import gather
    from faceverify.pairs.quotas import quotas
    from faceverify.pairs.rows import pairs_of
    from faceverify.rendered import RenderedConfig, write
    from faceverify.storage import Location

    home = tmp_path_factory.mktemp("people")
    root = home / "photos"
    config = RenderedConfig(persons=20, photos_per_person=4, fakes_per_person=2, photo_size=96)
    photos = write(config, Location(str(root))).photos
    pq.write_table(photos, home / "photos.parquet")
    everybody = gather(photos, 0, 0.05)
    pairs = pairs_of(everybody, quotas(everybody, True), range(config.persons))
    pq.write_table(pairs, home / "pairs.parquet", store_schema=False)
    return People(root, home / "photos.parquet", home / "pairs.parquet")


def _network(path: Path, seed: int) -> Path:
    import torch

    from faceverify.models import card
    from faceverify.models.export import export_onnx
    from faceverify.models.iresnet import iresnet

    torch.manual_seed(seed)
    half = [127.5] * 3
    described = card.build(name="tiny", architecture="tiny", colour="RGB", mean=half, std=half, dim=64)
    return export_onnx(iresnet("tiny", 64).eval(), described, path).path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX network of 64 numbers with random weights."""
    return _network(tmp_path_factory.mktemp("model") / "tiny.onnx", 0)


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another one."""
    return _network(tmp_path_factory.mktemp("other_model") / "tiny.onnx", 1)


@pytest.fixture
def run(cluster: object, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a job in this process, as its command line would."""
    import importlib

    def one(job: str, *options: object) -> Ended:
        module = importlib.import_module(f"ray_jobs.{job}")
        monkeypatch.setattr(sys, "argv", [f"{job}.py", *map(str, options)])
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        capfd.readouterr()
        try:
            code = module.main()
        except SystemExit as stop:  # the command-line parser ends so
            code = int(stop.code or 0)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return Ended(code, *capfd.readouterr())

    return one


@pytest.fixture
def drive(cluster: object) -> Callable[..., Driver]:
    """Starts a job as a process of its own, on the session's cluster; its workers can be given an environment.

    It is given as `ray job submit --runtime-env-json` would: drive("score", *options, runtime_env={"env_vars": {...}}).
    """
    import ray

    address = ray.get_runtime_context().gcs_address
    started: list[Driver] = []

    def one(job: str, *options: object, runtime_env: dict[str, object] | None = None) -> Driver:
        env = {"RAY_ADDRESS": address}
        if runtime_env is not None:
            env["RAY_JOB_CONFIG_JSON_ENV_VAR"] = json.dumps({"runtime_env": runtime_env})
        started.append(Driver(job, *map(str, options), env=env))
        return started[-1]

    yield one
    for driver in started:
        if driver.process.poll() is None:
            driver.end(signal.SIGKILL)
