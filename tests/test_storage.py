"""Storage: the same behaviour on disk and in S3, and every refusal named before work starts."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import requests

from faceverify import s3
from faceverify.cleaning.duplicates import hash_file
from faceverify.errors import BadData, PlatformError, Reason, UserError
from faceverify.storage import Location, check_readable, check_writable, open_location, private_draft


@pytest.fixture(params=["local", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    if request.param == "local":
        return Location(str(tmp_path / "folder"))
    return open_location(f"s3://{request.getfixturevalue('bucket')}/folder")


def test_write_list_read_delete(folder: Location) -> None:
    (folder / "b" / "two.bin").write_bytes(b"22")
    (folder / "a.bin").write_bytes(b"1")
    assert [(f.path, f.size) for f in folder.files()] == [("a.bin", 1), ("b/two.bin", 2)]
    assert [f.path for f in folder.files(recursive=False)] == ["a.bin"]
    assert (folder / "b" / "two.bin").read_bytes() == b"22"
    assert folder.exists() and folder.is_dir() and (folder / "a.bin").is_file()
    assert (folder / "a.bin").stat().path == "a.bin"
    folder.delete()
    assert not (folder / "a.bin").exists()
    assert folder.files() == []


def test_odd_names_survive(folder: Location) -> None:
    names = ["with space.jpg", "<script>.jpg", "häßlich.jpg", "per%20cent.jpg", "a+b&c=d.jpg", "日本.jpg", "#hash?.jpg"]
    for name in names:
        (folder / name).write_bytes(name.encode())
    assert sorted(f.path for f in folder.files()) == sorted(names)
    assert all((folder / name).read_bytes() == name.encode() for name in names)


def test_what_is_missing_or_too_large_is_bad_data(folder: Location) -> None:
    (folder / "large").write_bytes(b"x" * 100)
    with pytest.raises(BadData) as missing:
        (folder / "nothing").read_bytes()
    with pytest.raises(BadData) as large:
        (folder / "large").read_bytes(max_bytes=99)
    assert (missing.value.reason, large.value.reason) == (Reason.MISSING, Reason.TOO_MANY_BYTES)
    assert (folder / "large").read_bytes(max_bytes=100) == b"x" * 100


def test_what_is_no_file_is_bad_data_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for uri in (str(tmp_path / "pipe.jpg"), str(tmp_path), "/dev/zero", "/dev/tty"):
        with pytest.raises(BadData) as refused:
            Location(uri).read_bytes()
        assert refused.value.reason in (Reason.NOT_A_FILE, Reason.UNREADABLE), uri  # no terminal: unreadable
        with pytest.raises(OSError), Location(uri).open_input():
            pass
    with pytest.raises(BadData) as refused:
        Location(str(tmp_path / "pipe.jpg")).read_bytes()
    assert refused.value.reason == Reason.NOT_A_FILE and "a pipe" in refused.value.detail


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/data/a\0b.jpg",
        "/data/\ud800.jpg",
        "s3://bucket/a\0b.jpg",
        "gs://bucket/a.jpg",
        "https://host/a.jpg",
        "file:///a.jpg",
        "s3://",
        "s3://bucket",
        "s3:///a.jpg",
        "/" + "n" * 300 + ".jpg",
        "/" + "d/" * 3000 + "a.jpg",
    ],
)
def test_an_impossible_address_is_bad_data(uri: str) -> None:
    with pytest.raises(BadData) as refused:
        Location(uri).read_bytes()
    assert refused.value.reason == Reason.BAD_NAME
    refused.value.detail.encode()
    assert hash_file(uri) is None


def test_a_file_of_the_kernel_does_not_block() -> None:
    with pytest.raises(BadData) as refused:
        Location("/proc/self/mem").read_bytes()
    assert refused.value.reason == Reason.UNREADABLE


def test_what_a_user_types_must_be_a_name(tmp_path: Path) -> None:
    for wrong in ("a\0b", "bad\udcff"):
        with pytest.raises(UserError, match=r"holds a NUL byte or what is not UTF-8"):
            open_location(wrong)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=r"pairs: '.*pipe' is a pipe \(FIFO\), neither a file nor a folder"):
        check_readable(Location(str(tmp_path / "pipe")), "pairs")
    with pytest.raises(UserError, match=r"pairs: .*File name too long"):
        check_readable(Location("/" + "n" * 300), "pairs")


def test_a_failed_write_leaves_no_trace(tmp_path: Path) -> None:
    target = Location(str(tmp_path / "file"))
    target.write_bytes(b"old")
    with pytest.raises(TypeError):
        target.write_bytes("not bytes")  # type: ignore
    assert target.read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    target = tmp_path / "a" / "file.png"
    code = (
        "import os, sys; from faceverify.storage import Location; os.replace = lambda *names: os._exit(9); "
        "Location(sys.argv[1]).write_bytes(b'new')"
    )
    assert subprocess.run([sys.executable, "-c", code, str(target)], check=False).returncode == 9
    (litter,) = os.listdir(target.parent)
    (target.parent / ".hidden").write_bytes(b"not ours")
    Location(str(tmp_path)).sweep()
    assert litter.startswith(".file.png.") and os.listdir(target.parent) == [".hidden"]


def test_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_location("a/b").uri == str(tmp_path / "a/b")
    assert open_location("s3://bucket/key/").uri == "s3://bucket/key"
    assert open_location("s3://bucket/key").parent.uri == "s3://bucket"
    for wrong in ("gs://bucket/key", "http://host/file", "s3://"):
        with pytest.raises(UserError, match=wrong.split("/", maxsplit=1)[0]):
            open_location(wrong)


def test_sha256_of_pieces(tmp_path: Path) -> None:
    import hashlib

    data = os.urandom((1 << 22) + 5)
    (tmp_path / "file").write_bytes(data)
    assert Location(str(tmp_path / "file")).sha256() == hashlib.sha256(data).hexdigest()


def test_local_refusals_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"photos: there is no file or folder .*nothing"):
        check_readable(Location(str(tmp_path / "nothing")), "photos")
    with pytest.raises(UserError, match=r"out: .*is a file"):
        check_writable(Location(str(tmp_path / "file" / "sub")), "out")
    check_writable(Location(str(tmp_path / "new" / "sub")), "out")


def test_missing_bucket_is_named(bucket: str) -> None:
    with pytest.raises(PlatformError, match="no bucket 'photoss'"):
        check_readable(open_location("s3://photoss/x"), "photos")
    with pytest.raises(UserError, match="no file or folder"):
        check_readable(open_location(f"s3://{bucket}/x"), "photos")


@pytest.fixture
def guarded_bucket(bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket that the reader may only read; the server checks credentials from now on."""
    session = boto3.Session()
    iam = session.client("iam")
    iam.create_user(UserName="reader")
    actions = ["s3:ListBucket", "s3:GetObject"]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
    iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=json.dumps(policy))
    session.client("s3").put_object(Bucket=bucket, Key="there", Body=b"1")
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    s3.filesystem.cache_clear()
    requests.post(f"{s3_server}/moto-api/reset-auth", data=b"0", timeout=10)
    yield bucket
    requests.post(f"{s3_server}/moto-api/reset-auth", data=b"1000000000", timeout=10)


