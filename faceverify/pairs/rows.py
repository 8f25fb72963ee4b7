"""The drawn pairs as rows of the table `pairs`, and as the reference's CSV."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from faceverify.pairs.people import People
from faceverify.pairs.quotas import Quotas, meetings
from faceverify.pairs.sampling import Drawn, deepfake_pairs, genuine_pairs, impostor_pairs, within
from faceverify.tables import PAIRS

KINDS = ("genuine", "impostor", "deepfake")


def pairs_of(people: People, quotas: Quotas, persons: range) -> pa.Table:
    """All pairs of consecutive persons, as rows of the table `pairs` in the order of persons, then kinds."""
    chosen = np.arange(persons.start, persons.stop)
    drawn = (
        genuine_pairs(people, chosen),
        impostor_pairs(people, chosen, quotas.impostor[chosen], meetings(people)[chosen]),
        deepfake_pairs(people, chosen, quotas.deepfake[chosen]),
    )
    kind = np.repeat(np.arange(len(KINDS)), [len(part[0]) for part in drawn])
    owner, first, second = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    order = np.argsort(owner, kind="stable")  # three runs that are sorted already
    return _table(people, kind[order], (owner[order], first[order], second[order]))


def _table(people: People, kind: np.ndarray, drawn: Drawn) -> pa.Table:
    owner, first, second = drawn
    other = owner.copy()
    strangers = np.flatnonzero(kind == KINDS.index("impostor"))
    other[strangers] = np.searchsorted(people.start, second[strangers], side="right") - 1
    columns = {
        "pair": _names(owner, kind),
        "photo_a": _take(people.photos, first),
        "photo_b": _take(people.photos, second),
        "label": pa.array((kind == KINDS.index("genuine")).astype(np.int8)),
        "kind": pa.DictionaryArray.from_arrays(pa.array(kind, pa.int8()), pa.array(KINDS)),
        "generator": _take(people.generators, second).dictionary_encode(),
        "split": pa.DictionaryArray.from_arrays(
            pa.array(people.split[owner], pa.int32()), pa.array(people.splits, pa.string())
        ),
        "person_a": people.names.take(pa.array(owner)),
        "person_b": people.names.take(pa.array(other)),
    }
    fields = [PAIRS.field(name).with_type(column.type) for name, column in columns.items()]
    return pa.table(list(columns.values()), schema=pa.schema(fields))


def _take(column: pa.Array | pa.ChunkedArray, rows: np.ndarray) -> pa.Array:
    """The values [K] of rows [K]; of a chunked column without joining its chunks."""
    if isinstance(column, pa.Array):
        return column.take(pa.array(rows))
    order = np.argsort(rows, kind="stable")
    ascending, taken, start = rows[order], [], 0
    for chunk in column.chunks:
        first, last = np.searchsorted(ascending, [start, start + len(chunk)])
        taken.append(chunk.take(pa.array(ascending[first:last] - start)))
        start += len(chunk)
    back = np.empty(len(rows), np.int64)
    back[order] = np.arange(len(rows))
    return pa.concat_arrays(taken).take(pa.array(back)) if taken else pa.array([], column.type)


def _names(owner: np.ndarray, kind: np.ndarray) -> pa.Array:
    """Names of pairs: `g17-3` is the fourth genuine pair of person 17."""
    group = owner * len(KINDS) + kind
    sizes = np.diff(np.unique(np.concatenate([[0], np.flatnonzero(np.diff(group)) + 1, [len(group)]])))
    firsts = group[np.cumsum(sizes) - sizes].tolist()
    starts = pa.array([f"{KINDS[g % len(KINDS)][0]}{g // len(KINDS)}-" for g in firsts], pa.string())
    which = pa.array(np.repeat(np.arange(len(sizes)), sizes))
    numbers = pa.array(np.arange(sizes.max(initial=0))).cast(pa.string())
    return pc.binary_join_element_wise(starts.take(which), numbers.take(pa.array(within(sizes))), "")


def shards(quotas: Quotas, pairs_per_shard: int) -> list[range]:
    """Ranges of consecutive persons that give about `pairs_per_shard` pairs together."""
    total = np.cumsum(quotas.genuine + quotas.impostor + quotas.deepfake)
    if not len(total):
        return []
    cuts = np.unique((total - 1) // pairs_per_shard, return_index=True)[1]
    ends = [*cuts[1:].tolist(), len(total)]
    return [range(int(a), int(b)) for a, b in zip(cuts, ends, strict=True)]


CSV = pa.schema(
    [
        ("pathA", pa.string()),
        ("pathB", pa.string()),
        ("label", pa.int8()),
        ("deepfake_a", pa.int8()),
        ("deepfake_b", pa.int8()),
        ("split", pa.string()),
    ]
)


def csv_header() -> bytes:
    """The first line of `pairs.csv`: the reference's column names, and `split`."""
    return csv_rows(None)


def csv_rows(pairs: pa.Table | None) -> bytes:
    """Pairs as lines of `pairs.csv`; the header alone for None."""
    rows = CSV.empty_table()
    if pairs is not None:
        fake = pc.equal(pairs["kind"], "deepfake").cast(pa.int8())
        real = pa.repeat(pa.scalar(0, pa.int8()), pairs.num_rows)
        values = [pairs["photo_a"], pairs["photo_b"], pairs["label"], real, fake, pairs["split"]]
        rows = pa.table([_plain(column) for column in values], schema=CSV)
    sink = pa.BufferOutputStream()
    pa_csv.write_csv(rows, sink, pa_csv.WriteOptions(include_header=pairs is None))
    return sink.getvalue().to_pybytes()


def _plain(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
