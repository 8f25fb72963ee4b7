"""Makes broken, hostile and unusual picture files; nothing here is stored, every call makes the same bytes.

`broken_files()` gives each file with the reason that `images.decode` must give; `good_files()` gives valid files that
careless readers get wrong. `SMALL_LIMITS` are the limits under which the reasons hold.
"""

import io
import pickle
import struct
import zipfile
import zlib

import numpy as np
from PIL import Image

from faceverify.errors import Reason
from faceverify.images import ImageLimits

SMALL_LIMITS = ImageLimits(max_bytes=200_000, max_pixels=1_000_000, min_side=16)

_BOMB = 60_000


def picture(height: int = 48, width: int = 64, seed: int = 0) -> Image.Image:
    """Smooth colours with some noise, different at each edge, so that a turned or mirrored copy is noticed."""
    y, x = np.mgrid[0:height, 0:width]
    smooth = np.stack([255 * x / width, 255 * y / height, 128 + 90 * np.sin(x / 9) * np.cos(y / 7)], axis=-1)
    noise = np.random.default_rng(seed).normal(0, 6, smooth.shape)
    return Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """`image` as Pillow writes it."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png_chunk(kind: bytes, content: bytes, crc: int | None = None) -> bytes:
    """One PNG chunk, with the right checksum unless another is given."""
    crc = zlib.crc32(kind + content) if crc is None else crc
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def png(
    width: int, height: int, compressed: bytes, *, depth: int = 8, colour: int = 2, crc: int | None = None
) -> bytes:
    """A PNG of one IDAT chunk holding `compressed`, whatever that is."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", compressed, crc) + png_chunk(b"IEND", b"")


def with_jpeg_size(data: bytes, width: int, height: int) -> bytes:
    """The JPEG with another size written into its frame header."""
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def _tiff_tag(data: bytes, tag: int, value: int) -> bytes:
    """A little-endian TIFF with one LONG or SHORT entry's value replaced (by a LONG)."""
    start = struct.unpack_from("<I", data, 4)[0]
    for index in range(struct.unpack_from("<H", data, start)[0]):
        at = start + 2 + 12 * index
        if struct.unpack_from("<H", data, at)[0] == tag:
            return data[:at] + struct.pack("<HHII", tag, 4, 1, value) + data[at + 12 :]
    raise KeyError(tag)


def _patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def _noise(size: int, seed: int = 1) -> bytes:
    return np.random.default_rng(seed).integers(0, 255, size, dtype=np.uint8).tobytes()  # 255 (a marker) left out


def _no_pictures() -> dict[str, tuple[bytes, Reason]]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("photo.jpg", encoded(picture(), "JPEG"))
    contents = {
        "one_byte": b"\xff",
        "text": b"this is not a photo\n",
        "text_that_starts_with_bm": b"BMW 2002 tii, a car and no bitmap\n",
        "html": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "json": b'{"error": "access denied"}',
        "utf16_text": "no picture".encode("utf-16"),
        "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n",
        "zip_with_a_photo": archive.getvalue(),
        "pickle": pickle.dumps([1, 2, 3]),
        "elf": b"\x7fELF\x02\x01\x01" + bytes(57),
        "nul_bytes": bytes(4096),
        "random_bytes": b"\x01" + _noise(999),
        "riff_sound": b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt " + bytes(28),
        "video": struct.pack(">I", 24) + b"ftypisom" + bytes(12),
        "exif_without_photo": b"Exif\0\0II*\0" + bytes(20),
    }
    return {name: (data, Reason.NOT_AN_IMAGE) for name, data in contents.items()}


def _formats_not_read() -> dict[str, tuple[bytes, Reason]]:
    contents = {
        "gif": encoded(picture(), "GIF"),
        "heic": struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + bytes(64),
        "avif": struct.pack(">I", 24) + b"ftypavif\0\0\0\0mif1avif" + bytes(64),
        "jpeg2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(64),
        "netpbm": encoded(picture(), "PPM"),
        "bmp_run_lengths": _patched(encoded(picture().convert("L"), "BMP"), 30, b"\1\0\0\0"),
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "photoshop": b"8BPS\0\1" + bytes(64),
        "jpeg_12_bit": _patched(base := encoded(picture(), "JPEG"), base.index(b"\xff\xc0") + 4, b"\x0c"),
        "tiff_32_bit_float": encoded(Image.fromarray(np.ones((32, 32), np.float32)), "TIFF"),
    }
    return {name: (data, Reason.UNSUPPORTED) for name, data in contents.items()}


