"""A clean run's output written by hand: rendered people, some of them with strangers among their photos."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from faceverify import tables
from faceverify.rendered import RenderedConfig, plan, write_slot
from faceverify.storage import Location, open_location

PEOPLE = RenderedConfig(persons=12, photos_per_person=6, fakes_per_person=1, photo_size=96, difficulty=0.5)
THRESHOLD = 0.3
SCRIPT = "<script>window.hacked = true; alert(1)</script><img src=x onerror=alert(2)>"
ODD = 'O\'Neil "the\nbold"/Ü 名'
NAMES = [f"person {number:02d}" for number in range(PEOPLE.persons)]
NAMES[2], NAMES[4] = SCRIPT, ODD
DIGEST = "d1" * 32


def draw(folder: Path) -> None:
    """The photos, as `person_0003/real_02.jpg`."""
    for slot in plan(PEOPLE):
        write_slot(PEOPLE, slot, Location(str(folder)))


def uri(photos: str, person: int, index: int) -> str:
    return f"{photos}/person_{person:04d}/real_{index:02d}.jpg"


def strays(case: int) -> list[dict]:
    """Who does not belong to person `case`: {shows, index, component, decision, suggested}."""
    other, third = (case + 5) % PEOPLE.persons, (case + 7) % PEOPLE.persons
    one = {"shows": other, "index": 0, "component": 1, "decision": "moved", "suggested": other}
    two = {"shows": third, "index": 1, "component": 2, "decision": "review", "suggested": None}
    pair = [
        {"shows": third, "index": index, "component": 1, "decision": "review", "suggested": third} for index in (2, 3)
    ]
    lost = {"shows": None, "index": 0, "component": None, "decision": "dropped", "suggested": None}
    return [[one], [one, two], pair, [lost, one]][case % 4]


def case_row(case: int, photos: str) -> dict:
    kept = [{"shows": case, "index": i, "component": 0, "decision": "kept", "suggested": None} for i in range(6)]
    shown = kept + strays(case)
    vectors = np.array([face(one["shows"], one["index"]) for one in shown])
    missing = [one["shows"] is None for one in shown]
    matrix = vectors @ vectors.T
    matrix[missing] = np.nan
    matrix[:, missing] = np.nan
    return {
        "person": NAMES[case],
        "hardness": 1 - case / 20,
        "headline": f"{len(shown) - 6} of {len(shown)} photos look like somebody else.",
        "photos_total": len(shown),
        "photo": [photo_name(case, number) for number in range(len(shown))],
        "uri": [uri(photos, *where(one)) for one in shown],
        "is_fake": [False] * len(shown),
        "open": [one["decision"] != "kept" for one in shown],
        "bridges": [],
        "component": [one["component"] for one in shown],
        "decision": [one["decision"] for one in shown],
        "suggested_person": [None if one["suggested"] is None else NAMES[one["suggested"]] for one in shown],
        "suggested_uri": [None if one["suggested"] is None else uri(photos, one["suggested"], 4) for one in shown],
        "similarity_suggested": [None if one["suggested"] is None else 0.71 for one in shown],
        "evidence": [evidence(one) for one in shown],
        "matrix": [None if np.isnan(value) else value for value in matrix.ravel().tolist()],
    }


def photo_name(case: int, number: int) -> str:
    return f"{NAMES[case]}/{number:02d}.jpg"


def where(one: dict) -> tuple[int, int]:
    return (99, 0) if one["shows"] is None else (one["shows"], one["index"])


def evidence(one: dict) -> str:
    if one["suggested"] is None:
        return "In the kept component." if one["decision"] == "kept" else "No other photo is near."
    return f"0.05 to the kept photos, 0.71 to {NAMES[one['suggested']]}; nobody else is above 0.20."


def face(person: int | None, index: int) -> np.ndarray:
    """A made-up unit embedding: near to those of the same person."""
    if person is None:
        return np.zeros(64)
    centre = np.random.default_rng(person).normal(size=64)
    vector = centre + np.random.default_rng((person, index + 1)).normal(size=64) * 0.7
    return vector / np.linalg.norm(vector)


def write_clean(out: str, photos: str, cases: int = 10) -> None:
    """What `clean` leaves in `out`, as far as review reads it."""
    place = open_location(out)
    rows = [case_row(case, photos) for case in range(cases)]
    write_table(place / "cases" / "part-00000.parquet", pa.Table.from_pylist(rows, tables.CASES))
    listing = [{"photo": f"{name}/{i}", "uri": "x", "person": name} for name in NAMES for i in range(2)]
    write_table(place / "photos" / "part-00000.parquet", pa.Table.from_pylist(listing, tables.PHOTOS))
    command = f"python -m ray_jobs.clean configs/clean.yaml --photos p --embeddings e --out {out}"
    manifest = {"job": "clean", "digest": DIGEST, "threshold": THRESHOLD, "command": command}
    (place / "manifest.json").write_bytes(json.dumps(manifest).encode())


def write_table(file: Location, table: pa.Table) -> None:
    with file.open_output() as stream:
        pq.write_table(table, stream)


if __name__ == "__main__":
    import sys

    draw(Path(sys.argv[1]) / "photos")
    write_clean(f"{sys.argv[1]}/clean", f"{sys.argv[1]}/photos")
