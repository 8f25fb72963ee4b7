"""What runs next.

The values and the order depend on the seed and on results, never on who was quicker; so a search that is taken up again
asks for the same trials, and skips those that have ended.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from faceverify.storage import Location
from faceverify.tuning import population, proposing
from faceverify.tuning.options import SearchConfig
from faceverify.tuning.space import Dimension, Values
from faceverify.tuning.trials import Trial


@dataclass(frozen=True)
class Task:
    """A trial to be run; of a population, for one generation."""

    number: int
    values: Values
    generation: int = 0


class Search(Protocol):
    """Gives out trials and hears what came of them."""

    total: int

    @property
    def over(self) -> bool:
        """Whether nothing more will be given out."""
        ...

    def next(self) -> Task | None:
        """The next trial; None while it depends on trials that are still running, or when all is over."""
        ...

    def ended(self, trial: Trial) -> None:
        """What came of a trial."""
        ...


def build(
    config: SearchConfig, dimensions: Sequence[Dimension], base: Values, ended: Sequence[Trial], out: Location
) -> Search:
    """The search that `config` describes.

    Args:
        config: of the search.
        dimensions: what is searched.
        base: the values without a search.
        ended: trials of an earlier run.
        out: folder of the run.

    Raises:
        UserError: the space does not suit the algorithm or the scheduler.
    """
    if config.scheduler == "pbt":
        return Population(config, dimensions, base, ended, out)
    return Sequential(config, dimensions, base, ended)


class Sequential:
    """Trials one after another, as many at once as there is room for; see `build`."""

    def __init__(
        self, config: SearchConfig, dimensions: Sequence[Dimension], base: Values, ended: Sequence[Trial]
    ) -> None:
        on_grid = config.algorithm == "grid" and all(one.holds(base[one.name]) for one in dimensions)
        self._base = base if config.base and not on_grid else None
        first = int(self._base is not None)
        self._proposer = proposing.build(config, dimensions, first)
        self.total = first + len(self._proposer) if isinstance(self._proposer, proposing.Grid) else config.trials
        self._learns = config.algorithm == "optuna"
        self._window = config.window
        self._ended = {trial.number: trial for trial in ended}
        self._next = self._told = 0

    @property
    def over(self) -> bool:
        """See `Search`."""
        return self._next >= self.total

    def next(self) -> Task | None:
        """See `Search`."""
        while not self.over:
            if self._learns and not self._tell():
                return None
            number = self._next
            is_base = number == 0 and self._base is not None
            values = self._base if is_base and self._base is not None else self._proposer.propose(number)
            self._next += 1
            if number not in self._ended:
                return Task(number, values)
        return None

    def ended(self, trial: Trial) -> None:
        """See `Search`."""
        self._ended[trial.number] = trial

    def _tell(self) -> bool:
        """Tell the proposer exactly what it may know for the next trial; False if that is not known yet."""
        while self._told <= self._next - self._window:
            if self._told not in self._ended:
                return False
            self._proposer.tell(self._ended[self._told])
            self._told += 1
        return True


class Population:
    """All members for one generation, then a turn, and so on until their trainings are over; see `build`."""

    def __init__(
        self,
        config: SearchConfig,
        dimensions: Sequence[Dimension],
        base: Values,
        ended: Sequence[Trial],
        out: Location,
    ) -> None:
        population.check(dimensions)
        self._config, self._dimensions, self._out = config, dimensions, out
        self.total = config.trials
        chance = proposing.Chance(config.seed, dimensions)
        numbers = range(config.trials)
        self._values = {n: base if config.base and n == 0 else chance.propose(n) for n in numbers}
        self._generation = 0
        for turn in population.read_turns(out):
            self._values = {number: heir.values for number, heir in turn.items()}
            self._generation += 1
        self._ended = {trial.number: trial for trial in ended if trial.generation == self._generation}
        self._given = set(self._ended)

    @property
    def over(self) -> bool:
        """See `Search`."""
        return len(self._ended) == self.total and not any(t.state == "waiting" for t in self._ended.values())

    def next(self) -> Task | None:
        """See `Search`."""
        if len(self._ended) == self.total and not self.over:
            self._turn()
        number = next((one for one in range(self.total) if one not in self._given), None)
        if number is None:
            return None
        self._given.add(number)
        return Task(number, self._values[number], self._generation)

    def ended(self, trial: Trial) -> None:
        """See `Search`."""
        self._ended[trial.number] = trial

    def _turn(self) -> None:
        members = [self._ended[number] for number in range(self.total)]
        heirs = population.turn(self._config, self._dimensions, members, self._generation)
        population.hand_over(self._out, heirs, self._generation)
        self._values = {number: heir.values for number, heir in heirs.items()}
        self._generation += 1
        self._ended, self._given = {}, set()
