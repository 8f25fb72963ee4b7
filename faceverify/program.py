"""How this program was started, so that messages and manifests show commands as their reader would type them."""

_MODULES = "python -m ray_jobs."
_launcher = _MODULES


def started_as(script: str) -> None:
    """Note that a job was started by this script: `faceverify`."""
    global _launcher
    _launcher = f"{script} "


def program(job: str) -> str:
    """`faceverify score`, or `python -m ray_jobs.score` where it was started so."""
    return _launcher + job
