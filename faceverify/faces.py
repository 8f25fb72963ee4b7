"""The way of a photo: bytes -> pixels -> aligned crop -> embedding, for one shard of rows at a time.

Nothing here knows of Ray. A photo that cannot be used leaves the way as a row of `rejects`; the others go on.
"""

import time
from collections import defaultdict, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from faceverify import tables
from faceverify.align import Aligner, FoundFace
from faceverify.align.crops import ARCFACE, Crop
from faceverify.align.cutting import cut, pixels_per_crop_pixel
from faceverify.errors import BadData, PlatformError, Reason
from faceverify.images import ImageLimits, decode, encode_png
from faceverify.images.decoded import DecodedPhoto
from faceverify.provenance import Origin, PhotoIdentity, column_or_null, photo_versions, read_photo, with_crop
from faceverify.storage import Location

if TYPE_CHECKING:
    from faceverify.forensics.model import ForensicModel
    from faceverify.models.engines import Engine

GROUP_PHOTOS = 32  # aligned at a time, so that batched aligners have a batch
GROUP_PIXELS = 32_000_000  # decoded photos are handed on before they fill the memory
OUTAGE_PHOTOS = 8  # a whole shard of at least that many unreadable photos is not the photos' fault
READ_AHEAD = 16  # requests in flight per worker: hides the latency of object storage


