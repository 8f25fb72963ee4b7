"""The sets of `finetune_lfw`: LFW's people to learn from, and what a network is judged by.

To learn from: `lfw/images`, aligned by yunet, with fakes by our two generators, split by person into train and val.
Judged by three lists of people who are not in it: the real pairs of View-1; View-1's photos with fakes of another seed;
and swaps made by programs that training never saw (`fakes/images`).
"""

import csv
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.harness import CORES, run_job
from benchmarks.real_fakes import pairs_of
from faceverify.evaluation import metrics
from faceverify.models import EngineConfig, load_engine
from faceverify.training.batches import decode_face

TEST_SEED = 1
GENERATORS = ("landmark_swap", "self_blend")


@dataclass(frozen=True)
class TrainingSet:
    """Tables that `train` takes."""

    faces: Path
    pairs: Path


def training_set(photos: Path, align: list[str], work: Path, fakes: int, deepfakes: int = 1) -> TrainingSet:
    """Fakes of the people of a photos table, so many of each, and pairs with so many deepfakes for each impostor; what
    is there already is not made again."""
    faces = work / "faces"
    made(("align", work / "real_faces", "--photos", str(photos), *align))
    options = ["--photos", str(photos), "--faces", str(work / "real_faces"), "--per-person", str(fakes)]
    made(("fakes", work / "fakes", *options))
    made(("align", faces, "--photos", str(work / "fakes"), *align))
    options = ["--photos", str(work / "fakes"), "--faces", str(faces), "--validation-share", "0.1"]
    made(("pairs", work / "pairs", *options, "--deepfakes-per-impostor", str(deepfakes)))
    return TrainingSet(faces, work / "pairs")


def planted(data: Path, work: Path) -> Path:
    """LFW's photos, a tenth of them under the wrong names of `label_errors.csv`: a photos table."""
    listed = pq.read_table(work / "photos" / "photos")
    with (data / "lfw" / "label_errors.csv").open() as lines:
        given = {row["photo"]: row["given_identity"] for row in csv.DictReader(lines)}
    filed = [given.get(row["photo"], row["person"]) for row in listed.select(["photo", "person"]).to_pylist()]
    table = listed.set_column(listed.schema.get_field_index("person"), "person", pa.array(filed))
    pq.write_table(table, work / "planted.parquet")
    return work / "planted.parquet"


def made(command: tuple[Any, ...]) -> None:
    """Run a job unless an earlier run of this program finished it."""
    job, out, *options = command
    if not (out / "manifest.json").exists():
        run_job(job, out, *options)


@dataclass(frozen=True)
class Judge:
    """Faces [N,112,112,3] uint8 and the pairs of their rows: [K,2] by name of the comparison; `genuine` and `impostor`
    are View-1's."""

    faces: np.ndarray
    pairs: dict[str, np.ndarray]

    @classmethod
    def of(cls, data: Path, align: list[str], work: Path) -> "Judge":
        """Make fakes of View-1's photos, align everything, and list the pairs."""
        view = data / "lfw" / "view1"
        made(("ingest", work / "photos", "--source", str(view / "images"), "--layout", "folders"))
        made(("align", work / "real_faces", "--photos", str(work / "photos"), *align))
        options = ["--photos", str(work / "photos"), "--faces", str(work / "real_faces"), "--seed", str(TEST_SEED)]
        made(("fakes", work / "fakes", *options))
        made(("align", work / "faces", "--photos", str(work / "fakes"), *align))
        made(("ingest", work / "unseen", "--source", str(data / "fakes" / "images"), "--layout", "folders"))
        made(("align", work / "unseen_faces", "--photos", str(work / "unseen"), *align))
        listed = view_pairs(view / "pairs.txt") + fake_pairs(work / "fakes") + unseen_pairs(data / "fakes" / "images")
        return cls.gather(listed, dict(faces_of(work / "faces") + faces_of(work / "unseen_faces")))

    @classmethod
    def gather(cls, listed: Sequence[tuple[str, str, str]], pictures: dict[str, bytes]) -> "Judge":
        """Number the faces that are used; pairs of photos without a face are left out."""
        usable = [row for row in listed if row[0] in pictures and row[1] in pictures]
        number = {name: i for i, name in enumerate(dict.fromkeys(name for row in usable for name in row[:2]))}
        pairs: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for a, b, comparison in usable:
            pairs[comparison].append((number[a], number[b]))
        faces = np.stack([decode_face(pictures[name]) for name in number])
        return cls(faces, {name: np.array(rows) for name, rows in pairs.items()})

    def similarities(self, model: Path) -> dict[str, np.ndarray]:
        """Cosines [K] of each comparison."""
        vectors = load_engine(str(model), EngineConfig(threads=CORES)).embed(self.faces).astype(np.float64)
        units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return {name: (units[rows[:, 0]] * units[rows[:, 1]]).sum(axis=1) for name, rows in self.pairs.items()}

    def verdict(self, model: Path) -> "Verdict":
        """Errors at the threshold where real pairs are wrong equally often."""
        cosines = self.similarities(model)
        crossing = metrics.equal_error_rate(metrics.sort_scores(cosines["genuine"], cosines["impostor"]))
        accepted = {name: int((found >= crossing.threshold).sum()) for name, found in cosines.items()}
        return Verdict(crossing.eer, accepted, {name: len(found) for name, found in cosines.items()})


@dataclass(frozen=True)
class Verdict:
    """EER of the real pairs, and of each comparison how many pairs are accepted at its threshold, of how many."""

    eer: float
    accepted: dict[str, int]
    count: dict[str, int]

    def share(self, names: Iterable[str]) -> float:
        """Accepted share of several comparisons together."""
        names = list(names)
        return sum(self.accepted[name] for name in names) / sum(self.count[name] for name in names)


def unseen(comparisons: Iterable[str]) -> list[str]:
    """Of the comparisons those with fakes by programs that are not ours."""
    return [name for name in comparisons if name not in (*GENERATORS, "genuine", "impostor")]


def view_pairs(file: Path) -> list[tuple[str, str, str]]:
    """LFW's list: photo, photo, kind."""
    rows = [line.split("\t") for line in file.read_text().splitlines()]

    def name(person: str, number: str) -> str:
        return f"{person}/{person}_{int(number):04d}.jpg"

    genuine = [(name(r[0], r[1]), name(r[0], r[2]), "genuine") for r in rows if len(r) == 3]
    return genuine + [(name(r[0], r[1]), name(r[2], r[3]), "impostor") for r in rows if len(r) == 4]


def fake_pairs(fakes: Path) -> list[tuple[str, str, str]]:
    """Each fake with the person's real photos that it was not made of: photo, photo, generator."""
    photos, real = pq.read_table(fakes / "photos").to_pylist(), defaultdict(list)
    for row in photos:
        if not row["is_fake"]:
            real[row["person"]].append(row["photo"])
    false = [row for row in photos if row["is_fake"]]
    return [
        (photo, row["photo"], row["generator"])
        for row in false
        for photo in real[row["person"]]
        if photo != row["source_photo"]
    ]


def unseen_pairs(images: Path) -> list[tuple[str, str, str]]:
    """Real photos with the fakes that claim to be the person: photo, photo, program."""
    return [(row[0], row[1], row[4]) for row in pairs_of(images) if row[3] == "deepfake"]


def faces_of(table: Path) -> list[tuple[str, bytes]]:
    """Photo and encoded crop."""
    rows = pq.read_table(table / "faces", columns=["photo", "image"])
    return list(zip(rows["photo"].to_pylist(), rows["image"].to_pylist(), strict=True))
