"""Photos in, pairs to learn from out: half genuine, a quarter other people, a quarter deepfakes.

python -m ray_jobs.pairs configs/pairs.yaml --photos runs/fakes --faces runs/all_faces --out runs/pairs
"""

import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from faceverify import tables
from faceverify.config import Input, JobConfig, plan_of
from faceverify.errors import UserError
from faceverify.faces import Stopwatch
from faceverify.inputs import fingerprint, open_table
from faceverify.parts import text_piece, write_part
from faceverify.run_folder import RunFolder
from faceverify.storage import Location, check_readable, check_writable, open_location
from faceverify.units import Blocks, LocalMapper, table_rows
from faceverify.wording import count_of
from ray_jobs.engine.cluster import Cluster, check_shared, connect
from ray_jobs.engine.dry_run import is_dry
from ray_jobs.engine.progress import Progress
from ray_jobs.engine.session import run_job
from ray_jobs.engine.shards import joiner, maker
from ray_jobs.engine.units import RayMapper, count_units, mapper_for

if TYPE_CHECKING:
    import pyarrow as pa

    from faceverify.pairs.people import People
    from faceverify.pairs.quotas import Quotas

STAGE = "pairs"
PLAN_HERE = 1 << 19  # rows of a photos table that this process reads itself; the workers read those of a larger one


@dataclass(frozen=True, kw_only=True, slots=True)
class PairsConfig(JobConfig):
    """Form pairs of photos: 50 % genuine, 25 % with another person, 25 % with the person's own deepfakes."""

    photos: Input = ""
    """A photos table: of ingest, clean or fakes. Required."""
    faces: Input = ""
    """The faces table made of these photos (align --photos): only photos that have a face there are paired."""
    seed: int = 0
    """Seed of all random numbers: the same photos and seed give the same pairs, on any number of workers."""
    validation_share: float = 0.05
    """Share of the people without a split that goes to `val`; the rest goes to `train`. A split that is given stays."""
    rebalance: bool = True
    """What a person cannot give, one without fakes for example, is given by people of the split who can."""
    deepfakes_per_impostor: int = 1
    """Deepfake pairs for each impostor pair of `train`: 1 makes it 50/25/25, 12 makes it 13/7/80. Other splits stay
    50/25/25, so that error rates compare."""
    csv: bool = False
    """Write pairs.csv too: pathA, pathB, label, deepfake_a, deepfake_b, split."""
    pairs_per_shard: int = 500_000
    """Pairs per unit of work, about."""

    def __post_init__(self) -> None:
        if not 0 <= self.validation_share <= 1:
            raise UserError(f"validation_share is {self.validation_share}: give a share from 0 to 1.")
        for name in ("pairs_per_shard", "deepfakes_per_impostor"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}: give a whole number from 1 up.")


@dataclass(frozen=True)
class Unused:
    """Photos that cannot be paired: how many by reason, examples of those that the faces table does not know, and how
    many deepfakes have no face."""

    counts: dict[str, int]
    examples: str
    fakes: int


def run(config: PairsConfig) -> None:
    """Check, plan, draw, commit."""
    named = {"photos": config.photos, "faces": config.faces}
    places = {name: open_location(uri) for name, uri in named.items() if uri}
    for name, place in places.items():
        check_readable(place, name)
    photos = open_table(places["photos"], "photos", tables.PHOTOS, "photos")
    faces = open_table(places["faces"], "faces", tables.FACES, "faces") if config.faces else None
    out = open_location(config.out)
    check_writable(out, "out")
    digests = {name: fingerprint(place) for name, place in places.items()}
    plan = plan_of("pairs", config, digests)
    if is_dry(config, out, plan, (STAGE, "pairs.csv")):
        return
    folder = RunFolder(out, plan, (STAGE, "pairs.csv"), config.overwrite)
    if not folder.complete:
        finish(config, photos, faces, folder)
    summarise(folder)


