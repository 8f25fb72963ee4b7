"""What is said before work starts: a package that is missing, prompts that nobody takes, how long it will be."""

from dataclasses import replace

import pytest

from faceverify.errors import UserError
from faceverify.fakes import GENERATORS, requirements
from faceverify.fakes.requirements import prepared, slowness

SWAP, ARC = GENERATORS["landmark_swap"], GENERATORS["arc2face"]
INSTANT = replace(GENERATORS["instantid"], prepare="")


def test_a_package_that_is_missing_is_named_with_the_command_that_brings_it(monkeypatch):
    monkeypatch.setitem(requirements.EXTRAS, "fakes", ("numpy", "no_such_package", "nor_this"))
    with pytest.raises(UserError) as told:
        prepared([SWAP, ARC])
    assert "arc2face needs no_such_package and nor_this" in str(told.value)
    assert "pip install 'faceverify[fakes]'" in str(told.value)
    assert prepared([SWAP]) == (SWAP,), "who needs nothing is not asked"


def test_the_extra_is_that_of_the_project():
    import re
    import tomllib
    from pathlib import Path

    extras = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for extra, packages in requirements.EXTRAS.items():
        assert packages == tuple(re.split("[<>=]", line)[0] for line in extras[extra])
    assert {one.extra for one in GENERATORS.values()} - {""} <= requirements.EXTRAS.keys()


def test_prompts_go_to_those_who_take_them(monkeypatch):
    monkeypatch.setitem(requirements.EXTRAS, "fakes", ())
    swap, instant = prepared([SWAP, INSTANT], ("in a car",))
    assert (swap, instant.prompts) == (SWAP, ("in a car",))
    assert prepared([INSTANT])[0].prompts == INSTANT.prompts and len(INSTANT.prompts) > 5
    with pytest.raises(UserError, match="none of landmark_swap takes any"):
        prepared([SWAP], ("in a car",))
    with pytest.raises(UserError, match="prompts: one of them is empty"):
        prepared([INSTANT], ("in a car", " "))


def test_how_long_it_takes_is_said_of_those_that_take_long():
    lines = slowness([SWAP, replace(ARC, cpu_minutes=12), replace(INSTANT, cpu_minutes=270)], 3000, 4)
    assert lines == [
        "arc2face has no GPU here: a fake takes about 12 minutes on a CPU core, 1,000 on 4 cores about 2 days.",
        "instantid has no GPU here: a fake takes about 4 hours on a CPU core, 1,000 on 4 cores about 47 days.",
    ]
    assert slowness([replace(ARC, cpu_minutes=0.4)], 1, 1) == [
        "arc2face has no GPU here: a fake takes about 1 minute on a CPU core, 1 on 1 core about 1 minute."
    ]
