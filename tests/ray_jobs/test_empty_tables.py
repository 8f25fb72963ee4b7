"""A table without rows is refused by every job before work starts, in a sentence that names it."""

import importlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceverify import tables
from faceverify.config import load
from faceverify.errors import UserError

SCHEMAS = {
    "photos": tables.PHOTOS,
    "faces": tables.FACES,
    "embeddings": tables.embeddings(4),
    "pairs": tables.PAIRS,
    "scores": tables.SCORES,
}
JOBS = {  # job: (class, the empty table, tables with a row)
    "pairs": ("PairsConfig", "photos", []),
    "fakes": ("FakesConfig", "photos", []),
    "align": ("AlignJobConfig", "photos", []),
    "embed": ("EmbedConfig", "faces", []),
    "clean": ("CleanConfig", "photos", ["embeddings"]),
    "train": ("TrainConfig", "faces", ["pairs"]),
    "evaluate": ("EvaluateConfig", "scores", []),
    "score": ("ScoreConfig", "photos", ["pairs"]),
}
CASES = [
    *((job, empty, full) for job, (_, empty, full) in JOBS.items()),
    ("pairs", "faces", ["photos"]),
    ("fakes", "faces", ["photos"]),
    ("clean", "embeddings", ["photos"]),
    ("train", "pairs", ["faces"]),
    ("score", "embeddings", ["pairs"]),
]


def write(folder: Path, name: str, rows: int) -> Path:
    """A table of empty rows."""
    schema = SCHEMAS[name]
    values = {"embedding": [0.0] * 4, "image": b"", "norm": 0.0}
    filled = [{field.name: values.get(field.name, "x") for field in schema if not field.nullable}] * rows
    (folder / name).mkdir()
    pq.write_table(pa.Table.from_pylist(filled, schema), folder / name / "part-00000.parquet")
    return folder / name


@pytest.mark.parametrize(("job", "empty", "full"), CASES)
def test_it_is_refused(
    job: str, empty: str, full: list[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    module = importlib.import_module(f"ray_jobs.{job}")
    options = ["--out", str(tmp_path / "out")]
    for name in (empty, *full):
        options += [f"--{name}", str(write(tmp_path, name, int(name in full)))]
    if job in ("align", "score") and empty == "photos":
        options += ["--align.method", "none"]
    if job == "embed" or (job == "score" and empty == "photos"):
        options += ["--model", str(tmp_path / "model.onnx")]
        monkeypatch.setattr("faceverify.models.loading.resolve", lambda *_: pytest.fail("the table comes first"))
    if job == "score" and empty == "photos":
        monkeypatch.setattr(module, "card_of_model", lambda _: None)
    config = load(getattr(module, JOBS[job][0]), options, prog=job, description="")
    with pytest.raises(
        UserError, match=f"^{empty}: the table in '{tmp_path / empty}' has no rows, so there is nothing"
    ):
        module.run(config)
    assert not (tmp_path / "out").exists()
