"""Functions mapped over units by Ray Data: the same as in this process, whatever the cut; faults reach the user."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceverify.errors import UserError
from faceverify.pairs import reading
from faceverify.pairs.people import People, with_photos
from faceverify.storage import Location
from faceverify.units import LocalMapper, RowGroups, UnitMapper, row_groups
from ray_jobs.engine.progress import Progress
from ray_jobs.engine.units import RayMapper, count_units


@pytest.fixture
def mapper(cluster: object) -> RayMapper:
    return RayMapper(2)


def photos(place: Path, count: int = 400, **changed: list) -> list[Location]:
    """A photos table of people with about ten photos each, in no order, in row groups of 64."""
    number = np.random.default_rng(5).permutation(count)
    names = [f"p{n % 40:02d}/{n}" for n in number]
    columns = {"photo": names, "person": [name[:3] for name in names], "is_fake": [n % 5 == 0 for n in number]}
    columns |= {"generator": ["swap" if n % 5 == 0 else None for n in number], "split": [None] * count} | changed
    table = pa.table(
        {name: pa.array(c, pa.bool_() if name == "is_fake" else pa.string()) for name, c in columns.items()}
    )
    pq.write_table(table, place, row_group_size=64)
    return [Location(str(place))]


def gathered(mapper: UnitMapper, files: list[Location], faces: list[Location] | None = None) -> tuple:
    classified = reading.classify_photos(mapper, files, faces, Location("/nowhere"))
    return reading.summarise(mapper, classified), *reading.gather_people(mapper, classified, 3, 0.2)


def as_values(people: People) -> list:
    return [getattr(people, name).tolist() for name in ("names", "keys", "split", "start", "reals", "fakes")]


def test_people_are_the_same_whoever_reads_the_table(
    mapper: RayMapper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "ROWS_PER_UNIT", 64)
    files = photos(tmp_path / "photos.parquet", person=[f"p{n % 40:02d}" if n % 7 else None for n in range(400)])
    faces = [Location(str(tmp_path / "faces.parquet"))]
    pq.write_table(pq.read_table(files[0].path, columns=["photo"]).slice(0, 300), faces[0].path, row_group_size=50)
    facts, people, held = gathered(LocalMapper(), files, faces)
    facts_of_ray, people_of_ray, held_by_ray = gathered(mapper, files, faces)
    assert facts_of_ray == facts and facts.rows == 400 and facts.without_face.unknown > 50
    assert as_values(people_of_ray) == as_values(people) and people_of_ray.splits == people.splits
    assert held.rows == held_by_ray.rows == people.reals.sum() + people.fakes.sum()
    blocks = [block.cast(held.tables[0].schema) for block in held_by_ray.dataset.iter_batches(batch_format="pyarrow")]
    assert with_photos(people, blocks).photos.to_pylist() == held.tables[0]["photo"].to_pylist()
    ran = [one["operator"] for one in mapper.operators]
    assert any("count_photos" in name for name in ran) and any("Sort" in name for name in ran)


@pytest.mark.parametrize("kind", ["local", "ray"])
def test_a_photo_that_comes_twice_is_named_whoever_has_it(kind: str, tmp_path: Path, mapper: RayMapper) -> None:
    files = photos(tmp_path / "photos.parquet", 3, photo=["a", "b", "b"], person=["p", "p", "q"])
    with pytest.raises(UserError, match="'b' is there more than once"):
        gathered(LocalMapper() if kind == "local" else mapper, files)


def test_a_damaged_file_is_named(mapper: RayMapper, tmp_path: Path) -> None:
    files = photos(tmp_path / "photos.parquet")
    raw = bytearray((tmp_path / "photos.parquet").read_bytes())
    units = row_groups(files, 1)
    raw[4:400] = b"\xff" * 396
    (tmp_path / "photos.parquet").write_bytes(raw)
    with pytest.raises(UserError, match=r"photos\.parquet"):
        mapper.blocks(reading.hash_names_of, units)


def write_rows(folder: Path, names: list[str], unit: RowGroups) -> tuple[int, int]:
    (folder / f"{unit.number}").write_text(names[0])
    return unit.rows, 1


@pytest.mark.parametrize("kind", ["local", "ray"])
def test_what_is_written_is_counted(kind: str, tmp_path: Path, mapper: RayMapper) -> None:
    units = row_groups(photos(tmp_path / "photos.parquet"), 100)
    progress = Progress("photos", 400)
    count_units(LocalMapper() if kind == "local" else mapper, write_rows, units, (tmp_path, ["x"]), progress)
    assert (progress.done, progress.rejected) == (400, len(units)) and len(units) == 4
    assert [(tmp_path / str(number)).read_text() for number in range(4)] == ["x"] * 4


def test_row_groups_cover_a_table_once(tmp_path: Path) -> None:
    files = photos(tmp_path / "a.parquet") + photos(tmp_path / "b.parquet", 30)
    for rows in (1, 64, 100, 1000):
        units = row_groups(files, rows)
        read = [row for unit in units for piece in unit.read(["photo"]) for row in piece["photo"].to_pylist()]
        assert read == [row for file in files for row in pq.read_table(file.path)["photo"].to_pylist()]
        assert [unit.number for unit in units] == list(range(len(units)))
        assert sum(unit.rows for unit in units) == 430 and all(unit.rows >= min(rows, 16) for unit in units)
