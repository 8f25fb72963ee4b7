"""Files joined by their bytes: in order, complete or absent, in chunks of a size that S3 takes."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceverify import joining, s3
from faceverify.joining import Join, join_files, plan_chunks, put_here
from faceverify.storage import Location, open_location


def pieces_of(folder: Location, contents: list[bytes]) -> list[tuple[Location, int]]:
    places = [folder / f"{number:08d}.csv" for number in range(len(contents))]
    for place, content in zip(places, contents, strict=True):
        place.write_bytes(content)
    return [(place, len(content)) for place, content in zip(places, contents, strict=True)]


@given(st.lists(st.integers(0, 40 << 20), max_size=60), st.integers(0, 100))
def test_chunks_follow_each_other_and_only_the_last_is_small(sizes: list[int], start: int) -> None:
    places = [(Location(f"/{number}"), size) for number, size in enumerate(sizes)]
    chunks = plan_chunks(places, start)
    assert [piece for chunk in chunks for piece in chunk.pieces] == [place for place, _ in places]
    assert chunks[0].start == start and chunks[-1].start + chunks[-1].size == start + sum(sizes)
    assert all(one.start + one.size == two.start for one, two in pairwise(chunks))
    assert all(chunk.size >= joining.CHUNK_BYTES for chunk in chunks[:-1])


def test_no_more_chunks_than_s3_takes() -> None:
    places = [(Location(f"/{number}"), 10 << 20) for number in range(100_000)]
    assert len(plan_chunks(places, 0)) <= 10_000


@pytest.mark.parametrize("contents", [[], [b""], [b"a\n", b"", b"bb\n" * 50, b"c\n"]])
@pytest.mark.parametrize("chunk", [1, 5, 10_000])
def test_local_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contents: list[bytes], chunk: int) -> None:
    monkeypatch.setattr(joining, "CHUNK_BYTES", chunk)
    folder, draft = Location(str(tmp_path)), Location(str(tmp_path / "draft"))

    def backwards(join: Join) -> None:
        for number in reversed(range(len(join.chunks))):
            assert not (tmp_path / "all.csv").exists()
            join.put(number)

    join_files(folder / "all.csv", b"head\n", pieces_of(folder / "pieces", contents), draft, backwards)
    assert (tmp_path / "all.csv").read_bytes() == b"head\n" + b"".join(contents)
    assert not draft.exists()


def test_a_longer_draft_of_an_interrupted_attempt_leaves_nothing_behind(tmp_path: Path) -> None:
    folder, draft = Location(str(tmp_path)), Location(str(tmp_path / "draft"))
    draft.write_bytes(b"x" * 1000)
    join_files(folder / "all.csv", b"h\n", pieces_of(folder / "pieces", [b"a\n"]), draft)
    assert (tmp_path / "all.csv").read_bytes() == b"h\na\n"


def test_objects(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "CHUNK_BYTES", 5 << 20)
    folder = open_location(f"s3://{bucket}/run")
    contents = [b"a" * (3 << 20), b"b" * (3 << 20), b"c" * (5 << 20), b"d" * (6 << 20), b"e"]
    given, copied = pieces_of(folder / "pieces", contents), list[int]()

    def watched(join: Join) -> None:
        copied.extend(n for n, chunk in enumerate(join.chunks) if n and len(chunk.pieces) == 1 and chunk.size > 1)
        put_here(join)

    join_files(folder / "all.csv", b"head\n", given, folder / "unused", watched)
    assert (folder / "all.csv").read_bytes() == b"head\n" + b"".join(contents)
    assert copied == [1, 2], "large pieces are copied by S3 itself"
    join_files(folder / "small.csv", b"head\n", pieces_of(folder / "few", [b"x\n"]), folder / "unused")
    assert (folder / "small.csv").read_bytes() == b"head\nx\n"


def test_what_fails_leaves_no_upload_behind(bucket: str) -> None:
    folder = open_location(f"s3://{bucket}/run")

    def fail(_: Join) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        join_files(folder / "all.csv", b"h", pieces_of(folder / "pieces", [b"x"]), folder / "unused", fail)
    assert "Uploads" not in s3.client().list_multipart_uploads(Bucket=bucket)
    assert not (folder / "all.csv").exists()


def test_storage_that_refuses_is_an_error_of_the_system(bucket: str) -> None:
    with pytest.raises(OSError, match="cannot write"):
        join_files(open_location("s3://no-such-bucket-here/all.csv"), b"h", [], Location("/unused"))
