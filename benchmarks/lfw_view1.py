"""Published weights reach on LFW View-1 what they should, and the same in PyTorch and in ONNX Runtime.

The rival is the other way to do the same: the other runtime, the other rule for photos with several faces, the other
detector.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.harness import Report, parser, require
from benchmarks.verification import Evaluated, aligners, embedders, verify

TWINS = ("mobilefacenet_foamliu, PyTorch", "mobilefacenet_foamliu, ONNX")


def similarities(run: Evaluated) -> np.ndarray:
    """In the order of the pairs."""
    return pd.read_parquet(run.scores / "scores")["similarity"].to_numpy()


def percent(share: float) -> str:
    """A share for people."""
    return f"{100 * share:.2f} %"


def add_row(report: Report, model: str, faces: str, run: Evaluated) -> None:
    """One run."""
    low, high = run.metrics["eer_interval"]
    rejected = sum(run.manifest["rejects"].values())
    scored = run.manifest["statuses"].get("ok", 0)
    report.add(
        model, faces, percent(run.metrics["eer"]), f"{percent(low)} to {percent(high)}", f"{scored:,}", f"{rejected:,}"
    )


def main() -> None:
    """Entry point."""
    chosen = parser(__doc__ or "").parse_args()
    view = chosen.data / "lfw" / "view1"
    require(view, chosen.data / "models")
    columns = ("model", "faces by", "EER", "95 % interval", "pairs scored", "photos rejected")
    report = Report("lfw_view1", "LFW View-1 test list: 500 genuine and 500 impostor pairs, 1,549 photos.", columns)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        models, faces = embedders(chosen.data, work), aligners(chosen.data)
        first_model, first_faces = next(iter(models)), next(iter(faces))
        todo = [(model, first_faces) for model in models] + [(first_model, way) for way in faces if way != first_faces]
        runs = {}
        for number, (model, way) in enumerate(todo):
            place = work / str(number)
            runs[model, way] = verify(place, view / "images", view / "pairs.txt", models[model], faces[way])
            add_row(report, model, way, runs[model, way])
        one, other = (similarities(runs[model, first_faces]) for model in TWINS)
    apart = float(np.abs(one - other).max())
    report.notes.append(f"Largest difference of a similarity, PyTorch and ONNX Runtime: {apart:.1e} (target <= 1e-4).")
    report.write(chosen.results)


if __name__ == "__main__":
    main()
