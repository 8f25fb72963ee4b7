"""Names that a list has, and names that exist: which is meant by which, where they are written in two ways.

A name is a path with `/` as separator, relative to the photos' root. A name that exists is itself. Another is taken for
a name that exists only if that is the single one with

    the same text in another Unicode normal form   (é as one character, or as e and an accent)
    the same text in another case                  (IMG_1.JPG, img_1.jpg)
    the same text with another extension, or none  (a.jpg, a.png)

looked for in this order. Two names of a list are two photos: one that exists is not taken for a name of another case or
extension if the list means it by a second name too. What comes out does not depend on any order.

Whole lists may name their photos from another folder. `find_shift` finds the one change of folders that fits them.
"""

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

NORMAL_FORM, CASE, EXTENSION = "in another Unicode form", "in another case", "under another extension"
_WAYS = (NORMAL_FORM, CASE, EXTENSION)
_PICTURE = re.compile(r"(?<=[^/])\.(?:jpe?g|jpe|jfif|png|webp|bmp|tiff?|gif|hei[cf]|avif|jp2|p[bgnp]m)$")
_SIDE_FILES = frozenset({"thumbs.db", "desktop.ini"})
_SIDE_SUFFIXES = (
    ".txt",
    ".csv",
    ".tsv",
    ".json",
    ".jsonl",
    ".md",
    ".parquet",
    ".xml",
    ".yaml",
    ".yml",
    ".html",
    ".log",
)
SAMPLE = 1000  # names of a list that are looked at to find out what is wrong with all of them
POOL = 5000  # names that exist among which the nearest one is searched


@dataclass(frozen=True)
class Match:
    """Names of a list that are not there as they are.

    others: the name that exists for each that was found; ways: how that was found (NORMAL_FORM, CASE, EXTENSION);
    missing: those for which there is none, or none that is certain, in the order of the list.
    """

    others: dict[str, str] = field(default_factory=dict)
    ways: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Shift:
    """A change of folders: `strip` comes off the front of a name, `add` comes before the rest; both end with / or are
    empty."""

    strip: str
    add: str

    def __call__(self, name: str) -> str | None:
        """The name after the change; None if it does not begin with `strip`."""
        return self.add + name[len(self.strip) :] if name.startswith(self.strip) else None


def match(names: Collection[str], existing: Iterable[str], found: Container[str] = ()) -> Match:
    """Find the names that exist for names of a list; see the module's docstring.

    Args:
        names: distinct; those that turn out to exist as they are come out in neither part of the result.
        existing: distinct; read once, so that memory grows with `names` alone.
        found: further names of the list, known to exist.
    """
    exact, candidates = _candidates(names, existing)
    open_names = [name for name in names if name not in exact]
    claims = {name: _claim(name, candidates) for name in open_names}
    times = Counter(target for target, _ in claims.values())
    result = Match()
    for name in open_names:
        target, way = claims[name]
        alone = times[target] == 1 and target not in exact and target not in found
        if way and (way == NORMAL_FORM or alone):
            result.others[name], result.ways[name] = target, way
        else:
            result.missing.append(name)
    return result


def _candidates(names: Collection[str], existing: Iterable[str]) -> tuple[set[str], list[dict[str, list[str]]]]:
    """Those of `names` that exist as they are; and for each way, by key, the names that exist (at most two)."""
    wanted = [{_keys(name)[level] for name in names} for level in range(len(_WAYS))]
    candidates: list[dict[str, list[str]]] = [{} for _ in _WAYS]
    asked, exact = frozenset(names), set[str]()
    for one in existing:
        if one in asked:
            exact.add(one)
        for level, key in enumerate(_keys(one)):
            if key in wanted[level]:
                some = candidates[level].setdefault(key, [])
                if len(some) < 2:  # two are as ambiguous as many
                    some.append(one)
    return exact, candidates


