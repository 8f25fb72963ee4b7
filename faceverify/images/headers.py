"""What a picture's header says, read without unpacking the picture: format, size, and whether the file ends too early.

One short parser per format. They exist because the pixel limit must be checked *before* the decoder allocates anything:
a PNG of a few hundred bytes can announce 60000 x 60000 pixels. The content decides, never the file's extension.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from faceverify.errors import BadData, Reason

Format = Literal["jpeg", "png", "webp", "bmp", "tiff"]

# The smallest prefix that names a format. WebP shares RIFF with sound and video, hence the second look in `sniff`.
_READ: tuple[tuple[bytes, Format], ...] = (
    (b"\xff\xd8", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"BM", "bmp"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
)
_NOT_READ: tuple[tuple[bytes, str], ...] = (
    (b"GIF8", "GIF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"8BPS", "Photoshop"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"\0\0\x01\0", "icon"),
    (b"qoif", "QOI"),
    (b"DDS ", "DDS"),
    (b"<svg", "SVG"),
)
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis")

# Start-of-frame markers: C0..CF without DHT (C4), JPG (C8) and DAC (CC).
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = frozenset({0x00, 0x01, *range(0xD0, 0xD8)})  # stuffed byte, TEM, RSTn: no length follows
_JPEG_PROGRESSIVE = 0xC2
_JPEG_MAX_SCANS = 200  # encoders write about 10; each further scan lets a small file cost another full pass

_BMP_HEADERS = frozenset({40, 52, 56, 64, 108, 124})
_BMP_PLAIN = (0, 3, 6)  # none, and bit fields; run lengths may leave out any part of the picture and so hide a cut
_BMP_OLD_HEADER = 12  # OS/2: 16 bit sides

_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS = 256, 257, 258
_TIFF_STRIP_OFFSETS, _TIFF_STRIP_BYTES = 273, 279
_TIFF_TILE_WIDTH, _TIFF_TILE_HEIGHT, _TIFF_TILE_OFFSETS, _TIFF_TILE_BYTES = 322, 323, 324, 325
_TIFF_WANTED = frozenset(
    {
        _TIFF_WIDTH,
        _TIFF_HEIGHT,
        _TIFF_BITS,
        _TIFF_STRIP_OFFSETS,
        _TIFF_STRIP_BYTES,
        _TIFF_TILE_WIDTH,
        _TIFF_TILE_HEIGHT,
        _TIFF_TILE_OFFSETS,
        _TIFF_TILE_BYTES,
    }
)
_TIFF_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}  # BYTE, SHORT, LONG, LONG8: those that sizes and offsets may have
_TIFF_MAX_BITS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageLimits:
    """What a photo may be at most and must be at least; anything else is rejected before it is unpacked."""

    max_bytes: int = 64 * 1024 * 1024
    """Largest file in bytes."""
    max_pixels: int = 100_000_000
    """Largest height x width in pixels, as the header announces it."""
    min_side: int = 16
    """Shortest side in pixels."""


class ImageHeader(NamedTuple):
    """Format and size in pixels as stored, that is before any EXIF turn."""

    format: Format
    height: int
    width: int


def sniff(data: bytes) -> Format:
    """The format that the first bytes of `data` name.

    Raises:
        BadData: EMPTY, UNSUPPORTED (a picture of a format that is not read) or NOT_AN_IMAGE.
    """
    if not data:
        raise BadData(Reason.EMPTY)
    if data[:4] == b"RIFF" and b"WEBP".startswith(data[8:12]):
        return "webp"
    for magic, name in _READ:
        if data.startswith(magic):
            return name
    for magic, what in _NOT_READ:
        if data.startswith(magic):
            raise BadData(Reason.UNSUPPORTED, what)
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        raise BadData(Reason.UNSUPPORTED, f"HEIF family, brand {data[8:12].decode()}")
    if data[:1] == b"P" and data[1:2] in b"1234567Ff" and data[2:3].isspace():
        raise BadData(Reason.UNSUPPORTED, "Netpbm")
    raise BadData(Reason.NOT_AN_IMAGE, f"starts with {data[:8].hex(' ')}")


def read_header(data: bytes) -> ImageHeader:
    """Format and stored size of `data`; costs microseconds and unpacks nothing.

    Raises:
        BadData: as `sniff`, and TRUNCATED or CORRUPT where the header itself is cut or contradicts its format.
    """
    name = sniff(data)
    try:
        height, width = _SIZE[name](data)
    except (IndexError, struct.error):
        raise BadData(Reason.TRUNCATED, f"the {name} ends within its header") from None
    if height <= 0 or width <= 0:
        raise BadData(Reason.CORRUPT, f"the {name} header says {height}x{width} pixels")
    return ImageHeader(name, height, width)


def ends_early(data: bytes, name: Format) -> bool:
    """Whether a file that the decoder refused lacks its end (True) or is damaged otherwise (False)."""
    try:
        return _ENDS_EARLY[name](data)
    except (IndexError, struct.error):
        return True


def _jpeg_size(data: bytes) -> tuple[int, int]:
    # Walks the markers as libjpeg does: junk between segments and 0xFF fill bytes are skipped.
    at = 2
    while True:
        at = data.find(b"\xff", at)
        if at < 0:
            raise IndexError
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        if marker in _JPEG_FRAMES:
            return _jpeg_frame(data, at)
        if marker in _JPEG_BARE:
            at += 1
            continue
        if 0xD8 <= marker <= 0xDA:  # start of image, end of image, start of scan
            raise BadData(Reason.CORRUPT, f"JPEG marker {marker:#04x} before the frame header")
        at += 1 + struct.unpack_from(">H", data, at + 1)[0]


def _jpeg_frame(data: bytes, at: int) -> tuple[int, int]:
    precision, height, width = struct.unpack_from(">BHH", data, at + 3)
    if precision != 8:
        raise BadData(Reason.UNSUPPORTED, f"JPEG of {precision} bits per sample")
    if data[at] == _JPEG_PROGRESSIVE and (scans := data.count(b"\xff\xda", at)) > _JPEG_MAX_SCANS:
        raise BadData(Reason.CORRUPT, f"progressive JPEG of {scans} scans")
    return height, width


def _jpeg_ends_early(data: bytes) -> bool:
    # The search starts at the last scan, so that the end marker of an embedded thumbnail does not count.
    return data.find(b"\xff\xd9", max(data.rfind(b"\xff\xda"), 0)) < 0


def _png_size(data: bytes) -> tuple[int, int]:
    kind, width, height = struct.unpack_from(">4sII", data, 12)
    if kind != b"IHDR":
        raise BadData(Reason.CORRUPT, "the first PNG chunk is not IHDR")
    if _png_ends_early(data):  # cv2 would allocate whatever length a chunk announces
        raise BadData(Reason.TRUNCATED, "a PNG chunk goes on behind the end of the file, or IEND is missing")
    return height, width


def _png_ends_early(data: bytes) -> bool:
    at = 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        at += 12 + length
        if kind == b"IEND":
            return at > len(data)
    return True


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if _webp_ends_early(data):
        raise IndexError
    if kind == b"VP8 ":
        code, width, height = struct.unpack_from("<3sHH", data, 23)
        if code != b"\x9d\x01\x2a":
            raise BadData(Reason.CORRUPT, "WebP without a key frame")
        return height & 0x3FFF, width & 0x3FFF
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"VP8X":
        low, middle = struct.unpack_from("<IH", data, 24)
        return (low >> 24 | middle << 8) + 1, (low & 0xFFFFFF) + 1
    raise BadData(Reason.CORRUPT, f"WebP chunk {kind!r}")


def _webp_ends_early(data: bytes) -> bool:
    return struct.unpack_from("<I", data, 4)[0] + 8 > len(data)


def _bmp_size(data: bytes) -> tuple[int, int]:
    if len(data) > 10 and data[6:10] != b"\0\0\0\0":  # two letters are a weak signature: any text may start so
        raise BadData(Reason.NOT_AN_IMAGE, "starts with BM, but has no BMP header")
    size = struct.unpack_from("<I", data, 14)[0]
    if size == _BMP_OLD_HEADER:
        width, height = struct.unpack_from("<HH", data, 18)
    elif size in _BMP_HEADERS:
        width, height, _, _, compression = struct.unpack_from("<iiHHI", data, 18)
        if compression not in _BMP_PLAIN:
            raise BadData(Reason.UNSUPPORTED, f"BMP of compression {compression}")
    else:
        raise BadData(Reason.NOT_AN_IMAGE, f"starts with BM, but has a header of {size} bytes")
    return abs(height), width


def _bmp_ends_early(data: bytes) -> bool:
    announced, _, pixels = struct.unpack_from("<III", data, 2)
    return max(announced, pixels) > len(data)


def _tiff_size(data: bytes) -> tuple[int, int]:
    # Of the first directory. TIFF 6.0 (Adobe, 1992), section 2; BigTIFF has 8-byte offsets and 20-byte entries.
    tags = _tiff_directory(data)
    if not tags.get(_TIFF_WIDTH) or not tags.get(_TIFF_HEIGHT):
        raise BadData(Reason.CORRUPT, "the tiff directory names no size")
    bits = max(tags.get(_TIFF_BITS, (1,)), default=1)
    if bits > _TIFF_MAX_BITS:
        raise BadData(Reason.UNSUPPORTED, f"TIFF of {bits} bits per sample")
    height, width = tags[_TIFF_HEIGHT][0], tags[_TIFF_WIDTH][0]
    # A tile is allocated whole, so a tiny picture in a giant tile is a bomb too.
    tile = max(tags.get(_TIFF_TILE_HEIGHT, (0,)), default=0) * max(tags.get(_TIFF_TILE_WIDTH, (0,)), default=0)
    if tile > 4 * height * width and tile > 1 << 20:
        raise BadData(Reason.CORRUPT, f"a tiff tile of {tile} pixels in a picture of {height}x{width}")
    return height, width


def _tiff_ends_early(data: bytes) -> bool:
    """Whether a strip or tile of the first picture lies beyond the end of the file."""
    tags = _tiff_directory(data)
    offsets = (*tags.get(_TIFF_STRIP_OFFSETS, ()), *tags.get(_TIFF_TILE_OFFSETS, ()))
    sizes = (*tags.get(_TIFF_STRIP_BYTES, ()), *tags.get(_TIFF_TILE_BYTES, ()))
    return any(start + size > len(data) for start, size in zip(offsets, sizes, strict=False))


def _tiff_directory(data: bytes) -> dict[int, Sequence[int]]:
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
        if tag in _TIFF_WANTED and kind in _TIFF_TYPES:
            tags[tag] = _tiff_values(data, at + entry.size - (8 if big else 4), order, _TIFF_TYPES[kind], length, big)
    return tags


def _tiff_values(data: bytes, at: int, order: str, code: str, length: int, big: bool) -> Sequence[int]:
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


_SIZE = {"jpeg": _jpeg_size, "png": _png_size, "webp": _webp_size, "bmp": _bmp_size, "tiff": _tiff_size}
_ENDS_EARLY = {
    "jpeg": _jpeg_ends_early,
    "png": _png_ends_early,
    "webp": _webp_ends_early,
    "bmp": _bmp_ends_early,
    "tiff": _tiff_ends_early,
}
