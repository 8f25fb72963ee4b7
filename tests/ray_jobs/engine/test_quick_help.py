"""The help of every job, made of its option classes alone, is that of the whole module, and loads nothing heavy."""

import subprocess
import sys

import pytest

from ray_jobs.__main__ import JOBS

OTHERS = ("models", "config")  # have parsers of their own, which load nothing either
HEAVY = {"numpy", "pyarrow", "pydantic", "cv2", "torch", "ray", "onnxruntime", "pandas", "scipy"}
WHOLE = "import sys, importlib; sys.argv = ['x', '--help']; importlib.import_module('ray_jobs.{}').main()"
ALONE = (
    "import sys; from ray_jobs.engine.quick_help import answer\n"
    "try: answer('{}', ['--help'])\n"
    "finally: print('LOADED', *sorted(sys.modules), file=sys.stderr)"
)


def printed(*command: str) -> tuple[str, str]:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.parametrize("job", sorted(set(JOBS) - set(OTHERS)))
def test_it_is_the_same_and_loads_nothing_heavy(job: str) -> None:
    alone, loaded = printed("-c", ALONE.format(job))
    assert alone == printed("-c", WHOLE.format(job))[0]
    assert "--out " in alone or job in ("review", "verify")
    assert not HEAVY & set(loaded.split())


@pytest.mark.parametrize("command", [("-m", "ray_jobs.embed"), ("-m", "ray_jobs", "embed")])
def test_it_is_what_answers(command: tuple[str, ...]) -> None:
    """However the job is started; as an import of numpy would show."""
    code = (
        "import sys, runpy\n"
        f"sys.orig_argv = ['python', *{command!r}, '--help']; sys.argv = ['-m', *{command[2:]!r}, '--help']\n"
        "try: runpy.run_module(sys.orig_argv[2], run_name='__main__', alter_sys=True)\n"
        "except SystemExit as stop: assert not stop.code\n"
        "assert 'numpy' not in sys.modules"
    )
    assert "--model STR" in printed("-c", code)[0]
