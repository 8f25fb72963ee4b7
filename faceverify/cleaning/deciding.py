"""The last round: decisions, cleaned photos, duplicates and cases of one shard."""

from faceverify.cleaning.cases import Twins, case_rows
from faceverify.cleaning.outputs import decision_rows, duplicate_rows, photo_rows
from faceverify.cleaning.rounds import NEAR, SEARCH, CleanJob
from faceverify.cleaning.shard import read_shard
from faceverify.cleaning.verdicts import Found, World, decide, nobody_near
from faceverify.parts import part, read_part, write_part

DECISIONS, CLEANED, CASES, DUPLICATES = "decisions", "cleaned", "cases", "duplicates"


def decide_shard(job: CleanJob, world: World, twins: Twins, shard: int) -> tuple[int, int]:
    """Write the parts of a shard's outputs, its decisions last; returns the photos, none of them rejected."""
    rows = read_shard(job.work, shard, job.plan.people, job.plan.dim)
    found = Found.from_table(read_part(part(job.work, SEARCH, shard)))
    verdicts = decide(rows, found, world)
    found = found.without(nobody_near(found, verdicts, job.lines.link))
    write_part(job.work, CLEANED, shard, photo_rows(rows, verdicts, world))
    write_part(job.work, CASES, shard, case_rows(rows, found, verdicts, world, twins))
    write_part(job.work, DUPLICATES, shard, duplicate_rows(rows, read_part(part(job.work, NEAR, shard)), world))
    write_part(job.work, DECISIONS, shard, decision_rows(rows, found, verdicts, world))
    return len(rows.number), 0
