"""Reads every file of a folder in this process, which has limits, and prints how each came out as JSON.

    python limited.py FOLDER

A file is read by what its ending says. For each: the refusal or "read", seconds, and by how many bytes memory grew.
"""

import json
import resource
import sys
import time
from pathlib import Path

from faceverify.datasets import DatasetConfig, InsightfaceBinConfig, read
from faceverify.errors import FaceverifyError
from faceverify.models import card, checkpoints, onnx_file
from faceverify.storage import open_location

LIMIT = 3 << 30


def read_bin(path: Path) -> None:
    out = InsightfaceBinConfig(out=str(path.with_suffix(".out")))
    read(open_location(str(path)), DatasetConfig(layout="insightface_bin", insightface_bin=out))


READERS = {
    ".pt": lambda path: checkpoints.identify(checkpoints.read(path)),
    ".ckpt": lambda path: checkpoints.convert(path, path.with_suffix(".out.safetensors")),
    ".safetensors": checkpoints.read,
    ".h5": checkpoints.read,
    ".onnx": onnx_file.read,
    ".json": lambda path: card.parse(path.read_bytes(), str(path)),
    ".bin": read_bin,
}


def memory(field: str) -> int:
    """Bytes of memory now (VmRSS), or the most since it was forgotten (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(field))


def main() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))
    found = {}
    for path in sorted(Path(sys.argv[1]).iterdir()):
        if path.suffix not in READERS:
            continue
        Path("/proc/self/clear_refs").write_text("5")  # forgets the most memory so far
        before, start = memory("VmRSS"), time.perf_counter()
        try:
            READERS[path.suffix](path)
            said = "read"
        except FaceverifyError as error:
            said = str(error)
        found[path.name] = [said, time.perf_counter() - start, memory("VmHWM") - before]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
