"""Ray Tune's own searchers and schedulers, set up for a search."""

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from ray import tune
from ray.tune.experiment import Trial as TuneTrial

from faceverify.tuning.options import SearchConfig
from faceverify.tuning.space import Dimension, Values

SCORE, TIME = "score", "validations"  # what is minimised, and how far a trial has come, in what trials report
RUNGS = 20  # of ASHA: more than any trial reaches


def build_tuner(
    trainable: Any,
    search: SearchConfig,
    dimensions: tuple[Dimension, ...],
    base: Values | None,
    total: int,
    at_once: int,
    run_config: tune.RunConfig,
    started: Sequence[Values | None] = (),
) -> tune.Tuner:
    """Ray's searcher and scheduler for a search, around a trainable that reports SCORE and TIME.

    Args:
        trainable: with the resources that a trial needs.
        search: options.
        dimensions: what is searched.
        base: values of trial 0, if it has its own.
        total: trials.
        at_once: trials at the same time, at most; of a population as many as have the resources.
        run_config: storage, callbacks.
        started: values of the trials that an earlier run has started, by number.
    """
    random.seed(search.seed)  # of Tune's population-based training
    searcher, first = build_searcher(search, dimensions, base, started, at_once)
    on_grid = search.algorithm == "grid"
    space = None if search.algorithm == "optuna" else {one.name: _domain(one, on_grid) for one in dimensions}
    return tune.Tuner(
        trainable,
        param_space=space,
        tune_config=tune.TuneConfig(
            metric=SCORE,
            mode="min",
            search_alg=searcher,
            scheduler=build_scheduler(search, dimensions),
            num_samples=1 + (base is not None) if on_grid else total,  # a sample is a whole grid
            reuse_actors=True,  # most of a trial's start is loading PyTorch
            trial_name_creator=trial_names(first),
            trial_dirname_creator=trial_names(first),
        ),
        run_config=run_config,
    )


def trial_names(first: int) -> Callable[[TuneTrial], str]:
    """Names a trial by its number from 0, as its folder is called; Tune's tags count from `first`.

    What names trials is kept in Tune's files: a nested function whole, so that they can be read without this package.
    """

    def name(trial: TuneTrial) -> str:
        return f"{int(trial.experiment_tag.partition('_')[0]) - first:04d}"

    return name


def build_searcher(
    search: SearchConfig,
    dimensions: tuple[Dimension, ...],
    base: Values | None,
    started: Sequence[Values | None],
    at_once: int,
) -> tuple[Any, int]:
    """Ray's searcher that `search.algorithm` names, and what its trials' tags count from.

    Args:
        search: options.
        dimensions: what is searched.
        base: values of trial 0, if it has its own.
        started: values of the trials that an earlier run has started, by number.
        at_once: trials at the same time, at most.
    """
    keys = lambda values: {one.name: one.key(values[one.name]) for one in dimensions} if values else {}  # noqa: E731
    if search.algorithm != "optuna":
        from ray.tune.search.basic_variant import BasicVariantGenerator

        population = search.scheduler == "pbt"  # all of it takes turns, and its values have changed meanwhile
        points = [keys(values) for values in started] if population else []
        points = points or ([keys(base)] if base is not None else [])
        limit = 0 if population else at_once
        return BasicVariantGenerator(points_to_evaluate=points, max_concurrent=limit, random_state=search.seed), 0
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.optuna import OptunaSearch

    from faceverify.tuning.sampling import ResumableTpe, Space

    inside = base is not None and all(one.holds(base[one.name]) for one in dimensions)
    points = [keys(values) for values in started]
    if base is not None:
        points[:1] = [keys(base) if inside else {}]
    searcher = OptunaSearch(
        Space(dimensions, None if inside else base),
        metric=SCORE,
        mode="min",
        points_to_evaluate=points,
        sampler=ResumableTpe(search.seed, search.startup, dimensions),
    )
    return ConcurrencyLimiter(searcher, at_once), 1


def build_scheduler(search: SearchConfig, dimensions: Sequence[Dimension]) -> Any:
    """Ray's scheduler that `search.scheduler` names."""
    from ray.tune import schedulers

    match search.scheduler:
        case "asha":
            longest = search.grace * search.reduction**RUNGS
            return schedulers.ASHAScheduler(
                time_attr=TIME, max_t=longest, grace_period=search.grace, reduction_factor=search.reduction
            )
        case "median":
            never = float("inf")  # a trial that cannot be judged yet is not paused for others
            return schedulers.MedianStoppingRule(time_attr=TIME, grace_period=search.grace, min_time_slice=never)
        case "pbt":
            rng = np.random.default_rng(search.seed)
            return schedulers.PopulationBasedTraining(
                time_attr=TIME,
                perturbation_interval=search.perturb_every,
                hyperparam_mutations={one.name: _mutation(one, rng) for one in dimensions},
                custom_explore_fn=partial(_tidy, dimensions=tuple(dimensions)),
            )
    return schedulers.FIFOScheduler()


def _mutation(one: Dimension, rng: np.random.Generator) -> Any:
    return list(one.choices) if one.kind == "choice" else partial(one.draw, rng)


def _tidy(config: dict[str, Any], dimensions: tuple[Dimension, ...]) -> dict[str, Any]:
    """Factors lead out of the bounds."""
    return {**config, **{one.name: one.value(config[one.name]) for one in dimensions}}


def _domain(one: Dimension, on_grid: bool) -> Any:
    """A field as Tune writes it."""
    keys = [one.key(value) for value in one.choices]
    match one.kind:
        case "choice":
            return tune.grid_search(keys) if on_grid else tune.choice(keys)
        case "int_uniform":
            return tune.randint(int(one.low), int(one.high) + 1)
        case "log_uniform":
            return tune.loguniform(one.low, one.high)
    return tune.uniform(one.low, one.high)
