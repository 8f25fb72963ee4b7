"""One Ray head that all test processes of a run share (`pytest -n`); a process of its own, see `main`."""

import fcntl
import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


class OneHead:
    """What the process that hands out the tests does: starts a head while they are collected, and ends it."""

    def __init__(self) -> None:
        # Of the test processes and of all that they start; Ray looks at it once, when it is imported.
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self._folder = tempfile.TemporaryDirectory(prefix="fv")
        self._address = Path(self._folder.name) / "address"
        with self._address.open("w") as file, (Path(self._folder.name) / "log").open("w") as log:
            # Held until the head has written its address, or has died: who reads need not look again and again.
            fcntl.flock(file, fcntl.LOCK_EX)
            self._head = subprocess.Popen(
                [sys.executable, "-m", "tests.one_head", str(file.fileno())],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                pass_fds=[file.fileno()],
                start_new_session=True,  # Ctrl-C is for the tests, which may still need it
            )

    def pytest_configure_node(self, node: object) -> None:
        """Called for each test process before it starts."""
        node.workerinput["ray_head"] = str(self._address)

    def pytest_unconfigure(self) -> None:
        """Called at the end, after Ctrl-C too."""
        self._head.stdin.close()
        self._head.wait(60)
        self._folder.cleanup()


def address(config: pytest.Config) -> str:
    """The address of the shared head, once it is there; empty if only one process runs the tests."""
    if not hasattr(config, "workerinput"):
        return ""
    place = Path(config.workerinput["ray_head"])
    with place.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        found = file.read()
    assert found, f"the Ray head did not start: {place.with_name('log').read_text()}"
    return found


def main(told: int) -> None:
    """Be the head until standard input ends, as it does however the process at its other end ended.

    Args:
        told: file descriptor that the address is written to.
    """
    with tempfile.TemporaryDirectory(prefix="fv", dir="/tmp") as folder:  # sockets need a short path
        os.environ |= {"RAY_TMPDIR": folder, "RAY_ADDRESS": ""}  # nobody finds it, and it finds nobody
        import ray

        from ray_jobs.engine.cluster import connect

        connect()
        os.write(told, ray.get_runtime_context().gcs_address.encode())
        os.close(told)
        sys.stdin.read()
        ray.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
