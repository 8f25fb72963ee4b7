"""What is searched: read, checked against the training's configuration, drawn from."""

import math
from typing import Any

import numpy as np
import pytest

from faceverify.config import replaced
from faceverify.errors import UserError
from faceverify.tuning.options import SearchConfig
from faceverify.tuning.space import Dimension, base_values, count_trials, parse, shown, values_of
from ray_jobs.train import TrainConfig
from ray_jobs.tune import FIXED

BASE = TrainConfig()


def one(name: str, given: Any) -> Dimension:
    return parse({name: given}, BASE, FIXED)[0]


def test_every_kind_is_read() -> None:
    space = {
        "optimiser": {"learning_rate": {"log_uniform": ["1e-6", 1e-3]}, "name": {"choice": ["adamw", "sgd"]}},
        "losses.adaptive_margin.margin": {"uniform": [0, 0.6]},
        "batches.size": {"int_uniform": [8, 64]},
        "losses.weights": {"choice": [{"adaptive_margin": 1}, {"contrastive": 1, "circle": 0.5}]},
    }
    found = {dimension.name: dimension for dimension in parse(space, BASE, FIXED)}
    assert list(found)[:2] == ["optimiser.learning_rate", "optimiser.name"]
    rate = found["optimiser.learning_rate"]
    assert (rate.kind, rate.low, rate.high) == ("log_uniform", 1e-6, 1e-3)
    assert found["losses.weights"].choices[1]["contrastive"] == 1.0
    for seed in range(20):
        values = {name: d.value(d.draw(np.random.default_rng(seed))) for name, d in found.items()}
        config = replaced(BASE, values, "trial")
        assert 1e-6 <= config.optimiser.learning_rate <= 1e-3 and 8 <= config.batches.size <= 64
        assert all(found[name].holds(value) for name, value in values.items())
    assert base_values(list(found.values()), BASE)["optimiser.name"] == "adamw"


def test_draws_are_even() -> None:
    rng = np.random.default_rng(0)
    rate = one("optimiser.learning_rate", {"log_uniform": [1e-6, 1e-2]})
    rates = [rate.draw(rng) for _ in range(2000)]
    assert np.histogram(np.log10(rates), 4, (-6, -2))[0] == pytest.approx(500, abs=90)
    size = one("batches.size", {"int_uniform": [1, 4]})
    sizes = [size.draw(rng) for _ in range(2000)]
    assert set(sizes) == {1, 2, 3, 4} and min(map(sizes.count, (1, 2, 3, 4))) > 410


@pytest.mark.parametrize("given, middle", [({"log_uniform": [1e-6, 1e-2]}, 1e-4), ({"uniform": [0.0, 0.4]}, 0.2)])
def test_the_place_of_a_value(given: Any, middle: float) -> None:
    dimension = one("optimiser.learning_rate", given)
    assert [dimension.share(value) for value in (dimension.low, middle, dimension.high)] == pytest.approx([0, 0.5, 1])
    assert one("optimiser.name", {"choice": ["adamw", "sgd"]}).share("rmsprop") is None


def test_values_are_tidy_within_the_bounds_and_the_base_is_left_as_it_is() -> None:
    rate = one("optimiser.learning_rate", {"uniform": [0.1234564, 0.5]})
    weights = one("losses.weights", {"choice": [{"adaptive_margin": 1}, {"contrastive": 1}]})
    space = (rate, weights)
    base = {rate.name: 0.01234567891, weights.name: {"circle": 1.0}}  # outside
    assert values_of({one.name: one.key(base[one.name]) for one in space}, space, base) == base
    keys = {rate.name: 0.12345641, weights.name: weights.key(weights.choices[1])}
    assert values_of(keys, space, base) == {rate.name: 0.1234564, weights.name: weights.choices[1]}
    assert values_of(keys | {rate.name: 0.33333333}, space, base)[rate.name] == 0.333333


