"""Who is learnt from and who is judged: photos and fakes of the test data, divided into TRAIN, DEV and TEST.

TRAIN, DEV and TEST have no person and no clip in common; `make_deepfakes` says how they were divided.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

FILE = Path(__file__).with_name("deepfakes.csv")
TRAIN, DEV, TEST = "TRAIN", "DEV", "TEST"


@dataclass(frozen=True, slots=True)
class Row:
    """One picture.

    Args:
        path: below the data folder.
        role: real; fake; host = the real frame or photo that fakes were made from, of a person without a name.
        generator, family: of a fake; else empty. `reenactment`: the identity is the host's, only his face moves.
        person: whom a fake claims to show; of a real photo who it is, or which clip or pair it is of.
        unit: clip x claimed person: what counts once, however many frames there are. Of a real photo its person.
        host_path: of a fake: the real picture it was made from, if known.
        source: of the photos: lfw, view1, pins, gallery, fakes, ffpp, deepfacelive_dfm, collages, segmind.
        split: TRAIN, DEV or TEST.
        detector: whether detectors are judged by it; without, it is only compared with others.
    """

    path: str
    role: str
    generator: str
    family: str
    person: str
    unit: str
    host_path: str
    source: str
    split: str
    detector: bool


def read(path: Path = FILE) -> list[Row]:
    """The rows of the split."""
    with path.open(newline="") as lines:
        return [_row(line) for line in csv.DictReader(lines)]


def _row(line: dict[str, str]) -> Row:
    texts = {name: value for name, value in line.items() if name != "detector"}
    return Row(**texts, detector=line["detector"] == "yes")  # pyrefly: ignore


def write(rows: Iterable[Row], path: Path = FILE) -> None:
    """Write the split, sorted by path."""
    with path.open("w", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        names = [field.name for field in fields(Row)]
        writer.writerow(names)
        for row in sorted(rows, key=lambda row: row.path):
            values = {name: getattr(row, name) for name in names} | {"detector": "yes" if row.detector else "no"}
            writer.writerow(values.values())
