"""Jobs run one after the other, each into a folder of its own: what is finished is left alone, the rest is done.

    OUT/<step>/manifest.json   its presence means that the step is finished; the job itself goes on within a step
    OUT/pipeline.json          rows in and out, rejects and seconds of each finished step; which are to be made anew

Nothing is deleted here: a step that is made anew is run with `overwrite`, and its job knows what is its own.
"""

import contextlib
import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from faceverify.config import JobConfig
from faceverify.errors import UserError
from faceverify.inputs import run_manifest
from faceverify.run_folder import MANIFEST, WORK
from faceverify.storage import Location

NOTES = "pipeline.json"


@dataclass(frozen=True)
class Step:
    """One job of a chain.

    Args:
        name: of its output folder, below that of the chain.
        does: a few words for people.
        config: its configuration, asked for when the steps before it are finished; `out` and how to run are added.
        run: the job.
    """

    name: str
    does: str
    config: Callable[[], JobConfig]
    run: Callable[[Any], None]


@dataclass(frozen=True)
class StepFacts:
    """What a finished step did: counts as its manifest has them, seconds if the chain saw its end."""

    name: str
    rows_in: dict[str, int]
    rows_out: dict[str, int]
    rejects: dict[str, int]
    seconds: float | None


class Steps:
    """A chain of jobs below one folder.

    Args:
        out: the folder.
        steps: in their order.
        how: the chain's own configuration: `workers`, `max_failed` and `verbose` are those of every job.
    """

    def __init__(self, out: Location, steps: Sequence[Step], how: JobConfig) -> None:
        self.out, self.steps, self.how = out, steps, how

    def finished(self, step: Step) -> bool:
        """Whether the step's output is complete, and not to be made anew."""
        return (self.out / step.name / MANIFEST).is_file() and not self._is_anew(step)

    def begin_again(self, first: str) -> None:
        """Have a step and all that follow it made anew, by this run or, if it is killed, by the ones after it.

        Raises:
            UserError: there is no such step.
        """
        names = [step.name for step in self.steps]
        if first not in names:
            raise UserError(f"redo is '{first}', which is no step; the steps are {', '.join(names)}.")
        self._write(self._noted() | {name: {"anew": True} for name in names[names.index(first) :]})

    def plan(self) -> str:
        """Which steps are finished and which will run, a line each."""
        lines = []
        for number, step in enumerate(self.steps, 1):
            lines.append(f"{number:>3}  {step.name:<22}{self._state(step):<10}{step.does}")
        return "\n".join(lines)

    def _state(self, step: Step) -> str:
        if self.finished(step):
            return "finished"
        if self._is_anew(step):
            return "anew"
        return "goes on" if (self.out / step.name / WORK).exists() else "to do"

    def _is_anew(self, step: Step) -> bool:
        return "anew" in self._noted().get(step.name, {})

    def run(self) -> None:
        """Go through all steps. A finished one is asked too: its job refuses options or inputs that have changed."""
        for number, step in enumerate(self.steps, 1):
            done = self.finished(step)
            state = " (finished)" if done else ""
            print(f"\n== {number}/{len(self.steps)} {step.name}: {step.does}{state}", flush=True)
            how: dict[str, Any] = {name: getattr(self.how, name) for name in ("workers", "max_failed", "verbose")}
            config = replace(step.config(), out=str(self.out / step.name), overwrite=self._is_anew(step), **how)
            begin = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()) if done else contextlib.nullcontext():
                step.run(config)
            if not done:
                self._note(step.name, time.perf_counter() - begin)

    def facts(self) -> list[StepFacts]:
        """What the finished steps did."""
        seconds = self._noted()
        found = []
        for step in self.steps:
            if self.finished(step):
                manifest = run_manifest(self.out / step.name) or {}
                came, went, rejects = (manifest.get(key, {}) for key in ("rows_in", "rows_out", "rejects"))
                found.append(StepFacts(step.name, came, went, rejects, seconds.get(step.name, {}).get("seconds")))
        return found

    def _noted(self) -> dict[str, Any]:
        place = self.out / NOTES
        return json.loads(place.read_bytes()) if place.is_file() else {}

    def _note(self, name: str, seconds: float) -> None:
        notes = self._noted() | {name: {"seconds": round(seconds, 1)}}
        self._write(notes)
        self._write(notes | {one.name: counted(one) for one in self.facts()})

    def _write(self, notes: dict[str, Any]) -> None:
        in_order = {step.name: notes[step.name] for step in self.steps if step.name in notes}
        (self.out / NOTES).write_bytes((json.dumps(in_order, indent=1) + "\n").encode())


def counted(facts: StepFacts) -> dict[str, Any]:
    """For pipeline.json."""
    counts = {"rows_in": facts.rows_in, "rows_out": facts.rows_out, "rejects": facts.rejects}
    return {**counts, "seconds": facts.seconds}


COLUMNS = ("step", "in", "out", "rejected", "seconds")


def table_of(facts: Sequence[StepFacts]) -> list[tuple[str, ...]]:
    """The table of what every step did, for people; columns as in COLUMNS."""
    rows: list[tuple[str, ...]] = []
    for one in facts:
        rejected = ", ".join(f"{count:,} {reason}" for reason, count in one.rejects.items())
        seconds = "-" if one.seconds is None else f"{one.seconds:,.1f}"
        rows.append((one.name, _said(one.rows_in), _said(one.rows_out), rejected or "none", seconds))
    return rows


def _said(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items()) or "-"


def as_text(rows: Sequence[tuple[str, ...]]) -> str:
    """A table in plain text, columns aligned, the last one to the right."""
    whole = [COLUMNS, *rows]
    widths = [max(len(row[column]) for row in whole) for column in range(len(COLUMNS))]
    lines = []
    for row in whole:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths[:-1], strict=True)]
        lines.append("  ".join([*cells, row[-1].rjust(widths[-1])]))
    return "\n".join(lines)
