"""The search as a whole, on trainings that take no time: repeatable, never stuck, taken up again where it was."""

import pytest
from tuning.simulated import BASE, SPACE, line, search, trial

from faceverify.errors import UserError
from faceverify.storage import Location
from faceverify.tuning import conducting
from faceverify.tuning.options import SearchConfig
from faceverify.tuning.space import Dimension
from faceverify.tuning.trials import Trial, ranked

OUT = Location("/nowhere")


def facts(trials: list[Trial]) -> list[tuple[object, ...]]:
    return [(one.number, one.values, one.state, len(one.validations)) for one in trials]


@pytest.mark.parametrize("algorithm", ["random", "optuna"])
@pytest.mark.parametrize("scheduler", ["none", "asha"])
def test_speed_decides_nothing(algorithm: str, scheduler: str) -> None:
    config = SearchConfig(algorithm=algorithm, scheduler=scheduler, trials=16, seed=3)  # type: ignore[arg-type]
    alone = facts(search(config, OUT, 1, 0))
    assert all(facts(search(config, OUT, at_once, chance)) == alone for at_once, chance in ((2, 1), (2, 2), (4, 3)))
    other = SearchConfig(algorithm=algorithm, scheduler=scheduler, trials=16, seed=4)  # type: ignore[arg-type]
    assert facts(search(other, OUT, 1, 0)) != alone


@pytest.mark.parametrize("algorithm", ["random", "optuna"])
def test_a_search_taken_up_again_is_the_same_and_repeats_no_trial(algorithm: str) -> None:
    config = SearchConfig(algorithm=algorithm, trials=16, seed=3)  # type: ignore[arg-type]
    whole = facts(search(config, OUT, 3, 0))
    for stop_after in (1, 5, 11, 16):
        before = search(config, OUT, 3, stop_after, stop_after=stop_after)
        after = search(config, OUT, 3, 7, ended=before)
        assert facts(after) == whole
        assert all(one in after for one in before)


def test_asha_stops_some_and_finds_as_good_a_trial() -> None:
    every = SearchConfig(algorithm="random", scheduler="none", trials=30)
    halved = SearchConfig(algorithm="random", scheduler="asha", trials=30)
    full, short = search(every, OUT, 2, 0), search(halved, OUT, 2, 0)
    assert ranked(short, "eer")[0].number == ranked(full, "eer")[0].number
    work = [sum(len(one.validations) for one in trials) for trials in (full, short)]
    assert work[1] < 0.6 * work[0]
    assert {one.state for one in short} == {"finished", "pruned", "diverged"}


def test_tpe_learns() -> None:
    def reached(algorithm: str, seed: int) -> float:
        config = SearchConfig(algorithm=algorithm, scheduler="none", trials=40, base=False, seed=seed)  # type: ignore[arg-type]
        late = search(config, OUT, 2, 0)[20:]
        return sum(abs(one.values["x"] - 0.3) for one in late) / len(late)

    assert sum(reached("optuna", seed) for seed in range(4)) < 0.7 * sum(reached("random", seed) for seed in range(4))


def test_a_grid_is_every_combination_and_the_base() -> None:
    space = (Dimension("x", "choice", 0, 2, (0.1, 0.2, 0.3)), Dimension("y", "choice", 0, 1, (0.5, 0.7)))
    config = SearchConfig(algorithm="grid", scheduler="none")
    grid = conducting.build(config, space, BASE, [], OUT)
    tasks = [grid.next() for _ in range(grid.total)]
    assert grid.over and grid.next() is None
    values = [(task.values["x"], task.values["y"]) for task in tasks if task]
    assert values == [(0.9, 0.5), *((x, y) for x in (0.1, 0.2, 0.3) for y in (0.5, 0.7))]
    assert conducting.build(config, space, {"x": 0.1, "y": 0.5}, [], OUT).total == 6  # the base is among them
    with pytest.raises(UserError, match=r"grid, and space\.x is a range"):
        conducting.build(config, SPACE, BASE, [], OUT)


def test_the_window_is_what_tpe_does_not_know_yet() -> None:
    config = SearchConfig(algorithm="optuna", trials=10, window=2)
    conductor = conducting.build(config, SPACE, BASE, [], OUT)
    assert [task.number for task in (conductor.next(), conductor.next()) if task] == [0, 1]
    assert conductor.next() is None and not conductor.over
    conductor.ended(trial(1, [0.5, 0.4], values={"x": 0.5, "y": 0.5}))
    assert conductor.next() is None
    conductor.ended(trial(0, [0.5, 0.4], values=BASE))
    assert [task.number for task in (conductor.next(), conductor.next()) if task] == [2, 3]


def test_the_simulation_is_one() -> None:
    assert (
        line({"x": 0.3, "y": 1.0}, 9)["eer"]
        < line({"x": 0.3, "y": 1.0}, 2)["eer"]
        < line({"x": 0.9, "y": 1.0}, 2)["eer"]
    )