def _claim(name: str, candidates: Sequence[dict[str, list[str]]]) -> tuple[str, str]:
    """(name that exists, way) of the first way in which anything is like `name`; empty if there is no single one."""
    for way, key, of_way in zip(_WAYS, _keys(name), candidates, strict=True):
        if some := of_way.get(key):
            return (some[0], way) if len(some) == 1 else ("", "")
    return "", ""


def _keys(name: str) -> tuple[str, str, str]:
    """What two names have in common that differ in no more than normal form; case too; extension too."""
    if name.isascii():
        form, lower = name, name.lower()
    else:
        form = unicodedata.normalize("NFC", name)
        lower = unicodedata.normalize("NFC", form.lower())
    return form, lower, _PICTURE.sub("", lower)


@dataclass
class _Node:
    """A node of a tree of names, read from their ends: how many existing names pass through it, and one of them."""

    count: int = 0
    one: str = ""
    below: dict[str, "_Node"] = field(default_factory=dict)


def find_shift(names: Iterable[str], existing: Iterable[str]) -> Shift | None:
    """The one change of folders after which most of `names` exist (up to what `match` allows for), if there is one.

    Each name is compared with the name that exists whose end is longest the same; where several are, it has no say. The
    others must all say the same, and be more than half.

    Args:
        names: of a list, none of which exists as it is; may be absolute paths.
        existing: distinct; read once.
    """
    tree = _Node()
    asked = sorted(set(names))
    for name in asked:
        node = tree
        for part in _from_the_end(name):
            node = node.below.setdefault(part, _Node())
    for one in existing:
        node = tree
        for part in _from_the_end(one):
            if part not in node.below:
                break
            node = node.below[part]
            node.count, node.one = node.count + 1, one
    said = Counter(shift for name in asked if (shift := _said(name, tree)))
    if len(said) != 1:
        return None
    shift, times = said.popitem()
    return shift if 2 * times > len(asked) else None


def _from_the_end(name: str) -> Iterator[str]:
    """The parts of a path from its end, as two paths are compared."""
    *folders, file = name.split("/")
    yield _keys(file)[2]
    for folder in reversed(folders):
        yield _keys(folder)[1]


def _said(name: str, tree: _Node) -> Shift | None:
    node, depth = tree, 0
    for part in _from_the_end(name):
        if not node.below[part].count:
            break
        node, depth = node.below[part], depth + 1
    if node.count != 1:
        return None
    strip, add = ("".join(f"{part}/" for part in path.split("/")[:-depth]) for path in (name, node.one))
    return Shift(strip, add) if strip or add else None


def is_picture(name: str) -> bool:
    """Whether a name has an extension of pictures; what a file holds is found out when it is decoded."""
    return _PICTURE.search(name.lower()) is not None


def spread(names: Sequence[str], most: int = SAMPLE) -> list[str]:
    """At most `most` of the names, evenly spaced over the list."""
    return [names[i * len(names) // most] for i in range(most)] if len(names) > most else list(names)


def nearest(names: Iterable[str], existing: Iterable[str]) -> dict[str, str]:
    """For each name the most similar one that exists, where anything is similar: for messages, never to be taken.

    Those that end alike come first; of a large folder only some names are compared.
    """
    ends = {name: next(_from_the_end(name)) for name in names}
    alike: dict[str, list[str]] = {end: [] for end in ends.values()}
    pool: list[str] = []
    for one in existing:
        some = alike.get(next(_from_the_end(one)))
        if some is not None and len(some) < SAMPLE:
            some.append(one)
        if len(pool) < POOL:
            pool.append(one)
    found = {}
    for name, end in ends.items():
        near = difflib.get_close_matches(name, alike[end], 1, 0.0) or difflib.get_close_matches(name, pool, 1, 0.6)
        if near:
            found[name] = near[0]
    return found


def is_side_file(path: str) -> bool:
    """Whether a file of this path (relative to the photos' root) is hidden, or none that photos are looked for in."""
    if path.startswith(".") or "/." in path:
        return True
    name = path.rpartition("/")[2].lower()
    return name in _SIDE_FILES or name.endswith(_SIDE_SUFFIXES)
