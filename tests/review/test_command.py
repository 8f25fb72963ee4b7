"""The command that applies the decisions."""

import pytest

from faceverify.review.command import next_command

JOB = "python -m ray_jobs.clean"


@pytest.mark.parametrize(
    "made_by, wanted",
    [
        (f"{JOB} c.yaml --k 2 --out runs/clean", f"{JOB} c.yaml --k 2 --decisions D --out runs/clean_reviewed"),
        (f"{JOB} --out=o --overwrite --k 2", f"{JOB} --k 2 --decisions D --out o_reviewed"),
        (f"{JOB} --out 'my out/' --photos 'a b'", f"{JOB} --photos 'a b' --decisions D --out 'my out_reviewed'"),
        (f"{JOB} --decisions A,B --out o_reviewed", f"{JOB} --decisions A,B,D --out o_reviewed2"),
        (f"{JOB} --decisions=A --out o_reviewed9", f"{JOB} --decisions A,D --out o_reviewed10"),
        (f"{JOB} c.yaml", f"{JOB} c.yaml --decisions D --out /runs/x_reviewed"),
        ("pytest tests", f"{JOB} ... --decisions D --out /runs/x_reviewed"),
        ("", f"{JOB} ... --decisions D --out /runs/x_reviewed"),
        ("python 'broken", f"{JOB} ... --decisions D --out /runs/x_reviewed"),
    ],
)  # fmt: skip
def test_next_command(made_by: str, wanted: str) -> None:
    assert next_command(made_by, "/runs/x", "D") == wanted
