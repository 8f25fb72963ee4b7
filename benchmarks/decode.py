"""Checking a photo while decoding it costs little: `images.decode` against bare OpenCV and Pillow on the same bytes.

`images.decode` also obeys limits and EXIF, and refuses files that are cut or damaged, of which OpenCV returns a
picture that is partly grey.
"""

import io
import statistics
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from benchmarks.harness import Report, Spread, parser, require, seconds_of
from faceverify.images import decode, encode_jpeg


def bare_opencv(data: bytes) -> np.ndarray:
    """What a script would write."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def pillow(data: bytes) -> np.ndarray:
    """What a careful script would write."""
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def large_photos(count: int) -> list[bytes]:
    """JPEGs of 12 megapixels, smooth with some noise, as a phone makes them (about 3 MB)."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        smooth = cv2.resize(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8), (4000, 3000))
        noisy = smooth.astype(np.int16) + rng.integers(-6, 7, smooth.shape, dtype=np.int16)
        made.append(encode_jpeg(np.clip(noisy, 0, 255).astype(np.uint8), 90))
    return made


def compare(report: Report, what: str, files: list[bytes], repeats: int) -> None:
    """Time the three on the same bytes, taking turns, so that a change of clock rate meets all alike."""
    rivals: dict[str, Callable[[bytes], np.ndarray]] = {
        "faceverify": decode,
        "OpenCV": bare_opencv,
        "Pillow": pillow,
    }
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(repeats):
        for name, function in rivals.items():
            times[name].append(seconds_of(lambda f=function: [f(data) for data in files]) / len(files))
    ours = statistics.median(times["faceverify"])
    for name, spent in times.items():
        each = Spread.of([1000 * t for t in spent])
        report.add(what, name, f"{each:.3f}", f"{statistics.median(spent) / ours:.2f}")


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--photos", type=Path, help="folder of photos; default: LFW View-1")
    options.add_argument("--count", type=int, default=400, help="photos to read")
    options.add_argument("--repeats", type=int, default=5)
    chosen = options.parse_args()
    folder = chosen.photos or chosen.data / "lfw" / "view1" / "images"
    require(folder)
    cv2.setNumThreads(1)
    columns = ("photos", "decoder", "ms per photo", "time relative to ours")
    report = Report("decode", "Bytes in memory to RGB pixels, one thread.", columns)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())[: chosen.count]
    compare(report, f"{len(paths)} photos of the folder", [path.read_bytes() for path in paths], chosen.repeats)
    compare(report, "6 made of 4000x3000 pixels", large_photos(6), chosen.repeats)
    report.notes.append(f"Median (smallest to largest) of {chosen.repeats} passes.")
    report.write(chosen.results)


if __name__ == "__main__":
    main()
