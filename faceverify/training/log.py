"""metrics.jsonl: one line per step that is told, one per validation; and where else they are sent."""

import json
from typing import Any, Protocol

from faceverify.errors import UserError
from faceverify.storage import Location

METRICS = "metrics.jsonl"


class Tracker(Protocol):
    """A further place for metrics."""

    def add(self, step: int, values: dict[str, float]) -> None:
        """Send numbers of a step."""

    def close(self) -> None:
        """Nothing more comes."""


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

    def close(self) -> None:
        """Close the trackers."""
        for tracker in self._trackers:
            tracker.close()


class TensorBoard:
    """Event files for TensorBoard, written by tensorboardX."""

    def __init__(self, folder: str) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(folder)

    def add(self, step: int, values: dict[str, float]) -> None:
        """See `Tracker`."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """See `Tracker`."""
        self._writer.close()


class MLflow:
    """A run in the MLflow that MLFLOW_TRACKING_URI names."""

    def __init__(self, name: str) -> None:
        try:
            import mlflow
        except ImportError:
            raise UserError("track is mlflow, which is not installed: pip install 'faceverify[mlflow]'.") from None
        self._mlflow = mlflow
        mlflow.set_experiment("faceverify")
        mlflow.start_run(run_name=name)

    def add(self, step: int, values: dict[str, float]) -> None:
        """See `Tracker`."""
        self._mlflow.log_metrics(values, step=step)

    def close(self) -> None:
        """See `Tracker`."""
        self._mlflow.end_run()
