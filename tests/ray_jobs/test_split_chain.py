"""With GPUs the chain is cut in two, and crops travel between the halves; both ways write the same parts."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from faceverify.align import AlignConfig
from faceverify.datasets.rendered import RenderedConfig, write
from faceverify.images import ImageLimits
from faceverify.run_folder import part, read_part
from faceverify.shards import write_shards
from faceverify.storage import Location
from ray_jobs.stages import Chain, Cropper, Embedder, FaceSink, Fused, PhotoSource


def chain(folder: Path, stage: str) -> Chain:
    source = PhotoSource(AlignConfig(method="annotated"), ImageLimits())
    return Chain(Location(str(folder)), "input", stage, source, FaceSink())


def test_both_ways_write_the_same(tmp_path: Path) -> None:
    people = write(
        RenderedConfig(persons=2, photos_per_person=4, fakes_per_person=1), Location(str(tmp_path / "people"))
    )
    rows = people.photos.drop_columns("true_person")
    Path(rows["uri"][1].as_py()).write_bytes(b"not a picture")
    shards = write_shards(Location(str(tmp_path / "input")), [rows], 4)
    fused, cropper, embedder = (
        Fused(chain(tmp_path, "whole")),
        Cropper(chain(tmp_path, "cut")),
        Embedder(chain(tmp_path, "cut")),
    )
    for shard in range(shards):
        number = {"shard": np.array([shard])}
        one = fused(number)
        crops = pa.table(cropper(number))  # as Ray Data hands it on
        two = embedder(
            {name: column.to_numpy() for name, column in zip(crops.column_names, crops.columns, strict=True)}
        )
        assert (one["rows"], one["rejected"]) == (two["rows"], two["rejected"])
        for suffix in ("", ".rejects"):
            parts = [part(Location(str(tmp_path)), f"{way}{suffix}", shard) for way in ("whole", "cut")]
            assert parts[0].exists() == parts[1].exists()
            if parts[0].exists():
                assert read_part(parts[0]).equals(read_part(parts[1]))
    assert sum(read_part(part(Location(str(tmp_path)), "cut", s)).num_rows for s in range(shards)) == len(rows) - 1