def finish(config: PairsConfig, photos: list[Location], faces: list[Location] | None, folder: RunFolder) -> None:
    """Do all the work that is not done yet."""
    from faceverify.pairs.quotas import quotas
    from faceverify.pairs.rows import csv_header, shards

    if folder.resumed:
        print("Going on where an earlier run stopped.")
    clock = Stopwatch()
    planner: LocalMapper | RayMapper = LocalMapper()
    cluster = None
    if table_rows(photos) > PLAN_HERE:
        cluster = _connect(config, None, folder, clock)
        planner = mapper_for(cluster, config.workers)
    with clock("plan"), folder.planning():
        people, names, unused = gather_people(config, photos, faces, planner)
        wanted = quotas(people, config.rebalance, config.deepfakes_per_impostor)
        cut = shards(wanted, config.pairs_per_shard)
    cluster = cluster or _connect(config, len(cut), folder, clock)
    total = int(sum(kind.sum() for kind in (wanted.genuine, wanted.impostor, wanted.deepfake)))
    drawer = mapper_for(cluster, config.workers)
    with clock("draw"):
        done = folder.done(STAGE)
        progress = Progress("pairs", total, done=min(len(done) * config.pairs_per_shard, total))
        todo = [shard for shard in range(len(cut)) if shard not in done]
        count_units(drawer, draw_shard, todo, (folder.work, people, wanted, cut, names, config.csv), progress)
        progress.finish()
    with clock("commit"):
        made = folder.publish_parts(STAGE, tables.PAIRS, [STAGE], maker(cluster)).rows
        assert made == total, f"{total} pairs were wanted, {made} came out"
        if config.csv:
            folder.publish_text("pairs.csv", csv_header(), STAGE, joiner(cluster))
    counts = {"rows_in": {"photos": names.rows + sum(unused.counts.values())}, "rows_out": {"pairs": made}}
    facts = {"job": "pairs", "config": asdict(config), **counts, "rejects": {}, "unused_photos": unused.counts}
    facts |= {"people": len(people.names), **balance(people, wanted, config.deepfakes_per_impostor)}
    facts |= {
        "fakes_without_face": unused.fakes,
        "not_in_faces": unused.examples,
        "seed": config.seed,
        "operators": [one for mapper in (planner, drawer) for one in getattr(mapper, "operators", [])],
        "seconds": clock.seconds,
    }
    folder.finish(facts)


def _connect(config: PairsConfig, units: int | None, folder: RunFolder, clock: Stopwatch) -> Cluster:
    with clock("connect"):
        cluster = connect(config, units)
        check_shared(cluster, folder.work, config.photos, config.faces)
    print(f"Ray: {cluster}")
    return cluster


def gather_people(
    config: PairsConfig, photos: list[Location], faces: list[Location] | None, mapper: "LocalMapper | RayMapper"
) -> tuple["People", Blocks, Unused]:
    """The people by the counts of their photos, the photos, and which others cannot be paired.

    Raises:
        UserError: no photo can be paired, the faces are of other photos, or see `reading.gather_people`.
    """
    from faceverify.aligned import check_faces_of, remedy
    from faceverify.pairs import reading

    classified = reading.classify_photos(mapper, photos, faces, open_location(config.faces))
    found = reading.summarise(mapper, classified)
    if not found.usable:
        raise UserError(
            f"photos: none of {found.rows:,} photos names a person and says whether it is fake; pairs need both."
        )
    without = found.without_face
    if faces is not None:
        check_faces_of(without, found.usable, found.usable_fakes, config.photos, config.faces)
        if len(without) == found.usable:
            raise UserError(
                f"photos: none of {found.usable:,} photos has a face in {config.faces} "
                f"({without.rejected:,} were rejected there); {remedy(config.photos, config.faces)}."
            )
    counts = {
        "no person, or not known whether fake": found.rows - found.usable,
        "no face found": without.rejected,
        f"not in {config.faces}": without.unknown,
    }
    people, names = reading.gather_people(mapper, classified, config.seed, config.validation_share)
    fakes = found.usable_fakes - int(people.fakes.sum())
    return people, names, Unused({why: count for why, count in counts.items() if count}, without.examples, fakes)