@dataclass
class Stopwatch:
    """Seconds per stage."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the time inside the block to `stage`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start


@dataclass
class Pictures:
    """Decoded photos, consecutive ones of a shard.

    rows: the photos' rows, `photo_version` of the file that was read among them; photos: one for each row, or why there
    is none.
    """

    rows: pa.Table
    photos: list[DecodedPhoto | BadData]


@dataclass
class Crops:
    """Aligned faces of one shard.

    rows: the photos' rows, one per face, with `photo_version`; faces [N, S, S, 3] RGB uint8; found: columns
    `landmarks`, `detection_score`, `faces_found`, `aligner`, `crop`, one row per face; rejects: tables.REJECTS; others:
    further crops of the same faces by their names, as `faces`.
    """

    rows: pa.Table
    faces: np.ndarray
    found: pa.Table
    rejects: pa.Table
    others: dict[str, np.ndarray] = field(default_factory=dict)


Read = tuple[bytes | BadData, str | None]  # of a photo: its bytes, or why there are none; the version of its file


class Rejects:
    """Collects rows of `rejects`."""

    def __init__(self) -> None:
        self._rows: list[dict[str, str | None]] = []

    def add(self, photo: str, stage: str, fault: BadData, version: str | None = None) -> None:
        """Note one photo, with the version of its file that is at fault."""
        row = {"photo": photo, "stage": stage, "reason": fault.reason.value, "detail": fault.detail}
        self._rows.append(row | {"photo_version": version})

    def table(self) -> pa.Table:
        """All that was noted."""
        return pa.Table.from_pylist(self._rows, schema=tables.REJECTS)


def crop_photos(
    rows: pa.Table,
    aligner: Aligner,
    limits: ImageLimits,
    watch: Stopwatch,
    batch: int = GROUP_PHOTOS,
    origin: Origin = Origin(),  # noqa: B008 - frozen
) -> Crops:
    """Read, decode and align the photos of `rows` (columns photo, uri, landmarks), `batch` at a time.

    Raises:
        PlatformError: storage refuses all of them.
    """
    groups = decode_photos(rows, limits, watch, batch, origin.identity, origin.look_side)
    return join_crops([align_pictures(group, aligner, watch, batch, origin) for group in groups])


def decode_photos(
    rows: pa.Table,
    limits: ImageLimits,
    watch: Stopwatch,
    photos: int,
    identity: PhotoIdentity = "stat",
    longer_side: int = 0,
) -> Iterator[Pictures]:
    """Read and decode the photos of `rows`, in groups of at most `photos` that end where they reach GROUP_PIXELS.

    Every row is in one group, in order; no rows give one empty group. With `longer_side` photos may come at a reduced
    size, which is as long at least.

    Raises:
        PlatformError: storage refuses all of them.
    """
    start, refused, held, versions, pixels = 0, [], [], [], 0
    for picture, version in decode_each(rows["uri"].to_pylist(), limits, identity, watch, longer_side):
        held.append(picture)
        versions.append(version)
        if isinstance(picture, BadData):
            refused.append(picture)
        else:
            pixels += picture.pixels.shape[0] * picture.pixels.shape[1]
        if len(held) >= photos or pixels >= GROUP_PIXELS:
            yield Pictures(_versioned(rows.slice(start, len(held)), versions), held)
            start, held, versions, pixels = start + len(held), [], [], 0
    _check_storage(refused, rows.num_rows)
    if held or start == 0:
        yield Pictures(_versioned(rows.slice(start), versions), held)


def _versioned(rows: pa.Table, versions: list[str | None]) -> pa.Table:
    kept = rows.drop_columns(["photo_version"]) if "photo_version" in rows.column_names else rows
    return kept.append_column("photo_version", pa.array(versions, pa.string()))


def align_pictures(
    pictures: Pictures,
    aligner: Aligner,
    watch: Stopwatch,
    batch: int = GROUP_PHOTOS,
    origin: Origin = Origin(),  # noqa: B008 - frozen
) -> Crops:
    """Align decoded photos, `batch` at a time."""
    files = pictures.rows["photo_version"].to_pylist()
    versions = photo_versions(pictures.rows, files, by_landmarks=aligner.name == "annotated")
    rows = _versioned(pictures.rows, versions.to_pylist())
    names, kept, faces, rejects = rows["photo"].to_pylist(), [], [], Rejects()
    with watch("align"):
        results = find_each(pictures.photos, _landmarks(rows), aligner, batch, origin.crops)
    for i, (photo, result) in enumerate(zip(pictures.photos, results, strict=True)):
        if isinstance(result, BadData):
            stage = "read" if isinstance(photo, BadData) else "align"
            rejects.add(names[i], stage, result, versions[i].as_py())
        else:
            kept.append(i)
            faces.append(result)
    found = _found([face for face, _ in faces], aligner.name, origin.crop)
    first, *others = ([images[i] for _, images in faces] for i in range(len(origin.crops)))
    crop, *further = origin.crops
    more = {str(one): _stack(images, one.size) for one, images in zip(further, others, strict=True)}
    return Crops(_taken(rows, kept), _stack(first, crop.size), found, rejects.table(), more)


def find_each(
    photos: list[DecodedPhoto | BadData],
    landmarks: list[np.ndarray | None],
    aligner: Aligner,
    batch: int = GROUP_PHOTOS,
    crops: tuple[Crop, ...] = (ARCFACE,),
) -> list[tuple[FoundFace, list[np.ndarray]] | BadData]:
    """The face of each decoded photo, in pixels of the photo, and its crops.

    Photos of like size go to the aligner together, since only these can share a batch. A photo that was decoded at a
    reduced size in which the face has fewer pixels than a crop is decoded again for it.

    Args:
        photos: each one, or why there is none.
        landmarks: annotated ones of each photo (see `Aligner.find`).
        aligner: the method.
        batch: photos per call of it.
        crops: what is cut out.
    """
    good = [(i, photo) for i, photo in enumerate(photos) if not isinstance(photo, BadData)]
    good.sort(key=lambda item: item[1].pixels.shape)
    results: dict[int, Any] = {i: photo for i, photo in enumerate(photos) if isinstance(photo, BadData)}
    for start in range(0, len(good), batch):
        numbers, group = zip(*good[start : start + batch], strict=True)
        points = [landmarks[i] for i in numbers]
        found = aligner.find([photo.pixels for photo in group], points)
        results |= zip(numbers, map(_with_crops, group, found, repeat(crops)), strict=True)
    return [results[i] for i in range(len(photos))]


def _with_crops(
    photo: DecodedPhoto, face: FoundFace | BadData, crops: tuple[Crop, ...]
) -> tuple[FoundFace, list[np.ndarray]] | BadData:
    if isinstance(face, BadData):
        return face
    whole, images = face.enlarged(photo.reduction), []
    height, width = (side * photo.reduction for side in photo.pixels.shape[:2])
    for crop in crops:
        try:
            photo = photo.at_most(pixels_per_crop_pixel(whole, crop, height, width))
        except BadData as fault:
            return fault
        images.append(cut(photo.pixels, whole.reduced(photo.reduction), crop))
    return whole, images


def join_crops(parts: list[Crops]) -> Crops:
    """The crops of consecutive groups as one."""
    rows, found, rejects = (
        pa.concat_tables([getattr(part, name) for part in parts]) for name in ("rows", "found", "rejects")
    )
    others = {name: np.concatenate([part.others[name] for part in parts]) for name in parts[0].others}
    return Crops(rows, np.concatenate([part.faces for part in parts]), found, rejects, others)


def _check_storage(refused: list[BadData], photos: int) -> None:
    """Stop where a whole shard cannot be read: then the storage is at fault, and rejects would be for ever."""
    if photos >= OUTAGE_PHOTOS and [fault.reason for fault in refused] == [Reason.UNREADABLE] * photos:
        raise PlatformError(
            f"none of {photos} photos could be read ({refused[0].detail}); fix the storage, or give the workers "
            "credentials for it, and run the same command again, it goes on from here."
        )


def decode_faces(rows: pa.Table, watch: Stopwatch, crop: Crop = ARCFACE, column: str = "image") -> Crops:
    """The faces of a `faces` table as pixels again: the crops of `column`."""
    size = crop.size
    if column != "image":
        known = [with_crop(text, crop) for text in column_or_null(rows, "crop").to_pylist()]
        rows = rows.set_column(rows.column_names.index("crop"), "crop", pa.array(known, pa.string()))
    rejects, kept, faces = Rejects(), [], []
    versions = column_or_null(rows, "photo_version").to_pylist()
    limits = ImageLimits()
    for i, (photo, data) in enumerate(zip(rows["photo"].to_pylist(), rows[column].to_pylist(), strict=True)):
        try:
            if data is None:
                raise BadData(Reason.EMPTY, "no picture in the table")
            with watch("decode"):
                face = decode(data, limits)
            if face.shape != (size, size, 3):
                raise BadData(Reason.NOT_ALIGNED, f"{face.shape[1]}x{face.shape[0]}, not {size}x{size}")
        except BadData as fault:
            rejects.add(photo, "read", fault, versions[i])
            continue
        kept.append(i)
        faces.append(face)
    return Crops(_taken(rows, kept), _stack(faces, size), pa.table({}), rejects.table())


def embed_each(faces: np.ndarray, engine: "Engine") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings [N,D] of aligned faces [N,S,S,3], their lengths [N], and which can be used [N]."""
    vectors = engine.embed(faces) if len(faces) else np.zeros((0, engine.card.dim), np.float32)
    norms = np.linalg.norm(vectors, axis=1)
    return vectors, norms, np.isfinite(norms) & (norms > 0)


