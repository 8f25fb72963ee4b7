"""The command that applies the decisions: the one that made the table, with the decisions file and a new output."""

import re
import shlex

_REPLACED = ("--decisions", "--out")


def next_command(made_by: str, out: str, decisions: str) -> str:
    """`clean` again with the decisions.

    The output gets a new name: a finished run is not replaced, and the decisions file belongs to the table reviewed.

    Args:
        made_by: the command in the run's manifest.
        out: the run's output folder.
        decisions: the decisions file; one that the run itself was given stays in force beside it.
    """
    try:
        words = shlex.split(made_by)
    except ValueError:
        words = []
    if words[:3] != ["python", "-m", "ray_jobs.clean"]:  # made by another program: its options are not known
        words = ["python", "-m", "ray_jobs.clean", "..."]
    kept, given = _without_options(words)
    files = ",".join(filter(None, (given.get("--decisions"), decisions)))
    return shlex.join([*kept, "--decisions", files, "--out", _next_name(given.get("--out") or out)])


def _without_options(words: list[str]) -> tuple[list[str], dict[str, str]]:
    """The words without what is replaced (`--out X`, `--out=X`) and without --overwrite; and what was taken out."""
    kept, taken = [], {}
    left = iter(words)
    for word in left:
        name, equals, value = word.partition("=")
        if name in _REPLACED:
            taken[name] = value if equals else next(left, "")
        elif word != "--overwrite":
            kept.append(word)
    return kept, taken


def _next_name(out: str) -> str:
    """runs/clean -> runs/clean_reviewed -> runs/clean_reviewed2 -> ..."""
    out = out.rstrip("/")
    earlier = re.search(r"_reviewed(\d*)$", out)
    if not earlier:
        return f"{out}_reviewed"
    return f"{out[: earlier.start()]}_reviewed{int(earlier[1] or 1) + 1}"
