"""Lists that people bring as text (pairs, labels, identities, landmarks), whatever program wrote them.

UTF-8 with or without a byte order mark, UTF-16 and UTF-32 (the "Unicode text" of spreadsheets), and each of them in
gzip, which the content tells and not the name. Blank lines in front are passed over, and so is the line `sep=;` with
which Excel names its separator. Everything else is refused in one sentence, with the line and the byte.

What is packed is unpacked in pieces, and only as far as a real list goes: `RATIO` times its size and `FREE` bytes more,
or `WHOLE` bytes where a list is held in memory as a whole. (Real lists shrink to a thirtieth at most.)
"""

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from faceverify.errors import UserError
from faceverify.redaction import first_line
from faceverify.storage import Location, NotAFileError

BLANK_LINES = 1000  # looked for the header behind as many
PIECE = 1 << 20  # bytes read at a time, and the longest line
RATIO, FREE = 200, 64 << 20
WHOLE = 32 << 20
DELIMITERS = (",", ";", "\t")  # of spreadsheets, as the language of the system has it

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16: it begins in the same way
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_GZIP = b"\x1f\x8b"
_OTHER_FILES = {
    b"PK\x03\x04": "a spreadsheet (.xlsx) or zip archive: export it as CSV",
    b"\xd0\xcf\x11\xe0": "a spreadsheet (.xls): export it as CSV",
    b"PAR1": "a Parquet file: name it *.parquet",
    b"BZh": "packed with bzip2: unpack it, or pack it with gzip",
    b"\xfd7zXZ": "packed with xz: unpack it, or pack it with gzip",
    b"\x28\xb5\x2f\xfd": "packed with zstd: unpack it, or pack it with gzip",
    b"%PDF": "a PDF document: export the list as CSV",
}
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?$')


class TextList(io.RawIOBase):
    """The text of a list as a stream of UTF-8 from its first line that says something.

    header: that line, which is the first to be read; skipped: lines before it; separator: what `sep=` named, or "".
    """

    def __init__(self, source: Any, name: str, most: int | None) -> None:
        self._source, self._name, self._most = source, name, most
        self._encoding, self._byte, self._line = "utf-8", 0, 1
        self._ready: bytes | memoryview = b""
        self._ended = False
        first = self._begin()
        self._decoder = codecs.getincrementaldecoder(self._encoding)()
        self._take(first)
        self.header, self.skipped, self.separator = "", 0, ""
        self._pass_blank_lines()

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, target: Any) -> int:
        """Fill `target` as far as one piece goes."""
        while not self._ready and not self._ended:
            self._take(self._read())
        view = memoryview(self._ready)  # a view: many small reads do not copy the rest each time
        size = min(len(target), len(view))
        target[:size], self._ready = view[:size], view[size:]
        return size

    def delimiter(self, *wanted: set[str]) -> str:
        """What stands between the columns: with which the header holds the columns of one of `wanted`; else a comma."""
        if self.separator:
            return self.separator
        for delimiter in DELIMITERS:
            if any(names <= set(self.columns(delimiter)) for names in wanted):
                return delimiter
        return ","

    def columns(self, delimiter: str) -> list[str]:
        """The names in the header."""
        try:
            return next(csv.reader([self.header], delimiter=delimiter), [])
        except csv.Error:  # no header: one word of more than 100,000 characters
            return [self.header[:100]]

    def _begin(self) -> bytes:
        """The first piece without the byte order mark, whose encoding is noted."""
        head = self._read()
        for magic, what in _OTHER_FILES.items():
            if head.startswith(magic):
                raise UserError(f"{self._name} is {what}.")
        for mark, encoding in _MARKS:
            if head.startswith(mark):
                self._encoding, self._byte = encoding, len(mark)
                return head[len(mark) :]
        if head[:2].count(0) == 1:  # the header begins with a plain letter, one of whose two bytes is zero
            self._encoding = "utf-16-be" if head[0] == 0 else "utf-16-le"
        return head

    def _read(self) -> bytes:
        try:
            piece = self._source.read(PIECE)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UserError(f"{self._name} is damaged gzip data ({first_line(error)}).") from None
        if self._most is not None and self._byte + len(piece) > self._most:
            raise UserError(f"{self._name} unpacks to more than {self._most:,} bytes; if it is sound, unpack it.")
        return piece

    def _take(self, piece: bytes) -> None:
        """Check and keep one piece of the file; an empty one is its end."""
        self._ended = not piece
        try:
            text = self._decoder.decode(piece, self._ended)
        except UnicodeDecodeError as error:
            before = error.object[: error.start]
            line = self._line + before.decode(self._encoding, "replace").count("\n")
            byte = self._byte - (len(error.object) - len(piece)) + error.start
            raise UserError(
                f"{self._name} is not {self._encoding.upper()} in line {line}, at byte {byte} of the text (0x"
                f"{error.object[error.start]:02x}); save it as UTF-8."
            ) from None
        self._byte += len(piece)
        self._line += text.count("\n")
        self._ready = bytes(self._ready) + (piece if self._encoding == "utf-8" else text.encode())

    def _pass_blank_lines(self) -> None:
        while self.skipped < BLANK_LINES:
            line, end = self._first_line()
            text = line.decode(errors="replace")
            separator = _SEPARATOR_LINE.match(text.strip())
            if (not separator and text.strip(' ,;\t"')) or not end:
                self.header = text
                return
            self.separator = separator[1] if separator else self.separator
            self._ready, self.skipped = self._ready[end:], self.skipped + 1

    def _first_line(self) -> tuple[bytes, int]:
        """The line at which the stream stands, and where the next one begins."""
        while True:
            found = re.search(rb"\r\n|\n|\r(?!$)", self._ready)
            if found or self._ended:
                at, end = found.span() if found else (len(self._ready), len(self._ready))
                return bytes(self._ready[:at]), end
            if len(self._ready) > PIECE:
                raise UserError(f"{self._name}: line {self.skipped + 1} is longer than {PIECE:,} bytes.")
            self._take(self._read())


