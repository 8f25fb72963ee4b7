"""The files of fakes and of the real photos beside them: stored again alike, and fakes marked as what they are."""

from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import pyarrow as pa

from faceverify.cleaning.materialise import safe_name
from faceverify.errors import BadData
from faceverify.faces import Rejects, Stopwatch, decode_photos
from faceverify.fakes import Fake
from faceverify.images import ImageLimits, encode_png
from faceverify.images.recoding import Recoding, draw_recoding, recode
from faceverify.pairs.chance import person_keys
from faceverify.storage import Location

AHEAD = 16  # photos requested from storage and decoded at a time
# A video's or photo editor's word for such pictures: https://cv.iptc.org/newscodes/digitalsourcetype
_SYNTHETIC = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A picture ready to be written.

    Args:
        data: the file.
        suffix: of its name.
        landmarks, box: as in `Fake`, in the file's pixels.
        recoding: in which way it was stored again, for people; None if it is as it was made.
    """

    data: bytes
    suffix: str
    landmarks: np.ndarray | None
    box: tuple[int, int, int, int] | None
    recoding: str | None


def mark(generator: str, source: str, target: str | None) -> str:
    """XMP that names a picture a deepfake, its generator and the photos that it was made of."""
    made_of = source if target is None else f"{source}, put into {target}"
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        f" xmp:CreatorTool={quoteattr(f'faceverify {generator}')} photoshop:Source={quoteattr(made_of)}"
        f" Iptc4xmpExt:DigitalSourceType={quoteattr(_SYNTHETIC)}"
        ' photoshop:Headline="Deepfake, made to train face verification"/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )


def store(fake: Fake, note: str, rng: np.random.Generator | None) -> Stored:
    """The file of a fake: stored again in a way that `rng` draws, or without one as it is (PNG)."""
    if rng is None:
        return Stored(encode_png(fake.image, note), ".png", fake.landmarks, fake.box, None)
    height, width = fake.image.shape[:2]
    way = draw_recoding(rng, height, width, fake.landmarks)
    made = recode(fake.image, way, fake.landmarks, note)
    box = None if fake.box is None else _moved_box(fake.box, way, made.size, (height, width))
    return Stored(made.data, made.suffix, made.landmarks, box, str(way))


def _moved_box(
    box: tuple[int, int, int, int], way: Recoding, size: tuple[int, int], before: tuple[int, int]
) -> tuple[int, int, int, int]:
    """The box in the new pixels, all that it touches."""
    scale = np.array([size[1] / (before[1] - way.left), size[0] / (before[0] - way.top)])
    corners = (np.array(box, float).reshape(2, 2) - [way.left, way.top]) * scale
    low, high = np.floor(corners[0] + 1e-6), np.ceil(corners[1] - 1e-6)
    x0, y0 = np.maximum(low, 0).astype(int).tolist()
    x1, y1 = np.minimum(high, [size[1], size[0]]).astype(int).tolist()
    return x0, y0, x1, y1


def recode_given(
    rows: pa.Table, landmarks: pa.Array, pictures: Location, seed: int, limits: ImageLimits, watch: Stopwatch
) -> tuple[pa.Table, pa.Table]:
    """Store photos again as fakes are; those that name no person, or were stored again already, stay as they are.

    Args:
        rows: of the table that fakes make (`rows.table_schema`).
        landmarks: of each row, in the pixels of the file that the photo was when it was given first; null if unknown.
        pictures: the folder of the new files.
        seed: of the run.
        limits: for the photos read.
        watch: told how long it takes.

    Returns:
        the rows, with `uri`, `landmarks` and `bytes_size` of the new files, and with `recoding`, `original_uri` and
        `original_landmarks`; rejects of those that cannot be read.

    Raises:
        PlatformError: storage refuses all photos.
    """
    facts, rejects = rows.to_pylist(), Rejects()
    for row, points in zip(facts, landmarks.to_pylist(), strict=True):
        if row["recoding"] is None:
            row["landmarks"] = points
    asked = [i for i, row in enumerate(facts) if row["person"] is not None and row["recoding"] is None]
    wanted = iter(asked)
    keys = iter(person_keys((facts[i]["photo"] for i in asked), seed).tolist())
    lost = set()
    some = rows.select(["photo", "uri"]).take(pa.array(asked, pa.int64()))
    for group in decode_photos(some, limits, watch, AHEAD):
        for photo, number in zip(group.photos, wanted, strict=False):
            row, key = facts[number], next(keys)
            if isinstance(photo, BadData):
                rejects.add(row["photo"], "read", photo)
                lost.add(number)
                continue
            with watch("recode"):
                new = _recoded(row, photo.pixels, np.random.default_rng(key), pictures)
            facts[number] = row | new
    kept = [row for number, row in enumerate(facts) if number not in lost]
    return pa.Table.from_pylist(kept, rows.schema), rejects.table()


def _recoded(row: dict[str, Any], pixels: np.ndarray, rng: np.random.Generator, pictures: Location) -> dict[str, Any]:
    """Write the new file of a photo; returns what changes in its row."""
    points = None if row["landmarks"] is None else np.array(row["landmarks"], np.float32).reshape(5, 2)
    height, width = pixels.shape[:2]
    way = draw_recoding(rng, height, width, points)
    note = mark(row["generator"] or "unknown generator", row["photo"], None) if row["is_fake"] else ""
    made = recode(pixels, way, points, note)
    kind = f"fake/{safe_name(row['generator'] or 'unknown')}" if row["is_fake"] else "real"
    place = pictures / f"{safe_name(row['person'])}/{kind}/{safe_name(row['photo'])}{made.suffix}"
    place.write_bytes(made.data)
    return {
        "uri": place.uri,
        "bytes_size": len(made.data),
        "landmarks": None if made.landmarks is None else made.landmarks.reshape(10).tolist(),
        "recoding": str(way),
        "original_uri": row["uri"],
        "original_landmarks": row["landmarks"],
    }
