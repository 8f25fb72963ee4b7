"""Review in the browser what cleaning flagged, hardest first.

python -m ray_jobs.review runs/clean
python -m ray_jobs.review runs/clean --html review.html
"""

import sys
from dataclasses import dataclass, field

from faceverify.errors import UserError
from faceverify.images import ImageLimits
from faceverify.storage import check_writable, open_location
from ray_jobs.engine.session import run_job


@dataclass(frozen=True, kw_only=True, slots=True)
class ReviewConfig:
    """Serve the review of a clean run on this machine, or write it to a file."""

    table: str = ""
    """The output folder of clean, local or s3://; may be given without the option's name. Required."""
    decisions: str = ""
    """The decisions file; empty = review.json in the folder of the table."""
    reviewer: str = ""
    """Who decides; empty = the name of the user who is logged in."""
    host: str = "127.0.0.1"
    """Address to listen at; any other than this machine's own lets other machines in."""
    port: int = 8712
    """Port to listen at; 0 = any free one."""
    token: bool = True
    """Let in only who knows the address that is printed."""
    html: str = ""
    """Write the page to this file, with everything in it, and end; decisions are downloaded from it."""
    html_cases: int = 200
    """How many cases such a file holds at most, the hardest."""
    images: ImageLimits = field(default_factory=ImageLimits)


def run(config: ReviewConfig) -> None:
    """Serve, or write the file."""
    table = open_location(config.table)
    if config.html_cases < 1:
        raise UserError(f"html_cases is {config.html_cases}; give 1 or more.")
    if config.html:
        from faceverify.review.export import export

        file = open_location(config.html)
        check_writable(file.parent, "html")
        print(export(table, file, config.images, config.html_cases))
        return
    from faceverify.review.server import Served, serve

    decisions = open_location(config.decisions) if config.decisions else table / "review.json"
    served = Served(host=config.host, port=config.port, token=config.token)
    serve(table, decisions, config.reviewer or _user(), config.images, served)


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        raise UserError("reviewer: this user has no name; give --reviewer NAME.") from None


def main() -> int:
    """Entry point; the first argument that is neither an option nor a configuration names the table."""
    config = [a for a in sys.argv[1:2] if a.endswith((".yaml", ".yml"))]
    rest = sys.argv[1 + len(config) :]
    if rest and not rest[0].startswith("-"):
        rest.insert(0, "--table")
    sys.argv[1:] = [*config, *rest]
    return run_job("review", ReviewConfig, run, __doc__ or "", ("table",))


if __name__ == "__main__":
    sys.exit(main())
