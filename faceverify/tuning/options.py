"""The options of a search."""

import math
from dataclasses import dataclass
from typing import Literal

from faceverify.errors import UserError

Goal = Literal["eer", "eer_real", "deepfake_accepted"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AshaOptions:
    """Of scheduler asha."""

    grace: int = 1
    """Validations before a trial may be stopped."""
    reduction: int = 3
    """Of so many trials one goes on at each rung; a rung is so many times as far as the one before."""

    def __post_init__(self) -> None:
        if self.grace < 1:
            raise UserError(f"search.asha.grace is {self.grace}: give 1 or more validations.")
        if self.reduction < 2:
            raise UserError(f"search.asha.reduction is {self.reduction}: give 2 or more.")


@dataclass(frozen=True, kw_only=True, slots=True)
class PopulationOptions:
    """Of scheduler pbt."""

    every: int = 2
    """Validations between the moments at which the worst go on from checkpoints of the best."""
    share: float = 0.25
    """Of the population: so many are the worst, as many the best."""
    resample: float = 0.25
    """Probability that a value is drawn again instead of changed by a factor."""
    factor: float = 1.2
    """A value is multiplied or divided by it; a value from a list moves to the one before or behind."""

    def __post_init__(self) -> None:
        if self.every < 1:
            raise UserError(f"search.pbt.every is {self.every}: give 1 or more validations.")
        if not 0 < self.share <= 0.5:
            raise UserError(f"search.pbt.share is {self.share}: give a number above 0, up to 0.5.")
        if not 0 <= self.resample <= 1:
            raise UserError(f"search.pbt.resample is {self.resample}: give a number from 0 to 1.")
        if not (self.factor > 1 and math.isfinite(self.factor)):
            raise UserError(f"search.pbt.factor is {self.factor}: give a number above 1.")


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchConfig:
    """How values are chosen, and which trials are stopped early."""

    algorithm: Literal["random", "grid", "optuna"] = "optuna"
    """Who chooses the values: random; grid = every combination of the lists; optuna = TPE, from what earlier trials
    reached."""
    scheduler: Literal["none", "asha", "pbt"] = "asha"
    """none = every trial runs to its end; asha = the worse ones are stopped early; pbt = a population of `trials`, in
    which the worst go on from checkpoints of the best with changed values (needs algorithm random)."""
    trials: int = 20
    """How many, the base among them; grid tries all combinations whatever this says."""
    goal: Goal = "eer"
    """What is made small: eer (genuine against everything), eer_real (against impostors), or deepfake_accepted."""
    base: bool = True
    """Trial 0 is the training with the values that it has without a search."""
    seed: int = 0
    """Of the values; what the trials have in common has `batches.seed`."""
    startup: int = 6
    """Of optuna: so many trials are drawn at random first."""
    window: int = 4
    """Of optuna: values are chosen from the results of all trials but the last so many, of which so many run at once at
    most. Larger = more at once, from less knowledge."""
    asha: AshaOptions = AshaOptions()
    pbt: PopulationOptions = PopulationOptions()

    def __post_init__(self) -> None:
        for name in ("trials", "startup", "window"):
            if getattr(self, name) < 1:
                raise UserError(f"search.{name} is {getattr(self, name)}: give 1 or more.")
        if self.scheduler == "pbt" and self.algorithm != "random":
            raise UserError(
                f"search.scheduler is pbt, which changes values itself, and search.algorithm is {self.algorithm}: "
                "set search.algorithm to random."
            )
        if self.scheduler == "pbt" and self.trials < 2:
            raise UserError("search.trials is 1: a population needs 2 or more.")
