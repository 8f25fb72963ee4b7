"""Trials: what each was given and what it reached, the file that says so, and the best of them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from faceverify.errors import UserError
from faceverify.storage import Location
from faceverify.tuning.space import Values

RECORD = "trial.json"
State = Literal["finished", "pruned", "diverged", "failed", "waiting"]
Line = dict[str, Any]  # what a validation found, see faceverify.training.validation
WORST = 1.0  # of any goal: what a trial without a usable network is taken for


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial that is not running.

    Args:
        number: from 0.
        values: of the searched fields; of a population those that it ended with.
        state: finished = ran to its end; pruned = stopped early for being worse than others; diverged = the loss was
            not a number; failed = its values do not go together; waiting = of a population, for the next generation.
        reason: why it was stopped.
        validations: lines of metrics.jsonl, the one before the first step among them.
        best_step: step of the best validated checkpoint; None if there is none.
        seconds: that it ran for.
        generation: of a population, from 0.
    """

    number: int
    values: Values
    state: State
    reason: str = ""
    validations: list[Line] = field(default_factory=list)
    best_step: int | None = None
    seconds: float = 0.0
    generation: int = 0

    @property
    def best(self) -> Line | None:
        """The validation of the best checkpoint, which is what the trial is judged by; None if it is of no use."""
        if self.state in ("diverged", "failed"):
            return None
        return next((line for line in self.validations if line["step"] == self.best_step), None)

    def score(self, goal: str) -> float:
        """What is made small; WORST where there is nothing to show."""
        return WORST if self.best is None else number_of(self.best, goal)

    def so_far(self, goal: str) -> list[float]:
        """See the function of that name."""
        return so_far(self.validations, goal)


def number_of(line: Line, goal: str) -> float:
    """The goal in what a validation found; without deepfakes nothing is known of them, which is not good."""
    value = line.get(goal)
    return WORST if value is None or value != value else float(value)


def so_far(validations: Sequence[Line], goal: str) -> list[float]:
    """The goal that the training's best checkpoint had at each validation after the first step.

    The best checkpoint is the one of the lowest EER, as `train` has it.
    """
    scores, best = [], float("inf")
    for line in validations:
        if line["step"] == 0:
            continue  # before training; there is no checkpoint of it
        if not scores or number_of(line, "eer") < best:
            best, score = number_of(line, "eer"), number_of(line, goal)
            scores.append(score)
        else:
            scores.append(scores[-1])
    return scores


def folder_of(out: Location, number: int) -> Location:
    """Where a trial's training writes."""
    return out / "trials" / f"{number:04d}"


def write(out: Location, trial: Trial) -> None:
    """Note that a trial has ended; its file appears complete or not at all."""
    (folder_of(out, trial.number) / RECORD).write_bytes((json.dumps(asdict(trial), indent=1) + "\n").encode())


def read(out: Location) -> list[Trial]:
    """The trials that have ended, by number."""
    files = [entry.path for entry in (out / "trials").files() if entry.path.count("/") == 1]
    records = [out / "trials" / path for path in files if path.endswith(f"/{RECORD}")]
    return sorted((_read(record) for record in records), key=lambda trial: trial.number)


def find(out: Location, number: int) -> Trial | None:
    """The trial of a number, if it has ended."""
    record = folder_of(out, number) / RECORD
    return _read(record) if record.is_file() else None


def _read(record: Location) -> Trial:
    try:
        return Trial(**json.loads(record.read_bytes()))
    except (ValueError, TypeError):
        raise UserError(f"{record} is damaged; delete the folder it is in, and that trial runs again.") from None


def ranked(trials: Sequence[Trial], goal: str) -> list[Trial]:
    """Those of use, best first: by the goal, and where that is equal by the other goals, then by number."""
    useful = [trial for trial in trials if trial.best is not None]
    goals = (goal, "eer", "eer_real", "deepfake_accepted")
    return sorted(useful, key=lambda trial: (*(trial.score(name) for name in goals), trial.number))


def pareto(trials: Sequence[Trial], goals: tuple[str, str] = ("eer_real", "deepfake_accepted")) -> list[Trial]:
    """Those that no other is better than in one goal without being worse in the other, by the first goal.

    Of trials that are equal in both, all are in it. Trials that lack a goal are not.
    """
    known = [trial for trial in trials if trial.best and all(trial.best.get(goal) is not None for goal in goals)]
    points = {trial.number: tuple(trial.score(goal) for goal in goals) for trial in known}

    def beaten(point: tuple[float, ...]) -> bool:
        return any(
            all(a <= b for a, b in zip(other, point, strict=True)) and other != point for other in points.values()
        )

    front = [trial for trial in known if not beaten(points[trial.number])]
    return sorted(front, key=lambda trial: (points[trial.number], trial.number))
