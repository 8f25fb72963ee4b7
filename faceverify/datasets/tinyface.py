"""TinyFace's test set: the folders Probe, Gallery_Match and Gallery_Distractor.

A file of the first two is named `<person>_<number>.jpg`; distractors show nobody in particular. The lists in .mat files
beside the folders say nothing more and are not read. An aligned copy has the same folders.
"""

from dataclasses import dataclass

import numpy as np

from faceverify.datasets.listing import NothingFound
from faceverify.errors import UserError
from faceverify.matching import is_picture
from faceverify.storage import Location

FOLDERS = ("Probe", "Gallery_Match", "Gallery_Distractor")


@dataclass(frozen=True)
class TinyFaceFolders:
    """Photos below `folder`, by their path in it.

    Attributes:
        folder: holds the three folders.
        probes: paths [P].
        person: whom each probe shows [P] int64.
        gallery: paths [G], the matches first and then the distractors.
        entry_person: whom each shows [G] int64; -1 for distractors.
    """

    folder: Location
    probes: list[str]
    person: np.ndarray
    gallery: list[str]
    entry_person: np.ndarray


def read_tinyface(source: Location) -> TinyFaceFolders:
    """List `source`, the folder tinyface, its Testing_Set, or an aligned copy.

    Raises:
        UserError: a folder is missing or empty, a name begins with no number, or two photos share a name (without its
            suffix), by which aligned copies and lists of features are matched.
    """
    inside = source / "Testing_Set"
    root = inside if inside.is_dir() else source
    paths = {name: _photos(root, name) for name in FOLDERS}
    seen: dict[str, str] = {}
    for path in (path for part in paths.values() for path in part):
        stem = path.rpartition("/")[2].rpartition(".")[0]
        if stem in seen:
            raise UserError(
                f"tinyface: '{seen[stem]}' and '{path}' of '{root}' have one name; names must be unique over all three "
                "folders."
            )
        seen[stem] = path
    probes, matches, distractors = paths.values()
    person, match_person = (np.array([_person(path, root) for path in part], np.int64) for part in (probes, matches))
    entry_person = np.concatenate([match_person, np.full(len(distractors), -1)])
    return TinyFaceFolders(root, probes, person, matches + distractors, entry_person)


def _photos(root: Location, name: str) -> list[str]:
    if not (root / name).is_dir():
        raise NothingFound(f"tinyface: there is no folder '{name}' in '{root}'", root)
    found = [f"{name}/{entry.path}" for entry in (root / name).files() if is_picture(entry.path)]
    if not found:
        raise UserError(f"tinyface: the folder '{root / name}' holds no photos; unpack the whole test set.")
    return found


def _person(path: str, root: Location) -> int:
    number = path.rpartition("/")[2].partition("_")[0]
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise UserError(f"tinyface: '{path}' of '{root}' begins with no person's number; names are like 12_3.jpg.")
    return int(number)
