"""Fakes made without any weights are accepted as the person they claim to be, at the LFW View-1 threshold.

The rivals are the same comparisons without a fake: real photos of the person, and of the host into whose photo the face
was put. Beside it, how many fakes one core makes in a second, photos read and pictures written.
"""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pandas as pd
import pyarrow as pa

from benchmarks.harness import Report, parser, require, run_job, seconds_of
from benchmarks.verification import aligners, embedders, verify
from faceverify.faces import Stopwatch
from faceverify.fakes import describe
from faceverify.fakes.making import Maker, Order
from faceverify.fakes.photo_pool import gather, with_landmarks
from faceverify.fakes.rows import extra_columns
from faceverify.images import ImageLimits
from faceverify.inputs import stream_table, table_files
from faceverify.models import EngineConfig
from faceverify.storage import Location, open_location
from faceverify.tables import PHOTOS

MADE = ("landmark_swap", "self_blend")
GENUINE, STRANGERS, HOST = "real photos of one person", "person and host, both real", "landmark_swap and its host"
TIMED_PEOPLE = 60
Row = tuple[str, str, int, str, str]


def pairs_of(photos: list[dict[str, Any]]) -> Iterator[Row]:
    """Every fake with the person's photos that it was not made of, and swaps with the host's photo; without fakes too.

    Rows are photo_a, photo_b, label, kind, comparison.
    """
    real: dict[str, list[str]] = defaultdict(list)
    for row in photos:
        if not row["is_fake"]:
            real[row["person"]].append(row["photo"])
    for fake in (row for row in photos if row["is_fake"]):
        source, target = fake["source_photo"], fake["target_photo"]
        others = [name for name in real[fake["person"]] if name != source]
        yield from ((name, fake["photo"], 0, "deepfake", fake["generator"]) for name in others)
        yield from ((name, source, 1, "genuine", GENUINE) for name in others)
        if target:
            yield target, fake["photo"], 0, "deepfake", HOST
            yield source, target, 0, "impostor", STRANGERS


def write_pairs(photos: list[dict[str, Any]], file: Path) -> Path:
    """The list as CSV."""
    columns = ["photo_a", "photo_b", "label", "kind", "comparison"]
    pairs = pd.DataFrame(list(pairs_of(photos)), columns=columns).drop_duplicates()
    pairs.to_csv(file, index=False)
    return file


def make_fakes(images: Path, align: list[str], work: Path) -> Path:
    """The job's output for the people of a folder."""
    run_job("ingest", work / "photos", "--source", str(images), "--layout", "folders")
    run_job("align", work / "faces", "--photos", str(work / "photos"), *align)
    run_job("fakes", work / "fakes", "--photos", str(work / "photos"), "--faces", str(work / "faces"))
    return work / "fakes"


def table(run: Path, name: str) -> pa.Table:
    """A table of a job's output."""
    return pa.concat_tables(stream_table(table_files(open_location(str(run)), name)))


def per_core(work: Path, generator: str) -> float:
    """Fakes per second of one generator in this process, on one core."""
    cv2.setNumThreads(1)
    crowd = gather(with_landmarks(table(work / "photos", "photos"), table(work / "faces", "faces")), seed=0)
    place = Location(str(work / "timed" / generator))
    order = Order(place, tuple(describe(generator)), 2, 16, 0, "", -1.0, True, ImageLimits(), extra_columns(PHOTOS))
    maker = Maker(order, 0, EngineConfig())
    maker.make(crowd, range(2), Stopwatch())
    seconds = seconds_of(lambda: maker.make(crowd, range(TIMED_PEOPLE), Stopwatch()))
    return 2 * TIMED_PEOPLE / seconds


def main() -> None:
    """Entry point."""
    chosen = parser(__doc__ or "").parse_args()
    view, images = chosen.data / "lfw" / "view1", chosen.data / "lfw" / "images"
    require(view, images, chosen.data / "models")
    columns = ("model", "threshold", "compared", "pairs", "accepted", "mean similarity", "fakes/s per core")
    report = Report("fakes_fool", "Accepted pairs: a fake and another photo of the person it claims to be.", columns)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        align = next(iter(aligners(chosen.data).values()))
        photos = table(make_fakes(images, align, work), "photos").to_pylist()
        pairs = write_pairs(photos, work / "pairs.csv")
        rates = {generator: f"{per_core(work, generator):.0f}" for generator in MADE}
        for name in ("mobilefacenet_y1, ONNX", "mobilefacenet_foamliu, ONNX"):
            model = embedders(chosen.data, work)[name]
            lfw = verify(work / name / "lfw", view / "images", view / "pairs.txt", model, align)
            limit = str(lfw.evaluation / "calibration.json")
            found = verify(work / name / "fakes", work / "fakes", pairs, model, align, limit)
            threshold = found.metrics["threshold"]
            scores = pd.read_parquet(found.scores / "scores")
            for compared in (*MADE, HOST, GENUINE, STRANGERS):
                own = scores.similarity[scores.comparison == compared]
                share, mean = f"{(own >= threshold).mean():.1%}", f"{own.mean():.3f}"
                report.add(name, f"{threshold:.4f}", compared, f"{len(own):,}", share, mean, rates.get(compared, "-"))
    made = Counter(row["generator"] for row in photos if row["is_fake"])
    counts = ", ".join(f"{count:,} by {name}" for name, count in made.items())
    people = len({row["person"] for row in photos})
    report.notes += [
        f"Fakes by the job `fakes` with its defaults: {counts}, of {people} people. Target: 80 % of the swaps.",
        "A fake is compared with all photos of the person but the one it was made of. Faces by yunet, most central.",
        "Fakes per second: one process, photos of 250x250 pixels decoded, fakes stored again and written included.",
    ]
    report.write(chosen.results)


if __name__ == "__main__":
    main()
