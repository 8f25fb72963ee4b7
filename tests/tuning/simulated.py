"""Trials of a training that takes no time: its EER follows from its values and the step."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from faceverify.tuning.space import Dimension, Values
from faceverify.tuning.trials import Line, Trial

SPACE = (Dimension("x", "uniform", 0.0, 1.0), Dimension("y", "log_uniform", 1e-4, 1.0))
BASE: Values = {"x": 0.9, "y": 0.5}
STEPS = 9


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


def search(count: int = 30) -> list[Trial]:
    """Trials with values at random; those with a large x are stopped early, or diverge."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        values = {one.name: one.draw(rng) for one in SPACE}
        state = "diverged" if values["x"] > 0.9 else "pruned" if values["x"] > 0.6 else "finished"
        last = STEPS if state == "finished" else 1 + 2 * (number % 2)
        lines = [line(values, step) for step in range(last + 1)]
        found.append(Trial(number=number, values=values, state=state, validations=lines, best_step=last))  # type: ignore[arg-type]
    return found


class Seen:
    """Which trials have come how far."""

    def __init__(self) -> None:
        self.numbers: dict[str, list[int]] = {"validated": [], "ended": []}

    def add(self, what: str, number: int) -> None:
        self.numbers[what].append(number)

    def count(self, what: str) -> int:
        return len(self.numbers[what])
