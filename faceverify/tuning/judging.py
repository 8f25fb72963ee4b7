"""Which trials are stopped early: asynchronous successive halving (Li et al., MLSys 2020), made repeatable.

As published, and in Ray Tune, a trial is compared with whoever reached the rung before it, so that with several trials
at once chance decides who is stopped. Here a trial is compared with those of lower numbers, and waits for the few of
them that are still on their way to that rung. With one trial at a time both are the same.
"""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from faceverify.tuning.options import SearchConfig
from faceverify.tuning.trials import Line, Trial, so_far

SILENT_SECONDS = 300.0  # a trial of which nothing was heard for so long (a lost node) keeps nobody waiting


class Judge(Protocol):
    """Hears of all trials and says of each whether it goes on."""

    def begun(self, number: int, generation: int) -> None:
        """A trial is about to run: others may have to wait for it."""
        ...

    def alive(self, number: int) -> None:
        """A trial has shown that it is still running."""
        ...

    def ended(self, trial: Trial) -> None:
        """Nothing more comes of a trial."""
        ...

    def goes_on(self, number: int, validations: Sequence[Line]) -> bool | None:
        """Whether a trial that has come so far goes on; None = ask again, others are not there yet."""
        ...


class Halving:
    """The rungs, and who has reached them.

    A trial is judged at a rung by its best validation so far, which is what it would be judged by if it ended there.

    Args:
        config: of the search.
        clock: seconds.
    """

    def __init__(self, config: SearchConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._config, self._clock = config, clock
        self._best: dict[int, list[float]] = {}
        self._ended: set[int] = set()
        self._heard: dict[int, float] = {}

    def begun(self, number: int, generation: int) -> None:
        """See `Judge`."""
        self._best.setdefault(number, [])
        self.alive(number)

    def alive(self, number: int) -> None:
        """See `Judge`."""
        self._heard[number] = self._clock()

    def ended(self, trial: Trial) -> None:
        """See `Judge`."""
        self._best[trial.number] = trial.so_far(self._config.goal)
        self._ended.add(trial.number)

    def goes_on(self, number: int, validations: Sequence[Line]) -> bool | None:
        """See `Judge`."""
        self.alive(number)
        self._best[number] = mine = so_far(validations, self._config.goal)
        for rung in self._rungs(len(mine)):
            if any(self._is_awaited(other, rung) for other in self._best if other < number):
                return None
            theirs = [best[rung - 1] for other, best in self._best.items() if other < number and len(best) >= rung]
            if theirs and mine[rung - 1] > np.percentile(theirs, 100 / self._config.asha.reduction):
                return False
        return True

    def _rungs(self, reached: int) -> list[int]:
        """Numbers of validations, up to that reached."""
        rungs, rung = [], self._config.asha.grace
        while rung <= reached:
            rungs.append(rung)
            rung *= self._config.asha.reduction
        return rungs

    def _is_awaited(self, number: int, rung: int) -> bool:
        quiet = self._clock() - self._heard.get(number, self._clock())
        return number not in self._ended and len(self._best[number]) < rung and quiet < SILENT_SECONDS


class Generations:
    """Of a population: a trial ends, for the time being, where its generation does.

    Args:
        steps: of a generation.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._generation: dict[int, int] = {}

    def begun(self, number: int, generation: int) -> None:
        """A trial is about to run for a generation, counted from 0."""
        self._generation[number] = generation

    def alive(self, number: int) -> None:
        """Nobody waits."""

    def ended(self, trial: Trial) -> None:
        """Nobody waits."""

    def goes_on(self, number: int, validations: Sequence[Line]) -> bool | None:
        """Whether the generation is not yet over."""
        return validations[-1]["step"] < self._steps * (self._generation[number] + 1)


class Nobody:
    """Every trial runs to its end."""

    def begun(self, number: int, generation: int) -> None:
        """Nothing to note."""

    def alive(self, number: int) -> None:
        """Nobody waits."""

    def ended(self, trial: Trial) -> None:
        """Nobody waits."""

    def goes_on(self, number: int, validations: Sequence[Line]) -> bool | None:
        """Always."""
        return True


def build(config: SearchConfig, validation_every: int) -> Judge:
    """The judge that `search.scheduler` names."""
    match config.scheduler:
        case "asha":
            return Halving(config)
        case "pbt":
            return Generations(config.pbt.every * validation_every)
    return Nobody()
