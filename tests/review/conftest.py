"""A clean run's output, the review of it as a process of its own, and the system's browser."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from review.clean_output import draw, write_clean

ROOT = Path(__file__).parent.parent.parent


@dataclass
class Review:
    """A running `python -m ray_jobs.review`; `address` is what it printed, `said` all its lines so far."""

    process: subprocess.Popen
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if line.startswith("Ctrl-C"):
                return
        self.process.communicate()
        raise AssertionError(f"the review ended: {''.join(self.said)}")

    @property
    def address(self) -> str:
        return next(line.split()[1] for line in self.said if line.startswith("Open "))

    @property
    def base(self) -> str:
        return self.address.split("?")[0].rstrip("/")

    @property
    def port(self) -> int:
        return int(re.search(r":(\d+)/", self.address)[1])

    def session(self) -> requests.Session:
        """A browser's cookies and its Origin."""
        session = requests.Session()
        session.get(self.address, timeout=10).raise_for_status()
        session.headers["origin"] = self.base
        return session

    def stop(self, number: int = signal.SIGINT) -> int:
        if self.process.stdout.closed:  # stopped before
            return self.process.returncode
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=300)
        self.said += rest.splitlines(keepends=True)
        return self.process.returncode


def launch(table: Any, *options: str) -> Review:
    command = [sys.executable, "-m", "ray_jobs.review", str(table), "--reviewer", "anna", "--port", "0", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return Review(process)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("review") / "photos"
    draw(folder)
    return folder


@pytest.fixture
def clean(drawn: Path, tmp_path: Path) -> Path:
    """The output of a clean run with ten cases."""
    write_clean(str(tmp_path / "clean"), str(drawn))
    return tmp_path / "clean"


@pytest.fixture
def review() -> Iterator[Callable[..., Review]]:
    """Starts a review; all are ended after the test."""
    running: list[Review] = []

    def start(table: Any, *options: str) -> Review:
        running.append(launch(table, *options))
        return running[-1]

    yield start
    for one in running:
        one.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium without a window."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("needs a browser: there is no chromium, chromium-browser or google-chrome")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


def answer(dialog: Any, heard: list[str]) -> None:
    if dialog.type == "beforeunload":  # asked while decisions are on their way: leave
        dialog.accept()
        return
    heard.append(f"dialog: {dialog.message}")
    dialog.dismiss()


@pytest.fixture
def heard() -> list[str]:
    """What the page wrote on the console, its errors and its dialogs."""
    return []


@pytest.fixture
def page(browser: Any, heard: list[str], review: Any) -> Iterator[Any]:
    """An empty page with storage of its own; anything heard of it fails the test. It is closed before the review is."""
    context = browser.new_context(viewport={"width": 1400, "height": 900}, accept_downloads=True)
    context.set_default_timeout(120_000)  # of a busy machine
    opened = context.new_page()
    opened.on("console", lambda message: heard.append(f"{message.type} of {message.location['url']}: {message.text}"))
    opened.on("pageerror", lambda error: heard.append(f"uncaught: {error}"))
    opened.on("dialog", lambda dialog: answer(dialog, heard))
    yield opened
    context.close()
    assert heard == []
