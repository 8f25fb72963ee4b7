"""The encoded faces of a training in Ray's object store: read once, found by row from any worker, spilled to disk by
Ray where memory is short, read again from the table where a node is lost."""

from typing import Any

import numpy as np
import pyarrow as pa

from faceverify.storage import Location

PER_BLOCK = 4096  # faces; some 80 MB of PNG


class StoredImages:
    """`GetImages` over blocks in the object store.

    Args:
        blocks: references to Arrow arrays of encoded faces.
        starts: row of the first face of each block.
    """

    def __init__(self, blocks: list[Any], starts: np.ndarray) -> None:
        self._blocks, self._starts = blocks, starts

    def __call__(self, rows: np.ndarray) -> list[bytes]:
        """The encoded pictures of rows of the faces."""
        import ray

        of = np.searchsorted(self._starts, rows, side="right") - 1
        needed = np.unique(of)
        held = dict(zip(needed.tolist(), ray.get([self._blocks[block] for block in needed]), strict=True))
        places = (rows - self._starts[of]).tolist()
        return [held[block][place].as_py() for block, place in zip(of.tolist(), places, strict=True)]


def store_images(files: list[Location]) -> StoredImages:
    """Begin to read the pictures of a faces table into the object store."""
    import pyarrow.parquet as pq
    import ray

    read = ray.remote(num_cpus=0.5, max_retries=5)(_read_blocks)
    blocks: list[Any] = []
    sizes: list[int] = []
    for file in files:
        with file.open_input() as stream:
            facts = pq.ParquetFile(stream).metadata
            groups = [facts.row_group(number).num_rows for number in range(facts.num_row_groups)]
        for number, rows in enumerate(groups):
            parts = [min(PER_BLOCK, rows - start) for start in range(0, rows, PER_BLOCK)]
            made = read.options(num_returns=len(parts)).remote(file.uri, number)
            blocks += made if len(parts) > 1 else [made]
            sizes += parts
    return StoredImages(blocks, np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64))


def _read_blocks(uri: str, group: int) -> Any:
    """The pictures of one row group in blocks of PER_BLOCK."""
    import pyarrow.parquet as pq

    with Location(uri).open_input() as stream:
        column = pq.ParquetFile(stream).read_row_group(group, ["image"])["image"]
    whole = column.cast(pa.large_binary()).combine_chunks()
    # A slice would carry the whole row group into the store.
    parts = [pa.concat_arrays([whole.slice(at, PER_BLOCK)]) for at in range(0, len(whole), PER_BLOCK)]
    return parts if len(parts) > 1 else parts[0]
