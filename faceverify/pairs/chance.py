"""Random numbers that belong to a person: they depend on the seed, the name and a counter, never on the company.

A generator per person would do too, but not for a million people at once: these are plain array operations
(SplitMix64: Steele et al., Fast Splittable Pseudorandom Number Generators, 2014).
"""

import hashlib
from collections.abc import Iterable

import numpy as np

_GOLDEN = 0x9E3779B97F4A7C15
_TO_UNIT = 2.0**-53


def person_keys(names: Iterable[str], seed: int) -> np.ndarray:
    """A number [P] uint64 per name."""
    salt = seed.to_bytes(16, "little", signed=True)
    digests = b"".join(hashlib.blake2b(name.encode(), digest_size=8, key=salt).digest() for name in names)
    return np.frombuffer(digests, np.uint64)


def bits(keys: np.ndarray, stream: int, counter: np.ndarray | int = 0) -> np.ndarray:
    """Random uint64, one per key and counter; streams are independent of each other."""
    x = _mixed(keys + np.uint64(_GOLDEN * (stream + 1) % 2**64))
    # An array even of one number: NumPy warns where a single number runs over, and here they are meant to.
    return _mixed(x + np.uint64(_GOLDEN) * (np.atleast_1d(counter).astype(np.uint64) + np.uint64(1)))


def below(limit: np.ndarray, keys: np.ndarray, stream: int, counter: np.ndarray) -> np.ndarray:
    """Random whole numbers int64 from 0 to `limit` - 1; the largest deviation from fairness is limit / 2^53."""
    unit = (bits(keys, stream, counter) >> np.uint64(11)).astype(np.float64) * _TO_UNIT
    return (unit * limit).astype(np.int64)


def _mixed(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
