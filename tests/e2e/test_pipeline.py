"""The pipeline with everything in S3: killed in the middle, the same command goes on at the first unfinished step."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e.harness import Driver, Run

from faceverify.parts import read_part
from faceverify.storage import Location, open_location

PEOPLE = {"persons": 12, "photos_per_person": 3, "fakes_per_person": 1, "photo_size": 80}
SPLITS = {"train_share": 0.5, "val_share": 0.25}


@pytest.fixture
def store(bucket: str) -> Location:
    """A bucket with drawn people and a network of random weights."""
    import torch
    from safetensors.torch import save

    from faceverify.models import card as cards
    from faceverify.models import checkpoints
    from faceverify.rendered import RenderedConfig, write
    from faceverify.training.checkpoints import own_memory

    root = open_location(f"s3://{bucket}/data")
    write(RenderedConfig(**PEOPLE, **SPLITS), root / "people")
    torch.manual_seed(0)
    card = cards.build(name="tiny", architecture="tiny", colour="RGB", mean=[127.5] * 3, std=[127.5] * 3, dim=16)
    weights = {name: own_memory(value) for name, value in checkpoints.build("tiny", 16).state_dict().items()}
    (root / "tiny.safetensors").write_bytes(save(weights))
    (root / "tiny.safetensors.card.json").write_bytes(card.to_json().encode())
    return root


def options(store: Location, out: Location) -> list[str]:
    """Of the smallest run."""
    named = {
        "--ingest.source": store / "people",
        "--ingest.layout": "rendered",
        "--align.align.method": "annotated",
        "--clean.threshold": -0.9,  # the network knows nobody
        "--fakes.per-person": 2,
        "--finetune.start": store / "tiny.safetensors",
        "--finetune.batches.size": 4,
        "--finetune.batches.max-steps": 2,
        "--finetune.validation.replicates": 0,
        "--evaluate.replicates": 0,
        "--out": out,
    }
    drawn = {f"--ingest.rendered.{name.replace('_', '-')}": value for name, value in (PEOPLE | SPLITS).items()}
    return [*(str(part) for item in (named | drawn).items() for part in item), "--export.no-half"]


def there(place: Location) -> Callable[[], bool]:
    def look() -> bool:
        time.sleep(0.1)
        return place.exists()

    return look


@pytest.mark.thorough
def test_killed_in_the_middle_it_goes_on(store: Location, run: Run, tmp_path: Path) -> None:
    out = store.parent / "run"
    # Processes of their own, cluster included, that find all they need in their environment.
    env = {"FACEVERIFY_CACHE": str(tmp_path / "cache"), "RAY_ADDRESS": ""}
    driver = Driver("pipeline", *options(store, out), env=env, start_new_session=True)
    assert driver.wait_until(there(out / "fakes" / "manifest.json")), driver.end()
    os.killpg(driver.process.pid, signal.SIGKILL)
    driver.end()
    before = {entry.path: entry.mtime_ns for entry in out.files() if "manifest.json" in entry.path}
    assert {path.split("/")[0] for path in before} >= {"photos", "faces", "embeddings", "clean", "fakes"}

    planned = run("pipeline", *options(store, out), "--dry-run")
    state = {line.split()[1]: line.split()[2] for line in planned.out.splitlines()[:-1]}
    assert planned.code == 0 and state["fakes"] == "finished" and state["evaluation"] == "runs", planned.err

    ended = Driver("pipeline", *options(store, out), env=env).end()
    assert ended.code == 0, ended.err
    assert "fakes: make deepfakes (finished)" in ended.out
    assert ended.out.splitlines()[-1] == f"Report: {out / 'evaluation' / 'report.html'}"
    after = {entry.path: entry.mtime_ns for entry in out.files()}
    assert all(after[path] == changed for path, changed in before.items())
    assert not [path for path in after if "/.work/" in path]
    scored = out / "scores" / "scores"
    scores = [row for part in scored.files() for row in read_part(scored / part.path).to_pylist()]
    assert {row["split"] for row in scores} == {"test"} and {row["status"] for row in scores} == {"ok"}
    noted = json.loads((out / "pipeline.json").read_bytes())
    assert len(noted) == 12 and noted["pairs"]["rows_out"]["pairs"] > 0
    assert "Before and after" in (out / "evaluation" / "report.html").read_bytes().decode()
