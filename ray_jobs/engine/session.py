"""What every job does around its work: the command line, errors in one sentence, exit codes."""

import sys
import traceback
from collections.abc import Callable
from typing import TypeVar

from faceverify import config as configuration
from faceverify.errors import FaceverifyError, UserError
from faceverify.program import program
from faceverify.redaction import first_line, redacted
from faceverify.storage import open_location
from ray_jobs.engine.signals import PIPE_CLOSED, Stopped, asked, caught, quiet_when_unread, unread

C = TypeVar("C")
ASK_THEMSELVES = ("all_pairs", "fakes")  # for networks, and say what each is for
RAYS_COPY = "/runtime_resources/working_dir_files/"  # in the path of every working directory of a submitted job


def run_job(
    job: str, config_class: type[C], work: Callable[[C], None], description: str, required: tuple[str, ...]
) -> int:
    """Parse the command line, run `work`, and turn its ending into an exit code.

    Returns:
        0 done · 1 a defect of this program (traceback) · 2 the user's mistake · 3 storage or cluster ·
        130 Ctrl-C · 141 nobody reads the output any more · 143 SIGTERM.
    """

    def whole() -> None:
        settings = configuration.load(config_class, sys.argv[1:], prog=program(job), description=description)
        configuration.require(settings, *required)
        check_kept(getattr(settings, "out", ""))
        from ray_jobs.engine.wanted_weights import check_fetched  # not for --help

        if job not in ASK_THEMSELVES:
            check_fetched(job, settings)
        work(settings)

    with caught():
        return quiet_when_unread(lambda: exit_code(job, whole))


def exit_code(job: str, work: Callable[[], None]) -> int:
    """Run `work`; say in a sentence how it ended, if not well, and return the exit code, as of `run_job`."""
    try:
        work()
        return 0
    except UserError as error:
        return _fail(job, str(error), 2)
    except FaceverifyError as error:
        return _fail(job, str(error), 3)
    except KeyboardInterrupt:  # Ray makes a plain one of Stopped
        name, code = ("SIGTERM", 143) if Stopped in asked else ("Ctrl-C", 130)
        return _fail(job, f"stopped by {name}; the same command goes on from here.", code)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and unread():
            return PIPE_CLOSED
        return _fail(job, storage_sentence(error), 3)
    except Exception:  # the outermost: photos became rejects long before; what comes here is shown whole
        print(redacted(traceback.format_exc()), end="", file=sys.stderr)
        return _fail(job, "this is a defect of faceverify, not of your data; please report the lines above.", 1)


def check_kept(out: str) -> None:
    """Refuse an output in the copy of the working directory that `ray job submit` made: Ray deletes that after the job.

    Raises:
        UserError: names it.
    """
    inside = open_location(out).path if out else ""
    if RAYS_COPY in inside:
        raise UserError(
            f"out is '{out}', which is in Ray's copy of the working directory and lost after the job; give s3:// or an "
            "absolute path that all nodes share."
        )


def storage_sentence(error: OSError) -> str:
    """What to tell of a storage fault (full disk, broken connection)."""
    return f"storage failed: {first_line(error)}; fix that and run the same command again, it goes on from here."


def _fail(job: str, sentence: str, code: int) -> int:
    print(redacted(f"{job}: {sentence}"), file=sys.stderr, flush=True)
    return code
