"""Pairs are drawn for any number of people in seconds, against a sampling loop as the reference's.

The reference (Al-Nator/Kryptonite-ML-Challenge, train/generate_pairs.py) is written here from what it does: all genuine
pairs; for each of them one pair with a photo of a random other person, for which it lists all other people who have
photos and the paths of both persons' photos again; all pairs with fakes; then each negative kind is cut to half. The
second rival is the same without the lists, which are all that makes it quadratic.
"""

import json
import os
import random
import tempfile
from collections.abc import Callable, Sequence
from itertools import combinations, product
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.harness import Report, Spread, parser, run_job, seconds_of
from faceverify.pairs.people import gather
from faceverify.pairs.quotas import quotas
from faceverify.pairs.rows import pairs_of
from faceverify.tables import PHOTOS

REAL, FAKES = 20, 4
Photos = dict[str, tuple[list[str], list[str]]]
Impostor = Callable[[Photos, list[str], str], tuple[str, str]]


def table(people: int) -> pa.Table:
    """A photos table; the pictures are not needed."""
    numbers = [(p, i) for p in range(people) for i in range(REAL + FAKES)]
    columns = {
        "photo": [f"person_{p:07d}/{i}.jpg" for p, i in numbers],
        "person": [f"person_{p:07d}" for p, _ in numbers],
        "is_fake": [i >= REAL for _, i in numbers],
        "generator": ["swap" if i >= REAL else None for _, i in numbers],
    }
    columns["uri"] = columns["photo"]
    empty = {name: pa.nulls(len(numbers), PHOTOS.field(name).type) for name in PHOTOS.names if name not in columns}
    both = {name: pa.array(values) for name, values in columns.items()} | empty
    return pa.table([both[name] for name in PHOTOS.names], schema=PHOTOS)


def paths(photos: Photos, person: str, fake: int) -> list[str]:
    """The paths of a person's photos."""
    return [os.path.join("images", name) for name in photos[person][fake]]


def impostor_with_lists(photos: Photos, persons: list[str], person: str) -> tuple[str, str]:
    """As the reference: everything is listed for each pair."""
    own = paths(photos, person, 0)
    others = [other for other in persons if other != person and photos[other][0]]
    theirs = paths(photos, random.choice(others), 0)
    return random.choice(own), random.choice(theirs)


def impostor_sampled(photos: Photos, persons: list[str], person: str) -> tuple[str, str]:
    """Without lists."""
    while (other := random.choice(persons)) == person or not photos[other][0]:
        pass
    pair = random.choice(photos[person][0]), random.choice(photos[other][0])
    return os.path.join("images", pair[0]), os.path.join("images", pair[1])


def loop(photos: Photos, impostor: Impostor) -> list[tuple[str, str, str, str, str]]:
    """Pairs as rows pathA, pathB, label, deepfake_a, deepfake_b."""
    persons = list(photos)
    genuine, strangers, deepfakes = [], [], []
    for person in persons:
        real, fake = paths(photos, person, 0), paths(photos, person, 1)
        own = [(a, b, "1", "0", "0") for a, b in combinations(real, 2)]
        genuine += own
        strangers += [(*impostor(photos, persons, person), "0", "0", "0") for _ in own]
        deepfakes += [(a, b, "0", "0", "1") for a, b in product(real, fake)]
    half = len(genuine) // 2
    return genuine + random.sample(strangers, half) + random.sample(deepfakes, min(half, len(deepfakes)))


def by_person(photos: pa.Table) -> Photos:
    """The photos as the loop wants them."""
    groups: Photos = {}
    for row in photos.select(["photo", "person", "is_fake"]).to_pylist():
        groups.setdefault(row["person"], ([], []))[row["is_fake"]].append(row["photo"])
    return groups


def ours(photos: pa.Table) -> pa.Table:
    """The same in one process: sorted by person, drawn, and all columns of the table `pairs` made."""
    people = gather(photos, 0, 0.0)
    return pairs_of(people, quotas(people, True), range(len(people.names)))


def curves(report: Report, sizes: Sequence[int], repeats: int) -> None:
    """Seconds for the drawing alone, in one process, taking turns."""
    for size in sizes:
        photos = table(size)
        groups = by_person(photos)
        sides = {
            "loop with lists, as the reference's": lambda groups=groups: loop(groups, impostor_with_lists),
            "loop without lists": lambda groups=groups: loop(groups, impostor_sampled),
            "faceverify, one process": lambda photos=photos: ours(photos),
        }
        taken: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(repeats):
            for side, work in sides.items():
                taken[side].append(seconds_of(work))
        mine = Spread.of(taken["faceverify, one process"]).median
        for side, seconds in taken.items():
            spread = Spread.of(seconds)
            report.add(side, f"{size:,}", f"{spread:.3f}", f"{spread.median / mine:.1f}", "-")


def whole_job(report: Report, sizes: Sequence[int]) -> None:
    """The job from table to Parquet, Ray's start included, and its memory."""
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            source, out = Path(folder) / "photos.parquet", Path(folder) / "out"
            pq.write_table(table(size), source)
            run = run_job("pairs", out, "--photos", str(source), memory=True)
            seconds = json.loads((out / "manifest.json").read_text())["seconds"]
        start = run.seconds - sum(seconds[name] for name in ("plan", "draw", "commit"))
        made = f"{run.manifest['rows_out']['pairs']:,} pairs, {start:.1f} s of it starting Python and Ray"
        memory = f"{run.memory.process / 2**30:.2f} driver"
        report.add(f"job `pairs`: {made}", f"{size:,}", f"{run.seconds:.1f}", "-", memory)


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--people", type=int, nargs="+", default=[125, 250, 500, 1000])
    options.add_argument("--job-people", type=int, nargs="+", default=[5_000, 10_000, 20_000])
    options.add_argument("--repeats", type=int, default=3)
    chosen = options.parse_args()
    columns = ("program", "people", "seconds", "times ours", "peak GiB")
    claim = f"Pairs of people with {REAL} photos and {FAKES} fakes each (365 pairs a person)."
    report = Report("pairs_speed", claim, columns)
    curves(report, chosen.people, chosen.repeats)
    whole_job(report, chosen.job_people)
    report.notes += [
        f"Median of {chosen.repeats} runs (smallest to largest) for the drawing alone; the job is run once per size.",
        "A shard holds about 500,000 pairs whatever the number of people; the driver holds the names of all photos.",
        "The loops draw impostor pairs with replacement, so some come twice; faceverify's are all different.",
    ]
    report.write(chosen.results)


if __name__ == "__main__":
    main()
