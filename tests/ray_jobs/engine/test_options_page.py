"""The page of options is that of the option classes: all of them, each with its default and its meaning."""

import dataclasses
import importlib
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from faceverify.config import JobConfig
from ray_jobs.__main__ import JOBS as PROGRAMS
from ray_jobs.engine import options_page
from ray_jobs.engine.options_page import JOBS, page
from ray_jobs.engine.quick_help import options_class

ROOT = Path(__file__).parents[3]
SHOWN = (ROOT / "docs" / "options.md").read_text()


def test_the_page_is_up_to_date() -> None:
    assert page() == SHOWN, "run `make options`"


def test_every_job_is_on_it() -> None:
    assert set(JOBS) == {job for job in PROGRAMS if options_class(f"ray_jobs.{job}")} - {"demo"}


def fields_of(kind: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and default of every option, those of other jobs' sections left to their jobs."""
    default, hints = kind(), typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        inner, name = hints[field.name], f"{prefix}{field.name}"
        if not dataclasses.is_dataclass(inner):
            yield name, getattr(default, field.name)
        elif not issubclass(inner, JobConfig):
            yield from fields_of(inner, f"{name}.")


@pytest.mark.parametrize("job", JOBS)
def test_it_has_every_option_with_its_default_and_meaning(job: str) -> None:
    rows = re.findall(r"^\| `([^`]+)` \| (?:`([^`]+)`)? ?\| ([^|]+) \| ((?:\\\||[^|])+) \|$", SHOWN, re.MULTILINE)
    shown = {(name, default) for name, default, _, meaning in rows if len(meaning) > 4}
    found = getattr(importlib.import_module(f"ray_jobs.{job}"), str(options_class(f"ray_jobs.{job}")))
    for name, default in fields_of(found):
        assert (name, options_page._as_yaml(default)) in shown, name


def test_its_links_lead_somewhere() -> None:
    anchors = {options_page._anchor(title) for title in re.findall(r"^#+ (.*)$", SHOWN, re.MULTILINE)}
    links = re.findall(r"\]\(#([^)]+)\)", SHOWN)
    assert len(links) > 50 and set(links) <= anchors


def test_what_a_value_may_be() -> None:
    @dataclasses.dataclass
    class Some:
        """Some options."""

        one: typing.Literal["a", "b"] = "a"
        """Either."""
        share: float | None = None
        """Of all | of few."""

    text = options_page._section("some", Some)
    assert "| `one` | `a` | `a`, `b` | Either. |" in text
    assert "| `share` | `null` | number or null | Of all \\| of few. |" in text
