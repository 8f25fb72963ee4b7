"""Unit vectors: exact to the bit, so that scores and decisions do not depend on which module divides."""

import math

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from faceverify.cleaning.plan import unit_vectors
from faceverify.vectors import lengths, unit

SIZES = st.floats(2.0**-80, 2.0**80, width=32)  # their squares fit float64, not float32
NUMBERS = st.one_of(st.just(0.0), SIZES, SIZES.map(lambda size: -size))
ROWS = hnp.arrays(np.float32, st.tuples(st.integers(0, 5), st.integers(1, 9)), elements=NUMBERS)


@settings(max_examples=200)
@given(rows=ROWS)
def test_lengths_are_exact_beyond_float32(rows):
    want = [math.sqrt(math.fsum(float(x) ** 2 for x in row)) for row in rows]
    np.testing.assert_allclose(lengths(rows), want, rtol=1e-14)


@settings(max_examples=200)
@given(rows=ROWS)
def test_a_unit_vector_is_the_exact_quotient_rounded_once(rows):
    got = unit(rows)
    assert got.dtype == np.float32 and got.shape == rows.shape
    for row, length, ours in zip(rows, lengths(rows), got, strict=True):
        want = [np.float32(float(x) / length) if length else np.float32(0) for x in row]
        np.testing.assert_array_equal(ours, want)


def test_zeros_stay_zero_and_what_is_not_finite_has_no_direction():
    np.testing.assert_array_equal(
        unit(np.float32([[0, 0], [3, 4], [-6, 8]])), np.float32([[0, 0], [0.6, 0.8], [-0.6, 0.8]])
    )
    with np.errstate(invalid="ignore"):
        assert np.isnan(unit(np.float32([[np.nan, 1]]))).all()


@settings(max_examples=100)
@given(rows=ROWS.filter(len))
def test_cleaning_multiplies_by_a_rounded_factor(rows):
    column = pa.chunked_array([pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])])
    for row, length, ours in zip(rows, lengths(rows), unit_vectors(column), strict=True):
        want = [x * np.float32(1 / length) if length else np.float32(0) for x in row]
        np.testing.assert_array_equal(ours, want)
