"""Layout `celeba`: CelebA (Liu et al., ICCV 2015), aligned (`img_align_celeba`) or in the wild (`img_celeba`).

    img_align_celeba/000001.jpg             or img_align_celeba_png/000001.png
    identity_CelebA.txt                     000001.jpg 2880
    list_eval_partition.txt                 000001.jpg 0            0 train, 1 val, 2 test
    list_landmarks_align_celeba.txt         000001.jpg 69 109 ...   five points; list_landmarks_celeba.txt in the wild

The last two are optional. A list may be a .csv too, with commas and a header, as Kaggle's copy has them (which lacks
the identities). Everything may lie up to two folders below the source (Img/, Anno/, Eval/), and the photos in a second
folder of the same name, as archives are unpacked. The lists name .jpg files, also where the photos are .png. Their left
eye is the image-left one, as everywhere here.
"""

import re
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from faceverify.datasets.listing import Listing, NothingFound, as_listed, list_photos, photos_table, rejects_table
from faceverify.datasets.options import DatasetConfig
from faceverify.datasets.text_lists import read_lines
from faceverify.errors import Reason, UserError
from faceverify.storage import FileEntry, Location
from faceverify.tables import LANDMARKS

_LANDMARKS_OF = {
    "img_align_celeba": "list_landmarks_align_celeba",
    "img_align_celeba_png": "list_landmarks_align_celeba",
    "img_celeba": "list_landmarks_celeba",
}
_DEPTH, _FOLDERS = 2, 50  # levels below the source, and folders per level, that are searched for lists and photos
_SPLITS = {"0": "train", "1": "val", "2": "test"}


def read(source: Location, config: DatasetConfig) -> Listing:
    """List `source`; photos without an identity become rejects, identities without a photo too.

    Raises:
        UserError: there are no photos, no identities, or a line of a list is not of the expected form.
    """
    del config
    while source.name in _LANDMARKS_OF:
        source = source.parent  # the photos' own folder; the lists lie beside it
    folders = [source, *_folders(source)]
    root = _images(source, folders)
    entries, bad = list_photos(root)
    lists = _Lists(folders, entries)
    identities = lists.read("identity_CelebA", 1)
    if identities is None:
        raise UserError(
            f"celeba: there is no identity_CelebA.txt in '{source}' or in its folders, which says whose "
            "photos these are; it is in the folder Anno of CelebA's own download, Kaggle's copy lacks it."
        )
    named = [entry for entry in entries if entry.path in identities]
    listed = {entry.path for entry in entries} | {path for path, _, _ in bad}
    rejected = [(e.path, Reason.UNLABELLED, "no identity") for e in entries if e.path not in identities]
    rejected += [(name, Reason.MISSING, "named by identity_CelebA") for name in identities if name not in listed]
    rejected += bad
    columns = {
        "person": pa.array([identities[entry.path][0] for entry in named], pa.string()),
        "is_fake": pa.array([False] * len(named), pa.bool_()),
        "split": _splits(lists, named),
        "landmarks": _landmarks(lists, root, named),
    }
    return Listing(photos_table(root, named, **columns), None, rejects_table(rejected), lists.found)


def holds_images(source: Location) -> bool:
    """Whether CelebA's folder of photos is there."""
    try:
        return bool(_images(source, [source, *_folders(source)]))
    except NothingFound:
        return False


def _images(source: Location, folders: list[Location]) -> Location:
    for name in _LANDMARKS_OF:
        found = next((folder / name for folder in folders if (folder / name).is_dir()), None)
        if found is not None:
            return found / name if (found / name).is_dir() else found
    names = ", ".join(_LANDMARKS_OF)
    raise NothingFound(f"celeba: '{source}' holds none of the folders {names}, nor do its folders", source)


def _folders(source: Location) -> Iterator[Location]:
    """The folders below `source`, nearer ones first; not those of the photos, and not endlessly many."""
    level = [source]
    for _ in range(_DEPTH):
        level = [below for folder in level for below in folder.folders() if below.name not in _LANDMARKS_OF][:_FOLDERS]
        yield from level


class _Lists:
    """The lists beside the photos `entries`; `found`: the photos that they name otherwise, as in Listing."""

    def __init__(self, folders: list[Location], entries: list[FileEntry]) -> None:
        self.folders, self.entries = folders, entries
        self.found: dict[str, tuple[int, str, str]] = {}

    def read(self, name: str, values: int) -> dict[str, list[str]] | None:
        """File name -> the words behind it; None if there is no such list."""
        places = (folder / f"{name}{end}" for folder in self.folders for end in (".txt", ".csv"))
        place = next((place for place in places if place.is_file()), None)
        if place is None:
            return None
        listed, found = as_listed(_parsed(place, values), self.entries)
        self.found = self.found or found
        return listed


def _parsed(place: Location, values: int) -> dict[str, list[str]]:
    """File name -> the words behind it. Lines of other form at the top are skipped."""
    found: dict[str, list[str]] = {}
    for number, line in read_lines(place, "celeba"):
        file, *words = re.split(r"[,\s]+", line.strip())
        if len(words) == values and "." in file:
            found[file] = words
        elif found and line.strip():
            raise UserError(
                f"celeba: line {number} of '{place}' is '{line[:60]}', not a file name and {values} values."
            )
    return found


def _splits(lists: _Lists, entries: list[FileEntry]) -> pa.Array:
    listed = lists.read("list_eval_partition", 1) or {}
    return pa.array([_SPLITS.get(listed.get(entry.path, [""])[0]) for entry in entries], pa.string())


def _landmarks(lists: _Lists, root: Location, entries: list[FileEntry]) -> pa.Array:
    name = _LANDMARKS_OF[root.name]
    listed = lists.read(name, 10) or {}
    try:
        points = [np.array(listed[e.path], np.float32) if e.path in listed else None for e in entries]
    except ValueError as error:
        raise UserError(f"celeba: {name} holds something that is not a number ({error}).") from None
    return pa.array(points, LANDMARKS)
