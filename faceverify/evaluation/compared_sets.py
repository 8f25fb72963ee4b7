"""The sets of a comparison, as users name them.

NAME=PHOTOS,PAIRS               a list of pairs, as `score` takes it
NAME=ijb:FOLDER                 IJB-B or IJB-C, 1:1 and 1:N
NAME=tinyface:FOLDER            TinyFace's test set
NAME=gallery:PROBES,GALLERY     1:N of one's own: two photos tables, or folders with one folder for each person
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify import tables
from faceverify.align import AlignConfig
from faceverify.config import digest
from faceverify.errors import UserError
from faceverify.inputs import fingerprint, names_in, open_photos, stream_table
from faceverify.protocols.sets import EvaluationSet, GallerySet, IjbSet
from faceverify.scoring import named
from faceverify.scoring.plan import photo_rows
from faceverify.storage import Location, check_readable, open_location

PROTOCOLS = {"ijb": "FOLDER", "tinyface": "FOLDER", "gallery": "PROBES,GALLERY"}
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
_FORMS = (
    "NAME=PHOTOS,PAIRS, as in lfw=lfw/images,lfw/pairs.txt, NAME=ijb:FOLDER, NAME=tinyface:FOLDER or "
    "NAME=gallery:PROBES,GALLERY"
)


@dataclass(frozen=True)
class ComparedSet:
    """One of the sets.

    Attributes:
        name: as the user calls it.
        protocol: "pairs", or one of PROTOCOLS.
        places: photos and pairs; the folder; probes and gallery.
    """

    name: str
    protocol: str
    places: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join(self.places)

    @property
    def has_pairs(self) -> bool:
        """Whether it is a list of pairs, which `score` and `evaluate` take."""
        return self.protocol == "pairs"

    def align(self, config: AlignConfig) -> AlignConfig:
        """How its faces are found: IJB's lists say where they are, unless its photos are aligned faces."""
        if self.protocol == "ijb" and config.method != "none":
            return replace(config, method="annotated", weights="")
        return config

    def inputs(self) -> dict[str, str]:
        """What tells this set from another, by name."""
        first = open_location(self.places[0])
        match self.protocol:
            case "pairs":
                photos = open_photos(first)
                of_photos = fingerprint(first) if isinstance(photos, list) else photos.real
                return {"photos": of_photos, "pairs": fingerprint(open_location(self.places[1]))}
            case "ijb":
                meta = first / "meta" if (first / "meta").is_dir() else first
                return {"lists": digest([first.real, fingerprint(meta)])}
            case "tinyface":
                return {"photos": names_in(first)}
        return {name: _identity(open_location(at)) for name, at in zip(("probes", "gallery"), self.places, strict=True)}

    def open(self) -> tuple[EvaluationSet, pa.Table]:
        """The set of a protocol, and rows of tables.PHOTOS of its photos.

        Raises:
            UserError: lists or photos are missing, or contradict each other; or it is a list of pairs.
        """
        first = open_location(self.places[0])
        match self.protocol:
            case "ijb":
                from faceverify.datasets.ijb import read_ijb

                lists = read_ijb(first)
                return IjbSet(self.name, lists), _rows(lists.images, lists.folder, lists.landmarks)
            case "tinyface":
                from faceverify.datasets.tinyface import read_tinyface

                folders = read_tinyface(first)
                made = GallerySet.of_tinyface(self.name, folders)
                return made, _rows(made.photos, folders.folder)
            case "gallery":
                return _gallery(self.name, *self.places)
        raise UserError(f"sets: '{self.name}' is a list of pairs, not a protocol.")

    def seen(self, files: Iterator[pa.Table]) -> Iterator[tuple[pa.Table, list[str | None]]]:
        """Rows of the photos that a finished run has dealt with, and the version that each had then.

        Args:
            files: tables of it with `photo` and `photo_version`: embeddings and rejects.
        """
        from faceverify.provenance import noted_versions

        versions = noted_versions(files)
        names = pa.array(list(versions), pa.large_string())
        if self.has_pairs:
            photos = open_photos(open_location(self.places[0]))
            rows = photo_rows(names, photos, named.look_up(list(versions), photos, []).others)
        else:
            rows = self.open()[1]
            rows = rows.take(pc.index_in(names.cast(pa.string()), value_set=rows["photo"].combine_chunks()))
        yield rows, list(versions.values())


