"""Codes for names that come piece by piece."""

import numpy as np
import pyarrow as pa

from faceverify.evaluation.names import Names


def column(*names: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([names[:2], names[2:]], pa.string())


def test_codes_do_not_change_and_null_has_none() -> None:
    names = Names()
    np.testing.assert_array_equal(names.codes(column("b", None, "a", "b"))[0], [0, -1, 1, 0])
    np.testing.assert_array_equal(names.codes(column("c", "a", None))[0], [2, 1, -1])
    np.testing.assert_array_equal(names.codes(column())[0], [])
    assert names.texts() == ["b", "a", "c"]


def test_the_order_is_that_of_whole_columns_one_after_another() -> None:
    names = Names(places=2)
    for first, second in ((("b", "a"), ("x", "c")), (("c", "b"), ("y", "x"))):
        names.codes(column(*first), column(*second))
    texts = names.texts()
    assert [texts[code] for code in np.argsort(names.order())] == ["b", "a", "c", "x", "y"]