def _truncated() -> dict[str, tuple[bytes, Reason]]:
    jpeg, progressive = encoded(picture(), "JPEG"), encoded(picture(), "JPEG", progressive=True)
    with_thumbnail = _jpeg_with_thumbnail()
    whole_png, webp, bmp = encoded(picture(), "PNG"), encoded(picture(), "WEBP"), encoded(picture(), "BMP")
    tiff, lzw = encoded(picture(), "TIFF"), encoded(picture(), "TIFF", compression="tiff_lzw")
    scan = jpeg.index(b"\xff\xda")
    contents = {
        "jpeg_first_two_bytes": jpeg[:2],
        "jpeg_cut_in_header": jpeg[:100],
        "jpeg_cut_before_scan": jpeg[:scan],
        "jpeg_cut_in_scan": jpeg[: (scan + len(jpeg)) // 2],
        "jpeg_90_percent": jpeg[: len(jpeg) * 9 // 10],
        "jpeg_without_end_marker": jpeg[:-2],
        "jpeg_cut_but_for_its_thumbnail": with_thumbnail[: len(with_thumbnail) - 300],
        "progressive_jpeg_cut": progressive[: len(progressive) * 2 // 3],
        "png_signature_only": whole_png[:8],
        "png_cut_in_header": whole_png[:20],
        "png_cut": whole_png[: len(whole_png) // 2],
        "png_without_iend": whole_png[:-12],
        "webp_cut": webp[: len(webp) // 2],
        "webp_cut_in_header": webp[:18],
        "bmp_cut": bmp[: len(bmp) // 2],
        "bmp_cut_in_header": bmp[:20],
        "tiff_cut": tiff[: len(tiff) // 2],
        "tiff_lzw_cut": lzw[: len(lzw) // 2],
        "tiff_cut_in_header": tiff[:6],
    }
    return {name: (data, Reason.TRUNCATED) for name, data in contents.items()}


def _jpeg_with_thumbnail() -> bytes:
    thumbnail = encoded(picture(24, 32), "JPEG")
    jpeg = encoded(picture(96, 128), "JPEG")
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail + jpeg[2:]


def _bombs() -> dict[str, tuple[bytes, Reason]]:
    webp = encoded(picture(), "WEBP", lossless=True)
    bits = struct.unpack_from("<I", webp, 21)[0]
    canvas = struct.pack("<I", 10) + bytes(4) + b"\xff\xff\x3f" * 2  # VP8X: 4194304 x 4194304
    vp8x = b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + canvas
    big = struct.pack("<I", _BOMB)
    contents = {
        "png_bomb": png(_BOMB, _BOMB, zlib.compress(bytes(100_000))),
        "png_bomb_1_bit": png(_BOMB, _BOMB, zlib.compress(bytes(100_000)), depth=1, colour=0),
        "jpeg_bomb": with_jpeg_size(encoded(picture(), "JPEG"), 65_500, 65_500),
        "webp_lossless_bomb": _patched(webp, 21, struct.pack("<I", bits | 0x0FFFFFFF)),
        "webp_canvas_bomb": vp8x,
        "bmp_bomb": _patched(encoded(picture(), "BMP"), 18, big + big),
        "bmp_bomb_upside_down": _patched(encoded(picture(), "BMP"), 18, big + struct.pack("<i", -_BOMB)),
        "tiff_bomb": _tiff_tag(_tiff_tag(encoded(picture(), "TIFF"), 256, _BOMB), 257, _BOMB),
        "just_too_many_pixels": encoded(Image.new("L", (1000, 1001)), "PNG"),
    }
    return {name: (data, Reason.TOO_MANY_PIXELS) for name, data in contents.items()}


def _corrupt() -> dict[str, tuple[bytes, Reason]]:
    jpeg, whole_png = encoded(picture(), "JPEG"), encoded(picture(), "PNG")
    rows = b"".join(b"\0" + row.tobytes() for row in np.asarray(picture()))
    idat = whole_png.index(b"IDAT")
    scan = jpeg.index(b"\xff\xda") + 14
    lzw = encoded(picture(), "TIFF", compression="tiff_lzw")
    deflate = encoded(picture(), "TIFF", compression="tiff_adobe_deflate")
    contents = {
        "jpeg_scan_is_noise": jpeg[:scan] + _noise(len(jpeg) - scan - 2) + jpeg[-2:],
        "jpeg_cut_and_closed": jpeg[: (scan + len(jpeg)) // 2] + b"\xff\xd9",
        "jpeg_two_start_markers": b"\xff\xd8" + jpeg,
        "jpeg_without_tables": _without_jpeg_tables(jpeg),
        "jpeg_zero_height": with_jpeg_size(jpeg, 64, 0),
        "jpeg_taller_than_its_data": with_jpeg_size(jpeg, 64, 480),
        "jpeg_end_before_frame": b"\xff\xd8\xff\xd9" + jpeg[2:],
        "jpeg_of_a_thousand_scans": _many_scans(),
        "png_bad_checksum": _patched(whole_png, idat - 4 + 8 + 100, b"\x55\xaa\x55"),
        "png_bad_header_checksum": _patched(whole_png, 29, b"\0\0\0\0"),
        "png_bad_zlib": png(64, 48, b"\x78\x9c" + _noise(400)),
        "png_too_few_rows": png(64, 48, zlib.compress(rows[: len(rows) // 2])),
        "png_zero_width": png(0, 48, zlib.compress(b"")),
        "png_unknown_filter": png(64, 48, zlib.compress(b"\x09" + rows[1:])),
        "png_first_chunk_missing": b"\x89PNG\r\n\x1a\n" + whole_png[33:],
        "webp_unknown_chunk": _patched(encoded(picture(), "WEBP"), 12, b"JUNK"),
        "webp_no_key_frame": _patched(encoded(picture(), "WEBP"), 23, b"\0\0\0"),
        "bmp_bad_depth": _patched(encoded(picture(), "BMP"), 28, b"\x07\0"),
        "tiff_lzw_noise": _patched(lzw, 40, _noise(500)),
        "tiff_deflate_noise": _patched(deflate, 40, _noise(500)),
        "tiff_without_size": _tiff_tag(encoded(picture(), "TIFF"), 256, 0),
        "tiff_giant_tile": _giant_tile(),
    }
    return {name: (data, Reason.CORRUPT) for name, data in contents.items()}


def _without_jpeg_tables(jpeg: bytes) -> bytes:
    """The quantisation tables' segments renamed to comments."""
    return jpeg.replace(b"\xff\xdb", b"\xff\xfe")


def _many_scans() -> bytes:
    progressive = encoded(picture(), "JPEG", progressive=True)
    last = progressive.rindex(b"\xff\xda")
    return progressive[:last] + progressive[last:-2] * 1000 + b"\xff\xd9"


def _giant_tile() -> bytes:
    entries = [(256, 64), (257, 48), (258, 8), (259, 1), (262, 1), (277, 1), (322, 1 << 15), (323, 1 << 15), (324, 8)]
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4)


def broken_files() -> dict[str, tuple[bytes, Reason]]:
    """Name -> (content, the reason that decoding under `SMALL_LIMITS` must give)."""
    return {
        "empty": (b"", Reason.EMPTY),
        "too_many_bytes": (encoded(picture(), "JPEG") + bytes(200_000), Reason.TOO_MANY_BYTES),
        "one_pixel": (encoded(picture(1, 1), "PNG"), Reason.TOO_SMALL),
        "one_row": (encoded(picture(1, 500), "JPEG"), Reason.TOO_SMALL),
        **_no_pictures(),
        **_formats_not_read(),
        **_truncated(),
        **_bombs(),
        **_corrupt(),
    }


def good_files() -> dict[str, bytes]:
    """Name -> content of valid files; each EXIF orientation 1..8 in each format that carries it."""
    image = picture()
    alpha = image.convert("RGBA")
    alpha.putalpha(Image.linear_gradient("L").resize(image.size))
    files = {
        "jpeg": encoded(image, "JPEG"),
        "jpeg_progressive": encoded(image, "JPEG", progressive=True),
        "jpeg_cmyk": encoded(image.convert("CMYK"), "JPEG"),
        "jpeg_grey": encoded(image.convert("L"), "JPEG"),
        "jpeg_444": encoded(image, "JPEG", subsampling=0),
        "jpeg_restarts": encoded(image, "JPEG", restart_marker_blocks=2),
        "jpeg_trailing_bytes": encoded(image, "JPEG") + b"\0" * 64,
        "jpeg_padded_before_end": encoded(image, "JPEG")[:-2] + b"\0\0\xff\xd9",
        "jpeg_fill_bytes": (base := encoded(image, "JPEG"))[:2] + b"\xff\xff\xff" + base[2:],
        "jpeg_thumbnail": _jpeg_with_thumbnail(),
        "png": encoded(image, "PNG"),
        "png_palette": encoded(image.quantize(16), "PNG"),
        "png_palette_transparent": encoded(image.quantize(16), "PNG", transparency=3),
        "png_alpha": encoded(alpha, "PNG"),
        "png_grey_alpha": encoded(alpha.convert("LA"), "PNG"),
        "png_1_bit": encoded(image.convert("1"), "PNG"),
        "png_grey": encoded(image.convert("L"), "PNG"),
        "png_interlaced": _interlaced_png(image),
        "webp": encoded(image, "WEBP"),
        "webp_lossless": encoded(image, "WEBP", lossless=True),
        "webp_alpha": encoded(alpha, "WEBP", lossless=True, exact=True),
        "bmp": encoded(image, "BMP"),
        "bmp_palette": encoded(image.quantize(16), "BMP"),
        "bmp_grey": encoded(image.convert("L"), "BMP"),
        "tiff": encoded(image, "TIFF"),
        "tiff_lzw": encoded(image, "TIFF", compression="tiff_lzw"),
        "tiff_deflate": encoded(image, "TIFF", compression="tiff_adobe_deflate"),
        "tiff_grey": encoded(image.convert("L"), "TIFF"),
        "tiff_1_bit": encoded(image.convert("1"), "TIFF"),
        "tiff_big": encoded(image, "TIFF", big_tiff=True),
    }
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[0x112] = turn
        files |= {
            f"{kind.lower()}_exif_{turn}": encoded(image, kind, exif=exif) for kind in ("JPEG", "PNG", "WEBP", "TIFF")
        }
    return files


def _interlaced_png(image: Image.Image) -> bytes:
    """Adam7, which Pillow reads but does not write."""
    pixels = np.asarray(image)
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = b"".join(b"\0" + row.tobytes() for y, x, dy, dx in passes for row in pixels[y::dy, x::dx])
    header = struct.pack(">IIBBBBB", image.width, image.height, 8, 2, 0, 0, 1)
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body
