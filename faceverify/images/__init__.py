"""The only place where bytes become pixels and pixels bytes.

Pixels are RGB uint8, height x width x 3. JPEG (baseline, progressive, grey, CMYK), PNG, WebP, BMP and TIFF are read;
the content decides which, never the file's name. What `decode` does with the odd ones:

* **EXIF orientation** (all eight values) is obeyed in JPEG, PNG (eXIf chunk), WebP and TIFF.
* **Alpha is dropped**: the stored colours are returned, like Pillow's `convert("RGB")`. TIFF is the exception: libtiff
  multiplies colours by alpha, which composites them on black.
* **16 bits become 8** by dropping the low byte in PNG and grey TIFF, by rounding v / 257 in colour TIFF (they differ by
  at most one level).
* **A file that lacks its end is refused**, a JPEG without its end-of-image marker too: there is no telling a missing
  marker from a missing half. Bytes behind the end are ignored.
* **Damage that libjpeg or libtiff only warn about is refused** (they paint the rest grey and go on), save for up to
  four stray bytes before a JPEG's end marker, with which some encoders fill up words. Damage that leaves a readable
  JPEG or WebP stream cannot be seen by any decoder: neither format has a checksum.
* Run-length coded BMP is not read: it may leave out pixels, so that a cut file looks whole and black.
* An animation gives its first frame, a multi-page TIFF its first page.
"""

import re

import cv2
import numpy as np
from numpy.typing import NDArray

from faceverify.errors import BadData, Reason
from faceverify.images.decoder_warnings import listen
from faceverify.images.headers import ImageHeader, ImageLimits, ends_early, read_header, sniff

__all__ = [
    "DEFAULT_LIMITS",
    "ImageHeader",
    "ImageLimits",
    "check_size",
    "decode",
    "encode_jpeg",
    "encode_png",
    "encode_webp",
    "read_image_size",
    "reduction_for",
    "sniff",
    "thumbnail",
]

RGB = NDArray[np.uint8]

DEFAULT_LIMITS = ImageLimits()

_DAMAGE = re.compile(r"Corrupt JPEG|Premature end of JPEG|Inconsistent progression|TIFF_Error|libpng error")
_PADDING = re.compile(r"Corrupt JPEG data: [1-4] extraneous bytes before marker 0xd9")


