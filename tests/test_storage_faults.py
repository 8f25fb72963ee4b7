"""S3 that fails now and then is tried again; S3 that fails for good is told, with the object's name."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faulty_proxy import Faults, Kind, faulty

from faceverify import s3
from faceverify.errors import BadData, PlatformError, Reason
from faceverify.storage import Location, check_readable

CONTENT = bytes(range(256)) * 4000
Through = Callable[[Faults], Location]


@pytest.fixture
def through(bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Through]:
    """The bucket through a proxy with faults; it holds one object from before."""
    (Location(f"s3://{bucket}") / "photo.jpg").write_bytes(CONTENT)
    with ExitStack() as stack:

        def one(faults: Faults) -> Location:
            monkeypatch.setenv("AWS_ENDPOINT_URL", stack.enter_context(faulty(s3_server, faults)))
            s3.filesystem.cache_clear()
            return Location(f"s3://{bucket}")

        yield one


@pytest.mark.parametrize("kind", ["500", "503", "cut", "slow"])
def test_a_read_survives_two_faults(kind: Kind, through: Through) -> None:
    faults = Faults(kind, "photo.jpg", "GET", times=2)
    assert (through(faults) / "photo.jpg").read_bytes() == CONTENT
    assert faults.struck == 2 or kind == "slow"


@pytest.mark.parametrize("kind", ["500", "503", "slow"])
def test_a_write_survives_two_faults(kind: Kind, through: Through) -> None:
    faults = Faults(kind, "part.parquet", times=2)
    place = through(faults) / "run" / "part.parquet"
    place.write_bytes(CONTENT)
    faults.times = 0
    assert place.read_bytes() == CONTENT and faults.struck == 2


def test_a_table_survives_faults_of_every_object(through: Through) -> None:
    faults = Faults("503", "table", times=0)
    folder = through(faults) / "table"
    rows = pa.table({"photo": [f"{number}.jpg" for number in range(1000)]})
    with (folder / "part.parquet").open_output() as stream:
        pq.write_table(rows, stream)
    faults.times = 3
    with (folder / "part.parquet").open_input() as stream:
        assert pq.read_table(stream).equals(rows)
    assert [entry.path for entry in folder.files()] == ["part.parquet"] and faults.struck == 3


@pytest.mark.parametrize("kind", ["500", "cut"])
def test_a_photo_that_cannot_be_read_for_an_outage_is_no_bad_photo(
    kind: Kind, through: Through, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "ATTEMPTS", 2)
    photo = through(Faults(kind, "photo.jpg", "GET")) / "photo.jpg"
    with pytest.raises(PlatformError, match=r"s3://photos/photo\.jpg"):
        photo.read_bytes()
    with pytest.raises(BadData) as gone:
        (photo.parent / "gone.jpg").read_bytes()
    assert gone.value.reason == Reason.MISSING


def test_a_part_that_cannot_be_written_is_named(through: Through, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "ATTEMPTS", 2)
    with pytest.raises(OSError, match=r"part-7\.parquet"):
        (through(Faults("503", "part-7", "P")) / "part-7.parquet").write_bytes(CONTENT)


def test_a_server_that_is_down_is_told_before_any_work(through: Through) -> None:
    faults = Faults("503")
    with pytest.raises(PlatformError, match=r"photos: .*'photos'"):
        check_readable(through(faults) / "photo.jpg", "photos")
    assert 2 <= faults.seen <= 6
