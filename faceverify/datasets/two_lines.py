"""Layouts `calfw` and `cplfw`: photos in one folder, and pairs of two lines `file token` each.

CALFW (`pairs_CALFW.txt`, folder `aligned images`): the token of a genuine pair is its fold, 1 to 10, of an impostor
pair 0; all genuine pairs come first. CPLFW (`pairs_CPLFW.txt`): the token is 1 or 0. In both a pair is genuine if its
token is not 0: who takes only 1 for genuine loses nine tenths of CALFW's pairs.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify.datasets.folds import folds_of, runs
from faceverify.datasets.listing import Listing, NothingFound, list_photos, pairs_table, photos_table, rejects_table
from faceverify.datasets.options import DatasetConfig
from faceverify.datasets.text_lists import read_lines
from faceverify.errors import UserError
from faceverify.storage import Location

_PAIRS = {"calfw": "pairs_CALFW.txt", "cplfw": "pairs_CPLFW.txt"}
_PHOTOS = ("aligned images", "aligned_images", "images")


class TwoLinePair(NamedTuple):
    """A pair as the text says it: `fold` from 0, None where the text has none."""

    photo_a: str
    photo_b: str
    label: int
    fold: int | None


def read(source: Location, config: DatasetConfig) -> Listing:
    """List `source`: all photos are real, the person is the file's name up to its number; pairs carry their `fold`.

    Raises:
        UserError: no photos, no pairs file, or a malformed one (naming the line).
    """
    pairs = read_two_lines(_pairs_file(source, config.layout))
    root = next((source / name for name in _PHOTOS if (source / name).is_dir()), source)
    entries, rejected = list_photos(root)
    entries = [entry for entry in entries if not entry.path.endswith(".txt")]
    if not entries:
        raise NothingFound(f"source: the folder '{root}' holds no photos", root)
    people = pa.array([_person(entry.path) for entry in entries], pa.string())
    photos = photos_table(root, entries, person=people, is_fake=pa.repeat(pa.scalar(False), len(entries)))
    return Listing(photos, with_folds(pairs), rejects_table(rejected))


def read_two_lines(location: Location) -> list[TwoLinePair]:
    """The pairs of a text, in its order.

    Raises:
        UserError: the file is not there, or a line is malformed.
    """
    lines = [(number, _line(line, number, location)) for number, line in read_lines(location, "pairs") if line.strip()]
    if not lines or len(lines) % 2:
        raise UserError(f"pairs: '{location}' has {len(lines)} lines; a pair takes two, 'file token' each.")
    pairs = []
    for (_, (a, token)), (number, (b, other)) in zip(lines[::2], lines[1::2], strict=True):
        if token != other:
            raise UserError(
                f"pairs: '{location}' line {number} ends with {other} and the line before with {token}; "
                "both lines of a pair have the same token."
            )
        pairs.append((a, b, token))
    # Where tokens count higher than 1 they are folds; else they are labels.
    numbered = max(token for *_, token in pairs) > 1
    return [TwoLinePair(a, b, int(token > 0), token - 1 if numbered and token else None) for a, b, token in pairs]


def with_folds(pairs: list[TwoLinePair]) -> pa.Table:
    """Rows of `pairs` and `fold`: the i-th run of the impostor pairs goes with fold i of the genuine ones."""
    label = np.array([pair.label for pair in pairs], np.int8)
    told = np.array([-1 if pair.fold is None else pair.fold for pair in pairs], np.int32)
    fold = told
    if told.max() >= 0:
        fold[label == 0] = runs(int((label == 0).sum()), int(told.max()) + 1)
    else:
        fold, _ = folds_of(label)
    a, b = (pa.array([pair[at] for pair in pairs], pa.string()) for at in (0, 1))
    table = pairs_table(
        [str(index) for index in range(len(pairs))],
        a,
        b,
        label=pa.array(label),
        kind=pc.if_else(pc.equal(pa.array(label), 1), "genuine", "impostor"),
        person_a=pa.array([_person(pair.photo_a) for pair in pairs], pa.string()),
        person_b=pa.array([_person(pair.photo_b) for pair in pairs], pa.string()),
    )
    return table.append_column("fold", pa.nulls(len(pairs), pa.int32()) if fold is None else pa.array(fold, pa.int32()))


def _pairs_file(source: Location, layout: str) -> Location:
    name = _PAIRS[layout]
    for place in (source / name, source.parent / name):
        if place.is_file():
            return place
    raise UserError(f"{layout}: there is no '{name}' in '{source}'; put the list beside the folder of the photos.")


def _line(line: str, number: int, location: Location) -> tuple[str, int]:
    name, _, token = line.strip().replace("\t", " ").rpartition(" ")
    name = name.strip()
    if not name or "\0" in name or "/" in name or not (token.isascii() and token.isdigit() and len(token) < 4):
        raise UserError(
            f"pairs: '{location}' line {number} is '{line[:60]}'; it must be 'file token', the token a number."
        )
    return name, int(token)


def _person(name: str) -> str:
    """`Ada_Lum` of `Ada_Lum_0001.jpg` and of `Ada_Lum_1.jpg`."""
    stem = name.rpartition(".")[0]
    person, _, number = stem.rpartition("_")
    return person if person and number.isdigit() else stem
