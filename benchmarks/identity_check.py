"""Asking whether photos are still what they were costs at most a twentieth of embedding them.

Local: a million files in a thousand folders, each looked at by `versions_now`. S3: 100,000 objects on a server of this
machine (moto, in a process of its own), spoken to over HTTP. Embedding is measured on real photos, on one core, with
all that a worker of `score` does: read, decode, find the face, embed; all cores are assumed to do it at that speed.
The rival of the local check is `hashlib.sha256` over the files' bytes, which is what `--photo-identity content` does.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa

from benchmarks.harness import CORES, Report, Spread, parser, require
from faceverify.align import AlignConfig, build
from faceverify.faces import READ_AHEAD, Stopwatch, crop_photos, embed_crops
from faceverify.images import ImageLimits
from faceverify.models import EngineConfig, load_engine
from faceverify.provenance import versions_now
from faceverify.scoring.plan import bare_rows
from faceverify.storage import Location

PER_FOLDER = 1000
MIB = 1 << 20
SAMPLE = 1000  # objects fetched to see what that takes
SERVER = """
import sys
from moto.server import ThreadedMotoServer
from moto.s3.models import s3_backends
server = ThreadedMotoServer(port=0, verbose=False)
import logging; logging.getLogger("werkzeug").setLevel(logging.ERROR)
server.start()
backend = s3_backends["123456789012"]["aws"]
backend.create_bucket("photos", "us-east-1")
for number in range(int(sys.argv[1])):
    backend.put_object("photos", f"{number // 1000:04d}/{number % 1000:03d}.jpg", b"%d" % number)
print("%s:%s" % server.get_host_and_port(), flush=True)
sys.stdin.read()
"""


def make_files(folder: Path, count: int) -> list[str]:
    """`count` files of 16 kB (one block is written, the rest is a hole), and their paths."""
    paths = []
    for number in range(count):
        if number % PER_FOLDER == 0:
            (folder / f"{number // PER_FOLDER:04d}").mkdir()
        path = f"{folder}/{number // PER_FOLDER:04d}/{number % PER_FOLDER:03d}.jpg"
        handle = os.open(path, os.O_CREAT | os.O_WRONLY)
        os.write(handle, b"%d" % number)
        os.ftruncate(handle, 16_384)
        os.close(handle)
        paths.append(path)
    return paths


def embedding_seconds(chosen: argparse.Namespace) -> float:
    """Of one photo on one core, by the median of the repeats."""
    photos = sorted((chosen.data / "lfw" / "view1" / "images").rglob("*.jpg"))[: chosen.embedded]
    aligner = build(AlignConfig(weights=str(chosen.detector)))
    engine = load_engine(str(chosen.model), EngineConfig(threads=1, provider="cpu"))
    rows = bare_rows(pa.array([path.name for path in photos], pa.large_string()), pa.array(map(str, photos)))
    times = []
    for _ in range(chosen.repeats):
        start = time.perf_counter()
        embed_crops(crop_photos(rows, aligner, ImageLimits(), Stopwatch()), engine, Stopwatch())
        times.append((time.perf_counter() - start) / len(photos))
    return Spread.of(times).median


def fetching_seconds(uris: list[str]) -> float:
    """Of one object, as a worker reads ahead."""
    with ThreadPoolExecutor(READ_AHEAD) as pool:
        start = time.perf_counter()
        list(pool.map(lambda uri: Location(uri).read_with_version(MIB), uris))
        return (time.perf_counter() - start) / len(uris)


def checked(uris: list[str], identity: str, repeats: int) -> Spread:
    """Seconds of looking at all of them; every one must be found."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        found = versions_now(uris, identity, MIB)  # pyrefly: ignore
        times.append(time.perf_counter() - start)
        assert None not in found and len(set(found)) == len(uris)
    return Spread.of(times)


def measure(chosen: argparse.Namespace, report: Report) -> None:
    """Both kinds of storage."""
    each = embedding_seconds(chosen) / CORES
    report.notes.append(f"Embedding: {each * 1e3:.2f} ms per photo on {CORES} cores ({chosen.embedded} photos of LFW).")

    def add(name: str, count: int, spread: Spread, fetch: float = 0.0) -> None:
        whole = (each + fetch) * count
        report.add(name, f"{count:,}", f"{spread:.2f}", f"{whole:,.0f}", f"{spread.median / whole:.2%}")

    with tempfile.TemporaryDirectory(dir=chosen.scratch) as folder:
        files = make_files(Path(folder), chosen.files)
        add("local: place, size and time", len(files), checked(files, "stat", chosen.repeats))
        some = files[: chosen.files // 10]
        add("local: SHA-256 of 16 kB each", len(some), checked(some, "content", 1))
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(chosen.objects)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    os.environ |= {"AWS_ENDPOINT_URL": f"http://{server.stdout.readline().strip()}", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    try:
        uris = [f"s3://photos/{n // 1000:04d}/{n % 1000:03d}.jpg" for n in range(chosen.objects)]
        used = time.process_time()
        spread = checked(uris, "stat", chosen.repeats)
        used = (time.process_time() - used) / chosen.repeats
        fetch = fetching_seconds(uris[:: max(1, len(uris) // SAMPLE)])
        add("S3: ETag and size", len(uris), spread, fetch)
        report.notes.append(
            f"S3: fetching an object of this server takes {fetch * 1e3:.2f} ms, {READ_AHEAD} at a time."
        )
        report.notes.append(f"S3: {used:.2f} s of that is this process's own work, the rest the server's.")
    finally:
        server.kill()
        server.wait()


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--files", type=int, default=1_000_000, help="local files")
    options.add_argument("--objects", type=int, default=100_000, help="objects in S3")
    options.add_argument("--embedded", type=int, default=300, help="real photos that are embedded")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--scratch", type=Path, help="folder for the files; default: that of the system")
    chosen = options.parse_args()
    chosen.model = chosen.data / "models" / "mobilefacenet_y1.onnx"
    chosen.detector = chosen.data / "models" / "face_detection_yunet_2026may.onnx"
    require(chosen.data / "lfw" / "view1" / "images", chosen.model, chosen.detector)
    claim = "Is every photo what it was? Against embedding them all. Target: <= 5 %."
    columns = ("check", "photos", "seconds", "embedding them, s", "share")
    report = Report("identity_check", claim, columns)
    measure(chosen, report)
    report.write(chosen.results)


if __name__ == "__main__":
    main()
