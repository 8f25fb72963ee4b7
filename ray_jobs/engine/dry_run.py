"""`--dry-run`: everything is checked as the real run would, and nothing is started or written."""

from collections.abc import Sequence
from typing import Any

from faceverify.config import JobConfig
from faceverify.run_folder import check_out, what_is_in
from faceverify.storage import Location


def is_dry(config: JobConfig, out: Location, plan: dict[str, Any], outputs: Sequence[str]) -> bool:
    """Whether this is a dry run. If it is, an output folder that the real run would refuse is refused here.

    Args:
        config: of the job.
        out: its output folder.
        plan: see RunFolder.
        outputs: see RunFolder.

    Raises:
        UserError: see RunFolder.
    """
    if not config.dry_run:
        return False
    check_out(out, plan, outputs, config.overwrite)
    found = what_is_in(out, config.overwrite)
    print(f"Dry run: all that can be checked beforehand is in order; nothing was started{found}.")
    return True
