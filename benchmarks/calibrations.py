"""The calibrations that ship with the package, made at FMR 0.1 % on people of LFW's training list and judged on others.

Made by `ingest`, `score` of all pairs, and `evaluate`, as a user would; judged by `score` and `evaluate --calibration`
on View-1's test list, with no person of which a calibration shares one. The rival is what a threshold says of itself:
the rates on the pairs that it was chosen on.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.harness import ROOT, Report, parser, require, run_job
from benchmarks.lfw_view1 import percent
from benchmarks.verification import verify
from faceverify.evaluation.calibration import Calibration
from faceverify.storage import open_location

DATA = "LFW deep-funneled, all pairs of 1,642 photos of 218 people of View-1's training list"
MODELS = {"mobilefacenet_y1": "mobilefacenet_y1.onnx", "mobilefacenet_foamliu": "mobilefacenet_foamliu.pt"}
ALIGNERS = {
    "yunet_2026may": ("yunet", "face_detection_yunet_2026may.onnx"),
    "scrfd_2.5g": ("scrfd", "scrfd_2.5g_bnkps.onnx"),
}

SHIPPED = (
    ("mobilefacenet_y1", "yunet_2026may"),
    ("mobilefacenet_y1", "scrfd_2.5g"),
    ("mobilefacenet_foamliu", "yunet_2026may"),
)


def all_pairs(photos: Path, target: Path) -> None:
    """Every pair of the photos of a table, as a list of pairs without labels: `score` has them from the table."""
    names = pq.read_table(photos)["photo"].combine_chunks()
    a, b = np.triu_indices(len(names), 1)
    pq.write_table(pa.table({"photo_a": names.take(pa.array(a)), "photo_b": names.take(pa.array(b))}), target)


def interval(rates: dict) -> str:
    """A rate of `metrics.json` with its 95 % interval."""
    low, high = rates["interval"]
    return f"{percent(rates['error_rate'])} ({percent(low)} to {percent(high)})"


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--out", type=Path, default=ROOT / "faceverify" / "calibrations", help="where the files go")
    options.add_argument("--work", type=Path, help="keep what the jobs make here, so that a run that broke off goes on")
    options.add_argument("--fmr", type=float, default=1e-3, help="false match rate to calibrate at")
    chosen = options.parse_args()
    lfw, weights = chosen.data / "lfw", chosen.data / "models"
    require(lfw / "images", lfw / "view1", weights)
    columns = ("model, faces by", "threshold", "FMR, calibration", "FNMR, calibration", "FMR, View-1", "FNMR, View-1")
    report = Report("calibrations", f"Thresholds at FMR {chosen.fmr:g}, found on {DATA}.", columns)
    with tempfile.TemporaryDirectory() as folder:
        work = chosen.work or Path(folder)
        run_job("ingest", work / "photos", "--source", str(lfw / "images"), "--layout", "folders")
        if not (work / "pairs.parquet").exists():
            all_pairs(work / "photos" / "photos", work / "pairs.parquet")
        for model, aligner in SHIPPED:
            name = f"{model}_{aligner}"
            method, detector = ALIGNERS[aligner]
            align = ["--align.method", method, "--align.weights", str(weights / detector)]
            given = ["--photos", str(work / "photos"), "--pairs", str(work / "pairs.parquet")]
            network = weights / MODELS[model]
            run_job("score", work / name / "scores", *given, "--model", str(network), *align)
            found = ["--scores", str(work / name / "scores"), "--calibrate-at", str(chosen.fmr)]
            run_job("evaluate", work / name / "evaluation", *found)
            made = Calibration.read(open_location(str(work / name / "evaluation" / "calibration.json")))
            file = chosen.out / f"{name}.json"
            open_location(str(file)).write_bytes(replace(made, data=DATA).to_json().encode())
            view = lfw / "view1"
            judged = verify(work / name / "view1", view / "images", view / "pairs.txt", network, align, str(file))
            kinds = judged.metrics["by_kind"]
            low, high = made.interval or (0.0, 0.0)
            report.add(
                f"{model}, {aligner}",
                f"{made.threshold:.4f}",
                f"{percent(made.fmr)} ({percent(low)} to {percent(high)}) of {made.n_impostor:,}",
                f"{percent(made.fnmr)} of {made.n_genuine:,}",
                interval(kinds["impostor"]),
                interval(kinds["genuine"]),
            )
    report.notes.append(
        "View-1's test list: 500 impostor and 500 genuine pairs, nobody of whom is in the calibration set."
    )
    report.notes.append("Intervals: 95 %, by bootstrap over persons.")
    report.write(chosen.results)


if __name__ == "__main__":
    main()
