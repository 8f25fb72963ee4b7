"""Random numbers of a person: they depend on the seed, the person's name and a counter, and on no other person.

A generator object per person would be too slow for a million people: these are plain array operations
(SplitMix64: Steele et al., Fast Splittable Pseudorandom Number Generators, 2014).
"""

import hashlib
from collections.abc import Iterable

import numpy as np

_GOLDEN = 0x9E3779B97F4A7C15
_TO_UNIT = 2.0**-53


def person_keys(names: Iterable[str], seed: int) -> np.ndarray:
    """The key of each person's random numbers.

    Args:
        names: of P people.
        seed: of the run.

    Returns:
        [P] uint64.
    """
    salt = seed.to_bytes(16, "little", signed=True)
    digests = b"".join(hashlib.blake2b(name.encode(), digest_size=8, key=salt).digest() for name in names)
    return np.frombuffer(digests, np.uint64)


def random_bits(keys: np.ndarray, stream: int, counter: np.ndarray | int = 0) -> np.ndarray:
    """Random uint64 [N], one per key [N] and counter ([N], or one for all); streams are independent of each other."""
    x = _mix(keys + np.uint64(_GOLDEN * (stream + 1) % 2**64))
    # An array even of one number: NumPy warns when a scalar overflows, and here overflow is intended.
    return _mix(x + np.uint64(_GOLDEN) * (np.atleast_1d(counter).astype(np.uint64) + np.uint64(1)))


def uniform_int(limit: np.ndarray, keys: np.ndarray, stream: int, counter: np.ndarray) -> np.ndarray:
    """Uniform random integers [N] int64 from 0 to `limit` - 1, one per limit, key and counter (all [N]).

    The largest deviation from uniformity is limit / 2^53.
    """
    unit = (random_bits(keys, stream, counter) >> np.uint64(11)).astype(np.float64) * _TO_UNIT
    return (unit * limit).astype(np.int64)


def _mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
