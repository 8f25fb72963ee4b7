"""The options of a search."""

from dataclasses import dataclass
from typing import Literal

from faceverify.errors import UserError

Goal = Literal["eer", "eer_real", "deepfake_accepted"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchConfig:
    """How values are chosen, and which trials are stopped early."""

    algorithm: Literal["random", "grid", "optuna"] = "optuna"
    """Who chooses the values: random; grid = every combination of the lists; optuna = TPE, from what earlier trials
    reached."""
    scheduler: Literal["none", "asha", "median", "pbt"] = "asha"
    """none = every trial runs to its end; asha = successive halving stops the worse ones early; median = a trial worse
    than the median of the others is stopped; pbt = population-based training: the worst go on from checkpoints of the
    best with changed values (needs algorithm random)."""
    trials: int = 20
    """How many, the base among them; grid tries all combinations whatever this says."""
    goal: Goal = "eer"
    """What is minimised: eer (genuine against everything), eer_real (against impostors), or deepfake_accepted."""
    base: bool = True
    """Trial 0 is the training with the values that it has without a search."""
    seed: int = 0
    """Of the values; what the trials have in common has `batches.seed`."""
    startup: int = 6
    """Optuna only: trials drawn at random before TPE begins."""
    grace: int = 1
    """asha and median: validations before a trial may be stopped."""
    reduction: int = 3
    """asha: one trial in this many goes on at each rung, and each rung is this many times as far as the one before."""
    perturb_every: int = 2
    """pbt: validations between the moments at which the worst go on from checkpoints of the best."""

    def __post_init__(self) -> None:
        for name, least in {"trials": 1, "startup": 1, "grace": 1, "reduction": 2, "perturb_every": 1}.items():
            if getattr(self, name) < least:
                raise UserError(f"search.{name} is {getattr(self, name)}: give {least} or more.")
        if self.scheduler == "pbt" and self.algorithm != "random":
            raise UserError(
                f"search.scheduler is pbt, which changes values itself, and search.algorithm is {self.algorithm}: "
                "set search.algorithm to random."
            )
        if self.scheduler == "pbt" and self.trials < 2:
            raise UserError("search.trials is 1: a population needs 2 or more.")