def parse_sets(texts: Sequence[str]) -> list[ComparedSet]:
    """The sets that an option names; their places can be read.

    Raises:
        UserError: there is none, one has no known form, two have one name.
    """
    found = list[ComparedSet]()
    for text in texts:
        name, _, rest = text.partition("=")
        protocol, colon, places = rest.partition(":")
        if not (colon and protocol in PROTOCOLS):
            protocol, places = "pairs", rest
        wanted = 1 if PROTOCOLS.get(protocol) == "FOLDER" else 2
        parts = (places,) if wanted == 1 else tuple(places.split(",", 1))
        if not _NAME.match(name) or len(parts) != wanted or not all(parts):
            raise UserError(f"sets: '{text}' is not {_FORMS}.")
        if any(one.name == name for one in found):
            raise UserError(f"sets: two are named '{name}'; give each a name of its own.")
        for place in parts:
            check_readable(open_location(place), f"sets: {name}")
        found.append(ComparedSet(name, protocol, parts))
    if not found:
        raise UserError(f"sets is empty: give {_FORMS}.")
    return found


def read_features(files: list[Location], photos: Sequence[str], dim: int) -> np.ndarray:
    """Raw features [N, dim] float32 of photos from an embeddings table; a row of NaN where it has none."""
    names = pa.array(photos, pa.string())
    features = np.full((len(names), dim), np.nan, np.float32)
    for rows in stream_table(files, ["photo", "embedding"], 8192):
        at = pc.index_in(rows["photo"], value_set=names).to_numpy()
        column = rows["embedding"].combine_chunks()
        vectors = column.flatten().to_numpy().reshape(len(column), dim)
        features[at[np.isfinite(at)].astype(np.int64)] = vectors[np.isfinite(at)]
    return features


def _identity(place: Location) -> str:
    photos = open_photos(place)
    return fingerprint(place) if isinstance(photos, list) else names_in(photos)


def _rows(photos: Sequence[str], folder: Location, landmarks: np.ndarray | None = None) -> pa.Table:
    """Rows of photos below a folder, with landmarks [N,5,2] where they are known."""
    names = pa.array(photos, pa.string())
    columns = {field.name: pa.nulls(len(names), field.type) for field in tables.PHOTOS}
    columns |= {"photo": names, "uri": pa.array([f"{folder.uri}/{photo}" for photo in photos], pa.string())}
    if landmarks is not None:
        flat = pa.array(landmarks.reshape(-1), pa.float32())
        columns["landmarks"] = pa.FixedSizeListArray.from_arrays(flat, tables.LANDMARKS.list_size)
    return pa.table(columns, schema=tables.PHOTOS)


def _gallery(name: str, probes: str, gallery: str) -> tuple[EvaluationSet, pa.Table]:
    """The set, and the rows of both sides; a photo is called probes/... or gallery/..., since sides may share names."""
    sides = [_people(open_location(place)) for place in (probes, gallery)]
    by_place = [side.select(["uri", "person"]).rename_columns(["photo", "person"]) for side in sides]
    made = GallerySet.of_photos(name, *by_place)  # by where they are, so that one photo on both sides is noticed
    rows = pa.concat_tables(
        [
            side.set_column(0, "photo", pc.binary_join_element_wise(prefix, side["photo"], "/"))
            for side, prefix in zip(sides, ("probes", "gallery"), strict=True)
        ]
    )
    return replace(made, photos=rows["photo"].to_pylist()), rows.cast(tables.PHOTOS)


def _people(place: Location) -> pa.Table:
    """The real photos of a table, or of a folder of people."""
    photos = open_photos(place)
    if isinstance(photos, list):
        rows = pa.concat_tables(stream_table(photos, tables.PHOTOS.names)).select(tables.PHOTOS.names)
    else:
        from faceverify.datasets import DatasetConfig, read

        rows = read(photos, DatasetConfig(layout="folders")).photos.select(tables.PHOTOS.names)
    return rows.filter(pc.invert(pc.fill_null(rows["is_fake"], False)))
