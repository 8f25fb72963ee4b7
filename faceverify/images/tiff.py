"""The first directory of a TIFF or BigTIFF file: size, and whether the picture's bytes are all there.

Source: TIFF 6.0 (Adobe, 1992), section 2, and the BigTIFF layout of libtiff (8-byte offsets, 20-byte entries).
"""

import struct
from collections.abc import Sequence

from faceverify.errors import BadData, Reason

_WIDTH, _HEIGHT, _BITS = 256, 257, 258
_STRIP_OFFSETS, _STRIP_BYTES = 273, 279
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES = 322, 323, 324, 325
_WANTED = frozenset(
    {_WIDTH, _HEIGHT, _BITS, _STRIP_OFFSETS, _STRIP_BYTES, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES}
)
_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}  # BYTE, SHORT, LONG, LONG8: those that sizes and offsets may have
_MAX_BITS = 16


def read_tiff(data: bytes) -> tuple[int, int]:
    """(height, width) to be unpacked: the first picture's, or one tile's where a tile is larger than the picture.

    Raises:
        BadData: CORRUPT without a size, UNSUPPORTED for samples of more than 16 bits.
        struct.error: the file ends within the directory.
    """
    tags = _directory(data)
    if not tags.get(_WIDTH) or not tags.get(_HEIGHT):
        raise BadData(Reason.CORRUPT, "the tiff directory names no size")
    bits = max(tags.get(_BITS, (1,)), default=1)
    if bits > _MAX_BITS:
        raise BadData(Reason.UNSUPPORTED, f"TIFF of {bits} bits per sample")
    height, width = tags[_HEIGHT][0], tags[_WIDTH][0]
    # A tile is allocated whole, so a tiny picture in a giant tile is a bomb too.
    tile = max(tags.get(_TILE_HEIGHT, (0,)), default=0) * max(tags.get(_TILE_WIDTH, (0,)), default=0)
    if tile > 4 * height * width and tile > 1 << 20:
        raise BadData(Reason.CORRUPT, f"a tiff tile of {tile} pixels in a picture of {height}x{width}")
    return height, width


def tiff_ends_early(data: bytes) -> bool:
    """Whether a strip or tile of the first picture lies beyond the end of the file."""
    tags = _directory(data)
    offsets = (*tags.get(_STRIP_OFFSETS, ()), *tags.get(_TILE_OFFSETS, ()))
    sizes = (*tags.get(_STRIP_BYTES, ()), *tags.get(_TILE_BYTES, ()))
    return any(start + size > len(data) for start, size in zip(offsets, sizes, strict=False))


def _directory(data: bytes) -> dict[int, Sequence[int]]:
    order = "<" if data[:1] == b"I" else ">"
    big = b"+" in data[2:4]
    start = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    count = struct.unpack_from(order + ("Q" if big else "H"), data, _within(start, data))[0]
    entry = struct.Struct(order + ("HHQQ" if big else "HHII"))
    start += 8 if big else 2
    if start + count * entry.size > len(data):
        raise struct.error("the directory ends beyond the file")
    tags = {}
    for index in range(count):
        at = start + index * entry.size
        tag, kind, length, _ = entry.unpack_from(data, at)
        if tag in _WANTED and kind in _TYPES:
            tags[tag] = _values(data, at + entry.size - (8 if big else 4), order, _TYPES[kind], length, big)
    return tags


def _values(data: bytes, at: int, order: str, code: str, length: int, big: bool) -> Sequence[int]:
    """The numbers of one entry: in its value field if they fit, else where that field points."""
    room = 8 if big else 4
    if length * struct.calcsize(code) > room:
        at = struct.unpack_from(order + ("Q" if big else "I"), data, at)[0]
    if at + length * struct.calcsize(code) > len(data):
        raise struct.error("an array ends beyond the file")
    return struct.unpack_from(f"{order}{length}{code}", data, _within(at, data))


def _within(at: int, data: bytes) -> int:
    if at > len(data):  # beyond sys.maxsize struct would raise OverflowError instead
        raise struct.error("an offset lies beyond the file")
    return at
