"""Trials: what each was given and what it reached, the files that say so, and the best of them.

trials/0003/given.json   what trial 3 is given; written whenever it starts, so of a population also when that changes
trials/0003/trial.json   what came of it; its presence says that the trial has ended
trials/0003/...          its training, as `train` writes it
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from faceverify.errors import UserError
from faceverify.storage import Location
from faceverify.tuning.space import Values

RECORD, GIVEN = "trial.json", "given.json"
State = Literal["finished", "pruned", "diverged", "failed"]
Line = dict[str, Any]  # what a validation found, see faceverify.training.validation
WORST = 1.0  # of any goal: what a trial without a usable network is taken for


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial that has ended.

    Args:
        number: from 0.
        values: of the searched fields; of a population those that it ended with.
        state: finished = ran to its end; pruned = stopped early for being worse than others; diverged = the loss was
            not a number; failed = its values do not go together.
        reason: why it was stopped.
        validations: lines of metrics.jsonl, the one before the first step among them.
        best_step: step of the best validated checkpoint; None if there is none.
        seconds: that it ran for.
    """

    number: int
    values: Values
    state: State
    reason: str = ""
    validations: list[Line] = field(default_factory=list)
    best_step: int | None = None
    seconds: float = 0.0

    @property
    def best(self) -> Line | None:
        """The validation of the best checkpoint, which is what the trial is judged by; None if it is of no use."""
        if self.state in ("diverged", "failed"):
            return None
        return next((line for line in self.validations if line["step"] == self.best_step), None)

    def score(self, goal: str) -> float:
        """What is minimised; WORST where there is nothing to show."""
        return WORST if self.best is None else number_of(self.best, goal)


def number_of(line: Line, goal: str) -> float:
    """The goal in what a validation found; without deepfakes nothing is known of them, which is not good."""
    value = line.get(goal)
    return WORST if value is None or value != value else float(value)


def judged(validations: Sequence[Line]) -> list[Line]:
    """The validations by which a trial is judged: all but that before the first step, which has no checkpoint."""
    return [line for line in validations if line["step"] > 0]


def so_far(validations: Sequence[Line], goal: str) -> list[float]:
    """The goal that the training's best checkpoint had at each of the validations by which it is judged.

    The best checkpoint is the one of the lowest EER, as `train` has it.
    """
    scores, best = [], float("inf")
    for line in judged(validations):
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
    return sorted((_read(record) for record in _files(out, RECORD)), key=lambda trial: trial.number)


def write_given(out: Location, number: int, values: Values, reported: int) -> None:
    """Note what a trial is given, and how many of its validations this run's scheduler has been told of already."""
    facts = {"values": values, "reported": reported}
    (folder_of(out, number) / GIVEN).write_bytes((json.dumps(facts, indent=1) + "\n").encode())


def read_given(out: Location, number: int) -> tuple[Values, int]:
    """What `write_given` noted.

    Raises:
        UserError: the file is damaged.
    """
    return _read_given(folder_of(out, number) / GIVEN)


def started(out: Location) -> list[Values | None]:
    """The values of the trials that have started, by number; None where nothing is known of a number.

    Raises:
        UserError: a file is damaged.
    """
    known = {int(file.parent.name): _read_given(file)[0] for file in _files(out, GIVEN)}
    return [known.get(number) for number in range(max(known, default=-1) + 1)]


def _read_given(file: Location) -> tuple[Values, int]:
    try:
        facts = json.loads(file.read_bytes())
        return facts["values"], facts["reported"]
    except (ValueError, TypeError, KeyError):
        raise _damaged(file) from None


def _files(out: Location, name: str) -> list[Location]:
    paths = [entry.path for entry in (out / "trials").files() if entry.path.count("/") == 1]
    return [out / "trials" / path for path in paths if path.endswith(f"/{name}")]


def find(out: Location, number: int) -> Trial | None:
    """The trial of a number, if it has ended."""
    record = folder_of(out, number) / RECORD
    return _read(record) if record.is_file() else None


def _read(record: Location) -> Trial:
    try:
        return Trial(**json.loads(record.read_bytes()))
    except (ValueError, TypeError):
        raise _damaged(record) from None


def _damaged(file: Location) -> UserError:
    return UserError(f"{file} is damaged; delete the folder it is in, and that trial runs again.")


def conclude(out: Location, number: int, values: Values, state: State, reason: str = "", seconds: float = 0.0) -> Trial:
    """Note how a trial ended, from what its training wrote; also the leaderboard that a stopped one did not write."""
    from faceverify.training.checkpoints import CheckpointManager
    from faceverify.training.metrics_log import MetricsLog

    folder = folder_of(out, number)
    log, checkpoints = MetricsLog(folder, []), CheckpointManager(folder, 1)
    log.resume()
    found = [one for one in checkpoints.complete() if "eer" in one.facts]
    best = min(found, key=lambda one: (one.facts["eer"], one.step), default=None)
    if state == "pruned":
        checkpoints.write_leaderboard(log.validations)
    trial = Trial(
        number=number,
        values=values,
        state=state,
        reason=reason,
        validations=log.validations,
        best_step=best.step if best else None,
        seconds=seconds,
    )
    write(out, trial)
    return trial


def adopt(folder: Location, checkpoint: Location) -> None:
    """Make a checkpoint, of another trial or an own one, the last of the training in `folder`, to go on from it."""
    from faceverify.models.folders import DONE
    from faceverify.training.checkpoints import CheckpointManager
    from faceverify.training.metrics_log import MetricsLog

    found = json.loads((checkpoint / DONE).read_bytes())
    own = CheckpointManager(folder, 1).complete()
    if own and own[-1].facts == found:
        return  # it was only paused
    for one in own:
        if one.step >= found["step"]:
            (one.folder / DONE).delete()  # first: what is half deleted must not look complete
            one.folder.delete()
    log = MetricsLog(folder, [])
    log.resume(found["step"] - 1)
    log.add(found)
    log.write()
    target = folder / "checkpoints" / f"step-{found['step']:08d}"
    for entry in sorted(checkpoint.files(recursive=False), key=lambda entry: entry.path == DONE):
        if not entry.path.startswith("."):  # of Ray's
            (target / entry.path).write_bytes((checkpoint / entry.path).read_bytes())


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
