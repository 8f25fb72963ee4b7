"""Which faces table belongs to a photos table, and which photos it lacks: the message about a wrong one."""

import os
from dataclasses import dataclass

import pyarrow as pa

from faceverify.errors import UserError
from faceverify.inputs import run_manifest, table_files
from faceverify.run_folder import MANIFEST
from faceverify.storage import Location, open_location

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
