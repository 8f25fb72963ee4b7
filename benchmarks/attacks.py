"""How published weights hold out against noise, blur, JPEG, low resolution, FGSM and PGD: LFW View-1 and swaps.

The rival of every row is the same network on the photos as they are. FGSM and PGD need the network's gradient, so that
the ONNX graph is attacked on photos only. With --work DIR an interrupted measurement goes on where it stopped, and the
reports can be looked at.
"""

import argparse
import csv
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.harness import Report, parser, require, run_job
from benchmarks.real_fakes import COLUMNS, pairs_of
from benchmarks.verification import aligners
from faceverify.datasets.pair_lists import open_pairs
from faceverify.storage import open_location

FMR = 0.01
MODELS = {
    "mobilefacenet_foamliu, PyTorch": ("mobilefacenet_foamliu.pt", ("fgsm", "pgd")),
    "mobilefacenet_y1, ONNX": ("mobilefacenet_y1.onnx", ()),
}
ON_PHOTOS = ("noise", "blur", "jpeg", "low_resolution")


def write_pairs(data: Path, file: Path) -> Path:
    """The pairs of View-1, and every real photo with the fakes that claim its person, by paths below `data`."""
    listed = pa.Table.from_batches(list(open_pairs(open_location(str(data / "lfw" / "view1" / "pairs.txt")))))
    rows = [["" if row[name] is None else row[name] for name in COLUMNS] for row in listed.to_pylist()]
    fakes = [row for row in pairs_of(data / "fakes" / "images") if row[COLUMNS.index("kind")] == "deepfake"]
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for root, some in (("lfw/view1/images", rows), ("fakes/images", fakes)):
            writer.writerows((f"{root}/{one}", f"{root}/{other}", *rest) for one, other, *rest in some)
    return file


def percent(value: float | None) -> str:
    """A share for people."""
    return "-" if value is None else f"{value:.1%}"


def add_rows(report: Report, name: str, out: Path) -> None:
    """The curves of one run."""
    for point in pq.read_table(out / "curves").to_pylist():
        low_high = f"{percent(point['eer_real_low'])} to {percent(point['eer_real_high'])}"
        strength = "" if point["strength"] is None else f"{point['strength']:g}"
        rates = (percent(point[rate]) for rate in ("fnmr", "fmr", "iapar"))
        report.add(name, point["attack"], strength, percent(point["eer_real"]), low_high, *rates, str(point["failed"]))


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--work", type=Path, help="where runs are kept; default: a folder that is deleted")
    chosen = options.parse_args()
    require(chosen.data / "lfw" / "view1", chosen.data / "fakes" / "images", chosen.data / "models")
    with tempfile.TemporaryDirectory() as folder:
        measure(chosen, (chosen.work or Path(folder)).resolve())


def measure(chosen: argparse.Namespace, work: Path) -> None:
    """Fill and write the table."""
    work.mkdir(parents=True, exist_ok=True)
    pairs = write_pairs(chosen.data, work / "pairs.csv")
    columns = ("model", "attack", "strength", "EER, real pairs", "95 %", "FNMR", "FMR", "IAPAR", "pairs without a face")
    claim = "Error rates when the second photo of each pair is attacked; the rows `none` are the photos as they are."
    report = Report("attacks", claim, columns)
    align = next(iter(aligners(chosen.data).values()))
    for name, (file, on_gradients) in MODELS.items():
        out = work / Path(file).stem
        given = ["--photos", str(chosen.data), "--pairs", str(pairs), "--model", str(chosen.data / "models" / file)]
        given += ["--attacks", *ON_PHOTOS, *on_gradients, "--calibrate-at", str(FMR), *align]
        seconds = run_job("attack", out, *given).manifest["seconds"]
        add_rows(report, name, out)
        took = f"{seconds['photos']:.0f} s for the photos, {seconds['pairs']:.0f} s for the pairs"
        report.notes.append(f"{name}: {took}.")
    report.notes += [
        f"FNMR, FMR and IAPAR (swaps accepted as the person): threshold of FMR {FMR:.0%} on the photos as they are.",
        "1,000 pairs of LFW View-1 and the swaps of `fakes/images`; faces by yunet, the most central one.",
    ]
    report.write(chosen.results)


if __name__ == "__main__":
    main()
