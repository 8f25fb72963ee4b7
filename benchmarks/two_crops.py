"""Two crops of each photo in one pass beside one: reading, decoding and finding are done once.

Photos of LFW (250x250 pixels, where the second crop weighs most) and of pins, faces by YuNet, in one process.
"""

from pathlib import Path

import cv2
import pyarrow as pa

from benchmarks.harness import Report, Spread, parser, require, seconds_of
from faceverify import tables
from faceverify.align import AlignConfig, build
from faceverify.align.crops import ARCFACE, parse
from faceverify.faces import Stopwatch, crop_photos, encode_faces
from faceverify.images import ImageLimits
from faceverify.provenance import Origin

CROPS = {"arcface112": (ARCFACE,), "arcface112 and box160": (ARCFACE, parse("box160:margin=14"))}


def table_of(files: list[Path]) -> pa.Table:
    """Rows of the photos table."""
    columns = {field.name: pa.nulls(len(files), field.type) for field in tables.PHOTOS}
    columns |= {name: pa.array(map(str, files), pa.string()) for name in ("photo", "uri")}
    return pa.table(columns, schema=tables.PHOTOS)


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--photos", type=int, default=300)
    options.add_argument("--repeats", type=int, default=5)
    chosen = options.parse_args()
    require(chosen.data / "lfw", chosen.data / "pins")
    cv2.setNumThreads(1)
    weights = chosen.data / "models" / "face_detection_yunet_2026may.onnx"
    aligner = build(AlignConfig(method="yunet", weights=str(weights)))
    report = Report(
        "two_crops",
        f"{chosen.photos} photos in one pass, one process. Seconds, median (smallest to largest); ratio of two to one.",
        ("photos", "work", *CROPS, "ratio"),
    )
    for name, place in (("LFW", chosen.data / "lfw" / "images"), ("pins", chosen.data / "pins")):
        rows = table_of(sorted(place.glob("*/*"))[: chosen.photos])
        for work, encoded in (("decode, find, cut", False), ("the same and encode as PNG", True)):
            spent: dict[str, list[float]] = {crops: [] for crops in CROPS}
            for _ in range(chosen.repeats):
                for crops, cut in CROPS.items():

                    def once(cut: tuple = cut, encoded: bool = encoded, rows: pa.Table = rows) -> None:
                        made = crop_photos(rows, aligner, ImageLimits(), Stopwatch(), origin=Origin(None, crops=cut))
                        if encoded:
                            encode_faces(made, Stopwatch())

                    spent[crops].append(seconds_of(once))
            one, two = spent.values()
            ratio = Spread.of([after / before for before, after in zip(one, two, strict=True)])
            report.add(name, work, *(f"{Spread.of(values):.2f}" for values in (one, two)), f"{ratio:.2f}")
    report.write(chosen.results)


if __name__ == "__main__":
    main()
