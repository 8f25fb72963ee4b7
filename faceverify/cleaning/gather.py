"""What the driver puts together from the parts of all shards between the rounds."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from faceverify.cleaning.bank import Bank
from faceverify.cleaning.cases import Twins
from faceverify.cleaning.duplicates import ExactGroups, group, repeated
from faceverify.cleaning.plan import NUMBER, PEOPLE, SAMPLE, CleanPlan
from faceverify.cleaning.resolve import Relations, chance_level, relate
from faceverify.cleaning.rounds import COMPONENTS, KIN, MEANS, SEARCH, SURE_SHARE, SearchJob
from faceverify.cleaning.shard import read_shard, unit_vectors
from faceverify.cleaning.thresholds import Calibration, Thresholds, calibrate
from faceverify.parts import read_part
from faceverify.run_folder import RunFolder
from faceverify.storage import Location

SAME_PEOPLE = pa.schema(
    [
        pa.field("person_a", pa.string(), nullable=False),
        pa.field("person_b", pa.string(), nullable=False),
        ("similarity", pa.float32()),  # mean cosine between a photo of the one and a photo of the other
        ("photos_a", pa.int64()),  # of the main component
        ("photos_b", pa.int64()),
        pa.field("verdict", pa.string(), nullable=False),  # same | look
    ]
)


def choose_lines(work: Location, dim: int, given: float | None) -> Calibration:
    """The thresholds, from the sample that the plan took."""
    place = work / SAMPLE
    if not place.is_file():
        return calibrate(np.zeros((0, dim), np.float32), np.zeros(0, np.int64), given)
    sample = read_part(place)
    units = unit_vectors(sample["embedding"])
    sound = units.any(axis=1)
    return calibrate(units[sound], sample[NUMBER].to_numpy()[sound], given)


def read_bank(folder: RunFolder) -> Bank:
    """The means of all people."""
    return Bank.from_tables([read_part(place) for place in folder.parts(MEANS)])


def relate_people(folder: RunFolder, bank: Bank, lines: Thresholds) -> Relations:
    """How people stand to each other, by the round `kin`."""
    parts = [read_part(place) for place in folder.parts(KIN)]
    a, b, likeness = (np.concatenate([p[n].to_numpy() for p in parts]) for n in ("a", "b", "likeness"))
    return relate(bank, np.stack([a, b], axis=1).astype(np.int64), likeness, lines)


def prepare_search(folder: RunFolder, relations: Relations) -> SearchJob:
    """Whom to search for, by the round `components`."""
    own, marks = [np.zeros(0, np.float32)], []
    for table in _columns(folder, COMPONENTS, ["component", "own", "signature"]):
        mine = table["own"].to_numpy()[table["component"].to_numpy() == 0]
        own.append(mine[np.isfinite(mine)])
        marks.append(table["signature"].to_numpy())
    known = np.concatenate(own)
    sure = float(np.quantile(known, 1 - SURE_SHARE)) if len(known) else 1.0
    return SearchJob(relations, sure, repeated(marks))


def measure_chance(folder: RunFolder, link: float) -> float:
    """The chance level of the search, by the clear photos of the round `search`."""
    found = [t["other"].to_numpy()[t["sampled"].to_numpy()] for t in _columns(folder, SEARCH, ["other", "sampled"])]
    return chance_level(np.concatenate([np.zeros(0, np.float32), *found]), link)


def exact_groups(folder: RunFolder, plan: CleanPlan) -> ExactGroups:
    """Photos of the same bytes, by the hashes of the round `search`."""
    schema = pa.schema([("photo", pa.string()), ("person", pa.string()), ("sha256", pa.string())])
    pieces = [schema.empty_table()]
    for shard, table in enumerate(_columns(folder, SEARCH, ["sha256"])):
        rows = np.flatnonzero(table["sha256"].is_valid().to_numpy())
        if len(rows):
            photos = read_shard(folder.work, shard, plan.people, plan.dim).photos.take(pa.array(rows))
            hashed = table["sha256"].take(pa.array(rows))
            columns = {"photo": photos["photo"], "person": photos["person"], "sha256": hashed}
            pieces.append(pa.table(columns).cast(schema))
    return ExactGroups(group(pa.concat_tables(pieces)))


def twins_of(relations: Relations, chance: float) -> Twins:
    """The pairs of folders to tell of: those that are one person, and those nearer than chance."""
    of: dict[int, list[tuple[int, float, bool]]] = {}
    for (a, b), likeness in zip(relations.pairs.tolist(), relations.likeness.tolist(), strict=True):
        same = likeness >= relations.same
        if same or likeness >= chance:
            of.setdefault(a, []).append((b, likeness, same))
            of.setdefault(b, []).append((a, likeness, same))
    return Twins(of, relations.same)


def same_people_rows(relations: Relations, twins: Twins, names: pa.Array) -> pa.Table:
    """The table `same_people`, most alike first."""
    bank = relations.bank
    size = dict(zip(bank.person.tolist(), bank.size.tolist(), strict=True))
    rows = [
        (names[a].as_py(), names[b].as_py(), likeness, size[a], size[b], "same" if one else "look")
        for a, others in twins.of.items()
        for b, likeness, one in others
        if a < b
    ]
    rows.sort(key=lambda row: (-row[2], row[0], row[1]))
    columns = zip(*rows, strict=True) if rows else [[] for _ in SAME_PEOPLE]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SAME_PEOPLE, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SAME_PEOPLE)


def read_people(work: Location) -> tuple[pa.Array, pa.Array]:
    """Names and splits of all people."""
    people = read_part(work / PEOPLE)
    return people["person"].combine_chunks(), people["split"].combine_chunks()


def _columns(folder: RunFolder, stage: str, names: list[str]) -> Iterator[pa.Table]:
    for place in folder.parts(stage):
        with place.open_input() as stream:
            yield pq.ParquetFile(stream).read(names)
