"""Photos, pairs, model and output in S3, over HTTP: a machine lost half-way, and every refusal told before work."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from e2e.harness import ONE_WORKER, Driver, People, Run, score_plainly

from faceverify import s3
from faceverify.parts import read_part
from faceverify.storage import Location, open_location

SECRET = "wJalrXUtnFEMI-K7MDENG-bPxRfiCYSECRETKEY"


@pytest.fixture
def store(bucket: str, people: People, tiny: Path) -> Location:
    """The tables and the network in a bucket."""
    root = open_location(f"s3://{bucket}/data")
    photos = pq.read_table(people.photos)
    (root / "tiny.onnx").write_bytes(tiny.read_bytes())
    (root / "pairs.parquet").write_bytes(people.pairs.read_bytes())
    places = pa.array([(root / "photos" / name).uri for name in photos["photo"].to_pylist()])
    moved = photos.set_column(1, photos.schema.field("uri"), places)
    with (root / "photos.parquet").open_output() as stream:
        pq.write_table(moved, stream)
    return root


@pytest.fixture
def photos(store: Location, people: People) -> Location:
    """The photos themselves."""
    folder = store / "photos"
    for name in pq.read_table(people.photos)["photo"].to_pylist():
        (folder / name).write_bytes((people.root / name).read_bytes())
    return folder


def args(store: Location, out: Location | str) -> list[str]:
    named = {"--photos": store / "photos.parquet", "--pairs": store / "pairs.parquet", "--model": store / "tiny.onnx"}
    return [
        *(str(part) for item in named.items() for part in item),
        "--align.method",
        "annotated",
        *ONE_WORKER,
        "--out",
        str(out),
    ]


def rows(folder: Location) -> list[dict]:
    return [row for entry in folder.files() for row in read_part(folder / entry.path).to_pylist()]


@pytest.mark.thorough
def test_a_machine_lost_half_way_and_no_secret_told(
    store: Location, photos: Location, people: People, tiny: Path, cluster: object, tmp_path: Path
) -> None:
    out = store.parent / "run"
    # Processes of their own, cluster included, that find all they need in their environment.
    env = {"AWS_SECRET_ACCESS_KEY": SECRET, "FACEVERIFY_CACHE": str(tmp_path / "cache"), "RAY_ADDRESS": ""}
    options = [*args(store, out), "--photos-per-shard", "6"]
    driver = Driver("score", *options, env=env, start_new_session=True)
    reached = driver.wait_until(lambda: len((out / ".work" / "embeddings").files(recursive=False)) >= 3)
    os.killpg(driver.process.pid, signal.SIGKILL)
    lost = driver.end()
    assert reached, lost
    ended = Driver("score", *options, env=env).end()
    assert ended.code == 0, ended.err
    assert "Going on where an earlier run stopped." in ended.out

    local = score_plainly(tmp_path / "local", people.args(tiny, tmp_path / "local"))
    for name in ("scores", "rejects"):
        assert rows(out / name) == local[name]
    own = {row["photo"]: row["embedding"] for row in local["embeddings"]}
    assert {row["photo"]: row["embedding"] for row in rows(out / "embeddings")} == own
    assert (out / "scores.csv").read_bytes() == local["csv"]
    assert not (out / ".work").exists()
    written = [(out / entry.path).read_bytes() for entry in out.files()]
    said = (lost.out + lost.err + ended.out + ended.err).encode()
    assert not any(SECRET.encode() in content for content in [*written, said])


def test_ingest_and_evaluate_in_s3(store: Location, photos: Location, run: Run) -> None:
    ended = run("ingest", "--source", photos, "--layout", "folders", "--out", store / "ingested")
    assert ended.code == 0 and "120 photos" in ended.out, ended.err
    listed = [row["photo"] for row in rows(store / "ingested" / "photos")]
    assert sorted(listed) == [entry.path for entry in photos.files()]
    scored = pq.read_table(pa.BufferReader((store / "pairs.parquet").read_bytes()))
    for name, values in {"similarity": [i / 240 for i in range(240)], "status": ["ok"] * 240}.items():
        scored = scored.append_column(name, pa.array(values, pa.float32() if name == "similarity" else pa.string()))
    scored = scored.append_column("accepted", pa.nulls(240, pa.bool_()))
    with (store / "scores" / "part.parquet").open_output() as stream:
        pq.write_table(scored, stream)
    ended = run("evaluate", "--scores", store / "scores", "--photos", photos, "--out", store / "evaluation")
    assert ended.code == 0, ended.err
    assert {entry.path for entry in (store / "evaluation").files()} >= {"metrics.json", "report.html", "manifest.json"}


def objects(store: Location) -> list[str]:
    return [entry.path for entry in store.parent.files()]


def test_what_is_not_there_is_told_before_any_work(store: Location, run: Run, tmp_path: Path) -> None:
    before = objects(store)
    elsewhere = Location("s3://nobucket/x")
    run("score", *args(store, elsewhere)).refused(3, "out", "no bucket 'nobucket'")
    run("score", *args(store, tmp_path / "out"), "--photos", elsewhere).refused(3, "photos", "no bucket 'nobucket'")
    run("score", *args(store, tmp_path / "out"), "--pairs", store / "gone").refused(2, "pairs", "no file or folder")
    run("score", *args(store, tmp_path / "out"), "--model", store / "gone.onnx").refused(3, "gone.onnx")
    assert objects(store) == before and list(tmp_path.iterdir()) == []


def test_an_endpoint_that_does_not_answer(
    store: Location, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3.filesystem.cache_clear()  # the client of the other address
    run("score", *args(store, tmp_path / "out")).refused(3, "cannot reach")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def as_user(s3_server: str, store: Location, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """From its call on, the server checks credentials, and the environment holds those of a user with few rights."""

    def become(*actions: str, secret: str = "") -> None:
        iam = boto3.Session().client("iam")
        iam.create_user(UserName="user")
        statement = [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]
        policy = json.dumps({"Version": "2012-10-17", "Statement": statement})
        iam.put_user_policy(UserName="user", PolicyName="some", PolicyDocument=policy)
        key = iam.create_access_key(UserName="user")["AccessKey"]
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret or key["SecretAccessKey"])
        s3.filesystem.cache_clear()
        requests.post(f"{s3_server}/moto-api/reset-auth", data=b"0", timeout=10)

    yield become
    requests.post(f"{s3_server}/moto-api/reset-auth", data=b"1000000000", timeout=10)


def test_wrong_credentials_are_told_before_any_work(
    store: Location, run: Run, as_user: Callable[..., None], tmp_path: Path
) -> None:
    as_user("s3:*", secret=SECRET)
    ended = run("score", *args(store, tmp_path / "out"))
    ended.refused(3, "refused the credentials", "bucket 'photos'")
    assert SECRET not in ended.out + ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_bucket_that_may_not_be_written_is_told_before_any_work(
    store: Location, run: Run, as_user: Callable[..., None], tmp_path: Path
) -> None:
    before = objects(store)
    as_user("s3:ListBucket", "s3:GetObject")
    run("score", *args(store, store.parent / "out")).refused(3, "out", "access denied")
    assert objects(store) == before


def test_a_bucket_that_may_not_be_read_is_told_before_any_work(
    store: Location, run: Run, as_user: Callable[..., None], tmp_path: Path
) -> None:
    as_user("s3:PutObject")
    run("score", *args(store, tmp_path / "out")).refused(3, "may not list bucket", "AccessDenied")
    assert list(tmp_path.iterdir()) == []
