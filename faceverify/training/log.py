"""metrics.jsonl: one line per step that is told, one per validation; and where else they are sent."""

import json
from typing import Any

from faceverify.storage import Location
from faceverify.training.trackers import Tracker

METRICS = "metrics.jsonl"


class Log:
    """The lines of a run. They are written at checkpoints, as a whole; a resumed run goes on behind its checkpoint."""

    def __init__(self, out: Location, trackers: list[Tracker]) -> None:
        self._file, self._trackers = out / METRICS, trackers
        self.lines: list[dict[str, Any]] = []

    def resume(self, step: int) -> None:
        """Take over the lines up to a step, and forget later ones: these steps are done again."""
        if self._file.is_file():
            lines = [json.loads(line) for line in self._file.read_bytes().splitlines()]
            self.lines = [line for line in lines if line["step"] <= step]

    def add(self, line: dict[str, Any]) -> None:
        """Note a line; it has a `step`."""
        self.lines.append(line)
        numbers = {name: float(value) for name, value in line.items() if isinstance(value, int | float)}
        for tracker in self._trackers:
            tracker.add(line["step"], {name: value for name, value in numbers.items() if name != "step"})

    def write(self) -> None:
        """Replace the file."""
        self._file.write_bytes("".join(json.dumps(line) + "\n" for line in self.lines).encode())

    @property
    def validations(self) -> list[dict[str, Any]]:
        """The lines of validations."""
        return [line for line in self.lines if "eer" in line]

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for tracker in self._trackers:
            tracker.close(failed=kind is not None)
