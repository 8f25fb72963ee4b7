"""With GPUs the chain is cut in two or three, and photos or crops travel between: all ways write the same parts."""

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from faceverify import faces
from faceverify.align import AlignConfig
from faceverify.errors import BadData, PlatformError, Reason
from faceverify.faces import Pictures, Stopwatch
from faceverify.images import ImageLimits
from faceverify.images.decoded import DecodedPhoto
from faceverify.parts import part, read_part
from faceverify.rendered import RenderedConfig, write
from faceverify.shards import read_shard, write_shards
from faceverify.storage import Location
from ray_jobs.engine import photo_workers
from ray_jobs.engine.photo_pipeline import Chain, FaceSink, PhotoSource
from ray_jobs.engine.photo_workers import (
    Cropper,
    Finisher,
    Fused,
    GpuCropper,
    GpuFinisher,
    Joiner,
    Piece,
    decode_shards,
    pictures_in,
    pictures_out,
)
from ray_jobs.engine.shards import SHARD

PER_SHARD = 5


def chain(folder: Path, stage: str) -> Chain:
    source = PhotoSource(AlignConfig(method="annotated"), ImageLimits())
    work = Location(str(folder))
    return Chain(work, partial(read_shard, work / "input"), stage, source, FaceSink())


def rows_of(chain: Chain, shard: int) -> pa.Table:
    """As Ray Data's read operator gives them."""
    rows = chain.read(shard)
    return rows.append_column(SHARD, pa.repeat(shard, rows.num_rows))


def decoded(chain: Chain, shard: int) -> Iterator[pa.Table]:
    assert isinstance(chain.source, PhotoSource)
    return decode_shards(rows_of(chain, shard), chain.source.read)


def crops_on_gpu(chain: Chain, shard: int) -> pa.Table:
    aligner, finisher = GpuCropper(chain, chain.source.open_aligner), Finisher(chain)
    crops = [crops for pieces in decoded(chain, shard) for crops in aligner(pieces)]
    return finisher(pa.concat_tables(crops))  # as one block


def all_on_gpu(chain: Chain, shard: int) -> pa.Table:
    finisher = GpuFinisher(chain, chain.source.open_aligner)
    return pa.concat_tables([finisher(pieces) for pieces in decoded(chain, shard)])


def sink_on_gpu(chain: Chain, shard: int) -> pa.Table:
    return Finisher(chain)(Cropper(chain)(rows_of(chain, shard)))


@pytest.fixture
def shards(tmp_path: Path) -> int:
    """Rendered photos and broken ones; the number of shards."""
    people = write(
        RenderedConfig(persons=2, photos_per_person=5, fakes_per_person=1), Location(str(tmp_path / "people"))
    )
    rows = people.photos.drop_columns("true_person")
    for number in (1, 5, 6, 7, 8, 9):  # the whole second shard too
        Path(rows["uri"][number].as_py()).write_bytes(b"not a picture")
    return write_shards(Location(str(tmp_path / "input")), [rows], PER_SHARD)


@pytest.mark.parametrize("way", [crops_on_gpu, all_on_gpu, sink_on_gpu])
@pytest.mark.parametrize("pixels", [1, 40_000, 10**9])
def test_all_ways_write_the_same(
    way: Callable[[Chain, int], pa.Table], pixels: int, shards: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut, work = chain(tmp_path, "whole"), chain(tmp_path, "cut"), Location(str(tmp_path))
    monkeypatch.setattr(faces, "GROUP_PIXELS", pixels)  # the size of a piece
    fused, joiner, most = Fused(whole), Joiner(work, "cut"), 0
    for shard in range(shards):
        one, many = fused(rows_of(whole, shard)).to_pylist(), way(cut, shard).to_pylist()
        random.Random(shard).shuffle(many)
        most = max(most, len(many))
        for counts in many:
            assert not part(work, "cut", shard).exists() or len(many) == 1
            joiner.add(Piece(*(counts[name] for name in ("shard", "number", "last", "rows"))))
        for name in ("rows", "rejected"):
            assert sum(counts[name] for counts in many) == one[0][name]
        for suffix in ("", ".rejects"):
            parts = [part(work, f"{stage}{suffix}", shard) for stage in ("whole", "cut")]
            assert parts[0].exists() == parts[1].exists()
            if parts[0].exists():
                assert read_part(parts[0]).equals(read_part(parts[1]))
    assert (most == 1) == (way is sink_on_gpu or pixels == 10**9)
    assert sum(read_part(part(work, "cut", shard)).num_rows for shard in range(shards)) == 6
    assert not any((work / "cut.pieces").files())


def test_pictures_arrive_as_they_were_sent() -> None:
    rng = np.random.default_rng(0)
    fault = BadData(Reason.EMPTY, 'zero "bytes"')
    pixels = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in [(3, 5), (7, 2), (1, 1)]]
    photos = [DecodedPhoto(pixels[0], 4, b"file"), DecodedPhoto(pixels[1]), DecodedPhoto(pixels[2], 2, b"another")]
    sent = Pictures(pa.table({"photo": list("abcde")}), [fault, *photos, fault])
    piece = Piece(3, 1, False, 5)
    (row,) = photo_workers._rows(photo_workers._packed(piece, Stopwatch({"read": 2.0}), pictures_out(sent)))
    assert photo_workers._unpacked(row) == (piece, Stopwatch({"read": 2.0}))
    got = pictures_in(row)
    assert got.rows.equals(sent.rows)
    for want, came in zip(sent.photos, got.photos, strict=True):
        if isinstance(want, BadData):
            assert isinstance(came, BadData) and (came.reason, came.detail) == (want.reason, want.detail)
        else:
            assert isinstance(came, DecodedPhoto)
            assert np.array_equal(came.pixels, want.pixels) and came.pixels.flags.writeable
            assert (came.reduction, came.data) == (want.reduction, want.data)


def test_storage_that_refuses_all_stops_the_work_before_anything_is_written(shards: int, tmp_path: Path) -> None:
    rows = pa.concat_tables([read_shard(Location(str(tmp_path)) / "input", shard) for shard in range(shards)])
    (tmp_path / "refused").symlink_to("/proc/self/mem")  # a file, but whoever reads it gets an error
    refused = rows.set_column(1, rows.schema.field("uri"), pa.array([str(tmp_path / "refused")] * rows.num_rows))
    write_shards(Location(str(tmp_path / "input")), [refused], rows.num_rows)
    pieces = decoded(chain(tmp_path, "cut"), 0)
    with pytest.raises(PlatformError, match="none of 12 photos could be read"):
        next(pieces)