def decode(data: bytes, limits: ImageLimits = DEFAULT_LIMITS, reduction: int = 1) -> RGB:
    """The pixels of an encoded photo: RGB uint8 [height, width, 3], turned as EXIF says (module docstring for details).

    Args:
        data: the file.
        limits: what of it is accepted; of its full size.
        reduction: 2, 4 or 8 give one pixel for the mean of that many in each direction (sizes are rounded up), which
            the codec of JPEG does faster than it unpacks all of them. Other formats have no such way.

    Raises:
        BadData: EMPTY, TOO_MANY_BYTES, NOT_AN_IMAGE, UNSUPPORTED, TRUNCATED, CORRUPT, TOO_MANY_PIXELS or TOO_SMALL.
    """
    if len(data) > limits.max_bytes:
        raise BadData(Reason.TOO_MANY_BYTES, f"{len(data)} bytes, the limit is {limits.max_bytes}")
    header = read_header(data)
    check_size(header.height, header.width, limits)
    rgb, said = _unpack(data, header, reduction)
    damage = next((line for line in said if _DAMAGE.search(line) and not _PADDING.match(line)), "")
    if damage:
        raise BadData(Reason.CORRUPT, damage[:200])
    size = [-(-side // reduction) for side in header[1:]]
    if sorted(rgb.shape[:2]) != sorted(size):  # the decoder must not have followed another header than we did
        raise BadData(Reason.CORRUPT, f"unpacked to {rgb.shape}, the header says {header.height}x{header.width}")
    return rgb


def read_image_size(data: bytes) -> ImageHeader:
    """(format, height, width) from the header alone; the size is the stored one, before any EXIF turn.

    Raises:
        BadData: EMPTY, NOT_AN_IMAGE, UNSUPPORTED, TRUNCATED or CORRUPT.
    """
    return read_header(data)


def encode_png(rgb: RGB, note: str = "") -> bytes:
    """Lossless PNG of RGB uint8 [h, w, 3]; the same pixels give the same bytes. `note` is XMP for the file.

    Raises:
        ValueError: not such an array.
    """
    return _encode(rgb, ".png", [cv2.IMWRITE_PNG_COMPRESSION, 1], note)


def encode_jpeg(rgb: RGB, quality: int = 90, note: str = "") -> bytes:
    """JPEG of RGB uint8 [h, w, 3]; `quality` 1..100. `note` is XMP for the file.

    Raises:
        ValueError: not such an array, or a quality out of range.
    """
    return _encode(rgb, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, _checked(quality)], note)


def encode_webp(rgb: RGB, quality: int, note: str = "") -> bytes:
    """Lossy WebP of RGB uint8 [h, w, 3]; `quality` 1..100. `note` is XMP for the file.

    Raises:
        ValueError: not such an array, or a quality out of range.
    """
    return _encode(rgb, ".webp", [cv2.IMWRITE_WEBP_QUALITY, _checked(quality)], note)


def _checked(quality: int) -> int:
    if not 1 <= quality <= 100:
        raise ValueError(f"quality is 1..100, not {quality}")
    return quality


def thumbnail(rgb: RGB, side: int) -> RGB:
    """`rgb` [h, w, 3] shrunk by area averaging until its longer side is `side` pixels; never enlarged."""
    height, width = rgb.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return rgb
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def check_size(height: int, width: int, limits: ImageLimits) -> None:
    """Check the size of a photo in pixels.

    Raises:
        BadData: TOO_MANY_PIXELS or TOO_SMALL.
    """
    if height * width > limits.max_pixels:
        raise BadData(Reason.TOO_MANY_PIXELS, f"{height}x{width} pixels, the limit is {limits.max_pixels}")
    if min(height, width) < limits.min_side:
        raise BadData(Reason.TOO_SMALL, f"{height}x{width} pixels, a side has {limits.min_side} at least")


_REDUCED = {1: 0, 2: 16, 4: 32, 8: 64}  # the bits of OpenCV's IMREAD_REDUCED_*, which it names for BGR alone


def reduction_for(data: bytes, longer_side: int) -> int:
    """The largest reduction (1, 2, 4 or 8) at which a photo is still `longer_side` pixels long; 1 if 0 is asked for.

    Raises:
        BadData: see `read_image_size`.
    """
    if longer_side <= 0:
        return 1
    header = read_header(data)
    if header.format != "jpeg":
        return 1
    return next((times for times in (8, 4, 2) if max(header[1:]) >= times * longer_side), 1)


def _unpack(data: bytes, header: ImageHeader, reduction: int) -> tuple[RGB, list[str]]:
    flags = cv2.IMREAD_COLOR_RGB | _REDUCED[reduction]
    try:
        rgb, said = listen(lambda: cv2.imdecode(np.frombuffer(data, np.uint8), flags))
    except cv2.error as error:
        rgb, said = None, [str(error).strip()]
    if rgb is None:
        detail = said[0][:200] if said else f"the decoder refused the {header.format}"
        raise BadData(Reason.TRUNCATED if ends_early(data, header.format) else Reason.CORRUPT, detail)
    return np.asarray(rgb, np.uint8), said


def _encode(rgb: RGB, suffix: str, options: list[int], note: str = "") -> bytes:
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"pixels are uint8 [h, w, 3], not {rgb.dtype} {list(rgb.shape)}")
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    if not note:
        return cv2.imencode(suffix, bgr, options)[1].tobytes()
    # OpenCV's PNG encoder takes it for a C string, and reads on behind one that does not end in zero.
    xmp = [np.frombuffer(note.encode() + (b"\0" if suffix == ".png" else b""), np.uint8)]
    return cv2.imencodeWithMetadata(suffix, bgr, [cv2.IMAGE_METADATA_XMP], xmp, options)[1].tobytes()
