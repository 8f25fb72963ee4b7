"""Lists of as many photos as a measurement needs, from a folder with fewer: further names for the same files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.floor import Cutter, Task, read
from faceverify.tables import PHOTOS


@dataclass(frozen=True)
class Photos:
    """Photos with a face that was found beforehand: paths and landmarks [5,2]."""

    paths: list[str]
    landmarks: list[np.ndarray]

    def tasks(self, given: bool) -> list[Task]:
        """For the floor; `given`: with the landmarks."""
        return [(p, m if given else None) for p, m in zip(self.paths, self.landmarks, strict=True)]

    def write_table(self, file: Path) -> Path:
        """A photos table; photo k is called `k.jpg` and lies where paths[k] says."""
        known = {
            "photo": pa.array([f"{k}.jpg" for k in range(len(self.paths))]),
            "uri": pa.array(self.paths),
            "landmarks": pa.array([m.reshape(10).tolist() for m in self.landmarks], PHOTOS.field("landmarks").type),
        }
        nothing = {field.name: pa.nulls(len(self.paths), field.type) for field in PHOTOS}
        pq.write_table(pa.table(nothing | known, schema=PHOTOS), file)
        return file


def find_photos(folder: Path, detector: Path, count: int) -> Photos:
    """`count` photos: those of `folder` in which a face is found, repeated as often as needed."""
    cut = Cutter(detector)
    found = [(str(path), cut.find(read(str(path)))) for path in sorted(folder.rglob("*.jpg"))]
    usable = [(path, landmarks) for path, landmarks in found if landmarks is not None]
    repeated = [usable[k % len(usable)] for k in range(count)]
    return Photos([path for path, _ in repeated], [landmarks for _, landmarks in repeated])


def write_pairs(pairs: list[tuple[int, int]], file: Path) -> Path:
    """A CSV of pairs of photo numbers."""
    file.write_text("photo_a,photo_b\n" + "".join(f"{a}.jpg,{b}.jpg\n" for a, b in pairs))
    return file
