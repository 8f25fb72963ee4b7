"""Who is stopped early: the published rule, repeatable, and nobody waits for ever."""

import random

import pytest
from tuning.simulated import trial

from faceverify.tuning.judging import SILENT_SECONDS, Halving
from faceverify.tuning.options import AshaOptions, SearchConfig


def test_one_at_a_time_it_is_rays_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.tune.schedulers import AsyncHyperBandScheduler
    from ray.tune.schedulers.async_hyperband import _Bracket

    assert AsyncHyperBandScheduler  # the module is the one that Ray's ASHA is made of
    rng, reduction, steps = random.Random(0), 3, 27
    bracket = _Bracket(1, steps, reduction, 0)
    config = SearchConfig(asha=AshaOptions(grace=1, reduction=reduction))
    judge = Halving(config)
    stopped = 0
    for number in range(60):
        judge.begun(number, 0)
        eers, level = [0.9], rng.random()
        for step in range(1, steps):
            eers.append(min(level + 0.2 * rng.random(), eers[-1]))  # what is compared never rises
            named = type("T", (), {"trial_id": str(number)})()
            theirs = bracket.on_result(named, step, -eers[-1])
            ours = judge.goes_on(number, trial(number, eers).validations)
            assert ours == (theirs == "CONTINUE"), (number, step)
            if not ours:
                stopped += 1
                break
        judge.ended(trial(number, eers))
    assert 30 < stopped < 60


def test_a_trial_waits_for_those_before_it_but_not_for_ever() -> None:
    now = 0.0
    judge = Halving(SearchConfig(), clock=lambda: now)
    for number in range(3):
        judge.begun(number, 0)
    second = trial(1, [0.5, 0.4]).validations
    assert judge.goes_on(1, second) is None
    assert judge.goes_on(0, trial(0, [0.5, 0.3]).validations) is True
    assert judge.goes_on(1, second) is False
    third = trial(2, [0.5, 0.2]).validations
    assert judge.goes_on(2, third) is True  # trial 1 has come to that rung
    deep = trial(2, [0.5, 0.2, 0.2, 0.2]).validations
    judge.ended(trial(1, [0.5, 0.4]))
    assert judge.goes_on(2, deep) is None  # trial 0 has not yet come to the next
    now = SILENT_SECONDS - 1
    judge.alive(0)
    now += SILENT_SECONDS - 1
    assert judge.goes_on(2, deep) is None
    now += 2
    assert judge.goes_on(2, deep) is True  # whoever says nothing is not waited for


def test_grace() -> None:
    judge = Halving(SearchConfig(asha=AshaOptions(grace=3)))
    judge.ended(trial(0, [0.5, 0.1, 0.1, 0.1]))
    judge.begun(1, 0)
    assert judge.goes_on(1, trial(1, [0.5, 0.4, 0.4]).validations) is True
    assert judge.goes_on(1, trial(1, [0.5, 0.4, 0.4, 0.4]).validations) is False
