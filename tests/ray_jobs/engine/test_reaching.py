"""Whether a cluster is there: nobody listens at its address, something else does, its head is frozen, dead, guarded."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faceverify.errors import PlatformError
from ray_jobs.engine import reaching

Server = Callable[[bytes | None], int]


@pytest.fixture
def server() -> Iterator[Server]:
    """server(answer): the port of a server that answers so; None = it takes connections and says nothing."""
    with contextlib.ExitStack() as open_ones:

        def start(answer: bytes | None) -> int:
            listening = open_ones.enter_context(socket.create_server(("", 0)))

            def talk() -> None:
                with contextlib.suppress(OSError):
                    line = open_ones.enter_context(listening.accept()[0])
                    if answer is not None:
                        line.recv(1000)
                        line.sendall(answer)
                        line.close()

            threading.Thread(target=talk, daemon=True).start()
            return listening.getsockname()[1]

        yield start


@pytest.fixture
def note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ray's note of the current cluster, in a folder of this test's own."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    return tmp_path / "ray" / "ray_current_cluster"


SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


def test_a_head_that_answers_is_taken(
    server: Server, note: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port = server(SETTINGS)
    note.write_text(f"127.0.0.1:{port}\n")
    assert reaching.find().endswith(f":{port}, the address in {note}")  # Ray puts the machine's own address for it
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server(SETTINGS)}")
    assert reaching.find().startswith("RAY_ADDRESS (127.0.0.1:")
    assert capsys.readouterr().err == ""


def test_a_note_of_a_head_that_is_gone_is_said_and_passed_over(
    server: Server, note: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reaching.find() == "" and capsys.readouterr().err == ""  # no note at all
    for port, why in [
        (1, "Connection refused"),
        (server(b"HTTP/1.0 400 Bad Request" + bytes(20)), "not Ray"),
        (server(b""), "not Ray"),
    ]:
        note.write_text(f"127.0.0.1:{port}")
        assert reaching.find() == ""
        [said] = capsys.readouterr().err.splitlines()
        assert f":{port}, " in said and str(note) in said and why in said and "one of its own" in said


def test_a_frozen_head_is_said(server: Server, note: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaching, "ANSWER_SECONDS", 0.2)
    port = server(None)
    note.write_text(f"127.0.0.1:{port}")
    with pytest.raises(PlatformError, match=f":{port}, .*does not answer.*RAY_ADDRESS=local"):
        reaching.find()
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server(None)}")
    with pytest.raises(PlatformError, match=r"RAY_ADDRESS \(127.*does not answer.*unset RAY_ADDRESS"):
        reaching.find()


@pytest.mark.parametrize(
    "address, said",
    [
        ("127.0.0.1:1", "no cluster answers at RAY_ADDRESS (127.0.0.1:1): Connection refused"),
        ("ray://127.0.0.1:1", "no cluster answers at RAY_ADDRESS (ray://127.0.0.1:1): Connection refused"),
        ("no-such-host.invalid:6379", "no cluster answers at RAY_ADDRESS (no-such-host.invalid:6379): "),
        ("somewhere", "no cluster answers at RAY_ADDRESS (somewhere): Invalid address format"),
        ("127.0.0.1:http", "no cluster answers at RAY_ADDRESS (127.0.0.1:http): that is no host:port"),
        ("http://127.0.0.1:8265", "RAY_ADDRESS (http://127.0.0.1:8265) is the address of a job server"),
    ],
)
def test_an_address_of_no_use_is_told_at_once(
    address: str, said: str, note: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(PlatformError) as told:
        reaching.find()
    assert str(told.value).startswith(said)


def test_rays_reason_is_found_behind_its_exceptions() -> None:
    ray_says = (
        "Traceback:\n  ...\nRpcError: RPC error: InvalidAuthToken: Authentication token is missing or incorrect. "
        "Ensure that"
    )
    outer = ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379")
    outer.__cause__ = RuntimeError(ray_says)
    assert reaching.refusal(outer) == "Authentication token is missing or incorrect"
    assert reaching.refusal(
        RuntimeError("Token authentication is enabled but no authentication token was found. Ensure")
    )
    assert reaching.refusal(RuntimeError("Failed to connect to GCS")) == ""


CONNECT = "from ray_jobs.engine.cluster import connect; connect()"


class Head:
    """A head of its own, below a folder of its own, its port chosen by the system."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.environment = {**os.environ, "RAY_TMPDIR": str(folder), "HOME": str(folder), **environment}
        self.environment.pop("RAY_ADDRESS", None)
        self.log = (folder / "log").open("w")
        with socket.create_server(("", 0)) as one:
            port = one.getsockname()[1]
        options = f"--head --port {port} --num-cpus 1 --include-dashboard=false --disable-usage-stats --block"
        spread = "--min-worker-port 0 --max-worker-port 0 --object-store-memory 80000000 --ray-client-server-port"
        ray = Path(sys.executable).with_name("ray")
        self.process = subprocess.Popen(
            [ray, "start", *options.split(), *spread.split(), str(free_port())],
            env=self.environment,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        self.note = folder / "ray" / "ray_current_cluster"

    def wait(self) -> None:
        while (
            not self.note.exists()
            or subprocess.run(
                [sys.executable, "-c", CONNECT], env=self.environment, capture_output=True, timeout=120, check=False
            ).returncode
        ):
            assert self.process.poll() is None, (self.folder / "log").read_text()

    def gcs(self) -> list[int]:
        return [pid for pid, line in processes_of(self.folder) if "/gcs_server " in line]

    def kill(self) -> None:
        for pid in [self.process.pid, *(pid for pid, _ in processes_of(self.folder))]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()


def free_port() -> int:
    with socket.create_server(("", 0)) as one:
        return one.getsockname()[1]


def processes_of(folder: Path) -> list[tuple[int, str]]:
    """All processes that name a folder in their command line, with that line."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            line = place.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if f"{folder}/" in line:
                found.append((int(place.parent.name), line))
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: the names of sockets below it have at most 107 characters."""
    with tempfile.TemporaryDirectory(prefix="head", ignore_cleanup_errors=True) as place:
        yield Path(place)


def connecting(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CONNECT], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.thorough
def test_a_head_frozen_and_then_killed(folder: Path) -> None:
    head = Head(folder, RAY_AUTH_MODE="disabled")
    try:
        head.wait()
        address = head.note.read_text().strip()
        [gcs] = head.gcs()
        os.kill(gcs, signal.SIGSTOP)
        said = connecting(head.environment).stderr
        assert "PlatformError" in said and address in said and "does not answer" in said
        os.kill(gcs, signal.SIGCONT)
    finally:
        head.kill()
    head.note.write_text(address)
    ended = connecting(head.environment)
    assert ended.returncode == 0 and f"No cluster is at {address}" in ended.stderr, ended.stderr


@pytest.mark.thorough
def test_a_head_that_wants_a_token(folder: Path) -> None:
    head = Head(folder, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="t" * 40)
    try:
        head.wait()
        address = head.note.read_text().strip()
        for change in ({}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 40}, {"RAY_AUTH_MODE": "token"}):
            environment = {k: v for k, v in head.environment.items() if not k.startswith("RAY_AUTH")}
            said = connecting({**environment, "RAY_ADDRESS": address, **change}).stderr
            assert "refuses this process" in said and "oken" in said and "RAY_AUTH_TOKEN" in said, said
        assert connecting({**head.environment, "RAY_ADDRESS": address}).returncode == 0
    finally:
        head.kill()


@pytest.mark.parametrize("kind", [Exception, RuntimeError, OSError])
def test_a_node_that_does_not_start_is_a_sentence(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with too much else to do Ray gives up after 30 seconds, with a plain exception."""
    import ray

    def slow(*_: object, **__: object) -> None:
        raise kind("The current node timed out during startup. This could happen.\nAnd more.")

    monkeypatch.setattr(ray, "init", slow)
    with pytest.raises(PlatformError, match=r"^Ray did not start on this machine: The current node timed out [^\n]*$"):
        reaching.start_or_join("")
