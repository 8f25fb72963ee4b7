"""The cleaned photos as files, for those who need them: `<person>/<photo>` and `meta.json`.

`meta.json` maps "person/photo" to 0 (real) or 1 (fake); it is there when the tree is complete.
Names are made from the table alone, one photo at a time, so that every worker knows them and no two photos share one:
a photo keeps the name after its person's folder; one that came from elsewhere is named `from~` and its whole key.
"""

import hashlib
import json
import re
from collections.abc import Iterator

import pyarrow as pa

from faceverify import tables
from faceverify.errors import BadData, UserError
from faceverify.inputs import stream_table
from faceverify.parts import read_part, write_part
from faceverify.run_folder import MANIFEST, WORK, RunFolder
from faceverify.shards import read_shard, write_shards
from faceverify.storage import Location

STAGE, META = "copied", "meta.json"
PHOTOS_PER_SHARD = 512
OUTPUTS = (META, "rejects")
MAX_NAME = 200  # bytes of a name; file systems allow 255
# What may not stand in a file's name on some system, what has a meaning here (~ + %), and a dot or blank at either end.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|~+%]|^[. ]|[. ]$')
_COLUMNS = ["photo", "uri", "person", "is_fake"]


def safe_name(text: str) -> str:
    """A file name for any text: slashes become `+`, other unsafe characters `%XX`; different texts get different names.

    Long names are cut and end in a hash of the whole.
    """
    name = "+".join(_UNSAFE.sub(_escape, part) for part in text.split("/")) or "%"
    if len(name.encode()) <= MAX_NAME:
        return name
    stem, dot, suffix = name.rpartition(".")
    ending = "." + suffix if dot and len(suffix.encode()) <= 10 else ""
    mark = "~" + hashlib.sha256(text.encode()).hexdigest()[:16] + ending
    return (stem or name).encode()[: MAX_NAME - len(mark)].decode(errors="ignore") + mark


def _escape(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found.group().encode())


def place_of(photo: str, person: str | None) -> str:
    """Where a photo goes, relative to the tree: `<person>/<name>`."""
    folder = safe_name(person or "")
    if folder in (META, MANIFEST, "rejects", WORK):
        folder = f"%{ord(folder[0]):02X}{folder[1:]}"
    if person and photo.startswith(f"{person}/"):
        return f"{folder}/{safe_name(photo[len(person) + 1 :])}"
    return f"{folder}/from~{safe_name(photo)}"


def begin(target: Location, digest: str) -> RunFolder:
    """Open the tree's folder, new or half-way.

    Args:
        target: the folder.
        digest: digest of the clean run whose photos are copied.

    Raises:
        UserError: it holds something else, or another run's photos.
    """
    foreign = not (target / MANIFEST).exists() and not (target / WORK).exists() and bool(target.files())
    if foreign:
        raise UserError(f"materialise: '{target}' is not empty; choose a new folder.")
    return RunFolder(target, {"job": "materialise", "clean": digest}, OUTPUTS)


def plan_copies(folder: RunFolder, photos: list[Location]) -> int:
    """Cut the cleaned photos into shards (again, if that was interrupted); returns how many."""
    noted = folder.noted("cut")
    if noted is None:
        (folder.work / "input").delete()
        pieces = (piece.select(_COLUMNS) for piece in stream_table(photos, _COLUMNS))
        noted = {"shards": write_shards(folder.work / "input", pieces, PHOTOS_PER_SHARD)}
        folder.note("cut", noted)
    return noted["shards"]


def copy_shard(target: Location, shard: int) -> tuple[int, int]:
    """Copy the photos of one shard; returns how many there are, and how many could not be copied."""
    rows = read_shard(target / WORK / "input", shard)
    copied, rejected = [], []
    for row in rows.to_pylist():
        place = place_of(row["photo"], row["person"])
        try:
            (target / place).write_bytes(Location(row["uri"] or "").read_bytes())
            copied.append((place, bool(row["is_fake"])))
        except BadData as fault:
            rejected.append((row["photo"], None, "clean", fault.reason.value, fault.detail))
    made = pa.table({"place": [place for place, _ in copied], "is_fake": [fake for _, fake in copied]}, _PLACES)
    columns = zip(*rejected, strict=True) if rejected else [[] for _ in tables.REJECTS]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, tables.REJECTS, strict=True)]
    write_part(target / WORK, STAGE, shard, made, pa.Table.from_arrays(arrays, schema=tables.REJECTS))
    return rows.num_rows, len(rejected)


_PLACES = pa.schema([("place", pa.string()), ("is_fake", pa.bool_())])


def finish(folder: RunFolder) -> dict[str, int]:
    """Write `meta.json` and the manifest; returns the photos that could not be copied, by reason."""
    reasons = folder.publish_rejects([STAGE])
    copied = sum(read_part(place).num_rows for place in folder.parts(STAGE))
    (folder.out / META).write_bytes("".join(_meta(folder)).encode())
    folder.finish({"job": "materialise", "rows_out": {"files": copied}, "rejects": reasons})
    return reasons


def _meta(folder: RunFolder) -> Iterator[str]:
    """The pieces of the text of `meta.json`, one photo per line."""
    opening = "{"
    for place in folder.parts(STAGE):
        for row in read_part(place).to_pylist():
            yield f"{opening}\n {json.dumps(row['place'], ensure_ascii=False)}: {int(row['is_fake'])}"
            opening = ","
    yield "\n}\n" if opening == "," else "{}\n"
