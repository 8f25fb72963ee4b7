"""What the folders above a photo mean: split, label, generator, person.

    ann/1.jpg   train/ann/1.jpg   fake/ann/1.jpg   train/real/ann/1.jpg   ann/fake/1.jpg   fake/swap/ann/1.jpg

A level is found by name and by what lies below: `train` and `val` with folders below are splits, a folder `Val` of
photos among other people is a person. Where that leaves a doubt the user is asked, because a split taken for a person
trains and measures nonsense without a word.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from faceverify.errors import UserError

LEVELS = ("split", "label", "generator", "person")
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
REAL = ("real", "reals", "genuine", "bonafide", "bona_fide", "original", "originals", "authentic", "pristine")
FAKE = ("fake", "fakes", "deepfake", "deepfakes", "spoof", "spoofs", "spoofed", "forged", "manipulated", "synthetic")
LABELS = dict.fromkeys(REAL, False) | dict.fromkeys(FAKE, True)

Folders = tuple[str, ...]  # the names of the folders above a photo, from the root on


@dataclass(frozen=True)
class Meaning:
    """What the folders of a photo say of it.

    is_fake: None where no folder says so; words: the names of the folders that gave
    the split and the label.
    """

    person: str | None
    split: str | None = None
    is_fake: bool | None = None
    generator: str | None = None
    words: tuple[str | None, str | None] = (None, None)


def parse_levels(text: str) -> tuple[str, ...]:
    """The option `folders.levels` as a tuple that ends in "person".

    Raises:
        UserError: an unknown level, one twice, or another one at the end.
    """
    levels = tuple(text.split("/"))
    if set(levels) - set(LEVELS) or len(set(levels)) < len(levels) or levels[-1] != "person":
        raise UserError(
            f"folders.levels: '{text}' is not understood; write auto, or names out of {', '.join(LEVELS)} with slashes "
            "between them, person last, such as split/label/person."
        )
    return levels


def find_levels(folders: Iterable[Folders]) -> tuple[str, ...]:
    """What the levels are, of the folders that hold photos.

    Raises:
        UserError: a name may be one thing or another; the sentence names the options.
    """
    rest, levels = set(folders), []
    while level := _first_level(rest, levels):
        levels.append(level)
        if level == "label" and _has_generators(rest, levels):
            return (*levels, "generator", "person")
        rest = {names[1:] for names in rest}
    return (*levels, "person")


def _first_level(rest: set[Folders], done: list[str]) -> str | None:
    names = {folders[0] for folders in rest if folders}
    splits = {name for name in names if name.casefold() in SPLITS} if "split" not in done else set()
    labels = {name for name in names if name.casefold() in LABELS} if "label" not in done else set()
    if splits and splits == names:
        return "split" if _are_splits(splits, rest, done) else None
    if labels and labels == names:
        return "label"
    doubtful = sorted(labels) or sorted(name for name in splits if _holds_people(name, rest))
    if doubtful:
        other = min(names - set(doubtful), default=None) or min(names - labels)
        raise _question(doubtful[0], "a label" if labels else "a split", f"beside '{other}'", done)
    return None


def _are_splits(splits: set[str], rest: set[Folders], done: list[str]) -> bool:
    """Whether folders all of whose names are those of splits are splits indeed."""
    if len({SPLITS[name.casefold()] for name in splits}) > 1:
        return True
    below = [name for name in splits if any(folders[:1] == (name,) and len(folders) > 1 for folders in rest)]
    direct = [name for name in splits if (name,) in rest]
    if not direct:
        return True
    if any(_holds_people(name, rest) for name in below):
        raise _question(direct[0], "a split", "with photos and folders", done)
    return False


def _holds_people(name: str, rest: set[Folders]) -> bool:
    """Whether there are folders below `name` that do not merely tell the real photos of one person from the fakes."""
    for folders in rest:
        if folders[:1] == (name,) and len(folders) > 1:
            label = LABELS.get(folders[1].casefold())
            # Below a person's fakes may be folders of generators; below the real photos there is no reason for any.
            if label is None or (label is False and len(folders) > 2):
                return True
    return False


def _has_generators(rest: set[Folders], done: list[str]) -> bool:
    """Whether the folders below those of fakes are generators; `rest` begins with the label."""

    def names(fake: bool, place: int) -> set[str]:
        return {f[place] for f in rest if len(f) > place and LABELS[f[0].casefold()] is fake}

    people, below = names(False, 1), {name for name in names(True, 1) if name.casefold() not in SPLITS}
    if not below or people & below or not any(f and not LABELS[f[0].casefold()] for f in rest):
        return False
    if people & names(True, 2):
        return True
    fakes = next(f[0] for f in rest if f and LABELS[f[0].casefold()])
    before = "".join(f"{level}/" for level in done)
    raise UserError(
        f"source: '{min(below)}' below '{fakes}' may be a person or a generator of fakes, since no real photo has that "
        f"folder; tell ingest which: --folders.levels {before}person or --folders.levels {before}generator/person."
    )


def _question(name: str, what: str, where: str, done: list[str]) -> UserError:
    before = "".join(f"{level}/" for level in done)
    level = what.split()[-1]
    return UserError(
        f"source: the folder '{name}' {where} may be {what} or a person; tell ingest which: "
        f"--folders.levels {before}{level}/person or --folders.levels {before}person."
    )


def read_folders(folders: Folders, levels: tuple[str, ...], fake_folder: str) -> Meaning:
    """What `folders` say of their photos; where a label is expected and the name is none, it is of the next level.

    Args:
        folders: names from the root on.
        levels: as `find_levels` gives them.
        fake_folder: name of the folder below a person's that holds fakes; where it is "fake", like words are taken too.
    """
    rest = list(folders)
    split = generator = split_word = label_word = None
    is_fake: bool | None = None
    for level in levels[:-1]:
        if not rest or (level == "generator" and not is_fake):
            continue
        if level == "split":
            split_word = rest.pop(0)
            split = SPLITS.get(split_word.casefold(), split_word)
        elif level == "generator":
            generator = rest.pop(0)
        elif rest[0].casefold() in LABELS:
            label_word = rest.pop(0)
            is_fake = LABELS[label_word.casefold()]
    if len(rest) > 1 and _tells_fakes(rest[1], fake_folder):
        is_fake, label_word = True, rest[1]
        generator = rest[2] if len(rest) > 2 else generator
    return Meaning(rest[0] if rest else None, split, is_fake, generator, (split_word, label_word))


def _tells_fakes(name: str, fake_folder: str) -> bool:
    return name == fake_folder or (fake_folder == "fake" and name.casefold() in FAKE)
