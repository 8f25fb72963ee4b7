"""Layout `celeba`: CelebA (Liu et al., ICCV 2015), aligned (`img_align_celeba`) or in the wild (`img_celeba`).

    img_align_celeba/000001.jpg             below the source, or below Img/
    identity_CelebA.txt                     000001.jpg 2880
    list_eval_partition.txt                 000001.jpg 0            0 train, 1 val, 2 test
    list_landmarks_align_celeba.txt         000001.jpg 69 109 ...   five points; list_landmarks_celeba.txt in the wild

The last two are optional. The lists lie in the source, or below Anno/ and Eval/. Their left eye is the image-left one,
as everywhere here.
"""

import numpy as np
import pyarrow as pa

from faceverify.datasets import DatasetConfig
from faceverify.datasets.listing import Listing, list_photos, photos_table, rejects_table
from faceverify.datasets.text_lists import read_lines
from faceverify.errors import Reason, UserError
from faceverify.storage import FileEntry, Location
from faceverify.tables import LANDMARKS

_LANDMARKS_OF = {"img_align_celeba": "list_landmarks_align_celeba.txt", "img_celeba": "list_landmarks_celeba.txt"}
_SPLITS = {"0": "train", "1": "val", "2": "test"}


def read(source: Location, config: DatasetConfig) -> Listing:
    """List `source`; photos without an identity become rejects, identities without a photo too.

    Raises:
        UserError: there are no photos, no identities, or a line of a list is not of the expected form.
    """
    del config
    root = _images(source)
    identities = _list(source, "identity_CelebA.txt", 1)
    if identities is None:
        raise UserError(f"celeba: there is no identity_CelebA.txt in '{source}' or in its Anno folder; download it.")
    entries, bad = list_photos(root)
    named = [entry for entry in entries if entry.path in identities]
    listed = {entry.path for entry in entries} | {path for path, _, _ in bad}
    rejected = [(e.path, Reason.UNLABELLED, "no identity") for e in entries if e.path not in identities]
    rejected += [(name, Reason.MISSING, "named by identity_CelebA.txt") for name in identities if name not in listed]
    rejected += bad
    columns = {
        "person": pa.array([identities[entry.path][0] for entry in named], pa.string()),
        "is_fake": pa.array([False] * len(named), pa.bool_()),
        "split": _splits(source, named),
        "landmarks": _landmarks(source, root, named),
    }
    return Listing(photos_table(root, named, **columns), None, rejects_table(rejected))


def _images(source: Location) -> Location:
    folders = [place / name for name in _LANDMARKS_OF for place in (source, source / "Img")]
    found = next((folder for folder in folders if folder.is_dir()), None)
    if found is None:
        raise UserError(f"celeba: '{source}' holds no folder img_align_celeba or img_celeba; check --source.")
    return found


def _list(source: Location, name: str, values: int) -> dict[str, list[str]] | None:
    """File name -> the words behind it; None if there is no such list. Lines of other form at the top are skipped."""
    places = (source / name, source / "Anno" / name, source / "Eval" / name)
    place = next((place for place in places if place.is_file()), None)
    if place is None:
        return None
    found: dict[str, list[str]] = {}
    for number, line in read_lines(place, "celeba"):
        file, *words = line.split() or [""]
        if len(words) == values and "." in file:
            found[file] = words
        elif found and line.strip():
            raise UserError(
                f"celeba: line {number} of '{place}' is '{line[:60]}', not a file name and {values} values."
            )
    return found


def _splits(source: Location, entries: list[FileEntry]) -> pa.Array:
    listed = _list(source, "list_eval_partition.txt", 1) or {}
    return pa.array([_SPLITS.get(listed.get(entry.path, [""])[0]) for entry in entries], pa.string())


def _landmarks(source: Location, root: Location, entries: list[FileEntry]) -> pa.Array:
    name = _LANDMARKS_OF[root.name]
    listed = _list(source, name, 10) or {}
    try:
        points = [np.array(listed[e.path], np.float32) if e.path in listed else None for e in entries]
    except ValueError as error:
        raise UserError(f"celeba: {name} holds something that is not a number ({error}).") from None
    return pa.array(points, LANDMARKS)
