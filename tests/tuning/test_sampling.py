"""TPE: learns, and a search that is resumed goes on with the values of an undisturbed one."""

import warnings
from typing import Any

import optuna
import pytest
from tuning.simulated import SPACE, STEPS, line

from faceverify.tuning.sampling import ResumableTpe, Space
from faceverify.tuning.space import Dimension, Values

TRIALS = 16


def search(seed: int = 3, known: tuple[Values, ...] = (), startup: int = 5, trials: int = TRIALS) -> list[Values]:
    """The values of all trials; of those of an earlier run they are `known`."""
    study = optuna.create_study(sampler=ResumableTpe(seed, startup, SPACE), direction="minimize")
    for values in known:
        study.enqueue_trial(values)
    found = []
    for _ in range(trials):
        asked = study.ask()
        found.append(Space(SPACE)(asked))
        study.tell(asked, line(found[-1], STEPS)["eer"])
    return found


def test_a_resumed_search_goes_on_with_the_values_of_an_undisturbed_one() -> None:
    whole = search()
    assert all(search(known=tuple(whole[:count])) == whole for count in (1, 4, 6, 15))
    assert len({tuple(values.values()) for values in whole}) == TRIALS
    assert search(seed=4) != whole


def test_tpe_learns() -> None:
    def reached(seed: int, startup: int) -> float:
        late = search(seed, startup=startup, trials=40)[20:]
        return sum(abs(values["x"] - 0.3) for values in late) / len(late)

    assert sum(reached(seed, 6) for seed in range(4)) < 0.7 * sum(reached(seed, 10**6) for seed in range(4))


def test_values_are_those_of_best_yaml() -> None:
    for values in search():
        assert all(one.value(values[one.name]) == values[one.name] and one.holds(values[one.name]) for one in SPACE)


@pytest.mark.parametrize(
    "one, outside",
    [
        (Dimension("rate", "log_uniform", 1e-6, 1e-2), 0.0),
        (Dimension("name", "choice", 0, 1, ("adamw", "sgd")), "rmsprop"),
        (Dimension("size", "int_uniform", 8, 64), 4),
        (Dimension("weights", "choice", 0, 1, ({"circle": 1.0}, {"triplet": 1.0})), {"contrastive": 1.0}),
    ],
)
def test_of_a_base_outside_the_space_optuna_learns_nothing(one: Dimension, outside: Any) -> None:
    study = optuna.create_study(sampler=ResumableTpe(0, 1, (one,)), direction="minimize")
    space = Space((one,), {one.name: outside})
    asked = study.ask()
    assert space(asked) == {one.name: one.key(outside)} and asked.params == {}
    study.tell(asked, 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(4):
            asked = study.ask()
            assert one.holds(one.value(space(asked)[one.name]))
            study.tell(asked, 0.5)
