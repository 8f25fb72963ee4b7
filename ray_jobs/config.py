"""List the configurations that come with the package, or write one to edit: `faceverify config score > score.yaml`."""

import argparse
import sys

from faceverify import shipped
from faceverify.errors import UserError
from faceverify.program import program
from ray_jobs.engine.signals import caught, quiet_when_unread

_EPILOG = "examples:\n  faceverify config\n  faceverify config score > score.yaml"


def main() -> int:
    """Entry point; returns the exit code."""
    with caught():
        return quiet_when_unread(_ended)


def _ended() -> int:
    parser = argparse.ArgumentParser(
        prog=program("config"),
        description="List the configurations that come with the package, or print one to edit.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", help="the configuration to print; without one they are listed")
    name = parser.parse_args().name
    from ray_jobs.engine.session import exit_code

    return exit_code("config", lambda: _show(name) if name else _list())


def _list() -> None:
    for name in shipped.names():
        print(f"  {name:<10}{shipped.headline(name)}")
    print("\n`faceverify config NAME > NAME.yaml` writes one to edit; a job takes it as its first argument.")


def _show(name: str) -> None:
    try:
        print(shipped.text_of(name), end="")
    except FileNotFoundError:
        known = ", ".join(shipped.names())
        raise UserError(f"There is no configuration '{name}'; those that come with the package are {known}.") from None


if __name__ == "__main__":
    sys.exit(main())
