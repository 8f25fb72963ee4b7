"""When a job is no use: most of its rows fail for one reason, which then is not the rows' fault but the command's.

`--max-failed` is the share of rows that may fail for one reason. A job asks as early as it can be known: when its work
is planned; while it works, as soon as the rest can no longer change it; at the latest before it commits. Nothing
depends on which rows come first.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from faceverify.errors import Reason, UserError
from faceverify.parts import EXAMPLES
from faceverify.run_folder import RunFolder

# What the user may change, by the reason. Where nothing is said, the rejects say more than a sentence can.
REMEDIES = {
    Reason.NO_FACE: "if the photos are aligned already, give --align.method none; for small faces in large photos "
    "--align.detect-side 1280",
    Reason.SEVERAL_FACES: "give --align.policy most_central",
    Reason.NO_LANDMARKS: "the photos table has none: give --align.method yunet with --align.weights",
    Reason.NOT_ALIGNED: "the photos are not cut out yet: give --align.method yunet with --align.weights",
    Reason.TOO_SMALL: "set --images.min-side",
    Reason.TOO_MANY_PIXELS: "set --images.max-pixels",
    Reason.TOO_MANY_BYTES: "set --images.max-bytes",
    Reason.MISSING: "are the photos still where the list or table was made?",
    Reason.UNKNOWN_PHOTO: "does the table belong to this list?",
    Reason.OUTSIDE_ROOT: "give the folder that all paths begin with as --pair-list.strip-prefix",
    Reason.UNLABELLED: "do the names in the list of labels belong to these photos?",
    Reason.NO_TARGET: "give photos of several people in each split",
}


def worst(counts: Mapping[str, int], rows: int, max_failed: float) -> str | None:
    """The reason for which more than the share `max_failed` of `rows` failed; None if there is none."""
    over = [reason for reason, count in counts.items() if count > max_failed * rows]
    return max(over, key=lambda reason: (counts[reason], reason), default=None)


def refuse(
    counts: Mapping[str, int],
    rows: int,
    max_failed: float,
    *,
    what: str = "photos",
    names: Mapping[str, Iterable[str]] | None = None,
    remedies: Mapping[str, str] | None = None,
    end: str = "--max-failed 1 accepts it",
) -> None:
    """Stop a job most of whose rows fail for one reason.

    Args:
        counts: rows that failed, by reason.
        rows: of the whole job.
        max_failed: JobConfig.max_failed.
        what: the rows are.
        names: examples, by reason.
        remedies: what to do, by reason, where more is known than REMEDIES says.
        end: how to go on all the same.

    Raises:
        UserError: names the reason, three rows and the remedy.
    """
    reason = worst(counts, rows, max_failed)
    if reason is None:
        return
    quoted = (name if name.startswith("'") else f"'{name}'" for name in (names or {}).get(reason, ()))
    some = ", ".join(islice(quoted, EXAMPLES))
    remedy = (remedies or {}).get(reason) or REMEDIES.get(reason, "")  # pyrefly: ignore
    raise UserError(
        f"{counts[reason]:,} of {rows:,} {what} failed with {reason}{f' ({some})' if some else ''}, which is more than "
        f"--max-failed {max_failed:g} allows; {f'{remedy}; ' if remedy else ''}{end}."
    )


def refuse_run(
    folder: RunFolder,
    counts: Mapping[str, int],
    rows: int,
    max_failed: float,
    *,
    stages: Sequence[str] = (),
    what: str = "photos",
    names: Mapping[str, Iterable[str]] | None = None,
) -> None:
    """`refuse` a run that has worked: its work is kept, and not committed.

    The rejects of `stages` are published all the same, so that they can be looked at.
    """
    if worst(counts, rows, max_failed) is None:
        return
    folder.publish_rejects(stages)
    folder.release()
    names = names or folder.facts(*(f"{stage}.rejects" for stage in stages)).examples
    kept = (
        f"why each failed is in {folder.out / 'rejects'}; the same command with --max-failed 1 accepts it and repeats "
        "nothing, one with other options needs --overwrite"
    )
    refuse(counts, rows, max_failed, what=what, names=names, end=kept)


def refuse_rejects(
    folder: RunFolder, stages: Sequence[str], rows: int, max_failed: float, what: str = "photos"
) -> None:
    """`refuse_run` where most rows became rejects of `stages` for one reason."""
    facts = folder.facts(*(f"{stage}.rejects" for stage in stages))
    refuse_run(folder, facts.counts, rows, max_failed, stages=stages, what=what, names=facts.examples)
