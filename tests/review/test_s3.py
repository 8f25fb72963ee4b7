"""A table and photos in S3: reviewed, saved there, loaded again."""

from collections.abc import Callable
from pathlib import Path

from review.clean_output import photo_name, write_clean
from review.conftest import Review

from faceverify.cleaning.decisions_file import read_decisions
from faceverify.storage import Location


def test_a_table_in_a_bucket(bucket: str, drawn: Path, review: Callable[..., Review]) -> None:
    table = f"s3://{bucket}/runs/clean"
    for person in ("person_0000", "person_0005"):
        for photo in (drawn / person).iterdir():
            Location(f"s3://{bucket}/photos/{person}/{photo.name}").write_bytes(photo.read_bytes())
    write_clean(table, f"s3://{bucket}/photos")
    running = review(table)
    session = running.session()
    for which in ("0/small", "6/large", "6/suggested"):
        picture = session.get(f"{running.base}/picture/0/{which}", timeout=20)
        assert picture.headers["content-type"] == "image/jpeg" and len(picture.content) > 500
    assert "missing" in session.get(f"{running.base}/picture/1/0/small", timeout=20).text
    for decision in ("dropped", "kept"):
        body = {"decisions": [{"case": 0, "slot": 6, "decision": decision}]}
        answer = session.post(f"{running.base}/api/decide", json=body, timeout=20)
        assert answer.json()["photos_decided"] == 1, answer.text
    (decision,) = read_decisions([Location(f"{table}/review.json")])
    assert (decision.photo, decision.decision) == (photo_name(0, 6), "kept")
    assert running.stop() == 0 and f"{table}/review.json" in running.said[-1]

    again = review(table)
    about = again.session().get(f"{again.base}/api/about", timeout=20).json()
    assert about["progress"]["photos_decided"] == 1


def test_a_bucket_that_is_not_there(bucket: str) -> None:
    from review.test_command_line import run

    ended = run(f"s3://{bucket}-gone/clean")
    assert ended.returncode == 3 and "there is no bucket" in ended.stderr
