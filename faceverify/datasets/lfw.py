"""Layout `lfw`: `<Person>/<Person>_0001.jpg` and `pairs.txt`, in both forms in which LFW publishes it.

View 2 starts with `10<TAB>300`: ten folds, in each 300 genuine and then 300 impostor lines. View 1 starts with `500`:
500 genuine and then 500 impostor lines. A genuine line is `Name<TAB>i<TAB>j`, an impostor line
`NameA<TAB>i<TAB>NameB<TAB>j`. Source: http://vis-www.cs.umass.edu/lfw/README.txt
"""

import pyarrow as pa
import pyarrow.compute as pc

from faceverify.datasets.listing import Listing, list_photos, pairs_table, persons, photos_table, rejects_table
from faceverify.datasets.options import DatasetConfig, LfwConfig
from faceverify.datasets.text_lists import read_lines
from faceverify.errors import UserError
from faceverify.storage import Location

_FORMS = {3: "Name<TAB>i<TAB>j", 4: "NameA<TAB>i<TAB>NameB<TAB>j"}


def read(source: Location, config: DatasetConfig) -> Listing:
    """List `source`: all photos are real, the person is the folder; pairs carry their `fold` (int32, null in View 1).

    A pair may name a photo that is not there; it stays in the list, and scoring reports it.

    Raises:
        UserError: no photos, no pairs file, or a malformed one (naming the line).
    """
    root = _images(source, config.lfw)
    entries, rejected = list_photos(root)
    paths = [entry.path for entry in entries]
    photos = photos_table(root, entries, person=persons(paths), is_fake=pa.repeat(pa.scalar(False), len(entries)))
    pairs = read_pairs(_pairs_file(source, root, config.lfw.pairs)) if config.lfw.pairs else None
    return Listing(photos, None if pairs is None else _with_suffixes(pairs, paths), rejects_table(rejected))


def read_pairs(location: Location) -> pa.Table:
    """Rows of `pairs` and `fold` from a `pairs.txt`; photos are named `.jpg`, pairs by their row number.

    Raises:
        UserError: the file is not there, or a line is malformed.
    """
    first, header = next(read_lines(location, "lfw"), (1, ""))
    folds, count = _header(header, first, location)
    last = max((number for number, line in read_lines(location, "lfw") if line.strip()), default=first)
    if last - first != 2 * folds * count:
        raise UserError(
            f"lfw: '{location}' announces {2 * folds * count} pairs in line {first}, but has {last - first} lines "
            "after it."
        )
    rows = [
        _row(line, 3 if (number - first - 1) // count % 2 == 0 else 4, number, location)
        for number, line in read_lines(location, "lfw")
        if first < number <= last
    ]
    fold = [index // (2 * count) if folds > 1 else None for index in range(len(rows))]
    return _table(rows, fold)


def _images(source: Location, config: LfwConfig) -> Location:
    if config.images:
        return source / config.images
    inside = source / "images"
    return inside if inside.is_dir() else source


def _pairs_file(source: Location, root: Location, name: str) -> Location:
    for place in (source / name, root / name):
        if place.exists():
            return place
    raise UserError(
        f"lfw.pairs: there is no '{name}' in '{source}'; name it, or leave lfw.pairs empty for photos only."
    )


def _fields(line: str) -> list[str]:
    return [part.strip() for part in line.split("\t")] if "\t" in line else line.split()


def _header(line: str, number: int, location: Location) -> tuple[int, int]:
    """(folds, pairs per fold and class)."""
    parts = _fields(line)
    if len(parts) not in (1, 2) or not all(_is_number(part) and int(part) for part in parts):
        raise UserError(
            f"lfw: '{location}' line {number} is '{line[:60]}'; it must be '<folds><TAB><pairs>' or '<pairs>'."
        )
    return (int(parts[0]), int(parts[1])) if len(parts) == 2 else (1, int(parts[0]))


def _row(line: str, width: int, number: int, location: Location) -> tuple[str, str, str, str]:
    """(photo_a, photo_b, person_a, person_b) of one line that must have `width` fields."""
    parts = _fields(line)
    numbers = [parts[1], parts[-1]] if len(parts) == width else [""]
    if not all(_is_number(text) for text in numbers) or not _is_name(parts[0]) or not _is_name(parts[-2]):
        raise UserError(f"lfw: '{location}' line {number} is '{line[:60]}'; it must be '{_FORMS[width]}'.")
    a, b = parts[0], parts[0] if width == 3 else parts[2]
    return f"{a}/{a}_{int(parts[1]):04d}.jpg", f"{b}/{b}_{int(parts[-1]):04d}.jpg", a, b


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _is_name(name: str) -> bool:
    return bool(name) and name not in (".", "..") and not {"/", "\\", "\0"} & set(name)


def _table(rows: list[tuple[str, str, str, str]], fold: list[int | None]) -> pa.Table:
    photo_a, photo_b, person_a, person_b = (pa.array(column, pa.string()) for column in zip(*rows, strict=True))
    label = pc.equal(person_a, person_b).cast(pa.int8())
    pairs = pairs_table(
        [str(index) for index in range(len(rows))],
        photo_a,
        photo_b,
        label=label,
        kind=pc.if_else(pc.equal(label, 1), "genuine", "impostor"),
        person_a=person_a,
        person_b=person_b,
    )
    return pairs.append_column("fold", pa.array(fold, pa.int32()))


def _with_suffixes(pairs: pa.Table, paths: list[str]) -> pa.Table:
    """Photos named as they are listed, where their suffix is another than .jpg."""
    others = {path.rpartition(".")[0] + ".jpg": path for path in paths if not path.endswith(".jpg")}
    for name in ("photo_a", "photo_b") if others else ():
        column = pa.array([others.get(path, path) for path in pairs[name].to_pylist()], pa.string())
        pairs = pairs.set_column(pairs.schema.get_field_index(name), pairs.schema.field(name), column)
    return pairs
