"""Local paths and `s3://` through `pyarrow.fs`, behind one small class that everything else goes through.

A `Location` travels between processes as its URI alone: credentials never leave the process that found them
(environment, profile or instance role), and each process builds its own client.
"""

import errno
import functools
import glob
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import pyarrow.fs as pafs

from faceverify import s3
from faceverify.errors import BadData, PlatformError, Reason, UserError
from faceverify.folder_listing import BadEntry, FileEntry, kind_of, list_folder, printable
from faceverify.redaction import first_line, redacted

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMES = ("s3",)
_PARTIAL = ".partial"  # of a file that is being written


class NotAFileError(OSError):
    """There is a folder, a pipe, a socket or a device where a file was expected."""


class BadAddressError(NotAFileError):
    """No file can have this address: it holds a NUL byte, is too long, or is of a scheme that is not supported."""


@dataclass(frozen=True)
class Location:
    """A file or folder, local or in S3. `uri` is an absolute local path or `s3://bucket/key`."""

    uri: str

    @property
    def is_local(self) -> bool:
        """Whether this is a path of the local file system."""
        return "://" not in self.uri

    @property
    def path(self) -> str:
        """The path as its file system wants it (`bucket/key` for S3)."""
        return self.uri if self.is_local else self.uri.split("://", 1)[1]

    @property
    def real(self) -> str:
        """The one name of what has several, by links or `..`."""
        return os.path.realpath(self.uri) if self.is_local else self.uri

    @property
    def fs(self) -> pafs.FileSystem:
        """The file system, one client per process and bucket."""
        return pafs.LocalFileSystem() if self.is_local else s3.filesystem(self.path.split("/", 1)[0])

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rstrip("/").rsplit("/", 1)[-1]

    @property
    def parent(self) -> "Location":
        """The folder that holds this."""
        return Location(self.uri.rstrip("/").rsplit("/", 1)[0])

    def __truediv__(self, name: str) -> "Location":
        return Location(f"{self.uri.rstrip('/')}/{name}")

    def __str__(self) -> str:
        return self.uri

    def exists(self) -> bool:
        """Whether there is a file or folder here."""
        return self._info().type != pafs.FileType.NotFound

    def is_dir(self) -> bool:
        """Whether this is a folder."""
        return self._info().type == pafs.FileType.Directory

    def is_file(self) -> bool:
        """Whether this is a file."""
        return self._info().type == pafs.FileType.File

    def kind(self) -> pafs.FileType:
        """What there is: File, Directory, NotFound, or Unknown (a pipe, a device)."""
        return self._info().type

    def stat(self) -> FileEntry:
        """Size and time of change of this file."""
        return self._entry(self._info(), self.parent.path)

    def _info(self) -> "pafs.FileInfo":
        return self.fs.get_file_info(self.path)

    @staticmethod
    def _entry(info: "pafs.FileInfo", base: str) -> FileEntry:
        return FileEntry(info.path[len(base.rstrip("/")) + 1 :], info.size or 0, info.mtime_ns or 0)

    def files(self, recursive: bool = True) -> list[FileEntry]:
        """All files below this folder, sorted by path, each once; empty if the folder does not exist."""
        return self.listing(recursive)[0]

    def listing(self, recursive: bool = True, hidden: bool = True) -> tuple[list[FileEntry], list[BadEntry]]:
        """Like `files`, and what is no file there (see `faceverify.folder_listing`).

        Args:
            recursive: also below sub-folders.
            hidden: also what has a name that begins with a dot; in S3 it is always listed.
        """
        if self.is_local:
            return list_folder(self.path, recursive, hidden)
        selector = pafs.FileSelector(self.path, recursive=recursive, allow_not_found=True)
        infos = self.fs.get_file_info(selector)
        return sorted(self._entry(info, self.path) for info in infos if info.type == pafs.FileType.File), []

    def folders(self) -> list["Location"]:
        """The folders directly in this one, sorted, without hidden ones."""
        selector = pafs.FileSelector(self.path, allow_not_found=True)
        infos = self.fs.get_file_info(selector)
        names = sorted(info.base_name for info in infos if info.type == pafs.FileType.Directory)
        return [self / name for name in names if not name.startswith(".")]

    @contextmanager
    def open_input(self) -> Iterator["pa.NativeFile"]:
        """Open for random-access reading. A pipe or a device is refused and never waited for.

        Raises:
            NotAFileError: there is something else than a file (BadAddressError: no file can have this address).
            OSError: of S3 with this object's name, also where Arrow leaves it out: while it reads.
        """
        if self.is_local:
            handle = self._open_local()
            try:
                # By its descriptor: what was looked at is what is read, whatever happens to the name meanwhile.
                with self.fs.open_input_file(f"/dev/fd/{handle}") as stream:
                    yield stream
            finally:
                os.close(handle)
            return
        self._check_address()
        try:
            with self.fs.open_input_file(self.path) as stream:
                yield stream
        except OSError as error:
            if not str(error).startswith("AWS Error"):
                raise
            raise OSError(f"{self.uri}: {first_line(error)}") from error

    def _open_local(self) -> int:
        """A descriptor of this local file."""
        self._check_address()
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would wait for its writer
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            raise BadAddressError(errno.EINVAL, "the name is too long", self.path) from None
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            os.close(handle)
            raise NotAFileError(errno.EINVAL, kind_of(mode), self.path)
        return handle

    @contextmanager
    def open_output(self) -> Iterator["pa.NativeFile"]:
        """Open for writing; the file appears, complete, when the block ends well, and not at all otherwise.

        Nothing of that name is opened for it: a symbolic link there is replaced and not followed.
        """
        if not self.is_local:
            with self.fs.open_output_stream(self.path) as stream:
                yield stream
            return
        import pyarrow as pa

        with self._draft() as file, pa.PythonFile(file, "w") as stream:
            yield stream

    @contextmanager
    def _draft(self) -> Iterator[BinaryIO]:
        """A temporary file with an unpredictable name beside this one, which it replaces at the end."""
        self.make_parent()
        folder, name = os.path.split(self.path)
        handle, temporary = tempfile.mkstemp(prefix=f".{name[:100]}.", suffix=_PARTIAL, dir=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, self.path)
        except BaseException:
            os.unlink(temporary)
            raise

    def make_parent(self) -> None:
        """Create the folder above (S3 has none)."""
        if self.is_local:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)

    def read_bytes(self, max_bytes: int | None = None) -> bytes:
        """The whole file.

        Raises:
            BadData: no address of a file, missing, no file, unreadable, or longer than `max_bytes` (checked before
                reading).
            PlatformError: the storage did not give it, though tried again and again: that is no fault of the file.
        """
        return self.read_with_version(max_bytes)[0]

    def read_with_version(self, max_bytes: int | None = None) -> tuple[bytes, str]:
        """The whole file, and which version of it that is (see `faceverify.provenance`).

        Raises:
            BadData, PlatformError: see `read_bytes`.
        """
        try:
            return self._read_local(max_bytes) if self.is_local else self._read_remote(max_bytes)
        except FileNotFoundError:
            raise BadData(Reason.MISSING, self.uri) from None
        except BadAddressError as error:
            raise BadData(Reason.BAD_NAME, f"{error.strerror}: {error.filename[:200]!r}") from None
        except NotAFileError as error:
            raise BadData(Reason.NOT_A_FILE, f"{error.strerror}: {self.uri}") from None
        except OSError as error:
            if self.is_local or any(code in str(error) for code in s3.OF_THE_OBJECT):
                raise BadData(Reason.UNREADABLE, first_line(error)) from None
            raise PlatformError(
                f"storage failed {s3.ATTEMPTS} times at {self.uri}: {first_line(error)}; the same command resumes here."
            ) from None

    def _check_address(self) -> None:
        if fault := self._fault():
            raise BadAddressError(errno.EINVAL, fault, printable(self.uri))

    def _fault(self) -> str:
        """Why this can be no file's address; empty if it can be."""
        scheme, separator, rest = self.uri.partition("://")
        if not self.uri:
            return "there is no address"
        if "\0" in self.uri or printable(self.uri) != self.uri:
            return "the address holds a NUL byte or what is not UTF-8"
        if separator and scheme not in SCHEMES:
            return f"the scheme '{printable(scheme)[:20]}://' is not supported"
        if separator and not all(rest.partition("/")[::2]):
            return "the address names no object; s3://bucket/key does"
        return ""

    def _read_local(self, max_bytes: int | None) -> tuple[bytes, str]:
        """The version is that of the file that is open, and not of one that may have taken its place meanwhile."""
        with os.fdopen(self._open_local(), "rb", buffering=0) as stream:
            found = os.fstat(stream.fileno())
            version = file_version(self.path, found)
            _check_size(found.st_size, max_bytes, version)
            data = stream.readall()
        if data is None:  # a file of the kernel that has nothing to say yet
            raise BlockingIOError(errno.EAGAIN, "nothing to read", self.path)
        return data, version

    def _read_remote(self, max_bytes: int | None) -> tuple[bytes, str]:
        try:
            with self.open_input() as stream:
                facts = {name.lower(): value for name, value in stream.metadata().items()}
                version = s3.object_version(facts.get("etag", b"").decode(), stream.size())
                _check_size(stream.size(), max_bytes, version)
                return stream.read(), version
        except ValueError as error:  # Arrow's, of a key that it does not take
            raise BadData(Reason.BAD_NAME, first_line(error)) from None

    def write_bytes(self, data: bytes) -> None:
        """Write the whole file; it appears complete or not at all."""
        if self.is_local:
            with self._draft() as file:
                file.write(data)
        else:
            with self.open_output() as stream:
                stream.write(data)

    def sweep(self) -> None:
        """Delete what writers that were killed in the middle of their work left behind, here and below.

        Of a file that is what was to become this file.
        """
        if self.is_local:
            folder, name = os.path.split(self.path)
            for left in glob.glob(f"{glob.escape(folder)}/.{glob.escape(name[:100])}.*{_PARTIAL}"):
                os.unlink(left)
            for folder, _, names in os.walk(self.path):
                for name in names:
                    if name.startswith(".") and name.endswith(_PARTIAL):
                        os.unlink(os.path.join(folder, name))

    def delete(self) -> None:
        """Delete this file or folder with all that is in it; nothing happens if it is not there.

        Of a symbolic link the link, and nothing that it leads to.
        """
        if self.is_local and os.path.islink(self.path):
            os.unlink(self.path)
            return
        kind = self._info().type
        if kind == pafs.FileType.Directory:
            self.fs.delete_dir(self.path)
        elif kind == pafs.FileType.File:
            self.fs.delete_file(self.path)

    def sha256(self) -> str:
        """SHA-256 of the content, hexadecimal, read in pieces."""
        digest = hashlib.sha256()
        with self.open_input() as stream:
            while piece := stream.read(1 << 22):
                digest.update(piece)
        return digest.hexdigest()


