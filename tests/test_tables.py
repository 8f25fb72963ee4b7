"""How tables are encoded in files."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from faceverify import tables


def test_only_what_repeats_is_put_in_a_dictionary() -> None:
    vectors = np.random.default_rng(0).standard_normal((64, 8), dtype=np.float32)
    values = {
        "person": pa.array(["a", "b"] * 32),
        "image": pa.array([b"x"] * 64),
        "similarity": pa.array(vectors[:, 0]),
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 8),
    }
    table, sink = pa.table(values), io.BytesIO()
    pq.write_table(table, sink, **tables.parquet_options(table.schema))
    group = pq.read_metadata(sink).row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    assert {c.path_in_schema.split(".")[0]: c.has_dictionary_page for c in columns} == {
        "person": True, "image": False, "similarity": False, "embedding": False
    }  # fmt: skip
    assert {c.compression for c in columns} == {"ZSTD"}
    assert pq.read_table(sink).equals(table)
