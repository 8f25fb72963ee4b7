"""What a forensic model beside the recogniser costs `score`: photos per second and MB of weights.

Each repeat runs the job twice on the same photos, with the recogniser alone and with both networks; which comes first
changes from repeat to repeat. Similarities must be the same in both. Photos of LFW (250x250 pixels) and of pins.
"""

import argparse
import tempfile
from pathlib import Path

import pyarrow.dataset as ds

from benchmarks.harness import CORES, JobRun, Report, Spread, parser, require, run_job
from benchmarks.photo_lists import Photos, find_photos, write_pairs
from faceverify.forensics.card import card_of

ALONE, BOTH = "recogniser alone", "both networks"
MB = 1e6


def scored(photos: Photos, chosen: argparse.Namespace, work: Path, forensic: bool) -> tuple[JobRun, list[float]]:
    """One run of the job, and the similarities of its pairs in the order of the list."""
    count = len(photos.paths)
    pairs = write_pairs([(k, (k + 1) % count) for k in range(count)], work / "pairs.csv")
    options = ["--pairs", str(pairs), "--photos", str(photos.write_table(work / "photos.parquet"))]
    options += ["--model", str(chosen.model), "--align.weights", str(chosen.detector), "--workers", str(chosen.cores)]
    run = run_job("score", work / "out", *options, *(["--forensic", str(chosen.forensic)] if forensic else []))
    rows = ds.dataset(work / "out" / "scores").to_table(columns=["similarity"])
    return run, rows["similarity"].to_pylist()


def measure(name: str, photos: Photos, chosen: argparse.Namespace, report: Report) -> None:
    """Both ways on one set of photos, taking turns."""
    embedding: dict[str, list[float]] = {ALONE: [], BOTH: []}
    whole: dict[str, list[float]] = {ALONE: [], BOTH: []}
    for repeat in range(chosen.repeats):
        found = {}
        for way in (ALONE, BOTH) if repeat % 2 == 0 else (BOTH, ALONE):
            with tempfile.TemporaryDirectory() as folder:
                run, found[way] = scored(photos, chosen, Path(folder), forensic=way == BOTH)
            embedding[way].append(len(photos.paths) / run.manifest["seconds"]["embed"])
            whole[way].append(len(photos.paths) / run.seconds)
        if found[ALONE] != found[BOTH]:
            raise SystemExit(f"{name}: the forensic model changed the similarities of the recogniser.")
    for part, rates in (("embedding", embedding), ("whole command", whole)):
        kept = Spread.of([both / alone for alone, both in zip(rates[ALONE], rates[BOTH], strict=True)])
        report.add(name, part, *(f"{Spread.of(rates[way]):.1f}" for way in (ALONE, BOTH)), f"{kept:.2f}")


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--forensic", type=Path, help="an ONNX file with its card, or a folder with model.onnx")
    options.add_argument("--model", type=Path, help="the recogniser, an ONNX file; default: mobilefacenet_y1")
    options.add_argument("--count", type=int, default=1000, help="photos of each set")
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--cores", type=int, default=CORES)
    chosen = options.parse_args()
    if chosen.forensic is None:
        print("Skipped: no forensic model comes with faceverify; give yours with --forensic MODEL.")
        return
    if chosen.forensic.is_dir():
        chosen.forensic = chosen.forensic / "model.onnx"
    chosen.model = chosen.model or chosen.data / "models" / "mobilefacenet_y1.onnx"
    chosen.detector = chosen.data / "models" / "face_detection_yunet_2026may.onnx"
    sets = {"LFW": chosen.data / "lfw" / "view1" / "images", "pins": chosen.data / "pins"}
    require(chosen.forensic, chosen.model, chosen.detector, *sets.values())
    report = Report(
        "forensic_cost",
        f"{chosen.count:,} photos of each set, yunet, {chosen.cores} cores. Photos/s, median (smallest to largest); "
        "ratio of both networks to the recogniser alone, repeat by repeat.",
        ("photos", "part", ALONE, BOTH, "ratio"),
    )
    card = card_of(chosen.forensic)
    report.notes.append(f"Forensic model: {card.name}, crop {card.crop}, card {card.digest[:12]}.")
    known, judge = (file.stat().st_size / MB for file in (chosen.model, chosen.forensic))
    report.notes.append(
        f"Weights: recogniser {known:.1f} MB, forensic model {judge:.1f} MB, both {known + judge:.1f} MB; the detector "
        "is the same in both."
    )
    for name, folder in sets.items():
        measure(name, find_photos(folder, chosen.detector, chosen.count), chosen, report)
    report.write(chosen.results)


if __name__ == "__main__":
    main()