def bad_embedding(norm: float) -> BadData:
    """The fault of a face whose embedding has this length."""
    return BadData(Reason.BAD_EMBEDDING, f"norm {norm}")


def embed_crops(
    crops: Crops, engine: "Engine", watch: Stopwatch, forensic: "ForensicModel | None" = None
) -> tuple[pa.Table, pa.Table]:
    """Embeddings of the crops (tables.embeddings, with their `row` numbers if they have any), and rejects.

    With a forensic model, whose crop is among the others of `crops`, also the columns of tables.FORENSIC.
    """
    dim = engine.card.dim
    with watch("embed"):
        vectors, norms, usable = embed_each(crops.faces, engine)
    rejects = Rejects()
    photos = crops.rows["photo"].to_pylist()
    for i in np.flatnonzero(~usable):
        rejects.add(photos[i], "embed", bad_embedding(norms[i]), _known(crops, "photo_version")[i].as_py())
    columns = {
        "photo": crops.rows["photo"].filter(pa.array(usable)),
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors[usable].reshape(-1)), dim),
        "norm": pa.array(norms[usable], pa.float32()),
        "model": pa.repeat(engine.card.digest, int(usable.sum())),
        **{name: _known(crops, name).filter(pa.array(usable)) for name in ("photo_version", "crop")},
    }
    if forensic is not None:
        with watch("forensic"):
            columns |= _forensic_columns(crops, forensic, usable)
    table = pa.table(columns, schema=tables.embeddings(dim, forensic is not None))
    if "row" in crops.rows.column_names:
        table = table.append_column("row", crops.rows["row"].filter(pa.array(usable)))
    return table, pa.concat_tables([crops.rejects, rejects.table()])


