"""The photos that a list names, looked for where they are: in a folder (local or S3) or in a table.

Names that are not there as they are may be found as `faceverify.matching` allows, or, where the whole list names its
photos from another folder, there:

    names begin in a folder of the root         `ann/1.jpg` is `images/ann/1.jpg`, all of them in `images`
    names begin with the root's own name        `photos/ann/1.jpg` is `ann/1.jpg` of the root `/data/photos`

Any other change of folders is proposed and not made: equal names in two data sets are two photos. Nothing is found
outside the root, because only names that were listed in it are taken.
"""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

from faceverify.errors import PlatformError
from faceverify.inputs import stream_table
from faceverify.matching import Shift, find_shift, match, nearest, spread
from faceverify.redaction import first_line
from faceverify.storage import Location

FURTHER_DOWN, OWN_NAME = "in a folder further down", "without the folder's own name"
EXAMPLES = 3
REQUESTS = 16  # to S3 at a time
ASKED = 1000  # names at most that are asked for one by one; for more the folder is listed
LISTED = 7  # objects of a bucket are listed in the time that asking for one takes
WALKED = 1_000_000  # files of a local folder that are listed at least, if names are not there
_FOUND = "{:,} names found {}: '{}' -> '{}'"

Existing = Callable[[], Iterable[str]]  # names that exist; may be asked for again


@dataclass(frozen=True)
class Naming:
    """How the names of a list stand to those that exist.

    others: the name that exists for each that was found under another; ways: how many were found in which way, and one
    of them with what it was found as; missing: the names for which nothing is there; near: for three of those the most
    similar name; shift: the change of folders that would help, if it is to be the user's decision.
    """

    others: dict[str, str] = field(default_factory=dict)
    ways: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    near: dict[str, str] = field(default_factory=dict)
    shift: Shift | None = None

    def examples(self) -> str:
        """Some of the missing names, with the most similar ones that are there."""
        return examples(self.missing, self.near)


def examples(names: Iterable[str], near: dict[str, str]) -> str:
    """Three names as text, each with the nearest that exists, if there is any."""
    some = islice(names, EXAMPLES)
    return ", ".join(f"'{name}'" + (f" (there is '{near[name]}')" if name in near else "") for name in some)


def describe_renames(ways: dict[str, Any]) -> list[str]:
    """One sentence for each way in which photos were found under another name than the listed one."""
    return [_FOUND.format(count, way, name, other) for way, (count, name, other) in ways.items()]


def resolve(names: Collection[str], missing: list[str], existing: Existing, root: str = "") -> Naming:
    """What exists for the names of a list.

    Args:
        names: all of the list, distinct.
        missing: those that are not there as they are.
        existing: gives the distinct names that are there.
        root: where they are, if that is one folder.
    """
    if not missing:
        return Naming()
    absent = set(missing)
    found = match(missing, existing(), {name for name in names if name not in absent})
    others, ways, shift = found.others, found.ways, None
    if found.missing:
        shift = find_shift(spread(sorted(found.missing)), existing())
    if shift and len(found.missing) == len(names) and (way := _certain(shift, root)):
        moved = {new: name for name in names if (new := shift(name)) is not None}
        again = match(moved, existing())
        there = [new for new in moved if new not in set(again.missing)]
        if len(moved) == len(names) and 2 * len(there) > len(names):
            others = {moved[new]: again.others.get(new, new) for new in there}
            ways, shift = dict.fromkeys(others, way), None
    left = [name for name in found.missing if name not in others]
    near = nearest(left[:EXAMPLES], existing()) if left else {}
    return Naming(others, _counted(others, ways), left, near, shift)


def _certain(shift: Shift, root: str) -> str:
    """The way that a change of folders is, if it may be made unasked."""
    if not shift.strip:
        return FURTHER_DOWN
    return OWN_NAME if not shift.add and f"{root}/".endswith(f"/{shift.strip}") else ""


def _counted(others: dict[str, str], ways: dict[str, str]) -> dict[str, tuple[int, str, str]]:
    """For each way: how many names were found so, the first of them, and the name that it was found under."""
    counted = {}
    for way, count in sorted(Counter(ways.values()).items()):
        name = min(name for name in others if ways[name] == way)
        counted[way] = (count, name, others[name])
    return counted


# -- where names are looked for ----------------------------------------------------------------------------------------


def in_table(names: Collection[str], files: list[Location], exactly: bool = False) -> Naming:
    """The names of a list in the column `photo` of a table; `exactly`: none but as they are."""
    existing = lambda: _column(files)  # noqa: E731
    absent = dict.fromkeys(names)
    for one in existing():
        absent.pop(one, None)
        if not absent:
            return Naming()
    if exactly:
        return Naming(missing=list(absent), near=nearest(list(absent)[:EXAMPLES], existing()))
    return resolve(names, list(absent), existing)


