"""People as vectors: clusters of unit vectors with planted strays, as tables; and all rounds run in this process."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from faceverify import tables
from faceverify.cleaning import run
from faceverify.cleaning.decisions_file import ReviewDecision
from faceverify.cleaning.plan import CleanPlan, make_plan
from faceverify.parts import make_files
from faceverify.run_folder import RunFolder
from faceverify.storage import Location
from faceverify.units import LocalMapper

DIM = 128


@dataclass
class People:
    """Photos under construction; a person's photos are scattered around a centre of its own."""

    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))
    centres: dict[str, np.ndarray] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    vectors: dict[str, np.ndarray] = field(default_factory=dict)

    def vector(self, person: str, noise: float = 0.7) -> np.ndarray:
        """A photo of `person`: cosine between two of noise 0.7 about 0.67."""
        centre = self.centres.setdefault(person, unit(self.rng.standard_normal(DIM)))
        return unit(centre + noise * self.rng.standard_normal(DIM) / np.sqrt(DIM))

    def add(self, folder: str, name: str, vector: np.ndarray | None, **columns: Any) -> str:
        """Put a photo into a folder; without a vector it has no embedding."""
        photo = f"{folder}/{name}"
        row = {"photo": photo, "uri": f"/nowhere/{photo}", "person": folder, "is_fake": False, "bytes_size": None}
        self.rows.append(row | columns)
        if vector is not None:
            self.vectors[photo] = vector.astype(np.float32) * np.float32(self.rng.uniform(5, 20))
        return photo

    def crowd(self, people: int = 30, photos: int = 6) -> "People":
        """Ordinary people p00, p01, ..."""
        for number in range(people):
            for k in range(photos):
                self.add(f"p{number:02d}", f"{k}.jpg", self.vector(f"p{number:02d}"))
        return self

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Both tables as files, in an order that is nobody's."""
        folder.mkdir(parents=True, exist_ok=True)
        order = np.random.default_rng(1).permutation(len(self.rows))
        photos = pa.Table.from_pylist([self.rows[i] for i in order], schema=tables.PHOTOS)
        pq.write_table(photos, folder / "photos.parquet")
        names = [name for name in reversed(self.vectors)]
        flat = np.concatenate([self.vectors[name] for name in names])
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.float32()), DIM)
        norms = pa.array([np.linalg.norm(self.vectors[name]) for name in names], pa.float32())
        unknown = pa.nulls(len(names), pa.string())
        columns = [names, vectors, norms, ["m"] * len(names), unknown, unknown]
        pq.write_table(pa.table(columns, schema=tables.embeddings(DIM)), folder / "embeddings.parquet")
        return folder / "photos.parquet", folder / "embeddings.parquet"


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


@dataclass(frozen=True)
class Options:
    """What a run may be given besides its tables."""

    decisions: tuple[ReviewDecision, ...] = ()
    threshold: float | None = None
    photos_per_shard: int = 50
    max_cases: int = 1000


def clean_here(photos: Path, embeddings: Path, out: Path, options: Options) -> dict[str, Any]:
    """A whole run in this process, one shard after the other; the manifest."""
    folder = RunFolder(Location(str(out)), {"job": "clean"}, run.OUTPUTS)
    if folder.complete:
        return folder.manifest()
    noted = folder.noted("plan_of_work")
    files = [Location(str(photos))], [Location(str(embeddings))]
    decisions = list(options.decisions)
    plan = CleanPlan(**noted) if noted else _planned(files, decisions, folder, options)
    folder.note("plan_of_work", plan.as_json())
    calibration = run.choose_thresholds(folder.work, plan.dim, options.threshold)

    def run_round(stage: str, work: Any, common: tuple[Any, ...], shards: int, rows: int) -> None:
        for shard in sorted(set(range(shards)) - folder.done(stage)):
            work(*common, shard)

    results = run.run_rounds(folder, plan, calibration, {d.photo: d for d in decisions}, run_round)
    made = run.publish(folder, plan, results, tables.PHOTOS, options.max_cases, make_files)
    folder.finish(made | run.facts(calibration, results, len(decisions)))
    return folder.manifest()


def _planned(files: Any, decisions: list[ReviewDecision], folder: RunFolder, options: Options) -> CleanPlan:
    return make_plan(*files, decisions, folder.work, options.photos_per_shard, LocalMapper())


def published(out: Path) -> dict[str, list[dict[str, Any]]]:
    """All tables of a run as lists of rows."""
    return {table: pq.read_table(out / table).to_pylist() for table in run.OUTPUTS}
