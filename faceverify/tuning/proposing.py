"""Who chooses the values of a trial: chance, every combination in turn, or TPE.

Trial 0 has the values of the training as it is, where `search.base` says so; nobody has to propose it.
"""

import itertools
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from faceverify.errors import UserError
from faceverify.tuning.options import SearchConfig
from faceverify.tuning.space import Dimension, Values
from faceverify.tuning.trials import Trial

STEPS_ON_GRID = 10_000  # more combinations than anybody trains


class Proposer(Protocol):
    """Gives values, in the order of the trials, which decides them together with the seed and what it was told."""

    def propose(self, number: int) -> Values:
        """The values of trial `number`."""
        ...

    def tell(self, trial: Trial) -> None:
        """What a trial came to; in the order of the trials."""
        ...


def build(config: SearchConfig, dimensions: Sequence[Dimension], first: int) -> Proposer:
    """By name; `first` is the number of the first trial whose values are asked for.

    Raises:
        UserError: a grid of ranges.
    """
    match config.algorithm:
        case "grid":
            return Grid(dimensions, first)
        case "optuna":
            return Tpe(config, dimensions)
    return Chance(config.seed, dimensions)


class Chance:
    """Values at random; those of a trial depend on the seed and its number alone."""

    def __init__(self, seed: int, dimensions: Sequence[Dimension]) -> None:
        self._seed, self._dimensions = seed, dimensions

    def propose(self, number: int) -> Values:
        """See `Proposer`."""
        rng = np.random.default_rng([self._seed, number])
        return {one.name: one.draw(rng) for one in self._dimensions}

    def tell(self, trial: Trial) -> None:
        """Nothing is learnt."""


class Grid:
    """Every combination, the last field changing fastest."""

    def __init__(self, dimensions: Sequence[Dimension], first: int) -> None:
        self._first = first
        ranges = [one.name for one in dimensions if one.kind != "choice"]
        if ranges:
            raise UserError(
                f"search.algorithm is grid, and space.{ranges[0]} is a range; give it as {{choice: [...]}}."
            )
        size = int(np.prod([len(one.choices) for one in dimensions]))
        if size > STEPS_ON_GRID:
            raise UserError(f"space has {size:,} combinations: leave out fields or values, or take algorithm optuna.")
        names = [one.name for one in dimensions]
        self._all = [dict(zip(names, one, strict=True)) for one in itertools.product(*(d.choices for d in dimensions))]

    def __len__(self) -> int:
        return len(self._all)

    def propose(self, number: int) -> Values:
        """See `Proposer`."""
        return self._all[number - self._first]

    def tell(self, trial: Trial) -> None:
        """Nothing is learnt."""


class Tpe:
    """Tree-structured Parzen estimator (Bergstra et al., NIPS 2011) as Optuna has it.

    Trials that were stopped early take part with how far they came, as Optuna ranks them; those that diverged with the
    worst value, so that their surroundings are avoided.
    """

    def __init__(self, config: SearchConfig, dimensions: Sequence[Dimension]) -> None:
        optuna = load_optuna()
        sampler = optuna.samplers.TPESampler(seed=config.seed, n_startup_trials=config.startup)
        self._study = optuna.create_study(sampler=sampler, direction="minimize")
        self._goal, self._dimensions = config.goal, dimensions
        self._spaces = distributions(dimensions)
        self._asked: dict[int, Any] = {}

    def propose(self, number: int) -> Values:
        """See `Proposer`."""
        self._asked[number] = asked = self._study.ask(self._spaces)
        return {one.name: one.at_key(asked.params[one.name]) for one in self._dimensions}

    def tell(self, trial: Trial) -> None:
        """See `Proposer`; a trial that was not proposed (the base) is told too, where it lies within the space."""
        import optuna

        states = optuna.trial.TrialState
        scores = trial.so_far(self._goal)
        if trial.number in self._asked:
            asked = self._asked.pop(trial.number)
            for place, score in enumerate(scores):
                asked.report(score, place)
            pruned = trial.state == "pruned" and scores
            self._study.tell(asked, None if pruned else trial.score(self._goal), states.PRUNED if pruned else None)
        elif all(one.holds(trial.values[one.name]) for one in self._dimensions):
            self._study.add_trial(finished(trial, self._dimensions, self._goal))


def load_optuna() -> Any:
    """The package, without its lines on every study and trial."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def distributions(dimensions: Sequence[Dimension]) -> dict[str, Any]:
    """The space as Optuna writes it; values of a list by their places."""
    import optuna

    def one(d: Dimension) -> Any:
        if d.kind == "choice":
            return optuna.distributions.CategoricalDistribution(tuple(range(len(d.choices))))
        if d.kind == "int_uniform":
            return optuna.distributions.IntDistribution(int(d.low), int(d.high))
        return optuna.distributions.FloatDistribution(d.low, d.high, log=d.kind == "log_uniform")

    return {d.name: one(d) for d in dimensions}


def finished(trial: Trial, dimensions: Sequence[Dimension], goal: str) -> Any:
    """A trial within the space as Optuna keeps finished ones."""
    import optuna

    return optuna.trial.create_trial(
        value=trial.score(goal),
        params={one.name: one.key(trial.values[one.name]) for one in dimensions},
        distributions=distributions(dimensions),
    )
