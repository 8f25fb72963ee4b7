"""No password of an address is shown; everything else is."""

import sys

import pytest

from faceverify.config import command_line
from faceverify.errors import BadData, Reason
from faceverify.redaction import first_line, redacted


@pytest.mark.parametrize(
    "text, shown",
    [
        ("s3://KEY:SECRET@bucket/a.jpg", "s3://***@bucket/a.jpg"),
        ("--out s3://KEY:SE/CR@ET@bucket/a --in b@c", "--out s3://***@bucket/a --in b@c"),
        ("'http://user:pass@host:9000/x' and https://token@host", "'http://***@host:9000/x' and https://***@host"),
        ("postgresql+psycopg2://u:p@db/mlflow", "postgresql+psycopg2://***@db/mlflow"),
        ("https://host/a?X-Amz-Signature=abc&size=3&token=xyz", "https://host/a?X-Amz-Signature=***&size=3&token=***"),
        ("s3://bucket/anna@home.jpg", "s3://bucket/anna@home.jpg"),
        ("http://host:9000/anna@home.jpg", "http://host:9000/anna@home.jpg"),
        ("anna@home.jpg is no address: at 10:30", "anna@home.jpg is no address: at 10:30"),
    ],
)
def test_what_is_shown_of_an_address(text: str, shown: str) -> None:
    assert redacted(text) == shown
    assert redacted(shown) == shown


def test_what_is_kept_and_said_is_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["ray_jobs/score.py", "--photos", "s3://KEY:SECRET@bucket/a"])
    endpoint = "http://user:SECRET@host"
    said = [
        command_line(),
        first_line(OSError(f'Could not connect to the endpoint URL: "{endpoint}"')),
        str(BadData(Reason.UNREADABLE, endpoint)),
        BadData(Reason.UNREADABLE, endpoint).detail,
    ]
    assert all("SECRET" not in text and "***@" in text for text in said), said
