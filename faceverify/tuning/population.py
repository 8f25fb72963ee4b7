"""Population-based training (Jaderberg et al., 2017): the worst go on from checkpoints of the best, with other values.

All members wait for each other at the end of a generation, so that chance in their speed decides nothing.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from faceverify.errors import UserError
from faceverify.storage import Location
from faceverify.training.checkpoints import DONE
from faceverify.training.metrics_log import METRICS
from faceverify.tuning.options import SearchConfig
from faceverify.tuning.space import Dimension, Values
from faceverify.tuning.trials import WORST, Trial, folder_of, number_of

MAY_CHANGE = ("optimiser.", "losses.", "augment.")
# Their class vectors are learnt only by those who use them.
MUST_NOT = tuple(f"losses.weights.{name}" for name in ("arcface", "adaface", "center"))
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class Heir:
    """How a member goes on: from whose checkpoint (its own number = from its own), with which values."""

    parent: int
    values: Values


def check(dimensions: Sequence[Dimension]) -> None:
    """Refuse what cannot change while a training goes on.

    Raises:
        UserError: names the field.
    """
    for one in dimensions:
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in one.choices)
        if not one.name.startswith(MAY_CHANGE) or one.name in MUST_NOT or not numbers:
            raise UserError(
                f"space.{one.name}: search.scheduler is pbt, which changes numbers of optimiser, losses and augment "
                "while a training goes on; take it out, or take scheduler asha."
            )


def turn(
    config: SearchConfig, dimensions: Sequence[Dimension], members: Sequence[Trial], generation: int
) -> dict[int, Heir]:
    """Who goes on from whom, and with which values.

    Args:
        config: of the search.
        dimensions: what may change.
        members: all, at the end of a generation; those that diverged are among the worst.
        generation: from 0.
    """
    rng = np.random.default_rng([config.seed, 1 << 32, generation])
    order = sorted(members, key=lambda member: (_last(member, config.goal), member.number))
    useful = [member for member in order if member.state == "waiting"]
    count = min(max(1, round(config.pbt.share * len(members))), len(members) // 2)
    worst = {member.number for member in order[-count:]} | {m.number for m in order if m.state != "waiting"}
    best = [member for member in useful[:count] if member.number not in worst] or useful[:1]
    heirs = {member.number: Heir(member.number, member.values) for member in members}
    for number in sorted(worst - {member.number for member in best}):
        parent = best[int(rng.integers(len(best)))]
        heirs[number] = Heir(parent.number, explore(config, dimensions, parent.values, rng))
    return heirs


def _last(member: Trial, goal: str) -> float:
    """Of the checkpoint that others would go on from."""
    return number_of(member.validations[-1], goal) if member.state == "waiting" else 2 * WORST


def explore(config: SearchConfig, dimensions: Sequence[Dimension], values: Values, rng: np.random.Generator) -> Values:
    """Each value drawn again, or changed by the factor up or down."""
    changed = {}
    for one in dimensions:
        fresh, anew, up = one.draw(rng), rng.random() < config.pbt.resample, rng.random() < 0.5
        changed[one.name] = fresh if anew else _moved(one, values[one.name], up, config.pbt.factor)
    return changed


def _moved(one: Dimension, value: Any, up: bool, factor: float) -> Any:
    if one.kind != "choice":
        return one.at_key(one.clip(value * factor if up else value / factor))
    if value not in one.choices:  # the base's
        return one.choices[-1] if up else one.choices[0]
    place = one.choices.index(value) + (1 if up else -1)
    return one.choices[min(max(place, 0), len(one.choices) - 1)]


def hand_over(out: Location, heirs: dict[int, Heir], generation: int) -> None:
    """Give the heirs their parents' last checkpoints, and note the turn when all have them.

    Parents are not touched, so that what is cut off in the middle can be done again.
    """
    for number, heir in heirs.items():
        if heir.parent != number:
            _inherit(folder_of(out, heir.parent), folder_of(out, number))
    facts = {str(number): asdict(heir) for number, heir in heirs.items()}
    _turn_file(out, generation).write_bytes((json.dumps(facts, indent=1) + "\n").encode())


def read_turns(out: Location) -> list[dict[int, Heir]]:
    """The turns so far."""
    turns: list[dict[int, Heir]] = []
    while (file := _turn_file(out, len(turns))).is_file():
        facts = json.loads(file.read_bytes())
        turns.append({int(number): Heir(**heir) for number, heir in facts.items()})
    return turns


def _turn_file(out: Location, generation: int) -> Location:
    return out / "trials" / f"turn-{generation:04d}.json"


def _inherit(parent: Location, heir: Location) -> None:
    steps = sorted(e.path.split("/")[0] for e in (parent / CHECKPOINTS).files() if e.path.endswith(f"/{DONE}"))
    source, target = parent / CHECKPOINTS / steps[-1], heir / CHECKPOINTS / steps[-1]
    (target / DONE).delete()
    target.delete()
    for entry in sorted(source.files(recursive=False), key=lambda entry: entry.path == DONE):
        (target / entry.path).write_bytes((source / entry.path).read_bytes())
    step = json.loads((source / DONE).read_bytes())["step"]
    own = [line for line in _lines(heir) if line["step"] < step and "diverged" not in line]
    found = [line for line in _lines(parent) if line["step"] == step and "eer" in line]
    text = "".join(json.dumps(line) + "\n" for line in [*own, *found])
    (heir / METRICS).write_bytes(text.encode())


def _lines(folder: Location) -> list[dict[str, Any]]:
    file = folder / METRICS
    return [json.loads(line) for line in file.read_bytes().splitlines()] if file.is_file() else []
