"""Publishing what the rounds wrote, and the facts of the manifest."""

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from faceverify import tables
from faceverify.cleaning import deciding, duplicates, gather
from faceverify.cleaning.outputs import counts, photos_schema
from faceverify.cleaning.plan import CleanPlan
from faceverify.cleaning.reasons import Decision
from faceverify.cleaning.sequence import Outcome
from faceverify.cleaning.thresholds import Calibration
from faceverify.parts import read_part
from faceverify.run_folder import RunFolder

OUTPUTS = ("decisions", "photos", "cases", "same_people", "duplicates", "rejects")
CASES_AT_A_TIME = 256


def publish(folder: RunFolder, plan: CleanPlan, outcome: Outcome, photos: pa.Schema, max_cases: int) -> dict[str, Any]:
    """Publish all tables; returns the counts for the manifest.

    Args:
        folder: the run, all of whose rounds are done.
        plan: what was planned.
        outcome: of the rounds.
        photos: schema of the photos table that came in.
        max_cases: so many cases are published at most.
    """
    parts = folder.parts(deciding.DECISIONS)
    decided = folder.publish("decisions", map(read_part, parts), tables.DECISIONS)
    totals = sum((Counter(counts(read_part(place))) for place in parts), Counter())
    going_on = folder.publish("photos", map(read_part, folder.parts(deciding.CLEANED)), photos_schema(photos))
    assert decided == plan.photos, f"{plan.photos} photos became {decided} decisions"
    assert going_on == totals[Decision.KEPT] + totals[Decision.MOVED], f"{going_on} cleaned photos, but {totals}"
    order = _hardest(folder)
    shown = folder.publish("cases", _cases(folder, order[:max_cases]), tables.CASES)
    same = gather.same_people_rows(outcome.relations, outcome.twins, outcome.world.names)
    rows_out = {
        "decisions": decided,
        "photos": going_on,
        "cases": shown,
        "same_people": folder.publish("same_people", [same], gather.SAME_PEOPLE),
        "duplicates": folder.publish(
            "duplicates", map(read_part, folder.parts(deciding.DUPLICATES)), duplicates.DUPLICATES
        ),
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


def facts(calibration: Calibration, outcome: Outcome, reviewed: int) -> dict[str, Any]:
    """What the manifest says of the thresholds: `threshold` is the one of the links, `thresholds` are all, explained.

    Args:
        calibration: as chosen.
        outcome: of the rounds.
        reviewed: how many photos reviewers decided about.
    """
    lines = {**calibration.manifest(), "claim": outcome.world.lines.claim, "same": outcome.relations.same}
    return {"threshold": calibration.thresholds.link, "thresholds": lines, "reviewed": reviewed}


def _hardest(folder: RunFolder) -> list[tuple[int, int]]:
    """Part and row of every case: hardest first, of equals by person."""
    keys = []
    for number, place in enumerate(folder.parts(deciding.CASES)):
        with place.open_input() as stream:
            table = pq.ParquetFile(stream).read(["hardness", "person"])
        for row, (hardness, person) in enumerate(zip(*(c.to_pylist() for c in table.columns), strict=True)):
            keys.append((-hardness, person, number, row))
    return [(number, row) for _, _, number, row in sorted(keys)]


def _cases(folder: RunFolder, order: list[tuple[int, int]]) -> Iterator[pa.Table]:
    """The cases in the given order, some at a time."""
    places = folder.parts(deciding.CASES)
    read = lru_cache(maxsize=4)(lambda number: read_part(places[number]))
    for at in range(0, len(order), CASES_AT_A_TIME):
        some = order[at : at + CASES_AT_A_TIME]
        pieces, back = [], []
        for number in sorted({number for number, _ in some}):
            wanted = [place for place, (of, _) in enumerate(some) if of == number]
            pieces.append(read(number).take(pa.array([some[place][1] for place in wanted])))
            back += wanted
        yield pa.concat_tables(pieces).take(pa.array(np.argsort(back)))