@contextmanager
def open_list(location: Location, field: str, whole: bool = False) -> Iterator[TextList]:
    """Open a list as a stream of UTF-8 (see the module docstring).

    Args:
        location: the file.
        field: the option that names it, for messages.
        whole: the caller keeps all of it in memory.

    Raises:
        UserError: there is no such file, or it is no text of a known encoding; also while it is read.
    """
    name = f"{field}: '{location}'"
    try:
        with location.open_input() as stream:
            packed = stream.read(len(_GZIP)) == _GZIP
            stream.seek(0)
            most = (WHOLE if whole else FREE + RATIO * stream.size()) if packed else None
            yield TextList(gzip.GzipFile(fileobj=stream) if packed else stream, name, most)
    except FileNotFoundError:
        raise UserError(f"{field}: there is no file '{location}'; check the path.") from None
    except (NotAFileError, PermissionError) as error:
        raise UserError(f"{name} cannot be read ({error.strerror}); give a file.") from None


def read_lines(location: Location, field: str) -> Iterator[tuple[int, str]]:
    """The lines of a list, from the first that says something, without their ends, each with its number from 1.

    Raises:
        UserError: see `open_list`; also a line of more than `PIECE` characters.
    """
    with open_list(location, field, whole=True) as stream:
        lines = io.TextIOWrapper(io.BufferedReader(stream, PIECE), encoding="utf-8")
        number = stream.skipped
        while line := lines.readline(PIECE):
            number += 1
            if len(line) == PIECE:
                raise UserError(f"{field}: '{location}': line {number} is longer than {PIECE:,} characters.")
            yield number, line.rstrip("\n")


def read_text(location: Location, field: str) -> bytes:
    """All of a text, as UTF-8.

    Raises:
        UserError: see `open_list`.
    """
    with open_list(location, field, whole=True) as stream:
        return stream.readall() or b""
