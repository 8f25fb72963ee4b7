"""What lies below a local folder: every file once, and everything that cannot be taken for one, with the reason.

A symbolic link counts by where it leads. A linked folder is walked like any other, unless its files are listed
already: so a link to a folder above ends there, and no file comes twice. Names that are not UTF-8, which no table can
hold, broken links, pipes and devices, and folders that may not be read are listed separately, with the reason.
"""

import os
import stat
from dataclasses import dataclass, field

from faceverify.errors import PlatformError, Reason


@dataclass(frozen=True, order=True)
class FileEntry:
    """One file of a listing: its `/`-separated path relative to the listed folder, bytes, and time of change (ns)."""

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, order=True)
class BadEntry:
    """Something in a folder that is no file to read: its path (as `printable` shows it), why, and what it is."""

    path: str
    reason: Reason
    detail: str


def printable(name: str) -> str:
    r"""A name as a table or a message can hold it: bytes that are not UTF-8 become `\xff`, lone surrogates `\ud800`."""
    raw = name.encode("utf-8", "surrogateescape" if _is_from_bytes(name) else "backslashreplace")
    return raw.decode("utf-8", "backslashreplace")


def _is_from_bytes(name: str) -> bool:
    """Whether all lone surrogates of a name stand for single bytes, as in what Python reads from a file system."""
    return all("\udc80" <= c <= "\udcff" for c in name if "\ud800" <= c <= "\udfff")


def list_folder(root: str, recursive: bool = True, hidden: bool = True) -> tuple[list[FileEntry], list[BadEntry]]:
    """The files of `root`, sorted by path, and what is no file there.

    Args:
        root: a local folder; nothing is listed where there is none.
        recursive: also below its sub-folders.
        hidden: also names that begin with a dot.

    Raises:
        NotADirectoryError: `root` is a file.
        PlatformError: `root` may not be read.
    """
    walk = _Walk(recursive, hidden)
    try:
        walk.folder(root, "")
    except FileNotFoundError:
        return [], []
    except PermissionError as error:
        raise PlatformError(f"the folder '{root}' cannot be read ({error.strerror}); change its permissions.") from None
    walk.links(root)
    return sorted(walk.files), sorted(walk.bad)


@dataclass
class _Walk:
    recursive: bool
    hidden: bool
    files: list[FileEntry] = field(default_factory=list)
    bad: list[BadEntry] = field(default_factory=list)
    seen: set[tuple[int, int]] = field(default_factory=set)  # folders whose files are listed
    targets: set[tuple[int, int]] = field(default_factory=set)  # of links to files
    waiting: list[str] = field(default_factory=list)  # links that are not yet followed

    def folder(self, top: str, prefix: str) -> None:
        """List one folder and those below it, links aside; only a fault of the first folder is raised."""
        self._scan(top, prefix, below := [])
        while below:
            path, prefix = below.pop()
            try:
                self._scan(path, prefix, below)
            except FileNotFoundError:
                pass  # deleted meanwhile
            except OSError as error:
                self.reject(prefix, Reason.UNREADABLE, f"the folder cannot be read ({error.strerror})")

    def _scan(self, path: str, prefix: str, below: list[tuple[str, str]]) -> None:
        with os.scandir(path) as entries:
            facts = os.stat(path)
            if (facts.st_dev, facts.st_ino) in self.seen:
                return
            self.seen.add((facts.st_dev, facts.st_ino))
            for entry in entries:
                name = prefix + entry.name
                if not self.hidden and entry.name.startswith("."):
                    continue
                if entry.is_symlink():
                    self.waiting.append(name)
                elif entry.is_dir(follow_symlinks=False):
                    if self.recursive:
                        below.append((entry.path, name + "/"))
                else:
                    try:
                        self.add(name, entry.stat(follow_symlinks=False))
                    except FileNotFoundError:
                        continue  # deleted meanwhile

    def links(self, root: str) -> None:
        """Follow the links: those to folders first, so that a file in one is listed where it lies."""
        files: list[tuple[str, os.stat_result]] = []
        while self.waiting:
            names, self.waiting = sorted(self.waiting), []
            for name in names:
                try:
                    facts = os.stat(f"{root}/{name}")
                except OSError as error:
                    to = printable(os.readlink(f"{root}/{name}"))
                    self.reject(name, Reason.MISSING, f"a link to '{to}' ({error.strerror})")
                    continue
                if stat.S_ISDIR(facts.st_mode):
                    if self.recursive:
                        self._linked_folder(root, name, facts)
                else:
                    files.append((name, facts))
        for name, facts in sorted(files):
            self._linked_file(root, name, facts)

    def _linked_folder(self, root: str, name: str, facts: os.stat_result) -> None:
        if (facts.st_dev, facts.st_ino) in self.seen:
            self.reject(name, Reason.DUPLICATE, "a link to a folder whose files are listed already")
            return
        try:
            self.folder(f"{root}/{name}", name + "/")
        except OSError as error:
            self.reject(name, Reason.UNREADABLE, f"the folder cannot be read ({error.strerror})")

    def _linked_file(self, root: str, name: str, facts: os.stat_result) -> None:
        folder, target = os.path.split(os.path.realpath(f"{root}/{name}"))
        lies_in = os.stat(folder)
        listed = (lies_in.st_dev, lies_in.st_ino) in self.seen and (self.hidden or not target.startswith("."))
        if listed or (facts.st_dev, facts.st_ino) in self.targets:
            self.reject(name, Reason.DUPLICATE, "a link to a file that is listed already")
            return
        self.targets.add((facts.st_dev, facts.st_ino))
        self.add(name, facts)

    def add(self, name: str, facts: os.stat_result) -> None:
        """One entry that is no folder."""
        if not stat.S_ISREG(facts.st_mode):
            self.reject(name, Reason.NOT_A_FILE, kind_of(facts.st_mode))
        elif _is_utf8(name):
            self.files.append(FileEntry(name, facts.st_size, facts.st_mtime_ns))
        else:
            self.reject(name, Reason.BAD_NAME, "the name is not UTF-8")

    def reject(self, name: str, reason: Reason, detail: str) -> None:
        """Note an entry that is no file."""
        self.bad.append(BadEntry(printable(name.rstrip("/")), reason, detail))


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def kind_of(mode: int) -> str:
    """What something that is no file is, in words, of its `st_mode`."""
    kinds = {stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a pipe (FIFO)", stat.S_ISSOCK: "a socket"}
    kinds |= {stat.S_ISCHR: "a device", stat.S_ISBLK: "a device"}
    return next((words for test, words in kinds.items() if test(mode)), "something special")
