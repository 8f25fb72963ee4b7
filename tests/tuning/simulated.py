"""Trials of a training that takes no time: its EER follows from its values and the step."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from faceverify.storage import Location
from faceverify.tuning import conducting, judging
from faceverify.tuning.options import SearchConfig
from faceverify.tuning.space import Dimension, Values
from faceverify.tuning.trials import Line, Trial

SPACE = (Dimension("x", "uniform", 0.0, 1.0), Dimension("y", "log_uniform", 1e-4, 1.0))
BASE: Values = {"x": 0.9, "y": 0.5}
STEPS, EVERY = 9, 1
DIVERGES = 0.97  # of x


def line(values: Values, step: int) -> Line:
    """What validation finds: the best is x = 0.3, and it takes time."""
    eer = 0.05 + (values["x"] - 0.3) ** 2 + 0.4 / (step + 1)
    return {"step": step, "eer": eer, "eer_real": eer / 2, "deepfake_accepted": 0.5 * values["y"]}


def trial(number: int, eers: Sequence[float], **given: Any) -> Trial:
    """A trial that found these EERs at steps 0, 1, ..."""
    lines: list[Line] = [{"step": step, "eer": eer} for step, eer in enumerate(eers)]
    best = min(range(1, len(eers)), key=lambda step: (eers[step], step), default=None)
    usual = {"number": number, "values": {}, "state": "finished", "validations": lines, "best_step": best}
    return Trial(**{**usual, **given})


@dataclass
class Running:
    """A trial at work."""

    task: conducting.Task
    lines: list[Line] = field(default_factory=list)


def search(
    config: SearchConfig, out: Location, at_once: int, chance: int, ended: Sequence[Trial] = (), stop_after: int = 10**6
) -> list[Trial]:
    """Run a search, `at_once` trials at a time, each of them as quick as chance has it; stop after so many trials."""
    rng = random.Random(chance)
    judge = judging.build(config, EVERY)
    conductor = conducting.build(config, SPACE, BASE, ended, out)
    found = {one.number: one for one in ended}
    for one in ended:
        judge.ended(one)
    running: list[Running] = []
    while len(found) < stop_after:
        while len(running) < at_once and (task := conductor.next()) is not None:
            judge.begun(task.number, task.generation)
            running.append(Running(task, [line(task.values, 0)]))
        if not running:
            assert conductor.over, "nothing runs and nothing comes: a deadlock"
            break
        one = rng.choice(running)
        task, step = one.task, one.lines[-1]["step"]
        going = judge.goes_on(task.number, one.lines)
        if going is None:
            continue
        over = step == STEPS or not going or task.values["x"] > DIVERGES
        if not over:
            one.lines.append(line(task.values, step + 1))
            continue
        running.remove(one)
        state = "finished" if step == STEPS else "diverged" if task.values["x"] > DIVERGES else "pruned"
        best = min(one.lines[1:], key=lambda found: found["eer"], default=None)
        done = Trial(
            number=task.number,
            values=task.values,
            state=state,  # type: ignore[arg-type]
            validations=one.lines,
            best_step=best["step"] if best else None,
        )
        found[task.number] = done
        conductor.ended(done)
        judge.ended(done)
    return sorted(found.values(), key=lambda one: one.number)
