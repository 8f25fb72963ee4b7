"""What a number was made of, and whether that is still so: the photo, the crop, the model.

An embedding is decided by the photo's bytes, the way its face was cut out, and the network. Each has a short
description that travels with the row in its table:

    photo_version   which bytes the photo had: `file:<size>-<time of change>@<place>`, `etag:<tag>-<size>` for an object
                    of S3, `sha256:<digest>` where the content itself is asked for; null if unknown
    crop            how the face was cut out, as JSON: aligner and its weights, and every option that moves the crop
    model           digest of the model card, which holds the SHA-256 of the weights
    scored_with     of a similarity: the model and the crop of its embeddings, as JSON

A row is used again only where all of them agree with what would be made now.
"""

import hashlib
import json
import os
import stat
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from faceverify import s3
from faceverify.align import AlignConfig
from faceverify.align.crops import ARCFACE, Crop
from faceverify.errors import BadData, UserError
from faceverify.inputs import stream_table
from faceverify.storage import Location, file_version

PhotoIdentity = Literal["stat", "content"]
NAMES = {
    "stat": "place, size and time of change (of objects in S3: ETag and size)",
    "content": "SHA-256 of the content",
}
LISTINGS = 8  # requests for lists of objects in flight
_OF_CROPS = ("size", "template", "view", "margin", "border", "filter")  # entries that `Crop.facts` may have
READERS = 16  # photos read at a time for their digest


@dataclass(frozen=True)
class Origin:
    """How photos become crops, and what is noted of it.

    Args:
        crop: `describe_crop` of the aligner at work and the first of the crops.
        identity: by what photos are known.
        crops: what is cut out of each photo.
        look_side: see `faceverify.align.cards.look_side`.
    """

    crop: str | None = None
    identity: PhotoIdentity = "stat"
    crops: tuple[Crop, ...] = (ARCFACE,)
    look_side: int = 0


