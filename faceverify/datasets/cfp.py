"""Layouts `cfp_fp` and `cfp_ff`: Celebrities in Frontal-Profile, as its authors publish it.

    Data/Images/001/frontal/01.jpg, Data/Images/001/profile/01.jpg
    Protocol/Pair_list_F.txt, Pair_list_P.txt        number path, the path relative to Protocol
    Protocol/Split/FP/01..10/{same,diff}.txt         a,b: numbers of these lists; FP: frontal, profile; FF: both frontal

Each folder of Split is a fold; no person is in two of them. A number is a key of its list, not the number of a line.
"""

import pyarrow as pa
import pyarrow.compute as pc

from faceverify.datasets.listing import Listing, list_photos, pairs_table, persons, photos_table, rejects_table
from faceverify.datasets.options import DatasetConfig
from faceverify.datasets.text_lists import read_lines
from faceverify.errors import UserError
from faceverify.storage import Location

_IMAGES = "Data/Images"
_LISTS = {"FP": ("F", "P"), "FF": ("F", "F")}
Pair = tuple[str, str, int, int]  # photo_a, photo_b, label, fold from 0


def read(source: Location, config: DatasetConfig) -> Listing:
    """List `source`: all photos are real, the person is the folder; pairs carry their `fold`.

    Raises:
        UserError: no photos, no protocol, or a malformed list (naming the line).
    """
    pairs = read_cfp(source / "Protocol", config.layout.rpartition("_")[2].upper())
    root = source / _IMAGES
    entries, rejected = list_photos(root)
    paths = [entry.path for entry in entries]
    photos = photos_table(root, entries, person=persons(paths), is_fake=pa.repeat(pa.scalar(False), len(entries)))
    return Listing(photos, _table(pairs), rejects_table(rejected))


def read_cfp(protocol: Location, kind: str) -> list[Pair]:
    """The pairs of `Split/<kind>`, kind FP or FF, by fold, the genuine ones first.

    Raises:
        UserError: a file is not there, or a line is malformed or names a number that its list does not have.
    """
    paths = {name: _paths(protocol / f"Pair_list_{name}.txt") for name in set(_LISTS[kind])}
    folders = (protocol / "Split" / kind).folders()
    if not folders:
        raise UserError(f"cfp: there is no fold in '{protocol / 'Split' / kind}'; unpack the whole of Protocol.")
    pairs = []
    for fold, folder in enumerate(folders):
        for name, label in (("same.txt", 1), ("diff.txt", 0)):
            for number, line in read_lines(folder / name, "cfp"):
                if not line.strip():
                    continue
                keys = [key.strip() for key in line.split(",")]
                known = [paths[of].get(key) for of, key in zip(_LISTS[kind], keys, strict=False)]
                if len(keys) != 2 or None in known:
                    raise UserError(
                        f"cfp: '{folder / name}' line {number} is '{line[:60]}'; it must be 'a,b', two numbers of "
                        f"{' and '.join(f'Pair_list_{of}.txt' for of in _LISTS[kind])}."
                    )
                pairs.append((str(known[0]), str(known[1]), label, fold))
    if not pairs:
        raise UserError(f"cfp: no fold of '{protocol / 'Split' / kind}' has a pair; unpack the whole of Protocol.")
    return pairs


def _paths(location: Location) -> dict[str, str]:
    """Number -> path below Data/Images."""
    found: dict[str, str] = {}
    for number, line in read_lines(location, "cfp"):
        if not line.strip():
            continue
        key, _, path = line.strip().partition(" ")
        inside = path.strip().replace("\\", "/").partition(f"{_IMAGES}/")[2]
        if not key.isdigit() or not inside or ".." in inside.split("/"):
            raise UserError(
                f"cfp: '{location}' line {number} is '{line[:60]}'; it must be 'number ../{_IMAGES}/<person>/...'."
            )
        if key in found:
            raise UserError(f"cfp: '{location}' line {number} gives the number {key} a second time; keep one.")
        found[key] = inside
    return found


def _table(pairs: list[Pair]) -> pa.Table:
    a, b, label, fold = (list(column) for column in zip(*pairs, strict=True))
    same = pa.array(label, pa.int8())
    table = pairs_table(
        [str(index) for index in range(len(pairs))],
        pa.array(a, pa.string()),
        pa.array(b, pa.string()),
        label=same,
        kind=pc.if_else(pc.equal(same, 1), "genuine", "impostor"),
        person_a=persons(a),
        person_b=persons(b),
    )
    return table.append_column("fold", pa.array(fold, pa.int32()))
