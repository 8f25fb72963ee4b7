"""A cleaning run: the rounds in order, what is computed between them from the parts of all shards, and the commit.

Which process does a round's units of work is decided by the caller.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from faceverify import tables
from faceverify.cleaning import duplicates, rounds
from faceverify.cleaning.cases import SamePersonCandidates
from faceverify.cleaning.centroids import PersonCentroids, PersonRelations, relate_people
from faceverify.cleaning.decide import CleaningContext
from faceverify.cleaning.decisions_file import ReviewDecision
from faceverify.cleaning.outputs import photos_schema
from faceverify.cleaning.plan import NUMBER, PEOPLE, CleanPlan, read_sample, read_shard, unit_vectors
from faceverify.cleaning.rule import Decision
from faceverify.cleaning.thresholds import Calibration, Thresholds, calibrate, chance_level
from faceverify.parts import NewFile, read_part
from faceverify.run_folder import RunFolder
from faceverify.storage import Location

OUTPUTS = ("decisions", "photos", "cases", "same_people", "duplicates", "rejects")
CASES_AT_A_TIME = 256
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


Work = Callable[..., tuple[int, int]]  # work(*shared, shard) -> (rows, rejected)


class RunRound(Protocol):
    """Calls `work(*shared, shard)` for every shard of 0 ... shards-1 whose part of `stage` is not written yet."""

    def __call__(self, stage: str, work: Work, shared: tuple[Any, ...], shards: int, rows: int) -> None:
        """Run one round; `rows` is how many rows all shards have, for the progress line."""


@dataclass(frozen=True)
class RoundResults:
    """The results of the rounds that the commit needs, besides the parts in the run's folder."""

    context: CleaningContext
    candidates: SamePersonCandidates
    relations: PersonRelations


