"""One file of many by joining their bytes: nothing is decoded, and chunks of it are put in place by whoever has time.

A local file gets its full length first, and chunks are copied to their places. In S3 it is a multipart upload, whose
chunks are copied on the server's side where a piece is large enough for that. The file appears complete, or not at all.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from faceverify import s3
from faceverify.storage import Location

# S3 takes at most 10,000 parts, which but for the last have at least 5 MiB and at most 5 GiB.
CHUNK_BYTES, MOST_CHUNKS, COPIED_FROM = 16 << 20, 9_000, 5 << 20
_LARGEST_COPY = 5 << 30


@dataclass(frozen=True)
class Chunk:
    """Consecutive pieces, and where their bytes begin in the file."""

    pieces: tuple[Location, ...]
    start: int
    size: int


@dataclass(frozen=True)
class Join:
    """A file that is being put together.

    target: where it will be; draft: the local file, or the identifier of S3's upload; head: its first bytes.
    """

    target: Location
    draft: str
    head: bytes
    chunks: tuple[Chunk, ...]

    def put(self, number: int) -> None:
        """Put one chunk in its place; again if that was interrupted."""
        chunk = self.chunks[number]
        if self.target.is_local:
            with open(self.draft, "r+b") as file:
                file.seek(chunk.start)
                for piece in chunk.pieces:
                    with piece.open_input() as source:
                        shutil.copyfileobj(source, file, 1 << 20)
            return
        bucket, key = self.target.path.split("/", 1)
        named = {"Bucket": bucket, "Key": key, "UploadId": self.draft, "PartNumber": number + 1}
        if number and len(chunk.pieces) == 1 and COPIED_FROM <= chunk.size <= _LARGEST_COPY:
            s3.client().upload_part_copy(CopySource=chunk.pieces[0].path, **named)
        else:
            head = b"" if number else self.head
            s3.client().upload_part(Body=head + b"".join(piece.read_bytes() for piece in chunk.pieces), **named)


def join_files(
    target: Location,
    head: bytes,
    pieces: Sequence[tuple[Location, int]],
    draft: Location,
    put: Callable[[Join], None] | None = None,
) -> None:
    """Make a file of `head` and the bytes of pieces, in order.

    Args:
        target: the file.
        head: its first bytes.
        pieces: (place, bytes) of each; all local, or all in S3, as the target.
        draft: a local file that may be written meanwhile, on the same file system as the target.
        put: puts all chunks of a `Join` in their places; in this process unless given.

    Raises:
        OSError: storage refuses.
    """
    chunks = plan_chunks(pieces, len(head))
    (_join_locally if target.is_local else _join_in_s3)(target, head, chunks, draft, put or put_here)


def plan_chunks(pieces: Sequence[tuple[Location, int]], start: int) -> tuple[Chunk, ...]:
    """Consecutive pieces as chunks of CHUNK_BYTES or more, but for the last, and at most MOST_CHUNKS of them."""
    least = max(CHUNK_BYTES, sum(size for _, size in pieces) // MOST_CHUNKS)
    chunks, held, size = list[Chunk](), list[Location](), 0
    for place, more in pieces:
        held, size = [*held, place], size + more
        if size >= least:
            chunks.append(Chunk(tuple(held), start, size))
            held, start, size = [], start + size, 0
    return (*chunks, Chunk(tuple(held), start, size)) if held or not chunks else tuple(chunks)


def put_here(join: Join) -> None:
    """Put all chunks in their places, one after another."""
    for number in range(len(join.chunks)):
        join.put(number)


def _join_locally(
    target: Location, head: bytes, chunks: tuple[Chunk, ...], draft: Location, put: Callable[[Join], None]
) -> None:
    draft.delete()
    draft.write_bytes(head)
    os.truncate(draft.path, chunks[-1].start + chunks[-1].size)
    put(Join(target, draft.path, head, chunks))
    os.replace(draft.path, target.path)


def _join_in_s3(
    target: Location, head: bytes, chunks: tuple[Chunk, ...], _: Location, put: Callable[[Join], None]
) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    asked, (bucket, key) = s3.client(), target.path.split("/", 1)
    named = {"Bucket": bucket, "Key": key}
    try:
        named["UploadId"] = asked.create_multipart_upload(**named)["UploadId"]
    except (BotoCoreError, ClientError) as error:
        raise OSError(f"cannot write '{target}' ({error})") from error
    try:
        put(Join(target, named["UploadId"], head, chunks))
        pages = asked.get_paginator("list_parts").paginate(**named)
        parts = [{"PartNumber": one["PartNumber"], "ETag": one["ETag"]} for page in pages for one in page["Parts"]]
        assert len(parts) == len(chunks), f"{target}: {len(chunks)} chunks became {len(parts)} parts"
        asked.complete_multipart_upload(MultipartUpload={"Parts": parts}, **named)
    except BaseException as error:
        with contextlib.suppress(BotoCoreError, ClientError):
            asked.abort_multipart_upload(**named)  # else its chunks stay, unseen, and are paid for
        if isinstance(error, (BotoCoreError, ClientError)):
            raise OSError(f"cannot write '{target}' ({error})") from error
        raise
