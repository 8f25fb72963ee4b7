"""metrics.jsonl, one line per logged step and per validation; and TensorBoard or MLflow beside it."""

import json
import math
import os
from collections.abc import Callable
from typing import Any, Protocol

from faceverify.errors import PlatformError, UserError
from faceverify.redaction import first_line, redacted
from faceverify.storage import Location

METRICS = "metrics.jsonl"


class Tracker(Protocol):
    """A place besides metrics.jsonl to which metrics are sent."""

    def add(self, step: int, values: dict[str, float]) -> None:
        """Send the numbers of a step."""

    def close(self, failed: bool) -> None:
        """End the run; `failed` says how."""


class TensorBoard:
    """Event files for TensorBoard, written by tensorboardX."""

    def __init__(self, folder: str) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(folder)

    def add(self, step: int, values: dict[str, float]) -> None:
        """Write the numbers of a step as scalars."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self, failed: bool) -> None:
        """Write what is buffered."""
        self._writer.close()


class MLflow:
    """A run in the MLflow that MLFLOW_TRACKING_URI names; a resumed training continues its MLflow run.

    Args:
        out: folder of the training, where the id of the MLflow run is kept.
        settings: logged as parameters; nested names are joined by dots.

    Raises:
        UserError: MLflow is not installed, or MLFLOW_TRACKING_URI is not set.
        PlatformError: the server does not answer, or refuses.
    """

    def __init__(self, out: Location, settings: dict[str, Any]) -> None:
        try:
            import mlflow
        except ImportError:
            raise UserError("track is mlflow, which is not installed: pip install 'faceverify[mlflow]'.") from None
        if "MLFLOW_TRACKING_URI" not in os.environ:
            raise UserError(
                "track is mlflow, but MLFLOW_TRACKING_URI is not set where the workers run: set it to the server's "
                "address, on a running cluster by `ray job submit --runtime-env-json`."
            )
        self._mlflow = mlflow
        self._call(lambda: self._begin(out, settings))

    def _begin(self, out: Location, settings: dict[str, Any]) -> None:
        mlflow, note = self._mlflow, out / ".work" / "mlflow"
        mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", "faceverify"))
        if note.is_file():
            mlflow.start_run(run_id=note.read_bytes().decode())
            return
        run = mlflow.start_run(run_name=out.name)
        mlflow.log_params(_flat(settings))
        note.write_bytes(run.info.run_id.encode())

    def add(self, step: int, values: dict[str, float]) -> None:
        """Send the numbers of a step."""
        self._call(lambda: self._mlflow.log_metrics(values, step=step))

    def close(self, failed: bool) -> None:
        """End the run as FAILED or FINISHED."""
        self._call(lambda: self._mlflow.end_run("FAILED" if failed else "FINISHED"))

    def _call(self, request: Callable[[], object]) -> None:
        try:
            request()
        except self._mlflow.MlflowException as error:
            uri = redacted(os.environ["MLFLOW_TRACKING_URI"])
            raise PlatformError(f"MLflow at {uri}: {first_line(error)}; train with --track none, or fix it.") from None


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


class MetricsLog:
    """The lines of a run, rewritten as a whole at every checkpoint; a resumed run continues behind its checkpoint."""

    def __init__(self, out: Location, trackers: list[Tracker]) -> None:
        self._file, self._trackers = out / METRICS, trackers
        self.lines: list[dict[str, Any]] = []

    def resume(self, step: float = math.inf) -> None:
        """Read the lines up to a step; later ones are dropped, for these steps are done again."""
        if self._file.is_file():
            lines = [json.loads(line) for line in self._file.read_bytes().splitlines()]
            self.lines = [line for line in lines if line["step"] <= step]

    def add(self, line: dict[str, Any]) -> None:
        """Add a line, which has a `step`, and send its numbers to the trackers."""
        self.lines.append(line)
        numbers = {name: float(value) for name, value in line.items() if isinstance(value, int | float)}
        for tracker in self._trackers:
            tracker.add(line["step"], {name: value for name, value in numbers.items() if name != "step"})

    def write(self) -> None:
        """Write all lines, replacing the file."""
        self._file.write_bytes("".join(json.dumps(line) + "\n" for line in self.lines).encode())

    @property
    def validations(self) -> list[dict[str, Any]]:
        """The lines of the validations."""
        return [line for line in self.lines if "eer" in line]

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for tracker in self._trackers:
            tracker.close(failed=kind is not None)