def run_rounds(
    folder: RunFolder,
    plan: CleanPlan,
    calibration: Calibration,
    reviewed: dict[str, ReviewDecision],
    run_round: RunRound,
) -> RoundResults:
    """Do all rounds that are not done yet.

    Args:
        folder: the run.
        plan: what was planned.
        calibration: the thresholds.
        reviewed: the reviewers' decisions by photo.
        run_round: runs one.
    """
    thresholds = calibration.thresholds
    inputs = rounds.RoundInputs(folder.work, plan, thresholds)
    run_round(rounds.COMPONENTS, rounds.find_components, (inputs,), plan.shards, plan.photos)
    centroids = read_centroids(folder)
    blocks = max(1, -(-len(centroids) // rounds.CENTROIDS_PER_BLOCK))
    run_round(rounds.CANDIDATES, rounds.find_candidates, (inputs, centroids), blocks, len(centroids))
    relations = read_relations(folder, centroids, thresholds)
    search = prepare_search(folder, relations)
    run_round(rounds.SEARCH, rounds.search_photos, (inputs, search), plan.shards, plan.photos)
    chance = measure_chance(folder, thresholds.link)
    exact, (names, splits) = exact_groups(folder, plan), read_people(folder.work)
    context = CleaningContext(names, splits, relations.centroids, replace(thresholds, claim=chance), exact, reviewed)
    candidates = similar_folders(relations, chance)
    run_round(rounds.DECISIONS, rounds.decide_shard, (inputs, context, candidates), plan.shards, plan.photos)
    return RoundResults(context, candidates, relations)


def choose_thresholds(work: Location, dim: int, given: float | None) -> Calibration:
    """Choose the thresholds from the sample that the plan took.

    Args:
        work: the run's working folder.
        dim: numbers in an embedding.
        given: the user's threshold, which becomes `link`; None = chosen.

    Raises:
        UserError: see `thresholds.calibrate`.
    """
    sample = read_sample(work)
    if sample is None:
        return calibrate(np.zeros((0, dim), np.float32), np.zeros(0, np.int64), given)
    units = unit_vectors(sample["embedding"])
    sound = units.any(axis=1)
    return calibrate(units[sound], sample[NUMBER].to_numpy()[sound], given)


def read_centroids(folder: RunFolder) -> PersonCentroids:
    """The centroids of all people, by the round `components`."""
    return PersonCentroids.from_tables([read_part(place) for place in folder.parts(rounds.CENTROIDS)])


def read_relations(folder: RunFolder, centroids: PersonCentroids, thresholds: Thresholds) -> PersonRelations:
    """The relations between all people, by the round `same_person_candidates`."""
    parts = [read_part(place) for place in folder.parts(rounds.CANDIDATES)]
    a, b, similarity = (np.concatenate([p[n].to_numpy() for p in parts]) for n in ("a", "b", "similarity"))
    return relate_people(centroids, np.stack([a, b], axis=1).astype(np.int64), similarity, thresholds)


def prepare_search(folder: RunFolder, relations: PersonRelations) -> rounds.SearchInputs:
    """The inputs of the search, by the round `components`: which photos are beyond doubt, which signatures repeat."""
    own, marks = [np.zeros(0, np.float32)], []
    for table in _columns(folder, rounds.COMPONENTS, ["component", "own", "signature"]):
        mine = table["own"].to_numpy()[table["component"].to_numpy() == 0]
        own.append(mine[np.isfinite(mine)])
        marks.append(table["signature"].to_numpy())
    known = np.concatenate(own)
    sure = float(np.quantile(known, 1 - rounds.SURE_SHARE)) if len(known) else 1.0
    return rounds.SearchInputs(relations, sure, duplicates.repeated(marks))


def measure_chance(folder: RunFolder, link: float) -> float:
    """The threshold `claim`, by the clear photos of the round `search`."""
    columns = ["other", "sampled"]
    found = [t["other"].to_numpy()[t["sampled"].to_numpy()] for t in _columns(folder, rounds.SEARCH, columns)]
    return chance_level(np.concatenate([np.zeros(0, np.float32), *found]), link)


def exact_groups(folder: RunFolder, plan: CleanPlan) -> duplicates.ExactGroups:
    """Groups of photos of the same bytes, by the hashes of the round `search`."""
    schema = pa.schema([("photo", pa.string()), ("person", pa.string()), ("sha256", pa.string())])
    pieces = [schema.empty_table()]
    for shard, table in enumerate(_columns(folder, rounds.SEARCH, ["sha256"])):
        rows = np.flatnonzero(table["sha256"].is_valid().to_numpy())
        if len(rows):
            photos = read_shard(folder.work, shard, plan.people, plan.dim).photos.take(pa.array(rows))
            hashed = table["sha256"].take(pa.array(rows))
            columns = {"photo": photos["photo"], "person": photos["person"], "sha256": hashed}
            pieces.append(pa.table(columns).cast(schema))
    return duplicates.ExactGroups(duplicates.group(pa.concat_tables(pieces)))


def similar_folders(relations: PersonRelations, chance: float) -> SamePersonCandidates:
    """The pairs of folders to report: those that hold one person, and those more similar than the chance level."""
    of: dict[int, list[tuple[int, float, bool]]] = {}
    for (a, b), similarity in zip(relations.pairs.tolist(), relations.similarity.tolist(), strict=True):
        same = similarity >= relations.same_threshold
        if same or similarity >= chance:
            of.setdefault(a, []).append((b, similarity, same))
            of.setdefault(b, []).append((a, similarity, same))
    return SamePersonCandidates(of, relations.same_threshold)


def same_people_rows(results: RoundResults) -> pa.Table:
    """The rows of the table `same_people`, most similar folders first."""
    centroids, names = results.relations.centroids, results.context.names
    size = dict(zip(centroids.person.tolist(), centroids.size.tolist(), strict=True))
    rows = [
        (names[a].as_py(), names[b].as_py(), similarity, size[a], size[b], "same" if one else "look")
        for a, others in results.candidates.of.items()
        for b, similarity, one in others
        if a < b
    ]
    rows.sort(key=lambda row: (-row[2], row[0], row[1]))
    columns = zip(*rows, strict=True) if rows else [[] for _ in SAME_PEOPLE]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SAME_PEOPLE, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SAME_PEOPLE)


def read_people(work: Location) -> tuple[pa.Array, pa.Array]:
    """Names and splits of all people, by number."""
    people = read_part(work / PEOPLE)
    return people["person"].combine_chunks(), people["split"].combine_chunks()


def _columns(folder: RunFolder, stage: str, names: list[str]) -> Iterator[pa.Table]:
    for place in folder.parts(stage):
        with place.open_input() as stream:
            yield pq.ParquetFile(stream).read(names)


def publish(
    folder: RunFolder,
    plan: CleanPlan,
    results: RoundResults,
    photos: pa.Schema,
    max_cases: int,
    make: Callable[[Sequence[NewFile]], None],
) -> dict[str, Any]:
    """Publish all tables; return the counts for the manifest.

    Args:
        folder: the run, all of whose rounds are done.
        plan: what was planned.
        results: of the rounds.
        photos: schema of the photos table that came in.
        max_cases: how many cases are published at most.
        make: makes files of parts, see `RunFolder.publish_parts`.
    """
    facts = folder.publish_parts("decisions", tables.DECISIONS, [rounds.DECISIONS], make)
    decided, totals = facts.rows, facts.counts
    going_on = folder.publish_parts("photos", photos_schema(photos), [rounds.CLEANED], make).rows
    assert decided == plan.photos, f"{plan.photos} photos became {decided} decisions"
    assert going_on == totals[Decision.KEPT] + totals[Decision.MOVED], f"{going_on} cleaned photos, but {totals}"
    order = _hardest(folder)
    shown = folder.publish("cases", _cases(folder, order[:max_cases]), tables.CASES)
    same = same_people_rows(results)
    rows_out = {
        "decisions": decided,
        "photos": going_on,
        "cases": shown,
        "same_people": folder.publish("same_people", [same], SAME_PEOPLE),
        "duplicates": folder.publish_parts("duplicates", duplicates.DUPLICATES, [rounds.DUPLICATES], make).rows,
    }
    verdicts = Counter(same["verdict"].to_pylist())
    return {
        "rows_in": {"photos": plan.photos},
        "rows_out": rows_out,
        "rejects": folder.publish_rejects([]),
        "people": plan.people,
        "decided": dict(sorted(totals.items())),
        "same_people": dict(verdicts),
        "cases_found": len(order),
    }


def facts(calibration: Calibration, results: RoundResults, reviewed: int) -> dict[str, Any]:
    """The manifest's entries about thresholds: `threshold` is the one of the links, `thresholds` are all, explained.

    Args:
        calibration: as chosen.
        results: of the rounds.
        reviewed: how many photos reviewers decided about.
    """
    claim, same = results.context.thresholds.claim, results.relations.same_threshold
    thresholds = {**calibration.manifest(), "claim": claim, "same": same}
    return {"threshold": calibration.thresholds.link, "thresholds": thresholds, "reviewed": reviewed}


def _hardest(folder: RunFolder) -> list[tuple[int, int]]:
    """Part and row of every case: hardest first, equally hard ones by person."""
    keys = []
    for number, place in enumerate(folder.parts(rounds.CASES)):
        with place.open_input() as stream:
            table = pq.ParquetFile(stream).read(["hardness", "person"])
        for row, (hardness, person) in enumerate(zip(*(c.to_pylist() for c in table.columns), strict=True)):
            keys.append((-hardness, person, number, row))
    return [(number, row) for _, _, number, row in sorted(keys)]


def _cases(folder: RunFolder, order: list[tuple[int, int]]) -> Iterator[pa.Table]:
    """The cases in the given order, CASES_AT_A_TIME at a time."""
    places = folder.parts(rounds.CASES)
    read = lru_cache(maxsize=4)(lambda number: read_part(places[number]))
    for at in range(0, len(order), CASES_AT_A_TIME):
        some = order[at : at + CASES_AT_A_TIME]
        pieces, back = [], []
        for number in sorted({number for number, _ in some}):
            wanted = [place for place, (of, _) in enumerate(some) if of == number]
            pieces.append(read(number).take(pa.array([some[place][1] for place in wanted])))
            back += wanted
        yield pa.concat_tables(pieces).take(pa.array(np.argsort(back)))
