"""Attacks and their strengths: order, names, and what is refused."""

import pytest

from faceverify.attacks.options import Strengths, conditions_of
from faceverify.errors import UserError


def test_the_weakest_strength_comes_first_whatever_the_order() -> None:
    strengths = Strengths(noise=(16, 4), jpeg=(5, 50), low_resolution=(20, 56), fgsm=(8, 1))
    found = conditions_of(("fgsm", "low_resolution", "jpeg", "noise"), strengths)
    names = ["noise_4", "noise_16", "jpeg_50", "jpeg_5", "low_resolution_56", "low_resolution_20", "fgsm_1", "fgsm_8"]
    assert [condition.name for condition in found] == names
    assert [condition.on_gradients for condition in found] == [False] * 6 + [True] * 2


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"noise": (4, -1)}, "strengths.noise holds -1"),
        ({"noise": (0,)}, "from above 0 to 255"),
        ({"jpeg": (101,)}, "strengths.jpeg holds 101: give numbers from 1 to 100"),
        ({"low_resolution": (2,)}, "from 4 to 112"),
        ({"pgd": (300,)}, "strengths.pgd holds 300: give numbers from 1 to 255"),
        ({"fgsm": (2, 2)}, "strengths.fgsm holds a number twice"),
        ({"pgd_steps": 0}, "strengths.pgd_steps is 0"),
    ],
)
def test_what_is_no_strength_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Strengths(**values)


def test_an_attack_needs_a_strength_and_a_job_an_attack() -> None:
    with pytest.raises(UserError, match=r"strengths\.blur is empty.*leave blur out"):
        conditions_of(("blur",), Strengths(blur=()))
    with pytest.raises(UserError, match=r"attacks is empty: give one or more of noise, blur"):
        conditions_of((), Strengths())
