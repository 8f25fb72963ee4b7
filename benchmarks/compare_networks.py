"""The networks at hand on LFW View-1, on pairs of `pins` and on swaps, by the job `compare`; and what each accepts.

Pairs of `pins`: photo i of a person with photo i + 1 of the same, and with photo i of the next person by name. Swaps:
each with every real photo of the person that it claims to be.
"""

import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.harness import Report, parser, require, run_job

COLUMNS = ("photo_a", "photo_b", "label", "kind", "generator", "person_a", "person_b")
NETWORKS = ("mobilefacenet_y1.onnx", "mobilefacenet_foamliu.pt")
Row = tuple[str, str, int, str, str, str, str]


def pins_pairs(root: Path) -> Iterator[Row]:
    """The rule above."""
    photos = {folder.name: sorted(file.name for file in folder.iterdir()) for folder in sorted(root.iterdir())}
    people = list(photos)
    for person, following in zip(people, [*people[1:], people[0]], strict=True):
        for one, other in zip(photos[person], photos[person][1:], strict=False):
            yield f"{person}/{one}", f"{person}/{other}", 1, "genuine", "", person, person
        for one, other in zip(photos[person], photos[following], strict=False):
            yield f"{person}/{one}", f"{following}/{other}", 0, "impostor", "", person, following


def swap_pairs(data: Path) -> Iterator[Row]:
    """Each fake with the real photos of its person in the same folder of swaps, in the gallery, and in pins."""
    with (data / "swaps" / "swaps.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    real: dict[str, list[str]] = {}
    for row in rows:
        if row["role"] == "real_source":
            real.setdefault(row["claimed"], []).append(f"swaps/{row['path']}")
    for place in ("swaps/gallery", "pins"):
        for folder in sorted((data / place).iterdir()):
            real.setdefault(folder.name, []).extend(
                f"{place}/{folder.name}/{one.name}" for one in sorted(folder.iterdir())
            )
    for row in rows:
        if row["role"] == "fake":
            for photo in real.get(row["claimed"], ()):
                yield photo, f"swaps/{row['path']}", 0, "deepfake", row["generator"], row["claimed"], row["claimed"]


def write(rows: Iterator[Row], path: Path) -> Path:
    """A list of pairs."""
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([COLUMNS, *rows])
    return path


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--work", type=Path, help="keep what the jobs make here, the page with it")
    chosen = options.parse_args()
    data = chosen.data
    require(data / "lfw" / "view1", data / "pins", data / "swaps", data / "models")
    with tempfile.TemporaryDirectory() as folder:
        work = chosen.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        view = data / "lfw" / "view1"
        pins, swaps = write(pins_pairs(data / "pins"), work / "pins.csv"), write(swap_pairs(data), work / "swaps.csv")
        sets = [
            f"lfw_view1={view / 'images'},{view / 'pairs.txt'}",
            f"pins={data / 'pins'},{pins}",
            f"swaps={data},{swaps}",
        ]
        models = [str(data / "models" / name) for name in NETWORKS]
        align = [
            "--align.method",
            "yunet",
            "--align.weights",
            str(data / "models" / "face_detection_yunet_2026may.onnx"),
        ]
        given = ["--models", *models, "--sets", *sets, *align, "--calibrate-at", "0.01", "--max-failed", "0.2"]
        run = run_job("compare", work / "compare", *given)
        table = pq.read_table(work / "compare" / "results").to_pylist()
    networks = list(run.manifest["models"])
    report = Report("compare_networks", run.manifest["summary"], ("set", "figure", "pairs", *networks))
    for key in dict.fromkeys((row["set"], row["figure"], row["of"]) for row in table):
        cells, pairs = [], ""
        for network in networks:
            found = [r for r in table if r["network"] == network and (r["set"], r["figure"], r["of"]) == key]
            cells.append("".join(shown(row) for row in found))
            pairs = next((f"{row['pairs']:,}" for row in found if row["pairs"]), pairs)
        report.add(key[0], f"{key[1]} {key[2]}".strip(), pairs, *cells)
    report.notes += [
        f"{name}: {speed:.0f} photos per second of a worker"
        for name, speed in run.manifest["photos_per_second"].items()
    ]
    report.write(chosen.results)


def shown(row: dict[str, float]) -> str:
    """A figure with its interval."""
    bounds = f" ({100 * row['low']:.2f} to {100 * row['high']:.2f})" if row["low"] is not None else ""
    return f"{100 * row['value']:.2f} %{bounds}"


if __name__ == "__main__":
    main()
