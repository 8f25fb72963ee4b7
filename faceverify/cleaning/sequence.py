"""The order of the rounds, and what is put together between them; who runs a round is the caller's affair."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from faceverify.cleaning import deciding, gather, rounds
from faceverify.cleaning.cases import Twins
from faceverify.cleaning.decisions_file import ReviewDecision
from faceverify.cleaning.plan import CleanPlan
from faceverify.cleaning.resolve import Relations
from faceverify.cleaning.rule import Lines
from faceverify.cleaning.thresholds import Calibration
from faceverify.cleaning.verdicts import World
from faceverify.run_folder import RunFolder

Work = Callable[..., tuple[int, int]]  # work(*common, shard) -> (rows, rejected)


class RunRound(Protocol):
    """Calls `work(*common, shard)` for every shard of 0 ... shards-1 whose part of `stage` is not written yet."""

    def __call__(self, stage: str, work: Work, common: tuple[Any, ...], shards: int, rows: int) -> None:
        """Run one round; `rows` is how many rows all shards have, for the progress line."""


@dataclass(frozen=True)
class Outcome:
    """What the rounds leave for the commit."""

    world: World
    twins: Twins
    relations: Relations


def run_rounds(
    folder: RunFolder,
    plan: CleanPlan,
    calibration: Calibration,
    reviewed: dict[str, ReviewDecision],
    run_round: RunRound,
) -> Outcome:
    """Go through all rounds that are not done.

    Args:
        folder: the run.
        plan: what was planned.
        calibration: the thresholds.
        reviewed: the reviewers' decisions by photo.
        run_round: runs one.
    """
    lines = calibration.thresholds
    job = rounds.CleanJob(folder.work, plan, lines)
    run_round(rounds.COMPONENTS, rounds.find_components, (job,), plan.shards, plan.photos)
    bank = gather.read_bank(folder)
    blocks = max(1, -(-len(bank) // rounds.ENTRIES_PER_KIN))
    run_round(rounds.KIN, rounds.compare_means, (job, bank), blocks, len(bank))
    relations = gather.relate_people(folder, bank, lines)
    wanted = gather.prepare_search(folder, relations)
    run_round(rounds.SEARCH, rounds.search_photos, (job, wanted), plan.shards, plan.photos)
    chance = gather.measure_chance(folder, lines.link)
    everything = Lines(**asdict(lines), claim=chance)
    exact, (names, splits) = gather.exact_groups(folder, plan), gather.read_people(folder.work)
    world = World(names, splits, relations.bank, everything, exact, reviewed)
    twins = gather.twins_of(relations, chance)
    run_round(deciding.DECISIONS, deciding.decide_shard, (job, world, twins), plan.shards, plan.photos)
    return Outcome(world, twins, relations)
