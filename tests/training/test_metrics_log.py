"""What TensorBoard and MLflow are told can be read back from their own files."""

import struct
from pathlib import Path

import mlflow
import pytest
from mlflow.entities import Run
from tensorboardX.proto.event_pb2 import Event

from faceverify.errors import PlatformError, UserError
from faceverify.storage import Location
from faceverify.training.metrics_log import MetricsLog, MLflow, TensorBoard

SETTINGS = {"optimiser": {"learning_rate": 0.5}, "start": "a.pt"}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """MLflow's store in files: all that its small edition has without a server."""
    address = f"file://{tmp_path / 'mlruns'}"
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    return address


def runs(address: str) -> list[Run]:
    client = mlflow.MlflowClient(address)
    experiment = client.get_experiment_by_name("faceverify")
    assert experiment is not None
    return client.search_runs([experiment.experiment_id])


def events(folder: Path) -> list[Event]:
    data, found = next(folder.glob("events*")).read_bytes(), []
    while data:  # length, its checksum, the event, its checksum
        (length,) = struct.unpack("<Q", data[:8])
        found.append(Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return found


def test_tensorboard_has_every_number_when_the_log_is_closed(tmp_path: Path) -> None:
    with MetricsLog(Location(str(tmp_path)), [TensorBoard(str(tmp_path / "tensorboard"))]) as log:
        log.add({"step": 3, "loss": 0.25, "by_kind": {"genuine": 1}})
        log.add({"step": 4, "loss": 0.5, "eer": 0.125})
    values = [(e.step, v.tag, v.simple_value) for e in events(tmp_path / "tensorboard") for v in e.summary.value]
    assert values == [(3, "loss", 0.25), (4, "loss", 0.5), (4, "eer", 0.125)]


def test_mlflow_shows_settings_and_numbers(server: str, tmp_path: Path) -> None:
    out = Location(str(tmp_path / "margins"))
    with MetricsLog(out, [MLflow(out, SETTINGS)]) as log:
        log.add({"step": 3, "loss": 0.25})
    [run] = runs(server)
    assert (run.info.run_name, run.info.status) == ("margins", "FINISHED")
    assert run.data.params == {"optimiser.learning_rate": "0.5", "start": "a.pt"}
    assert run.data.metrics == {"loss": 0.25}


def test_what_fails_says_so_and_goes_on_in_the_same_run(server: str, tmp_path: Path) -> None:
    out = Location(str(tmp_path / "margins"))
    with pytest.raises(ZeroDivisionError), MetricsLog(out, [MLflow(out, SETTINGS)]) as log:
        log.add({"step": 3, "loss": 0.25})
        raise ZeroDivisionError
    assert [run.info.status for run in runs(server)] == ["FAILED"]
    with MetricsLog(out, [MLflow(out, SETTINGS | {"start": "b.pt"})]) as log:
        log.add({"step": 4, "loss": 0.5})
    [run] = runs(server)
    assert (run.info.status, run.data.params["start"]) == ("FINISHED", "a.pt")
    history = mlflow.MlflowClient(server).get_metric_history(run.info.run_id, "loss")
    assert [(one.step, one.value) for one in history] == [(3, 0.25), (4, 0.5)]


def test_no_address_and_no_answer_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Location(str(tmp_path / "margins"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI is not set where the workers run"):
        MLflow(out, SETTINGS)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(PlatformError, match=r"MLflow at http://127\.0\.0\.1:9: .*Max retries exceeded.*--track none"):
        MLflow(out, SETTINGS)
