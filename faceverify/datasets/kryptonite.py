"""Layout `kryptonite`, of the Kryptonite ML Challenge 2025.

Training set: `images/<person>/<photo>` and `meta.json` {"person/photo.jpg": 0 if real, 1 if fake}.
Test set: `images/<pair>/0.jpg` and `images/<pair>/1.jpg`, without `meta.json`: each folder is one unlabelled pair.
"""

import pyarrow as pa

from faceverify.datasets.listing import (
    Listing,
    Rejected,
    as_listed,
    list_photos,
    pairs_table,
    persons,
    photos_table,
    rejects_table,
)
from faceverify.datasets.options import DatasetConfig
from faceverify.datasets.paths import normalise_path
from faceverify.datasets.text_lists import read_text
from faceverify.errors import Reason, UserError
from faceverify.reading import MalformedError, parse_json, shown
from faceverify.storage import FileEntry, Location, printable


def read(source: Location, config: DatasetConfig) -> Listing:
    """List `source`; photos that `meta.json` does not name become rejects, names without a photo too.

    Raises:
        UserError: no photos, a bad `meta.json`, or neither form of the layout.
    """
    root, meta = source / config.kryptonite.images, source / config.kryptonite.meta
    entries, bad = list_photos(root)
    return _training(root, entries, bad, meta) if meta.exists() else _test(root, entries, bad, meta)


def _training(root: Location, entries: list[FileEntry], bad: list[Rejected], meta: Location) -> Listing:
    labels, refused = _read_meta(meta)
    labels, found = as_listed(labels, entries, root.uri)
    named = [entry for entry in entries if entry.path in labels]
    paths = [entry.path for entry in named]
    is_fake = pa.array([labels[path] for path in paths], pa.bool_())
    listed = {entry.path for entry in entries}
    listed |= {path for path, _, _ in bad}
    rejected = [(e.path, Reason.UNLABELLED, f"not named by {meta.name}") for e in entries if e.path not in labels]
    rejected += [*bad, *((path, Reason.MISSING, f"named by {meta.name}") for path in labels if path not in listed)]
    rejected += [(name, reason, f"named by {meta.name}") for name, reason in refused]
    return Listing(
        photos_table(root, named, person=persons(paths), is_fake=is_fake), None, rejects_table(rejected), found
    )


def _read_meta(meta: Location) -> tuple[dict[str, bool], list[tuple[str, Reason]]]:
    """{path: is it fake}, and the paths that leave the root or that no file can have."""
    try:
        content = parse_json(read_text(meta, "kryptonite.meta"))
    except MalformedError as error:
        raise UserError(f"kryptonite: '{meta}' cannot be read as JSON ({error}).") from None
    if not isinstance(content, dict):
        raise UserError(f"kryptonite: '{meta}' holds no object; write {{\"person/photo.jpg\": 0 or 1}}.")
    labels, refused = {}, []
    for key, value in content.items():
        if value not in (0, 1):
            raise UserError(
                f"kryptonite: '{meta}' gives {shown(key)} the value {shown(value)}; write 0 (real) or 1 (fake)."
            )
        path = normalise_path(key)
        if printable(key) != key:
            refused.append((printable(key), Reason.BAD_NAME))
        elif path is None:
            refused.append((key, Reason.OUTSIDE_ROOT))
        else:
            labels[path] = bool(value)
    return labels, refused


def _test(root: Location, entries: list[FileEntry], bad: list[Rejected], meta: Location) -> Listing:
    sides: dict[str, dict[str, FileEntry]] = {}
    rejected = list(bad)
    for entry in entries:
        pair, _, name = entry.path.rpartition("/")
        stem = name.split(".")[0]
        if not pair or "/" in pair or stem not in ("0", "1"):
            rejected.append((entry.path, Reason.UNLABELLED, "not <pair>/0.* or <pair>/1.*"))
        elif stem in sides.setdefault(pair, {}):
            rejected.append((entry.path, Reason.DUPLICATE, f"beside {sides[pair][stem].path}"))
        else:
            sides[pair][stem] = entry
    if not sides:
        raise UserError(f"kryptonite: there is no '{meta}', and '{root}' holds no folders <pair>/0.jpg, <pair>/1.jpg.")
    photos = [entry for side in sides.values() for _, entry in sorted(side.items())]
    whole = {pair: side for pair, side in sides.items() if len(side) == 2}
    pairs = pairs_table(list(whole), [side["0"].path for side in whole.values()], [s["1"].path for s in whole.values()])
    halves = [(pair, Reason.MISSING, "one of the two photos") for pair in sides if pair not in whole]
    return Listing(photos_table(root, photos), pairs, rejects_table(rejected, halves))
