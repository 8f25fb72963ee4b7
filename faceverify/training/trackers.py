"""Where else than in metrics.jsonl the numbers of a training are shown."""

import os
from collections.abc import Callable
from typing import Any, Protocol

from faceverify.errors import PlatformError, UserError
from faceverify.redaction import first_line, redacted
from faceverify.storage import Location


class Tracker(Protocol):
    """A further place for metrics."""

    def add(self, step: int, values: dict[str, float]) -> None:
        """Send numbers of a step."""

    def close(self, failed: bool) -> None:
        """Nothing more comes."""


class TensorBoard:
    """Event files for TensorBoard, written by tensorboardX."""

    def __init__(self, folder: str) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(folder)

    def add(self, step: int, values: dict[str, float]) -> None:
        """See `Tracker`."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self, failed: bool) -> None:
        """See `Tracker`."""
        self._writer.close()


class MLflow:
    """A run in the MLflow that MLFLOW_TRACKING_URI names; what goes on after an interruption goes on in the same run.

    Args:
        out: folder of the training, where the run's id is kept until its end.
        settings: shown beside the metrics, as parameters; nested names are joined by dots.

    Raises:
        UserError: it is not installed, or MLFLOW_TRACKING_URI is not set here.
        PlatformError: it does not answer, or refuses.
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
        self._ask(lambda: self._begin(out, settings))

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
        """See `Tracker`."""
        self._ask(lambda: self._mlflow.log_metrics(values, step=step))

    def close(self, failed: bool) -> None:
        """See `Tracker`."""
        self._ask(lambda: self._mlflow.end_run("FAILED" if failed else "FINISHED"))

    def _ask(self, something: Callable[[], object]) -> None:
        try:
            something()
        except self._mlflow.MlflowException as error:
            uri = redacted(os.environ["MLFLOW_TRACKING_URI"])
            raise PlatformError(f"MLflow at {uri}: {first_line(error)}; train with --track none, or fix it.") from None


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found