def test_a_reader_may_read_and_is_told_that_it_may_not_write(guarded_bucket: str) -> None:
    check_readable(open_location(f"s3://{guarded_bucket}/there"), "photos")
    with pytest.raises(PlatformError, match=r"out: .*(access denied|permission)"):
        check_writable(open_location(f"s3://{guarded_bucket}/run"), "out")


def test_wrong_credentials_are_told(guarded_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(PlatformError, match="refused the credentials"):
        check_readable(open_location(f"s3://{guarded_bucket}/there"), "photos")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAWRONG")
    with pytest.raises(PlatformError, match="refused the credentials"):
        check_writable(open_location(f"s3://{guarded_bucket}/run"), "out")


def planted(place: Path, victim: Path) -> None:
    """A symbolic link where a draft or an output is expected, to a file of somebody else."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(victim)


def test_no_draft_follows_a_planted_link(tmp_path: Path) -> None:
    import pyarrow as pa
    import torch

    from faceverify.joining import join_files
    from faceverify.models.checkpoints import save
    from faceverify.scoring.csv_output import CsvConfig, write_csv

    victim, out = tmp_path / "victim", tmp_path / "out"
    victim.write_text("theirs")
    names = ["scores.csv", "pairs.csv", "model.safetensors", "plain", "streamed"]
    for name in names:
        for planted_name in (name, f".{name}", f".{name}.partial"):
            planted(out / planted_name, victim)
    rows = pa.table({"similarity": pa.array([0.5], pa.float32())})
    place = Location(str(out))
    write_csv(place / "scores.csv", [rows], CsvConfig(), rows.schema)
    join_files(place / "pairs.csv", b"ours", [], place / "draft")
    save({"a": torch.zeros(1)}, out / "model.safetensors")
    (place / "plain").write_bytes(b"ours")
    with (place / "streamed").open_output() as stream:
        stream.write(b"ours")
    assert victim.read_text() == "theirs"
    assert not any((out / name).is_symlink() for name in names)
    assert (out / "streamed").read_bytes() == b"ours" and "0.5" in (out / "scores.csv").read_text()
    assert len(list(out.iterdir())) == 3 * len(names), "drafts remain"


def test_what_fails_while_it_is_written_never_appears(tmp_path: Path) -> None:
    target = Location(str(tmp_path / "file"))
    target.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), target.open_output() as stream:
        stream.write(b"half")
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), private_draft(tmp_path / "file") as draft:
        draft.write_bytes(b"half")
        raise ZeroDivisionError
    assert target.read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]


def test_deleting_a_link_spares_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "photo").write_bytes(b"1")
    for name, leads_to in (("folder", "theirs"), ("file", "theirs/photo"), ("broken", "nowhere")):
        (tmp_path / name).symlink_to(tmp_path / leads_to)
        Location(str(tmp_path / name)).delete()
    assert os.listdir(tmp_path) == ["theirs"] and os.listdir(tmp_path / "theirs") == ["photo"]


@pytest.mark.parametrize("address", ["s3://key:secret@bucket/a", "s3://key:se/cr@et@bucket/a", "gs://key:secret@b/a"])
def test_an_address_with_a_secret_is_refused_without_it(address: str) -> None:
    with pytest.raises(UserError) as told:
        open_location(address)
    assert "secret" not in str(told.value).replace("key and secret", "") and "cr@et" not in str(told.value)
    assert "s3://bucket/key" in str(told.value)
    assert open_location("s3://bucket/a@b:c.jpg").uri == "s3://bucket/a@b:c.jpg"
