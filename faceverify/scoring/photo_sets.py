"""The photos that are compared with each other: those of one folder or table, or of two; as rows, or as embeddings."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from faceverify import tables
from faceverify.datasets.listing import list_photos, persons, photos_table
from faceverify.errors import UserError
from faceverify.inputs import photo_table_files, read_schema, stream_table, table_files
from faceverify.storage import Location, open_location


@dataclass(frozen=True)
class PhotoSet:
    """One of the sets.

    Args:
        place: where it is.
        files: of its table; empty for a folder of photos.
        embedded: whether the table is one of embeddings.
        prefix: put before the names of its photos, so that those of two sets differ.
    """

    place: Location
    files: list[Location]
    embedded: bool
    prefix: str

    def rows(self, person: str) -> pa.Table:
        """Rows of `photos`; of a table of embeddings, the names alone (columns photo and uri, which is null).

        Args:
            person: whose photos; empty = everybody's. In a folder, that of the person's folder.

        Raises:
            UserError: there is no photo, or none of that person.
        """
        if self.embedded:
            names = [table["photo"] for table in stream_table(self.files, ["photo"])]
            photo = pa.chunked_array([chunk for name in names for chunk in name.chunks], pa.string())
            bare = {field.name: pa.nulls(len(photo), field.type) for field in tables.PHOTOS}
            rows = pa.table(bare | {"photo": photo}, schema=_NAMES)
        elif self.files:
            known = [table.select(tables.PHOTOS.names) for table in stream_table(self.files, tables.PHOTOS.names)]
            rows = pa.concat_tables([_NAMES.empty_table(), *(table.cast(_NAMES) for table in known)])
        else:
            entries = list_photos(self.place)[0]
            rows = photos_table(self.place, entries).cast(_NAMES)
        whose = rows["person"] if self.files else persons(rows["photo"].to_pylist())
        if person:
            rows = rows.filter(pc.fill_null(pc.equal(whose, person), False))
        if not rows.num_rows:
            of = f" of '{person}'" if person else ""
            raise UserError(f"'{self.place}' holds no photo{of}; check the path{' and --person' if person else ''}.")
        prefixed = pc.binary_join_element_wise(pa.scalar(self.prefix), rows["photo"], "")
        return rows.set_column(0, _NAMES.field("photo"), prefixed)


_NAMES = pa.schema([field.with_nullable(True) for field in tables.PHOTOS])


def open_sets(places: dict[str, str]) -> list[PhotoSet]:
    """Find out what lies at each place.

    Args:
        places: one or two, as the user named them, by the option that names them.

    Raises:
        UserError: one holds photos and the other one embeddings, or a file is no table.
    """
    found = []
    for option, named in places.items():
        place = open_location(named)
        prefix = f"{named.rstrip('/')}/" if len(places) > 1 else ""
        embedded = table_files(place, "embeddings") if not (place / "photos").exists() else []
        if place.is_file() and not place.name.endswith(".parquet"):
            raise UserError(f"--{option} {named}: it is a file; give a folder of photos, or a table.")
        if place.is_file() and "uri" in read_schema(place).names:
            embedded = []  # a photos table
        found.append(PhotoSet(place, embedded or photo_table_files(place), bool(embedded), prefix))
    if len({one.embedded for one in found}) > 1:
        raise UserError(
            f"--photos and --others are photos and embeddings ({', '.join(map(str, places.values()))}): give both of a "
            "kind; --embeddings names embeddings to re-use."
        )
    return found


def numbered(sets: list[PhotoSet], person: str) -> tuple[pa.Table, list[int]]:
    """The rows of all sets, one behind the other, and how many each has.

    Raises:
        UserError: as `PhotoSet.rows`; or a photo is named twice.
    """
    parts = [one.rows(person) for one in sets]
    rows = pa.concat_tables(parts).combine_chunks()
    if pc.count_distinct(rows["photo"]).as_py() < rows.num_rows:
        raise UserError("photos: a photo is named twice; its key `photo` must be unique.")
    return rows, [part.num_rows for part in parts]
