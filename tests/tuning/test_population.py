"""Population-based training: who goes on from whom, the checkpoints that are handed over, generations in step."""

import json
from pathlib import Path
from typing import Any

import pytest
from tuning.simulated import trial

from faceverify.errors import UserError
from faceverify.storage import Location
from faceverify.tuning import conducting, judging, population
from faceverify.tuning.options import PopulationOptions, SearchConfig
from faceverify.tuning.space import Dimension
from faceverify.tuning.trials import Trial, folder_of, read, write

RATE = Dimension("optimiser.learning_rate", "log_uniform", 1e-5, 1e-1)
CONFIG = SearchConfig(algorithm="random", scheduler="pbt", trials=4, pbt=PopulationOptions(every=2, share=0.25))
BASE = {RATE.name: 1e-3}


def member(out: Location, task: conducting.Task, eer: float, state: str = "waiting", every: int = 2) -> Trial:
    """A member at the end of a generation, with the checkpoint that it left."""
    step = every * (task.generation + 1)
    folder = folder_of(out, task.number)
    lines: list[dict[str, Any]] = [{"step": 0, "eer": 0.5}, {"step": step, "eer": eer}]
    place = folder / "checkpoints" / f"step-{step:08d}"
    for name in ("model.safetensors", "state.pt"):
        (place / name).write_bytes(f"{name} of {task.number}".encode())
    (place / "done.json").write_bytes(json.dumps(lines[-1]).encode())
    (folder / "metrics.jsonl").write_bytes("".join(json.dumps(line) + "\n" for line in lines).encode())
    made = trial(task.number, [], values=task.values, state=state, validations=lines, best_step=step)
    made = Trial(**{**made.__dict__, "generation": task.generation})
    write(out, made)
    return made


def weights(out: Location, number: int, step: int = 2) -> str:
    return (folder_of(out, number) / "checkpoints" / f"step-{step:08d}" / "state.pt").read_bytes().decode()


def generation(search: conducting.Search, out: Location, eers: list[float], state: str = "waiting") -> list[Any]:
    tasks = [search.next() for _ in eers]
    assert search.next() is None
    for task, eer in zip(tasks, eers, strict=True):
        assert task is not None
        search.ended(member(out, task, eer, state))
    return tasks


def test_the_worst_goes_on_from_the_best(tmp_path: Path) -> None:
    out = Location(str(tmp_path))
    search = conducting.build(CONFIG, (RATE,), BASE, [], out)
    first = generation(search, out, [0.3, 0.1, 0.4, 0.2])
    assert first[0].values == BASE
    second = generation(search, out, [0.3, 0.1, 0.05, 0.2], "finished")
    assert [task.generation for task in second] == [1] * 4
    assert [task.values for task in second[:2]] == [task.values for task in first[:2]]
    assert second[2].values != first[1].values and 1e-5 <= second[2].values[RATE.name] <= 1e-1
    assert [weights(out, number) for number in range(4)] == [f"state.pt of {n}" for n in (0, 1, 1, 3)]
    turn = population.read_turns(out)[0]
    assert [turn[number].parent for number in range(4)] == [0, 1, 1, 3]
    assert search.over


def test_a_heir_shows_its_parents_validation(tmp_path: Path) -> None:
    out = Location(str(tmp_path))
    search = conducting.build(CONFIG, (RATE,), BASE, [], out)
    generation(search, out, [0.3, 0.1, 0.4, 0.2])
    search.next()
    lines = [json.loads(line) for line in (folder_of(out, 2) / "metrics.jsonl").read_bytes().splitlines()]
    assert [line["eer"] for line in lines] == [0.5, 0.1]


def test_a_member_that_diverged_is_replaced(tmp_path: Path) -> None:
    out = Location(str(tmp_path))
    search = conducting.build(CONFIG, (RATE,), BASE, [], out)
    tasks = [search.next() for _ in range(4)]
    states = ("waiting", "diverged", "waiting", "diverged")
    for task, eer, state in zip(tasks, (0.3, 0.01, 0.2, 0.01), states, strict=True):
        assert task is not None
        search.ended(member(out, task, eer, state))
    assert search.next() is not None
    assert [heir.parent for heir in population.read_turns(out)[0].values()] == [0, 2, 2, 2]


def test_a_population_taken_up_again(tmp_path: Path) -> None:
    whole, cut = Location(str(tmp_path / "whole")), Location(str(tmp_path / "cut"))
    search = conducting.build(CONFIG, (RATE,), BASE, [], whole)
    generation(search, whole, [0.3, 0.1, 0.4, 0.2])
    want = [search.next() for _ in range(4)]

    search = conducting.build(CONFIG, (RATE,), BASE, [], cut)
    tasks = [search.next() for _ in range(4)]
    for task, eer in list(zip(tasks, [0.3, 0.1, 0.4, 0.2], strict=True))[:3]:
        assert task is not None
        search.ended(member(cut, task, eer))
    again = conducting.build(CONFIG, (RATE,), BASE, read(cut), cut)
    last = again.next()
    assert last == tasks[3] and last is not None and again.next() is None
    again.ended(member(cut, last, 0.2))
    assert [again.next() for _ in range(2)] == want[:2]  # the turn has been made
    once_more = conducting.build(CONFIG, (RATE,), BASE, read(cut), cut)
    assert [once_more.next() for _ in range(4)] == want


def test_a_generation_ends_after_its_steps() -> None:
    judge = judging.build(CONFIG, 5)
    judge.begun(0, 1)
    lines = [{"step": 0, "eer": 0.5}, {"step": 15, "eer": 0.4}]
    assert judge.goes_on(0, lines) is True
    assert judge.goes_on(0, [*lines, {"step": 20, "eer": 0.3}]) is False


@pytest.mark.parametrize(
    "name, choices",
    [
        ("batches.size", ()),
        ("optimiser.name", ("adamw", "sgd")),
        ("losses.weights.arcface", ()),
        ("network.dim", (8, 16)),
    ],
)
def test_what_cannot_change_on_the_way(name: str, choices: tuple[Any, ...]) -> None:
    with pytest.raises(UserError, match=f"space.{name}.*pbt"):
        population.check([Dimension(name, "choice" if choices else "uniform", 0, 1, choices)])
    with pytest.raises(UserError, match="algorithm is optuna"):
        SearchConfig(scheduler="pbt")
