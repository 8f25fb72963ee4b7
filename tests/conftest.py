"""Fixtures of several test files: golden numbers, real photos if there are any, S3 over HTTP, one Ray cluster."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import one_head
import pytest
from hypothesis import settings

# As the jobs do for their workers, and before PyTorch is loaded: several test processes share the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# How long an example takes says more of the machine than of the code; timing is measured in benchmarks.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

HERE = Path(__file__).parent
SHARED = HERE.parent.parent / "shared" / "data"


def pytest_configure(config: pytest.Config) -> None:
    """Where several processes run the tests (-n), they share one Ray head."""
    if getattr(config.option, "tx", None) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(one_head.OneHead())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole jobs first, in whatever order they are: one that begins last leaves the other process nothing to do."""
    items.sort(key=lambda item: "e2e" not in item.path.parts)


@pytest.fixture(scope="session")
def golden() -> Path:
    """Numbers made by running published reference implementations."""
    return HERE / "golden"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real photos and weights, which are not part of the project."""
    if not SHARED.is_dir():
        pytest.skip(f"needs real photos and weights in {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 server on this machine, spoken to over HTTP."""
    from moto.server import ThreadedMotoServer

    # Requests are logged by threads that outlive the stream pytest captures at that moment.
    log = logging.getLogger("werkzeug")
    log.handlers, log.propagate = [logging.NullHandler()], False
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a fresh, empty bucket; the environment points at the server."""
    import boto3
    import requests

    from faceverify import s3

    requests.post(f"{s3_server}/moto-api/reset", timeout=10)
    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    s3.filesystem.cache_clear()
    boto3.Session().client("s3").create_bucket(Bucket="photos")
    yield "photos"
    s3.filesystem.cache_clear()


@pytest.fixture
def bucket_env(bucket: str) -> dict[str, str]:
    """What of the environment a process needs to find the bucket."""
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Iterator[object]:
    """One Ray cluster for the whole test session, with whose jobs those of another test process may share it."""
    import ray

    from ray_jobs.engine.cluster import connect

    with pytest.MonkeyPatch.context() as patch:
        if address := one_head.address(pytestconfig):
            patch.setenv("RAY_ADDRESS", address)
        offered = connect()
    yield offered
    ray.shutdown()