def draw_shard(
    work: Location,
    people: "People",
    wanted: "Quotas",
    cut: list[range],
    photos: list["pa.Table"],
    csv: bool,
    shard: int,
) -> tuple[int, int]:
    """Draw the pairs of one shard of people and write its part; returns how many there are, and 0 rejects."""
    from faceverify.pairs.people import with_photos
    from faceverify.pairs.rows import csv_rows, pairs_of

    rows = pairs_of(with_photos(people, photos), wanted, cut[shard])
    if csv:
        text_piece(work, STAGE, shard).write_bytes(csv_rows(rows))
    write_part(work, STAGE, shard, rows)
    return rows.num_rows, 0


def balance(people: "People", wanted: "Quotas", deepfakes_per_impostor: int) -> dict[str, Any]:
    """How many pairs each split has, and how many are missing."""
    import numpy as np

    from faceverify.pairs.quotas import times

    counts: dict[str, Any] = {}
    for number, split in enumerate(people.splits):
        members = np.flatnonzero(people.split == number)
        if len(members):
            kinds = {name: int(getattr(wanted, name)[members].sum()) for name in ("genuine", "impostor", "deepfake")}
            counts[split] = {"people": len(members), **kinds}
    halves = {name: split["genuine"] // 2 for name, split in counts.items()}
    wanted_fakes = sum(half * times(name, deepfakes_per_impostor) for name, half in halves.items())
    short = {
        "impostor": sum(halves.values()) - sum(split["impostor"] for split in counts.values()),
        "deepfake": wanted_fakes - sum(split["deepfake"] for split in counts.values()),
    }
    alone = int((people.reals < 2).sum())
    return {"splits": counts, "short": short, "people_without_fakes": int((people.fakes == 0).sum()), "alone": alone}


def summarise(folder: RunFolder) -> None:
    """Print the last lines: shares, what is missing and why, where the output is."""
    facts = folder.manifest()
    total = max(1, facts["rows_out"]["pairs"])
    kinds = {kind: sum(s[kind] for s in facts["splits"].values()) for kind in ("genuine", "impostor", "deepfake")}
    shares = ", ".join(f"{kind} {count:,} ({count / total:.1%})" for kind, count in kinds.items())
    people = count_of(facts["people"], "person", "people")
    print(f"{count_of(facts['rows_out']['pairs'], 'pair')} of {people}: {shares}")
    splits = [f"{name} {count_of(one['people'], 'person', 'people')}" for name, one in facts["splits"].items()]
    print(f"Splits: {', '.join(splits)}; no person in two.")
    if "val" not in facts["splits"]:
        print("Nobody is in val: " + without_val(facts))
    if facts["short"]["deepfake"]:
        lost = facts["fakes_without_face"]
        why = f"; {lost:,} fakes have no face" if lost else ""
        print(
            f"{facts['short']['deepfake']:,} deepfake pairs are missing: no pair comes twice, and "
            f"{facts['people_without_fakes']:,} people have no fakes{why}. More fakes per person would fill it."
        )
    if facts["short"]["impostor"]:
        print(f"{facts['short']['impostor']:,} impostor pairs are missing to a quarter: too few other people to meet.")
    if facts["unused_photos"]:
        reasons = ", ".join(f"{count:,} {why}" for why, count in facts["unused_photos"].items())
        named = f" ({facts['not_in_faces']})" if facts["not_in_faces"] else ""
        print(f"{sum(facts['unused_photos'].values()):,} photos were not paired: {reasons}{named}.")
    print(f"Output: {folder.out}")


def without_val(facts: dict[str, Any]) -> str:
    """Why no person was put into `val`."""
    if facts["config"]["validation_share"] == 0:
        return "--validation-share is 0. Training needs it."
    if facts["people"] == 1:
        return "there is one person, and a person belongs to one split. Training needs more people."
    return "the photos table gives every person another split. Training needs people in val, or without a split."


def main() -> int:
    """Entry point."""
    return run_job("pairs", PairsConfig, run, __doc__ or "", ("photos", "out"))


if __name__ == "__main__":
    sys.exit(main())
