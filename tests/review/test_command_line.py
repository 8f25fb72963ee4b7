"""How `python -m ray_jobs.review` is called, and what it says to mistakes."""

import io
import json
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pyarrow as pa
import pytest
from review.clean_output import DIGEST, write_table
from review.conftest import ROOT

from faceverify import tables
from faceverify.cleaning.decisions_file import ReviewDecision, write_decisions
from faceverify.storage import Location
from ray_jobs import review


def run(*arguments: object) -> subprocess.CompletedProcess:
    """As its command line would, in this process: a start of Python each would be most of the time."""
    out, err = io.StringIO(), io.StringIO()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["review.py", *map(str, arguments)])
        try:
            code = review.main()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def refused(ended: subprocess.CompletedProcess, *words: str) -> None:
    assert ended.returncode == 2 and len(ended.stderr.splitlines()) == 1, ended.stderr
    assert all(word in ended.stderr for word in words), ended.stderr


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys, runpy; sys.argv = ['x', '--help']\n"
        "try: runpy.run_module('ray_jobs.review', run_name='__main__')\n"
        "except SystemExit as stop: assert not stop.code\n"
        "print(sorted({'torch', 'ray', 'networkx', 'uvicorn', 'jinja2', 'starlette'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert "--html-cases" in ended.stdout and ended.stdout.splitlines()[-1] == "[]"


def test_the_table_is_named_first_or_by_its_option(clean: Path, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    for arguments in ([clean], ["--table", clean], [ROOT / "configs" / "review.yaml", clean]):
        ended = run(*arguments, "--html", file)
        assert ended.returncode == 0 and "all 10 cases" in ended.stdout, ended.stderr
        assert file.stat().st_size > 100_000
        file.unlink()
    refused(run(), "--table")


def test_what_is_no_clean_run(clean: Path, tmp_path: Path) -> None:
    refused(run(tmp_path / "gone"), "table", "gone", "no file or folder")
    (tmp_path / "empty").mkdir()
    refused(run(tmp_path / "empty"), "table", "holds no table 'cases'")
    manifest = (clean / "manifest.json").read_text()
    (clean / "manifest.json").write_text(json.dumps({"job": "score", "digest": "x"}))
    refused(run(clean), "table", "is not the output of clean")
    (clean / "manifest.json").unlink()
    (clean / ".work").mkdir()
    refused(run(clean), "has not finished")
    (clean / "manifest.json").write_text(manifest)
    write_table(Location(str(clean / "cases" / "part-00000.parquet")), tables.CASES.empty_table())
    refused(run(clean), "nothing to review")
    write_table(Location(str(clean / "cases" / "part-00000.parquet")), pa.table({"person": ["a"]}))
    refused(run(clean), "column 'hardness' is missing")
    (clean / "cases" / "part-00000.parquet").write_text("no table")
    refused(run(clean), "not a Parquet file")


@pytest.mark.parametrize(
    "reviewer, digest, words", [("bob", DIGEST, "--reviewer 'bob'"), ("anna", "other", "another clean run")]
)
def test_a_foreign_decisions_file(clean: Path, reviewer: str, digest: str, words: str) -> None:
    one = ReviewDecision("p", "q", "kept", None, "2026-01-01", reviewer, digest)
    write_decisions(Location(str(clean / "review.json")), reviewer, digest, [one])
    refused(run(clean, "--reviewer", "anna"), "review.json", words)


def test_a_damaged_decisions_file(clean: Path) -> None:
    (clean / "review.json").write_text('{"format": "faceverify-dec')
    refused(run(clean), "review.json", "not complete JSON")
    assert (clean / "review.json").read_text() == '{"format": "faceverify-dec'


def test_bad_values(clean: Path, tmp_path: Path) -> None:
    refused(run(clean, "--html", tmp_path / "x.html", "--html-cases", "0"), "html_cases is 0")
    refused(run(clean, "--port", "99999"), "port", "99999")
    refused(run(clean, "--host", "999.1.1.1", "--port", "0"), "999.1.1.1")
    (tmp_path / "file").write_text("")
    refused(run(clean, "--html", tmp_path / "file" / "x.html"), "html", "is a file")
