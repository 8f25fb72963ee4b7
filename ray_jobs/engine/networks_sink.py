"""Several networks over the crops of one pass: a column of embeddings for each, and of each column a table."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify import tables
from faceverify.align.crops import Crop
from faceverify.faces import Crops, Stopwatch, embed_crops
from faceverify.models import EngineConfig
from faceverify.parts import part as part_of
from faceverify.parts import read_part, write_part
from faceverify.shards import read_shard
from faceverify.storage import Location
from ray_jobs.engine.photo_workers import UseCrops

STAGE = "vectors"  # of all networks, side by side


@dataclass(frozen=True)
class NetworksSink:
    """The embeddings of every crop by the networks that want it: a column for each network, and with `mirrored` another
    one of the mirror images."""

    networks: tuple[tuple[str, Crop], ...]  # as named, and its crop
    engine: EngineConfig
    mirrored: bool = False

    def open(self) -> UseCrops:
        """Load them."""
        from faceverify.models import load_engine

        engines = [(load_engine(model, self.engine), str(crop)) for model, crop in self.networks]

        def use(crops: Crops, watch: Stopwatch) -> tuple[pa.Table, pa.Table]:
            rows, rejects = crops.rows.select(["photo", "photo_version"]), crops.rejects
            for number, (engine, crop) in enumerate(engines):
                own = Stopwatch()
                faces = crops.others.get(crop, crops.faces)
                views = {"network": faces} | ({"mirrored": faces[:, :, ::-1]} if self.mirrored else {})
                for name, pictures in views.items():
                    made, _ = embed_crops(replace(crops, faces=pictures, others={}), engine, own)
                    rows = rows.append_column(f"{name} {number}", aligned_to(rows["photo"], made))
                watch.seconds[f"network {number}"] += own.seconds["embed"]
            return rows, rejects

        return use


def aligned_to(photos: pa.ChunkedArray, made: pa.Table) -> pa.Array:
    """The embeddings of a table in the order of the photos; null where a network gave none that can be used."""
    return made["embedding"].combine_chunks().take(pc.index_in(photos, value_set=made["photo"]).combine_chunks())


def read_photos(work: Location, shard: int) -> pa.Table:
    """The photos of a shard, as rows of the photos table."""
    return read_shard(work / "photos", shard).drop_columns("row")


def read_vectors(work: Location, shard: int) -> pa.Table:
    """The embeddings of a shard by all networks."""
    return read_part(part_of(work, STAGE, shard))


def split_networks(
    work: Location, columns: list[tuple[str, str, str, str]], shard: int, rows: pa.Table
) -> tuple[int, int]:
    """Write each column as a part of its own.

    Args:
        work: the run's working folder.
        columns: of each its name, the table that it becomes, digest and crop of the network.
        shard: whose embeddings.
        rows: these.
    """
    for name, table, digest, crop in columns:
        known = rows.filter(rows[name].is_valid())
        column = known[name].combine_chunks()
        dim = column.type.list_size
        vectors = column.flatten().to_numpy().reshape(len(column), dim)
        made = {
            "photo": known["photo"],
            "embedding": pa.FixedSizeListArray.from_arrays(pc.cast(column.flatten(), pa.float32()), dim),
            "norm": pa.array(np.linalg.norm(vectors, axis=1), pa.float32()),
            "model": pa.repeat(digest, len(column)),
            "photo_version": known["photo_version"],
            "crop": pa.repeat(crop, len(column)),
        }
        write_part(work, table, shard, pa.table(made, schema=tables.embeddings(dim)), None)
    return rows.num_rows, 0
