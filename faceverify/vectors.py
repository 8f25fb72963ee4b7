"""Lengths and directions of embeddings in NumPy; for tensors with gradients the losses have losses/vectors.py.

Two other places divide embeddings by their lengths in another arithmetic, and change their results if they use this:
`models.parity` compares networks in float64, and `fakes.making` feeds generators float32 throughout.
"""

import numpy as np


def lengths(vectors: np.ndarray) -> np.ndarray:
    """The Euclidean lengths [N] float64 of rows [N,D], summed in float64."""
    return np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows [N,D] divided by their length (computed in float64), float32.

    A row of zeros stays zero; a row with a number that is not finite gives NaN or zeros.
    """
    return (vectors / np.maximum(lengths(vectors), np.finfo(np.float64).tiny)[:, None]).astype(np.float32)
