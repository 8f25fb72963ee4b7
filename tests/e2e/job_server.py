"""A head of Ray on this machine with its job server, as `ray start --head` makes one, and jobs sent to it.

It keeps to itself: its own folder, free ports, a token of its own, so that neither another cluster of this machine nor
what its user has in `~/.ray` matters.
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import requests

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).parent / "ray"


@dataclass(frozen=True)
class Submitted:
    """How `ray job submit` ended: its own exit code and all that it wrote."""

    code: int
    said: str


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, below those that Ray gives its workers."""
    found: list[int] = []
    while len(found) < count:
        port = 5000 + secrets.randbelow(4900)
        with socket.socket() as trial:
            if port not in found and trial.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
    return found


class JobServer:
    """Starts the head, sends jobs, ends the head."""

    def __init__(self, cpus: int = 2) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fv", dir="/tmp"))  # sockets need a short path
        gcs, self.port, agent = free_ports(3)
        self.address, self.token = f"http://127.0.0.1:{self.port}", secrets.token_hex(32)
        own = {"RAY_TMPDIR": str(self.folder), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}
        quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_COLOR_PREFIX": "0", "NO_COLOR": "1"}
        self.env = os.environ | own | quiet | {"RAY_ADDRESS": self.address}
        ports = [f"--port={gcs}", f"--dashboard-port={self.port}", f"--dashboard-agent-listen-port={agent}"]
        with (self.folder / "start.log").open("w") as log:
            self._head = subprocess.Popen(
                [str(RAY), "start", "--head", "--block", f"--num-cpus={cpus}", "--include-dashboard=true", *ports],
                env={name: value for name, value in self.env.items() if name != "RAY_ADDRESS"},
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )

    def __enter__(self) -> "JobServer":
        """Wait until jobs are taken."""
        end = time.monotonic() + 600  # of a machine that has much else to do
        while time.monotonic() < end:
            try:
                # The server is there before the agent that starts jobs is.
                if self.ask("api/jobs/").ok and self.ask("nodes?view=summary").json()["data"]["summary"]:
                    return self
            except (requests.ConnectionError, KeyError, ValueError):
                pass
            time.sleep(0.3)
        self.__exit__(None, None, None)
        raise TimeoutError("the job server did not come up")

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._head.kill()  # all that belongs to it dies with it
        self._head.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, path: str) -> requests.Response:
        """What the server answers to a GET."""
        return requests.get(f"{self.address}/{path}", headers={"Authorization": f"Bearer {self.token}"}, timeout=10)

    def submit(self, job: str, *options: object, name: str = "", wait: bool = True) -> Submitted:
        """`ray job submit --working-dir . -- python -m ray_jobs.<job> ...` from the project's root."""
        own = ["--submission-id", name] if name else []
        how = [*own, *([] if wait else ["--no-wait"]), "--working-dir", ".", "--metadata-json", f'{{"job": "{job}"}}']
        command = ["job", "submit", *how, "--", sys.executable, "-m", f"ray_jobs.{job}", *map(str, options)]
        for _ in range(20):
            ended = self._ray(*command)
            if "No available agent" not in ended.said:
                break
            time.sleep(1)
        return ended

    def stop(self, name: str) -> Submitted:
        """`ray job stop`."""
        return self._ray("job", "stop", name)

    def details(self, name: str) -> dict[str, Any]:
        """What the server knows of a job."""
        return self.ask(f"api/jobs/{name}").json()

    def logs(self, name: str) -> str:
        """What the job wrote."""
        return self.ask(f"api/jobs/{name}/logs").json()["logs"]

    def _ray(self, *command: str) -> Submitted:
        ended = subprocess.run(
            [str(RAY), *command], cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=500
        )
        return Submitted(ended.returncode, ended.stdout + ended.stderr)