def test_how_many_trials() -> None:
    rate = one("optimiser.learning_rate", {"uniform": [0, 1]})
    name, bn = one("optimiser.name", {"choice": ["adamw", "sgd"]}), one("network.bn", {"choice": ["batch", "frozen"]})
    grid = SearchConfig(algorithm="grid", trials=99)
    outside, inside = {name.name: "rmsprop", bn.name: "batch"}, {name.name: "sgd", bn.name: "batch"}
    assert (count_trials(grid, (name, bn), outside), count_trials(grid, (name, bn), inside)) == (5, 4)
    assert count_trials(SearchConfig(trials=99), (rate,), {rate.name: 0.5}) == 99
    with pytest.raises(UserError, match=r"grid, and space\.optimiser\.learning_rate is a range"):
        count_trials(grid, (rate,), {rate.name: 0.5})
    with pytest.raises(UserError, match=r"space\.optimiser\.name: search\.scheduler is pbt"):
        count_trials(SearchConfig(algorithm="random", scheduler="pbt"), (name,), inside)


@pytest.mark.parametrize(
    "name, given, words",
    [
        ("optimiser.learning_rat", {"uniform": [0, 1]}, ["optimiser.learning_rat", "did you mean", "learning_rate"]),
        ("optimiser.learning_rate", {"log_uniform": [0, 1]}, ["log_uniform begins at 0"]),
        ("optimiser.learning_rate", {"uniform": [1, 0]}, ["lower number first"]),
        ("optimiser.learning_rate", {"uniform": [-1, 1]}, ["learning_rate is -1.0", "give 0 or more"]),
        ("optimiser.learning_rate", {"uniform": ["low", 1]}, ["'low' is not a number"]),
        ("optimiser.learning_rate", {"uniform": [0, math.inf]}, ["not a finite number"]),
        ("optimiser.learning_rate", {"uniform": [1]}, ["give two numbers"]),
        ("optimiser.learning_rate", {"int_uniform": [0, 1]}, ["give uniform or log_uniform"]),
        ("optimiser.learning_rate", {"normal": [0, 1]}, ["{uniform: [low, high]}"]),
        ("optimiser.learning_rate", [0, 1], ["{uniform: [low, high]}"]),
        ("optimiser.name", {"choice": ["adamw", "adam"]}, ["optimiser.name", "adam"]),
        ("optimiser.name", {"choice": ["adamw"]}, ["two or more different"]),
        ("optimiser.name", {"uniform": [0, 1]}, ["not a number", "choice"]),
        ("batches.size", {"uniform": [1, 8]}, ["the field is whole", "int_uniform"]),
        ("batches.size", {"int_uniform": [0.5, 8]}, ["whole numbers"]),
        ("batches.size", {"int_uniform": [0, 8]}, ["batches.size is 0"]),
        ("optimiser", {"choice": [1, 2]}, ["group of fields"]),
        ("validation.every", {"int_uniform": [1, 8]}, ["judged alike"]),
        ("faces", {"choice": ["a", "b"]}, ["judged alike"]),
        ("workers", {"int_uniform": [1, 2]}, ["judged alike"]),
    ],
)
def test_mistakes_name_the_field(name: str, given: Any, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        one(name, given)
    assert f"space.{name}" in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_space_of_nothing_and_a_field_twice() -> None:
    with pytest.raises(UserError, match="space is empty"):
        parse({}, BASE, FIXED)
    twice = {
        "losses.weights": {"choice": [{"circle": 1}, {"contrastive": 1}]},
        "losses.weights.circle": {"uniform": [0, 1]},
    }
    with pytest.raises(UserError, match=r"losses\.weights\.circle.*twice"):
        parse(twice, BASE, FIXED)


def test_values_as_people_read_them() -> None:
    assert shown(1.23456e-5) == "1.235e-05"
    assert shown({"adaptive_margin": 1.0, "circle": 0.0}) == "adaptive_margin 1"
    assert (shown("sgd"), shown(True), shown(8)) == ("sgd", "true", "8")
