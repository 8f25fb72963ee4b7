"""Which faces table belongs to a photos table and to a network: the messages about a wrong one."""

import json
import os
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from faceverify.align.crops import Crop, parse
from faceverify.errors import UserError
from faceverify.inputs import run_manifest, stream_table, table_files
from faceverify.provenance import column_or_null
from faceverify.run_folder import MANIFEST
from faceverify.storage import Location, open_location
from faceverify.tables import image_column

EXAMPLES = 3


@dataclass(frozen=True)
class WithoutFace:
    """Photos that have no face in a faces table.

    Args:
        rejected: how many of them `align` looked at and rejected (no face found, unreadable).
        unknown: how many others there are: that run never saw them.
        unknown_fakes: how many of the unknown ones are deepfakes.
        names: the first few of the unknown ones.
    """

    rejected: int
    unknown: int
    unknown_fakes: int
    names: list[str]

    def __len__(self) -> int:
        return self.rejected + self.unknown

    @property
    def examples(self) -> str:
        """The first few unknown ones, for a sentence."""
        return ", ".join(self.names) + (", ..." if self.unknown > len(self.names) else "")


def rejects_of(faces: Location) -> list[Location]:
    """The files of the table `rejects` beside a faces table; empty if there is none.

    Args:
        faces: the faces table, or the output folder of `align`.
    """
    run = next((place for place in (faces, faces.parent) if (place / MANIFEST).is_file()), None)
    return table_files(run, "rejects") if run and (run / "rejects").exists() else []


def check_faces_of(found: WithoutFace, count: int, fakes: int, photos: str, faces: str) -> None:
    """Refuse a faces table that was made of other photos.

    Args:
        found: the photos without a face.
        count: how many photos need a face.
        fakes: how many of them are deepfakes.
        photos, faces: what the user named.

    Raises:
        UserError: most of the photos, or all of the deepfakes, were never aligned in that run.
    """
    no_fake = fakes and found.unknown_fakes == fakes
    if not no_fake and 2 * found.unknown <= count:
        return
    what = f"any of the {fakes:,} deepfakes" if no_fake else f"{found.unknown:,} of {count:,} photos"
    raise UserError(
        f"faces: '{faces}' was made of other photos than '{photos}': it does not know {what} ({found.examples}); "
        f"{remedy(photos, faces)}."
    )


def examples(names: pa.ChunkedArray | list[str]) -> str:
    """The first few names, for a sentence."""
    first = [str(name) for name in names[:EXAMPLES]]
    return ", ".join(first) + (", ..." if len(names) > EXAMPLES else "")


def remedy(photos: str, faces: str) -> str:
    """Half a sentence: which faces table to give for these photos, or how to make it.

    Args:
        photos: the photos table that has to be aligned.
        faces: the faces table that was given instead; one beside it that was made of `photos` is named.
    """
    beside = os.path.dirname(faces.rstrip("/"))
    for home in dict.fromkeys((beside, os.path.dirname(beside), os.path.dirname(photos.rstrip("/")))):
        for name in _folders(open_location(home or ".")):
            if _made_of(open_location(os.path.join(home, name)), photos):
                return f"give --faces {os.path.join(home, name)}"
    return f"align these photos (python -m ray_jobs.align configs/align.yaml --photos {photos}) and give what comes out"


def remedy_for_pairs(pairs: str, faces: str) -> str:
    """Half a sentence: which faces table belongs to a pairs table, as the run that formed it noted.

    Args:
        pairs: the pairs table.
        faces: the faces table that was given and lacks photos.
    """
    made_with = (run_manifest(open_location(pairs)) or {}).get("config", {})
    if (theirs := made_with.get("faces")) and open_location(theirs) != open_location(faces):
        return f"the pairs were formed with those of {theirs}: give --faces {theirs}"
    if made_with.get("photos"):
        return remedy(made_with["photos"], faces)
    return "give the faces table made of the photos that the pairs were formed of"


def _folders(home: Location) -> list[str]:
    """Names of the folders in a local folder (a listing of a bucket could be endless)."""
    if not home.is_local or not home.is_dir():
        return []
    return sorted(entry.name for entry in os.scandir(home.path) if entry.is_dir())


def _made_of(run: Location, photos: str) -> bool:
    try:
        facts = run_manifest(run) if (run / MANIFEST).is_file() else None
    except ValueError:  # of another program
        return False
    if not isinstance(facts, dict) or facts.get("job") != "align":
        return False
    return open_location(str(facts.get("config", {}).get("photos"))) == open_location(photos)


def image_column_of(files: list[Location], crop: Crop, field: str) -> str:
    """The column of a faces table that holds a crop, however it was sampled.

    Args:
        files: of the table.
        crop: what is wanted.
        field: that names the table.

    Raises:
        UserError: none does; says which crops there are.
    """
    geometry = ("size", "template", "view", "margin")
    described = {name: value for name, value in crop.facts.items() if name in geometry}
    with files[0].open_input() as stream:
        names = pq.ParquetFile(stream).schema_arrow.names
    rows = next((rows for rows in stream_table(files, ["photo", "crop"], rows=1) if rows.num_rows), None)
    first = column_or_null(rows, "crop")[0].as_py() if rows is not None else None
    have = {name: value for name, value in json.loads(first or "{}").items() if name in geometry}
    if not have or have == described:
        return "image"
    others = [name for name in names if name.startswith(image_column(""))]
    for name in others:
        other = parse(name.removeprefix(image_column("")))
        if {key: value for key, value in other.facts.items() if key in geometry} == described:
            return name
    there = [f"{have.get('template', 'arcface')}{have['size']}", *(name.partition(":")[2] for name in others)]
    raise UserError(
        f"{field}: the table holds the crop {', '.join(there)}, but '{crop}' is wanted; make it with `faceverify align "
        f"--crop {crop}`."
    )


def require_crop(files: list[Location], crop: Crop, field: str) -> None:
    """Check that the column `image` of a faces table holds a crop, as jobs need it that read no other.

    Raises:
        UserError: it does not.
    """
    if (column := image_column_of(files, crop, field)) != "image":
        raise UserError(
            f"{field}: '{crop}' is in the column {column} of the table, and this job reads the first crop alone: run "
            f"`faceverify align` with {crop} as the first value of --crop."
        )