def content_version(data: bytes) -> str:
    """The version of a photo with these bytes, by its content."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def read_photo(location: Location, max_bytes: int, identity: PhotoIdentity) -> tuple[bytes, str]:
    """The bytes of a photo, and the version they are.

    Raises:
        BadData, PlatformError: see `Location.read_bytes`.
    """
    data, version = location.read_with_version(max_bytes)
    return data, content_version(data) if identity == "content" else version


def versions_now(uris: Sequence[str | None], identity: PhotoIdentity, max_bytes: int) -> list[str | None]:
    """The versions that photos have now, in the order of `uris`; None where there is none or it cannot be read.

    Costs a look at the directory per local photo and a listing request per 1,000 objects that lie side by side; with
    `identity` "content" every photo is read.

    Raises:
        PlatformError: the storage refuses to list objects.
    """
    if identity == "content":
        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(lambda uri: _content_now(uri, max_bytes), uris))
    remote = sorted({uri for uri in uris if uri is not None and "://" in uri})
    of_objects = dict(_objects_now(remote)) if remote else {}
    return [None if uri is None else of_objects.get(uri) if "://" in uri else _file_now(uri) for uri in uris]


def _file_now(path: str) -> str | None:
    try:
        found = os.stat(path)
        usable = stat.S_ISREG(found.st_mode) and os.access(path, os.R_OK)
        return file_version(path, found) if usable else None
    except (OSError, ValueError):  # the latter: a name that cannot be
        return None


def _content_now(uri: str | None, max_bytes: int) -> str | None:
    if uri is None:
        return None
    try:
        return content_version(Location(uri).read_bytes(max_bytes))
    except BadData:
        return None


def _objects_now(uris: list[str]) -> Iterator[tuple[str, str]]:
    """(uri, version) of the objects that exist, of sorted distinct addresses."""
    size = max(1000, -(-len(uris) // LISTINGS))
    slices = [uris[start : start + size] for start in range(0, len(uris), size)]
    client = s3.client()
    with ThreadPoolExecutor(LISTINGS) as pool:
        for found in pool.map(lambda some: _listed(client, some), slices):
            yield from found


def _listed(client: Any, uris: list[str]) -> list[tuple[str, str]]:
    """The same for a slice: each listing begins at the next wanted key, so no more are made than keys are wanted."""
    found, at, last = [], 0, ""
    while at < len(uris):
        bucket, _, key = uris[at].removeprefix("s3://").partition("/")
        start = f"s3://{bucket}/"
        # A page may end before the wanted key: then the next page continues there.
        after = max(s3.just_before(key), last.removeprefix(start) if last.startswith(start) else "")
        last = ""
        for entry in s3.objects_behind(client, bucket, after, 2 * (len(uris) - at)):
            last = f"s3://{bucket}/{entry['Key']}"
            while at < len(uris) and uris[at].encode() < last.encode():
                at += 1  # passed: there is no such object
            if at < len(uris) and uris[at] == last:
                found.append((last, s3.object_version(entry["ETag"], entry["Size"])))
                at += 1
        if not last:  # nothing at or behind this key in its bucket
            at = next((i for i in range(at, len(uris)) if not uris[i].startswith(f"s3://{bucket}/")), len(uris))
    return found


def photo_versions(rows: pa.Table, versions: Sequence[str | None], by_landmarks: bool) -> pa.Array:
    """The column `photo_version` of rows of a photos table whose files have these versions.

    Where the crop follows the landmarks of the table (`by_landmarks`), these are part of the version.
    """
    if not by_landmarks or "landmarks" not in rows.column_names:
        return pa.array(versions, pa.string())
    points = rows["landmarks"].to_pylist()
    return pa.array(
        [None if v is None else f"{v};landmarks:{_short(p)}" for v, p in zip(versions, points, strict=True)],
        pa.string(),
    )


@dataclass(frozen=True)
class Identifier:
    """How it is noticed that a photo has changed.

    Args:
        identity: by what.
        by_landmarks: whether the crop follows the landmarks of the photos table.
        max_bytes: of a photo.
    """

    identity: PhotoIdentity
    by_landmarks: bool
    max_bytes: int

    def versions(self, rows: pa.Table) -> pa.Array:
        """The versions that the photos of `rows` (columns uri, landmarks) have now."""
        now = versions_now(rows["uri"].to_pylist(), self.identity, self.max_bytes)
        return photo_versions(rows, now, self.by_landmarks)


def outdated(seen: Iterable[tuple[pa.Table, list[str | None]]], photos: Identifier) -> Counter[str]:
    """How many photos are no longer what they were when a run dealt with them, and why.

    Args:
        seen: rows of photos (columns uri, landmarks), and the version that each had then.
        photos: how they are identified.
    """
    changed: Counter[str] = Counter()
    for rows, versions in seen:
        changed.update(filter(None, map(why_photo, versions, photos.versions(rows).to_pylist())))
    return changed


def noted_versions(tables: Iterable[pa.Table]) -> dict[str, str | None]:
    """The versions of photos as tables of what was made of them, and of rejects, have them."""
    seen = dict[str, str | None]()
    for table in tables:
        named = table.filter(table["photo"].is_valid())  # a reject may be a pair
        seen |= zip(named["photo"].to_pylist(), column_or_null(named, "photo_version").to_pylist(), strict=True)
    return seen


def file_part(version: str) -> str:
    """A version without the landmarks: what it says of the file alone."""
    return version.partition(";")[0]


def _short(points: list[float | None] | None) -> str:
    values = [float("nan") if value is None else value for value in points or ()]
    return hashlib.sha256(struct.pack(f"<{len(values)}f", *values)).hexdigest()[:16]


def describe_crop(config: AlignConfig, aligner: str, crop: Crop = ARCFACE) -> str:
    """How faces are cut out by `config`, as JSON with one entry per thing that decides a crop.

    Args:
        config: the alignment.
        aligner: `Aligner.name`, which holds the method and the digest of its weights.
        crop: which part of the photo.
    """
    from faceverify.align.cards import OWN, settings

    facts: dict[str, Any] = {"aligner": aligner, **crop.facts}
    if config.method in OWN:
        used = settings(config)
        facts["min_score"] = used.min_score
        if config.method == "dfa":
            facts["crop_from"] = config.crop_from
        else:
            facts |= {"policy": config.policy, "nms_iou": used.nms_iou, "detect_side": used.detect_side}
    return json.dumps(facts, sort_keys=True)


def with_crop(text: str | None, crop: Crop) -> str | None:
    """What `describe_crop` says of another crop of the same face; None where nothing is known."""
    if text is None:
        return None
    kept = {name: value for name, value in json.loads(text).items() if name not in _OF_CROPS}
    return json.dumps(kept | crop.facts, sort_keys=True)


def describe_scoring(model: str, crop: str | None) -> str:
    """The value of the column `scored_with`."""
    return json.dumps({"model": model, "crop": json.loads(crop) if crop else None}, sort_keys=True)


def crop_difference(have: dict[str, Any] | None, want: dict[str, Any] | None) -> str:
    """In which entries two crops differ, for people: "policy largest, not most_central"; empty if in none."""
    if have == want:
        return ""
    if have is None or want is None:
        return "crop unknown, not " + json.dumps(want if have is None else have)
    names = [*want, *(name for name in have if name not in want)]
    differing = [name for name in names if have.get(name) != want.get(name)]
    return ", ".join(f"{name} {have.get(name, 'unset')}, not {want.get(name, 'unset')}" for name in differing)


def why_not(have: dict[str, str | None], want: dict[str, str]) -> str:
    """Why an embedding cannot be taken for one that would be made now, in a word or two; empty if it can.

    Args:
        have: photo_version, crop and model of its row.
        want: crop and model of what would be made.
    """
    if None in have.values():
        return "of unknown origin"
    if have["model"] != want["model"]:
        return "other model"
    if have["crop"] != want["crop"]:
        aligners = [json.loads(one["crop"] or "{}").get("aligner") for one in (have, want)]
        return "other aligner" if aligners[0] != aligners[1] else "other options of the aligner"
    return ""


def why_photo(have: str | None, now: str | None) -> str:
    """Why a row made of a photo of version `have` is not what the photo gives in version `now`; empty if it is."""
    if have == now:
        return ""
    if now is None:
        return "photo gone"
    if have is None:
        return "photo there now"
    if file_part(have) == file_part(now):
        return "other landmarks"
    if have.partition(":")[0] != now.partition(":")[0]:
        return "photo identified in another way"
    moved = "@" in now and have.partition("@")[0] == now.partition("@")[0]
    return "photo elsewhere" if moved else "photo changed"


def reasons_told(reasons: Counter[str]) -> str:
    """The counts of `why_not`, for people, most frequent first: "12 photo changed, 3 other model"."""
    return ", ".join(f"{count:,} {why}" for why, count in reasons.most_common())


def digest_of_photos(
    photos: list[Location],
    columns: Sequence[str] = ("photo", "uri"),
    files_of: Callable[[pa.Table], pa.Table] = lambda rows: rows,
) -> str:
    """One digest of which photos a table names and which bytes they have now, in their order; see `check_made_of`."""
    total = hashlib.sha256()
    for rows in map(files_of, stream_table(photos, list(columns), rows=16_384)):
        now = versions_now(rows["uri"].to_pylist(), "stat", 0)
        for photo, version in zip(rows["photo"].to_pylist(), now, strict=True):
            total.update(f"{photo}\0{version}\n".encode(errors="surrogatepass"))
    return total.hexdigest()


def check_made_of(
    photos: list[Location],
    made: list[Location],
    field: str,
    remedy: str,
    max_bytes: int = 1 << 30,
    columns: Sequence[str] = ("photo", "uri"),
    files_of: Callable[[pa.Table], pa.Table] = lambda rows: rows,
) -> None:
    """Check that what a table holds was made of the photos that are there now.

    Memory holds 16 bytes per row. Rows that do not say of which photo they were made are passed over.

    Args:
        photos: files of the photos table.
        made: files of a table of faces or embeddings.
        field: that names it.
        remedy: what to do, for the message.
        max_bytes: of a photo, where photos are known by their content.
        columns: of the photos table to be read.
        files_of: makes rows of these columns say in `uri` which files are meant.

    Raises:
        UserError: some were made of other photos; says how many, and names the first.
    """
    names, versions, identity = _hashed_versions(made)
    if not len(names):
        return
    wrong, first, total = 0, "", 0
    for rows in map(files_of, stream_table(photos, list(columns), rows=16_384)):
        hashes = hash_names(rows["photo"])
        at = np.minimum(np.searchsorted(names, hashes), len(names) - 1)
        known = np.flatnonzero(names[at] == hashes)
        some = rows.take(pa.array(known, pa.int64()))
        now = hash_names(pa.chunked_array([versions_now(some["uri"].to_pylist(), identity, max_bytes)], pa.string()))
        differing = np.flatnonzero(versions[at[known]] != now)
        if len(differing) and not wrong:
            first = some["photo"][int(differing[0])].as_py()
        wrong, total = wrong + len(differing), total + len(known)
    if wrong:
        raise UserError(
            f"{field}: {wrong:,} of {total:,} rows were made of other photos than those that are there now, '{first}' "
            f"first (it changed since, is gone, or was in another folder); {remedy}."
        )


def _hashed_versions(files: list[Location]) -> tuple[np.ndarray, np.ndarray, PhotoIdentity]:
    """Hashes of photos in order and of their versions, and by what they are known, of the rows that say it."""
    names, versions, identity = [], [], "stat"
    for table in stream_table(files, ["photo", "photo_version"]):
        known = table.filter(column_or_null(table, "photo_version").is_valid())
        if known.num_rows:
            of_files = [file_part(version) for version in known["photo_version"].to_pylist()]
            identity = "content" if of_files[0].startswith("sha256:") else "stat"
            names.append(hash_names(known["photo"]))
            versions.append(hash_names(pa.chunked_array([of_files], pa.string())))
    if not names:
        return np.zeros(0, np.uint64), np.zeros(0, np.uint64), "stat"
    everything = np.concatenate(names)
    order = np.argsort(everything, kind="stable")
    return everything[order], np.concatenate(versions)[order], identity


def hash_names(names: pa.ChunkedArray) -> np.ndarray:
    """A 64-bit number per name, the same everywhere and always. Of 100 million names two agree once in 3,700 tries."""
    from pandas.util import hash_array

    return np.asarray(hash_array(names.to_numpy().astype(object), categorize=False))


def one_origin(files: list[Location], field: str) -> tuple[str, str | None]:
    """Model and crop of all rows of an embeddings table; "" and None where the table does not say.

    Raises:
        UserError: its rows were made in different ways, so that their similarities mean nothing.
    """
    counts: Counter[tuple[str | None, str | None]] = Counter()
    for table in stream_table(files, ["model", "crop"]):
        columns = [column_or_null(table, name).combine_chunks() for name in ("model", "crop")]
        pairs = pa.table(columns, names=["model", "crop"]).group_by(["model", "crop"]).aggregate([([], "count_all")])
        for row in pairs.to_pylist():
            counts[row["model"], row["crop"]] += row["count_all"]
    if len(counts) > 1:
        (one, most), (other, fewer) = counts.most_common()[:2]
        if one[0] != other[0]:
            how = f"model {(one[0] or 'unknown')[:12]}, and {(other[0] or 'unknown')[:12]}"
        else:
            how = crop_difference(*(json.loads(crop) if crop else None for crop in (other[1], one[1])))
        raise UserError(
            f"{field}: its rows were made in {len(counts)} ways ({most:,} and {fewer:,} rows: {how}), and similarities "
            "between them mean nothing; make them again with one model and one aligner."
        )
    model, crop = next(iter(counts), ("", None))
    return model or "", crop


def column_or_null(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column of strings, or nulls where the table has no such column."""
    return table[name] if name in table.column_names else pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
