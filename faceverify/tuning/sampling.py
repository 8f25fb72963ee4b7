"""The searched space and TPE as Optuna knows them.

TPE (Bergstra et al., NIPS 2011) draws from one stream of random numbers, so that a search that is resumed would go on
with other draws. Here each draw has a stream of its own: a trial's values depend on the seed, the trial's number and
the results known by then, and on nothing that was drawn before.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from faceverify.tuning.space import Dimension, Values

optuna.logging.set_verbosity(optuna.logging.WARNING)  # no line for every study and trial


class ResumableTpe(BaseSampler):
    """TPE whose every draw is seeded by the trial's number and the field; numbers are tidy (`Dimension.tidy`).

    Args:
        seed: of the search.
        startup: trials drawn at random first.
        dimensions: what is searched.
    """

    def __init__(self, seed: int, startup: int, dimensions: Sequence[Dimension]) -> None:
        self._seed, self._startup = seed, startup
        self._dimensions = {one.name: one for one in dimensions}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """No field is drawn together with others."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing, see `infer_relative_search_space`."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The value of one field for one trial."""
        sequence = np.random.SeedSequence([self._seed, trial.number, zlib.crc32(param_name.encode())])
        tpe = TPESampler(seed=int(sequence.generate_state(1)[0]), n_startup_trials=self._startup)
        drawn = tpe.sample_independent(study, trial, param_name, param_distribution)
        one = self._dimensions[param_name]
        return drawn if one.kind == "choice" else one.tidy(drawn)


@dataclass(frozen=True)
class Space:
    """Suggests the fields of a trial, one by one (Optuna's define-by-run).

    Args:
        dimensions: what is searched.
        base: values of trial 0 if they are outside the space: Optuna is told no value then, and learns nothing.
    """

    dimensions: tuple[Dimension, ...]
    base: Values | None = None

    def __call__(self, trial: Any) -> dict[str, Any]:
        """The keys (`Dimension.key`) of a trial that Optuna has begun."""
        if trial.number == 0 and self.base is not None:
            return {one.name: one.key(self.base[one.name]) for one in self.dimensions}
        return {one.name: _suggest(trial, one) for one in self.dimensions}


def _suggest(trial: Any, one: Dimension) -> Any:
    if one.kind == "choice":
        return trial.suggest_categorical(one.name, [one.key(value) for value in one.choices])
    if one.kind == "int_uniform":
        return trial.suggest_int(one.name, int(one.low), int(one.high))
    return trial.suggest_float(one.name, one.low, one.high, log=one.kind == "log_uniform")


def distributions(dimensions: Sequence[Dimension]) -> dict[str, BaseDistribution]:
    """The space as Optuna writes it."""

    def distribution(one: Dimension) -> BaseDistribution:
        if one.kind == "choice":
            return CategoricalDistribution([one.key(value) for value in one.choices])
        if one.kind == "int_uniform":
            return IntDistribution(int(one.low), int(one.high))
        return FloatDistribution(one.low, one.high, log=one.kind == "log_uniform")

    return {one.name: distribution(one) for one in dimensions}
