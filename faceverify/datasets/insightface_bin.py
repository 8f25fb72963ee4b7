"""Layout `insightface_bin`: a verification set of InsightFace (lfw.bin, cfp_fp.bin, agedb_30.bin ...).

The file is a pickle of (photos, issame): 2N photos, of which 2i and 2i + 1 make pair i, and N booleans. A photo is the
bytes of an encoded picture, a uint8 array [n] or [n, 1] of those bytes, or a uint8 array of pixels (RGB [h, w, 3], or
grey [h, w]).

A pickle is a program. `faceverify.datasets.restricted_pickle` runs it without anything that it could do harm with.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify import images
from faceverify.datasets.folds import folds_of
from faceverify.datasets.listing import Listing, pairs_table, photos_table, rejects_table
from faceverify.datasets.options import DatasetConfig
from faceverify.datasets.restricted_pickle import load_arrays
from faceverify.errors import BadData, UserError
from faceverify.storage import FileEntry, Location, open_location

_MAX_PAIRS = 1_000_000
_MAX_SIDE = 1 << 16  # pixels
_REORDERED = "folds of genuine and impostor pairs drawn apart, since contiguous tenths would be of one class"
_SUFFIX = {"jpeg": ".jpg", "png": ".png", "webp": ".webp", "bmp": ".bmp", "tiff": ".tiff"}


def read(source: Location, config: DatasetConfig) -> Listing:
    """Write the photos of the file `source` to `insightface_bin.out` and list them, with their labelled pairs.

    Pairs carry their `fold`: contiguous tenths, or as `folds_of` says where these would lack a class; null in short
    lists. Photo `000012_1.jpg` is the second one of pair 12. Encoded photos are written as they are, byte for byte;
    arrays of pixels as PNG. A photo that the pickle holds once and names in several places is written once, under the
    first.

    Raises:
        UserError: no `out`, or a file that is not such a pickle.
    """
    if not config.insightface_bin.out:
        raise UserError("insightface_bin.out is empty; name the folder to which the photos are to be written.")
    out = open_location(config.insightface_bin.out)
    photos, issame = _load(source)
    written: dict[tuple[object, ...], FileEntry] = {}
    names = []
    for index, photo in enumerate(photos):
        key = _content(photo)
        if key not in written:
            written[key] = _write(out, index, photo, source)
        names.append(written[key].path)
    entries = list(written.values())
    label = pa.array(issame, pa.bool_()).cast(pa.int8())
    pairs = pairs_table(
        [str(index) for index in range(len(issame))],
        names[0::2],
        names[1::2],
        label=label,
        kind=pc.if_else(pc.equal(label, 1), "genuine", "impostor"),
    )
    fold, reordered = folds_of(np.array(issame))
    pairs = pairs.append_column("fold", pa.nulls(len(pairs), pa.int32()) if fold is None else pa.array(fold))
    notes = (_REORDERED,) if reordered else ()
    is_fake = pa.repeat(pa.scalar(False), len(entries))
    return Listing(photos_table(out, entries, is_fake=is_fake), pairs, rejects_table(), notes=notes)


def _load(source: Location) -> tuple[list[object], list[bool]]:
    try:
        data = source.read_bytes()
        content = load_arrays(data)
    except BadData as error:
        raise UserError(f"source: '{source}' cannot be read ({error}).") from None
    except ValueError as error:
        raise UserError(f"source: '{source}' is no verification .bin ({error}); use a file of InsightFace.") from None
    if not isinstance(content, list | tuple) or len(content) != 2:
        raise UserError(f"source: '{source}' is no verification .bin: it does not hold (photos, issame).")
    photos, issame = (_items(part) for part in content)
    if not issame or len(photos) != 2 * len(issame):
        raise UserError(f"source: '{source}' is no verification .bin: it does not hold two photos for each boolean.")
    if not all(isinstance(same, bool | int | np.bool_ | np.integer) and same in (0, 1) for same in issame):
        raise UserError(f"source: '{source}' is no verification .bin: issame holds something else than booleans.")
    distinct = {_content(photo): photo for photo in photos}.values()
    if sum(photo.nbytes if isinstance(photo, np.ndarray) else _length(photo) for photo in distinct) > len(data):
        raise UserError(f"source: '{source}' is no verification .bin: its photos are larger than the file.")
    return photos, [bool(same) for same in issame]


def _items(part: object) -> list[object]:
    """The items of a list or array; none if it is neither, or longer than such files are."""
    if isinstance(part, np.ndarray) and (part.ndim == 0 or part.size == 0):
        return []
    return list(part) if isinstance(part, np.ndarray | list | tuple) and len(part) <= 2 * _MAX_PAIRS else []


def _content(photo: object) -> tuple[object, ...]:
    """Equal for what the pickle holds once, however often it names it: where it lies in memory, and its shape."""
    if isinstance(photo, np.ndarray):
        return photo.ctypes.data, photo.dtype, photo.shape, photo.strides
    return (id(photo),)


def _length(photo: object) -> int:
    return len(photo) if isinstance(photo, bytes | bytearray) else 0


def _write(out: Location, index: int, photo: object, source: Location) -> FileEntry:
    data = _encoded(photo)
    if data is None:
        raise UserError(
            f"source: photo {index} of '{source}' is {type(photo).__name__}, neither bytes nor uint8 pixels."
        )
    name = f"{index // 2:06d}_{index % 2}{_suffix(data)}"
    (out / name).write_bytes(data)
    return FileEntry(name, len(data), 0)


def _encoded(photo: object) -> bytes | None:
    if isinstance(photo, bytes | bytearray):
        return bytes(photo)
    if not isinstance(photo, np.ndarray) or photo.dtype != np.uint8:
        return None
    if photo.size in photo.shape:  # cv2.imencode gives [n], in older versions [n, 1]
        return photo.tobytes()
    if photo.ndim == 2:
        photo = np.repeat(photo[..., None], 3, axis=2)
    return (
        images.encode_png(photo)
        if photo.ndim == 3 and photo.shape[2] == 3 and photo.size and max(photo.shape) < _MAX_SIDE
        else None
    )


def _suffix(data: bytes) -> str:
    try:
        return _SUFFIX[images.sniff(data)]
    except BadData:
        return ".dat"  # decoding will say what it is
