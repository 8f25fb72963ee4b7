"""What every layout returns, and the tables' assembly from columns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from faceverify.errors import Reason, UserError
from faceverify.matching import is_side_file
from faceverify.naming import resolve
from faceverify.storage import FileEntry, Location
from faceverify.tables import PAIRS, PHOTOS, REJECTS

SHOWN = 3  # names in a message


@dataclass(frozen=True)
class Listing:
    """Rows of `photos`, of `pairs` where the layout has them (extra columns such as `fold` last), and `rejects`.

    found: photos that the layout's list names otherwise than they are called, as `faceverify.naming.Naming.ways`.
    notes: what was understood of the folders' names, as phrases.
    """

    photos: pa.Table
    pairs: pa.Table | None
    rejects: pa.Table
    found: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class NothingFound(UserError):
    """A source does not hold what its layout asks for; the text says what there is instead."""

    def __init__(self, sentence: str, source: Location) -> None:
        there = [f"{folder.name}/" for folder in source.folders()]
        there += [entry.path for entry in source.files(recursive=False)] if len(there) < SHOWN else []
        some = ", ".join(f"'{name}'" for name in there[:SHOWN])
        more = ", ..." if len(there) > SHOWN else ""
        super().__init__(
            f"{sentence}; there is {f'{some}{more}' if there else 'nothing'} in it; check --source and --layout."
        )


Rejected = tuple[str, Reason, str]  # a photo's path, why, and the detail


def list_photos(root: Location) -> tuple[list[FileEntry], list[Rejected]]:
    """The files below `root`, sorted, without hidden ones and well-known side files; and what is no file there.

    All others count as photos whatever their suffix: if one holds no picture, decoding says so.

    Raises:
        UserError: the folder is not there, or holds no photo.
        PlatformError: the folder may not be read.
    """
    if not root.is_dir():
        raise NothingFound(f"source: there is no folder '{root}'", root.parent)
    files, bad = root.listing(hidden=False)
    entries = [entry for entry in files if not is_side_file(entry.path)]
    rejected = [(one.path, one.reason, one.detail) for one in bad if not is_side_file(one.path)]
    if not entries:
        why = f", only what is no photo ({rejected[0][0]}: {rejected[0][1]})" if rejected else ""
        raise NothingFound(f"source: the folder '{root}' holds no photos{why}", root)
    return entries, rejected


V = TypeVar("V")


def as_listed(
    labels: Mapping[str, V], entries: Sequence[FileEntry], root: str = ""
) -> tuple[dict[str, V], dict[str, tuple[int, str, str]]]:
    """What a list says of photos, under the names that these have; and how many it names otherwise, as in Listing.

    Args:
        labels: by the names of the list.
        entries: the photos that are there.
        root: their folder.
    """
    paths = dict.fromkeys(entry.path for entry in entries)
    naming = resolve(labels, [name for name in labels if name not in paths], lambda: paths, root)
    renamed: dict[str, V] = {}
    for name, value in labels.items():
        photo = naming.others.get(name, name)
        renamed[name if photo in labels or photo in renamed else photo] = value  # one photo, one line
    return renamed, naming.ways


def persons(paths: Sequence[str]) -> pa.Array:
    """The first folder of each path; null for a file in the root."""
    return pa.array([path.partition("/")[0] if "/" in path else None for path in paths], pa.string())


def photos_table(root: Location, entries: Sequence[FileEntry], **columns: pa.Array) -> pa.Table:
    """Rows of `photos` for listed files; `columns` (person, is_fake, generator ...) are null unless given."""
    photo = pa.array([entry.path for entry in entries], pa.string())
    known = {
        "photo": photo,
        "uri": pc.binary_join_element_wise(pa.scalar(root.uri.rstrip("/")), photo, pa.scalar("/")),
        "bytes_size": pa.array([entry.size for entry in entries], pa.int64()),
        **columns,
    }
    arrays = [known[field.name] if field.name in known else pa.nulls(len(entries), field.type) for field in PHOTOS]
    return pa.Table.from_arrays(arrays, schema=PHOTOS)


def pairs_table(
    pair: Sequence[str], photo_a: Sequence[str] | pa.Array, photo_b: Sequence[str] | pa.Array, **columns: pa.Array
) -> pa.Table:
    """Rows of `pairs`; `columns` (label, kind, person_a ...) are null unless given."""
    known = {"pair": pair, "photo_a": photo_a, "photo_b": photo_b, **columns}
    arrays = [
        pa.array(known[field.name], field.type) if field.name in known else pa.nulls(len(pair), field.type)
        for field in PAIRS
    ]
    return pa.Table.from_arrays(arrays, schema=PAIRS)


def rejects_table(
    photos: Iterable[tuple[str, Reason, str]] = (), pairs: Iterable[tuple[str, Reason, str]] = ()
) -> pa.Table:
    """Rows of `rejects` of the stage `ingest` from (photo or pair, reason, detail)."""
    rows = [{"photo": key, "reason": reason.value, "detail": detail} for key, reason, detail in photos]
    rows += [{"pair": key, "reason": reason.value, "detail": detail} for key, reason, detail in pairs]
    return pa.Table.from_pylist([{"stage": "ingest", **row} for row in rows], schema=REJECTS)