def _check_size(size: int, most: int | None, version: str) -> None:
    if most is not None and size > most:
        raise BadData(Reason.TOO_MANY_BYTES, f"{size} bytes, the limit is {most}", version)


@functools.cache
def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def check_no_link(location: Location) -> None:
    """Refuse to write into a folder or file that is a symbolic link: what it leads to is not this run's.

    Raises:
        UserError: names it.
    """
    if location.is_local and os.path.islink(location.path):
        raise UserError(f"'{location}' is a symbolic link, which no output is; delete it, or choose another --out.")


@contextmanager
def private_draft(path: Path) -> Iterator[Path]:
    """A path in a new folder beside `path`, for libraries that open a file by its name; the file takes its place.

    Whatever happens, nothing else remains; if the block fails, `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name[:100]}.", suffix=_PARTIAL, dir=path.parent) as folder:
        draft = Path(folder) / path.name
        yield draft
        os.replace(draft, path)


def file_version(path: str, found: os.stat_result) -> str:
    """What tells a local file's content from another's, short of reading it: place, size, time of change (ns)."""
    folder, _, name = path.rpartition("/")
    place = hashlib.blake2b(os.fsencode(f"{_real(folder)}/{name}"), digest_size=8).hexdigest()
    return f"file:{found.st_size}-{found.st_mtime_ns}@{place}"


@functools.lru_cache(maxsize=4096)
def _real(folder: str) -> str:
    return os.path.realpath(folder)


def open_location(uri: str) -> Location:
    """Make a Location from what a user typed.

    Raises:
        UserError: a scheme that is not supported, an S3 address without a bucket, or what no file can be called.
    """
    if "\0" in uri or printable(uri) != uri:
        raise UserError(f"the path '{printable(uri)}' holds a NUL byte or what is not UTF-8; rename what it names.")
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return Location(str(Path(uri).expanduser().absolute()))
    if scheme == "file":
        return Location(str(Path(rest).absolute()))
    if scheme not in SCHEMES:
        raise UserError(
            f"'{redacted(uri)}' has the scheme '{scheme[:20]}://', which is not supported; use a local path or "
            "s3://bucket/key."
        )
    if {"@", ":"} & set(rest.partition("/")[0]):
        raise UserError(
            f"'{redacted(uri)}' names more than a bucket: give key and secret as AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, a profile or a role, the server as AWS_ENDPOINT_URL, and here s3://bucket/key."
        )
    if not rest.strip("/"):
        raise UserError(f"'{uri}' names no bucket; write s3://bucket/key.")
    return Location(f"{scheme}://{rest.rstrip('/')}")


def check_readable(location: Location, field: str) -> None:
    """Check, before work starts, that `location` exists and may be read.

    Raises:
        UserError: nothing is there, or something that is neither a file nor a folder.
        PlatformError: the storage refuses (credentials, bucket, permission); the text says which.
    """
    if not location.is_local:
        s3.check_bucket(location.path, field)
    try:
        kind = location.kind()
    except OSError as error:
        raise UserError(f"{field}: '{location.uri[:200]}' cannot be opened ({error.strerror}); check it.") from None
    if kind == pafs.FileType.NotFound:
        raise UserError(f"{field}: there is no file or folder '{location}'; check the path.")
    if kind == pafs.FileType.Unknown:
        raise UserError(
            f"{field}: '{location}' is {kind_of(os.stat(location.path).st_mode)}, neither a file nor a folder; "
            "write what it gives to a file."
        )


def check_writable(location: Location, field: str) -> None:
    """Check, before work starts, that files can be created below `location`, by writing and deleting a probe.

    Raises:
        UserError: a file is in the way of the folder.
        PlatformError: the storage refuses.
    """
    if not location.is_local:
        s3.check_bucket(location.path, field)
    probe = _standing(location) / f".probe-{os.getpid()}"
    try:
        probe.write_bytes(b"probe")
        probe.delete()
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"{field}: '{location}' or a folder above it is a file; choose another folder.") from None
    except OSError as error:
        raise PlatformError(f"{field}: cannot write to '{location}' ({_refusal(error)}).") from None


def _standing(location: Location) -> Location:
    """The nearest local folder above a new one: a check must not leave empty folders behind."""
    while location.is_local and not location.exists():
        location = location.parent
    return location


def _refusal(error: OSError) -> str:
    text = str(error)
    if "ACCESS_DENIED" in text or "AccessDenied" in text:
        return "access denied: these credentials have no permission to write there"
    return error.strerror or first_line(error)
