"""Denormal weights, which some processors multiply many times more slowly than others.

Weights that decay towards zero in training end as numbers below 1.2e-38. What they add to a sum is lost in its
rounding, so they are zeros that may cost time (benchmarks/denormals.py).
"""

import numpy as np

_SMALLEST = np.finfo(np.float32).tiny  # the smallest number that is not denormal
_NEGLIGIBLE = np.float32(1e-30)


def flushed(values: np.ndarray) -> np.ndarray:
    """Return float32 weights with zeros in place of denormal ones; the array itself where nothing is to be done.

    An array whose largest number is below 1e-30 is left as it is: there the small ones may be all that is said.
    Arrays of other types are too.
    """
    if values.dtype != np.float32 or not values.size:
        return values
    size = np.abs(values)
    denormal = (size < _SMALLEST) & (size > 0)
    if not denormal.any() or not size.max() >= _NEGLIGIBLE:  # the latter also where there are NaN
        return values
    return np.where(denormal, np.float32(0), values)
