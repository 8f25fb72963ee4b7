"""Jobs run one after the other, each into a folder of its own: what is finished is left alone, the rest is done.

    OUT/<step>/manifest.json   its presence means that the step is finished; the job itself goes on within a step
    OUT/pipeline.json          rows in and out, rejects and seconds of each finished step; which are to be made again

Nothing is deleted here: a step that is made again is run with `overwrite`, and its job knows what is its own. That it
is to be made again is noted when its job begins, and taken back if the job ends before it has touched the earlier
output (a mistake of the user, Ctrl-C): then all is as if nobody had asked.
"""

import contextlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from faceverify.config import JobConfig, identity
from faceverify.errors import AnotherRun, UserError
from faceverify.inputs import run_manifest
from faceverify.run_folder import MANIFEST, WORK, differences
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
        self._asked: tuple[str, ...] = ()  # to be made again by this run, not noted yet
        self._why = ""

    def finished(self, step: Step) -> bool:
        """Whether the step's output is complete, and not to be made again."""
        return (self.out / step.name / MANIFEST).is_file() and not self._is_marked(step)

    def begin_again(self, first: str, why: str) -> None:
        """Have a step and all that follow it made again, by `run` or, if that is killed, by the ones after it.

        Args:
            first: name of the step.
            why: what the plan says of it ("--redo clean").

        Raises:
            UserError: there is no such step.
        """
        names = [step.name for step in self.steps]
        if first not in names:
            raise UserError(f"redo is '{first}', which is no step; the steps are {', '.join(names)}.")
        self._asked, self._why = tuple(names[names.index(first) :]), why

    def plan(self) -> str:
        """What is done with each step and why, a line each: finished, or would run."""
        lines = []
        for number, step in enumerate(self.steps, 1):
            state, why = self._state(step)
            lines.append(f"{number:>3}  {step.name:<22}{state:<10}{step.does}{why and f' ({why})'}")
        return "\n".join(lines)

    def _state(self, step: Step) -> tuple[str, str]:
        if self.finished(step):
            return "finished", ""
        if step.name in self._asked:
            return "runs", self._why if step.name == self._asked[0] else f"follows {self._asked[0]}"
        if self._is_marked(step):
            return "runs", "again, as an earlier run was told"
        if (self.out / step.name / WORK).exists():
            return "runs", "goes on where it was stopped"
        return "runs", ""

    def _is_marked(self, step: Step) -> bool:
        return step.name in self._asked or "again" in self._noted().get(step.name, {})

    def check_unchanged(self) -> None:
        """Refuse options of finished steps that have changed, before any step runs.

        Raises:
            UserError: names the step, the options and how to make it again.
        """
        for step in self.steps:
            if not self.finished(step):
                return  # what follows takes what this one has still to make
            made_by = (run_manifest(self.out / step.name) or {}).get("plan", {}).get("config", {})
            now = json.loads(json.dumps(identity(step.config()), default=str))
            names = [name for name in made_by if name in now and not _same(made_by[name], now[name])]
            if names:
                then, now = ({name: one[name] for name in names} for one in (made_by, now))
                raise _changed(step, ", ".join(differences(then, now)))

    def run(self) -> None:
        """Go through all steps. A finished one is asked too: its job refuses options or inputs that have changed."""
        for number, step in enumerate(self.steps, 1):
            done = self.finished(step)
            state = " (finished)" if done else ""
            print(f"\n== {number}/{len(self.steps)} {step.name}: {step.does}{state}", flush=True)
            how: dict[str, Any] = {name: getattr(self.how, name) for name in ("workers", "max_failed", "verbose")}
            config = replace(step.config(), out=str(self.out / step.name), overwrite=self._is_marked(step), **how)
            begin = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()) if done else self._marked(step):
                try:
                    step.run(config)
                except AnotherRun as error:
                    raise _changed(step, error.differs) from None
            if not done:
                self._note(step.name, time.perf_counter() - begin)

    @contextlib.contextmanager
    def _marked(self, step: Step) -> Iterator[None]:
        """Around a step that runs: note that it and those after it are to be made again, if that was asked for."""
        if step.name not in self._asked:
            yield
            return
        before, traces = self._noted(), self._traces(step)
        asked, self._asked = self._asked, ()
        self._write(before | {name: {"again": True} for name in asked})
        try:
            yield
        except BaseException:
            if self._traces(step) == traces:
                self._write(before)
            raise

    def _traces(self, step: Step) -> list[tuple[int, int] | None]:
        """What a job deletes or writes first when it makes its output again."""
        files = [self.out / step.name / MANIFEST, self.out / step.name / WORK / "plan.json"]
        entries = [file.stat() if file.is_file() else None for file in files]
        return [(entry.size, entry.mtime_ns) if entry else None for entry in entries]

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
        if not notes:
            (self.out / NOTES).delete()
            return
        in_order = {step.name: notes[step.name] for step in self.steps if step.name in notes}
        (self.out / NOTES).write_bytes((json.dumps(in_order, indent=1) + "\n").encode())


def _same(one: Any, other: Any) -> bool:
    """Whether two values of an option mean the same; a folder may be named relatively or absolutely."""
    if isinstance(one, str) and isinstance(other, str) and one and other:
        return one == other or os.path.abspath(one) == os.path.abspath(other)
    if isinstance(one, dict) and isinstance(other, dict):
        return all(_same(one[name], other[name]) for name in one.keys() & other.keys())
    return one == other


def _changed(step: Step, differs: str) -> UserError:
    return UserError(
        f"{step.name} was made with other options or inputs ({differs}); pass --redo {step.name} to make it and all "
        "that follow it again (--dry-run shows what would run), or choose another --out."
    )


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