def _forensic_columns(crops: Crops, model: "ForensicModel", usable: np.ndarray) -> dict[str, Any]:
    from faceverify.fakes.photo_pool import landmarks_of
    from faceverify.forensics.bands import eye_distance

    shown = crops.others.get(str(model.crop), crops.faces)  # two networks may be shown the same
    eyes = eye_distance(landmarks_of(crops.found))[usable]
    return {
        "forensic": model.scores(shown[usable], eyes),
        "eyes": eyes,
        "forensic_with": pa.repeat(model.card.digest, len(eyes)),
    }


def _known(crops: Crops, name: str) -> pa.ChunkedArray:
    """What is known of the crops' origin: from the aligner, or from the table that they were read from."""
    table = crops.found if name in crops.found.column_names else crops.rows
    return column_or_null(table, name)


def encode_faces(crops: Crops, watch: Stopwatch) -> pa.Table:
    """The crops as a `faces` table, pictures losslessly encoded (PNG)."""
    with watch("encode"):
        kinds = {"image": crops.faces} | {tables.image_column(name): faces for name, faces in crops.others.items()}
        images = {name: pa.array(map(encode_png, faces), pa.binary()) for name, faces in kinds.items()}
    columns = {name: crops.rows[name] for name in ("photo", "person", "is_fake", "generator", "split", "photo_version")}
    columns |= images | {name: crops.found[name] for name in crops.found.column_names}
    return pa.table(columns, schema=tables.faces(list(crops.others)))


def decode_each(
    uris: list[str | None], limits: ImageLimits, identity: PhotoIdentity, watch: Stopwatch, longer_side: int = 0
) -> Iterator[tuple[DecodedPhoto | BadData, str | None]]:
    """Each photo, decoded (see `DecodedPhoto.of`), or why it is not, and the version of its file."""
    for data, version in _read_ahead(uris, limits, identity, watch):
        if isinstance(data, BadData):
            yield data, version
            continue
        try:
            with watch("decode"):
                picture = DecodedPhoto.of(data, limits, longer_side)
        except BadData as fault:
            yield fault, version
        else:
            yield picture, version


def _read_ahead(
    uris: list[str | None], limits: ImageLimits, identity: PhotoIdentity, watch: Stopwatch
) -> Iterator[Read]:
    """The photos' bytes in order; remote ones are requested up to READ_AHEAD in advance."""
    if all(uri is None or Location(uri).is_local for uri in uris):
        for uri in uris:
            with watch("read"):
                read = _read(uri, limits, identity)
            yield read
        return
    with ThreadPoolExecutor(READ_AHEAD) as pool:
        waiting: deque[Future[Read]] = deque()
        for uri in uris:
            waiting.append(pool.submit(_read, uri, limits, identity))
            if len(waiting) > READ_AHEAD:
                yield _wait(waiting, watch)
        while waiting:
            yield _wait(waiting, watch)


def _wait(waiting: deque[Future[Read]], watch: Stopwatch) -> Read:
    with watch("read"):
        return waiting.popleft().result()


def _read(uri: str | None, limits: ImageLimits, identity: PhotoIdentity) -> Read:
    if uri is None:
        return BadData(Reason.UNKNOWN_PHOTO, "not in the photos table"), None
    try:
        return read_photo(Location(uri), limits.max_bytes, identity)
    except BadData as fault:
        return fault, fault.version if identity == "stat" else None


def _landmarks(rows: pa.Table) -> list[np.ndarray | None]:
    if "landmarks" not in rows.column_names:
        return [None] * rows.num_rows
    return [None if v is None else _points(v) for v in rows["landmarks"].to_pylist()]


def _points(values: list[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], np.float32).reshape(5, 2)


def _taken(rows: pa.Table, kept: list[int]) -> pa.Table:
    return rows.take(pa.array(kept, pa.int64()))  # the type, because an empty list has none


def _stack(faces: list[np.ndarray], size: int) -> np.ndarray:
    return np.stack(faces) if faces else np.zeros((0, size, size, 3), np.uint8)


def _found(faces: list[FoundFace], aligner: str, crop: str | None) -> pa.Table:
    points = [None if f.landmarks is None else f.landmarks.reshape(10).tolist() for f in faces]
    columns = {
        "landmarks": pa.array(points, tables.LANDMARKS),
        "detection_score": pa.array([f.score for f in faces], pa.float32()),
        "faces_found": pa.array([f.faces_found for f in faces], pa.int32()),
        "aligner": pa.array([aligner] * len(faces), pa.string()),
        "crop": pa.array([crop] * len(faces), pa.string()),
    }
    return pa.table(columns)
