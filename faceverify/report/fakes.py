"""The page of a run of fakes: what each generator's are worth, and a sheet of what they look like."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify.align.crops import parse
from faceverify.align.cutting import cut
from faceverify.errors import FaceverifyError
from faceverify.fakes.audit import Audit, found_face
from faceverify.fakes.photo_pool import PhotoPool
from faceverify.images import decode, encode_jpeg, thumbnail
from faceverify.report.page import ReportAbout, render
from faceverify.storage import Location

_SIDE = 160
_VIEW = parse(f"arcface{_SIDE}:view=1.1,border=replicate")  # a little more than the recogniser sees


@dataclass(frozen=True, slots=True)
class Shown:
    """A face of an example: JPEG (None where it cannot be read) and what it is."""

    image: bytes | None
    label: str


@dataclass(frozen=True, slots=True)
class Example:
    """A fake beside what it was made of.

    Args:
        person: whom it claims to be.
        faces: the source, the host if there is one, the fake.
        note: cosines, and how it was made.
    """

    person: str
    faces: tuple[Shown, ...]
    note: str


def render_fakes(
    audits: Sequence[Audit],
    examples: Mapping[str, Sequence[Example]],
    about: ReportAbout,
    recogniser: str,
    threshold: float | None,
) -> str:
    """The page as text.

    Args:
        audits: of the generators.
        examples: of each of them.
        about: title, summary, command.
        recogniser: who judged; empty if nobody did.
        threshold: from which it accepts a pair.
    """
    return render(
        "fakes.html.j2",
        about=about,
        audits=audits,
        examples=examples,
        recogniser=recogniser,
        threshold=threshold,
        has_sharpness=any(one.sharpness for one in audits),
    )


def examples_of(rows: Sequence[Mapping[str, Any]], pool: PhotoPool) -> Iterator[Example]:
    """The examples of some fakes.

    Args:
        rows: of the table that fakes make.
        pool: the photos that they were made of.
    """
    for row in rows:
        named = [(row["source_photo"], "source"), (row["target_photo"], "host")]
        faces = []
        for photo, label in named:
            at = pc.index(pool.photos, pa.scalar(photo, pool.photos.type)).as_py()
            if photo is not None and at >= 0:
                faces.append(_shown(pool.uris[at].as_py(), pool.landmarks[at], label))
        points = None if row["landmarks"] is None else np.array(row["landmarks"], np.float32).reshape(5, 2)
        cosines = [
            f"{value:.2f} to the {who}"
            for who, value in (("person", row["similarity_person"]), ("host", row["similarity_host"]))
            if value is not None
        ]
        note = ", ".join([*cosines, row["how"]])
        yield Example(row["person"], (*faces, _shown(row["uri"], points, "fake")), note)


def _shown(uri: str, landmarks: np.ndarray | None, label: str) -> Shown:
    """The face of a photo, or all of it if nobody knows where the face is."""
    try:
        pixels = decode(Location(uri).read_bytes(1 << 28))
    except FaceverifyError:
        return Shown(None, label)
    seen = thumbnail(pixels, _SIDE) if landmarks is None else cut(pixels, found_face(landmarks), _VIEW)
    return Shown(encode_jpeg(seen, 85), label)