def _column(files: list[Location]) -> Iterator[str]:
    for rows in stream_table(files, ["photo"]):
        yield from rows["photo"].to_pylist()


def in_folder(names: Collection[str], root: Location) -> Naming:
    """The names of a list below a folder.

    Cost: a local folder is asked for each name, and listed only if some are not there. Of a bucket the names are asked
    for one by one if they are few, else the folder is listed, as far as that takes less time than asking.
    """
    missing, listed = (_absent_locally if root.is_local else _absent_in_bucket)(names, root)
    return resolve(names, missing, lambda: listed, root.uri) if missing else Naming()


def listed(root: Location) -> list[str]:
    """Names below a folder, up to as many as are listed for a list of no names: for messages."""
    return list(islice(walk(root), WALKED) if root.is_local else islice(Bucket(root).names(), WALKED // 10))


def _absent_locally(names: Collection[str], root: Location) -> tuple[list[str], list[str]]:
    missing = [name for name in names if not os.path.isfile(f"{root.path}/{name}")]
    if not missing:
        return [], []
    most = max(WALKED, LISTED * len(names))
    listed = list(islice(walk(root), most + 1))
    if len(listed) > most:  # no further: of what was not listed, only what lies beside a missing photo counts
        beside = {name.rpartition("/")[0] for name in missing}
        listed += [one for folder in sorted(beside) for one in _files_in(root, folder)]
    return missing, sorted(set(listed))


def walk(root: Location) -> Iterator[str]:
    """The paths of the files below a local folder, relative to it, without hidden ones and names that are no text."""
    for folder, below, files in os.walk(root.path):
        below[:] = sorted(name for name in below if not name.startswith("."))
        start = os.path.relpath(folder, root.path).replace(os.sep, "/")
        yield from _kept("" if start == "." else f"{start}/", files)


def _files_in(root: Location, folder: str) -> Iterator[str]:
    try:
        with os.scandir(f"{root.path}/{folder}") as entries:
            yield from _kept(f"{folder}/" if folder else "", [entry.name for entry in entries if entry.is_file()])
    except OSError:
        return  # there is no such folder, or it may not be read: nothing there can be meant


def _kept(start: str, files: Iterable[str]) -> Iterator[str]:
    for name in files:
        path = f"{start}{name}"
        if not name.startswith(".") and not any("\ud800" <= letter <= "\udfff" for letter in path):
            yield path


def _absent_in_bucket(names: Collection[str], root: Location) -> tuple[list[str], list[str]]:
    bucket, in_order = Bucket(root), list(names)
    many = len(in_order) > ASKED
    most = LISTED * len(in_order) if many else WALKED // 10
    if not many and not bucket.lacks(in_order):
        return [], []
    listed = list(islice(bucket.names(), most + 1))
    if len(listed) <= most:
        there = set(listed)
        return [name for name in in_order if name not in there], listed
    missing = bucket.lacks(spread(in_order, ASKED)) and bucket.lacks(in_order)
    # Of what was not listed, only what a missing photo is called with another extension counts.
    beside = bucket.ask(lambda name: list(bucket.names(name.rpartition(".")[0] or name, 1)), missing[:ASKED])
    return missing, sorted({*listed, *chain.from_iterable(beside)})


class Bucket:
    """A folder of a bucket, asked by a client of its own. What S3 refuses is raised as PlatformError."""

    def __init__(self, root: Location) -> None:
        import boto3

        self.root, self.client = root, boto3.Session().client("s3")

    def names(self, start: str = "", pages: int | None = None) -> Iterator[str]:
        """The names that begin with `start`; a request for each thousand."""
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, _, prefix = self.root.path.partition("/")
        before = f"{prefix}/" if prefix else ""
        found = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=before + start)
        try:
            for page in islice(found, pages):
                keys = (one["Key"] for one in page.get("Contents", ()))
                yield from (key[len(before) :] for key in keys if not key.endswith("/"))
        except (BotoCoreError, ClientError) as error:
            raise PlatformError(f"photos: cannot list '{self.root}' ({first_line(error)}).") from None

    def lacks(self, names: list[str]) -> list[str]:
        """Those for which there is no object; a request for each."""
        there = self.ask(lambda name: name != "" and (self.root / name).is_file(), names)
        return [name for name, found in zip(names, there, strict=True) if not found]

    def ask(self, question: Callable[[str], Any], names: list[str]) -> list[Any]:
        """The answers for all names, some requests at a time."""
        with ThreadPoolExecutor(REQUESTS) as pool:
            return list(pool.map(question, names))
