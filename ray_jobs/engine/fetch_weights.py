"""What `models fetch` needs besides the cache: the networks a configuration asks for, and a line of progress."""

import importlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from faceverify import config as configuration
from faceverify.errors import UserError
from ray_jobs.__main__ import JOBS
from ray_jobs.engine.wanted_weights import wanted

# The configuration class of each job that may need weights.
CLASSES = {
    "align": "AlignJobConfig",
    "demo": "RecipeConfig",
    "embed": "EmbedConfig",
    "export": "ExportConfig",
    "fakes": "FakesConfig",
    "forensic": "ForensicConfig",
    "pipeline": "RecipeConfig",
    "score": "ScoreConfig",
    "all_pairs": "AllPairsConfig",
    "compare": "CompareConfig",
    "attack": "AttackConfig",
    "train": "TrainConfig",
    "tune": "TuneConfig",
}
# Configurations of train that are called by what they are for.
OF_TRAIN = ("pretrain", "finetune", "detail")
SHOWN_FROM = 20_000_000  # bytes: what comes at once needs no line
_EVERY = 10.0  # seconds between two lines where there is no terminal


def named_by(arguments: Sequence[str]) -> list[str]:
    """The published networks that a job needs with this configuration.

    Args:
        arguments: a configuration file whose name begins with that of its job, and options of the job.

    Raises:
        UserError: no file is given, its name is of no job that needs weights, or it is wrong.
    """
    if not arguments or arguments[0].startswith("-"):
        raise UserError("models fetch --for: give a configuration file, such as score.yaml.")
    stem = Path(arguments[0]).stem
    job = next((job for job in CLASSES if stem.startswith(job)), "train" if stem.startswith(OF_TRAIN) else "")
    if not job and stem.startswith(tuple(JOBS)):
        return []
    if not job:
        raise UserError(
            f"models fetch --for {arguments[0]}: call it by its job, such as score_{stem}.yaml; jobs that need weights "
            f"are {', '.join(CLASSES)}."
        )
    config_class = getattr(importlib.import_module(f"ray_jobs.{job}"), CLASSES[job])
    return wanted(job, configuration.load(config_class, arguments, prog=f"faceverify {job}", description=""))


class Line:
    """How much of a large file has come: one line, rewritten on a terminal, now and then in a log."""

    def __init__(self, name: str) -> None:
        self._name, self._shown, self._begun = name, 0.0, time.monotonic()
        self._open = False

    def watch(self, done: int, whole: int | None) -> None:
        """Show it, if it is time."""
        terminal, now = sys.stderr.isatty(), time.monotonic()
        if (whole or 0) < SHOWN_FROM or now - max(self._shown, self._begun) < (0.2 if terminal else _EVERY):
            return
        self._shown, self._open = now, terminal
        start, end = ("\r", "\033[K") if terminal else ("", "\n")
        print(f"{start}{self._name}: {told(done, whole)}", end=end, file=sys.stderr, flush=True)

    def __enter__(self) -> "Line":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open:
            print(file=sys.stderr, flush=True)


def told(done: int, whole: int | None) -> str:
    """`12.3 of 38.7 MB, 32 %`."""
    if not whole:
        return f"{done / 1e6:.1f} MB"
    return f"{done / 1e6:.1f} of {whole / 1e6:.1f} MB, {done / whole:.0%}"
