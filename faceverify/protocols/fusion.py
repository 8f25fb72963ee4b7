"""One feature of a photo and its mirror image, in the ways in which published scripts join them.

    sum       the raw features added: insightface's F1, AdaFace's `pre_norm_vector_add`. Its direction is also that of
              AdaFace's `norm_weighted_avg`, which forgets the norm.
    average   both divided by their norm, then added: AdaFace's `average`
    concat    both divided by their norm, then one behind the other: AdaFace's `concat`, twice as many numbers

Only `sum` keeps a norm that says something of the photo's quality; the others give unit vectors.
"""

from typing import Literal, get_args

import numpy as np

from faceverify.errors import UserError
from faceverify.vectors import lengths

Flip = Literal["sum", "average", "concat"]
FLIPS = get_args(Flip)


def fuse(plain: np.ndarray, mirrored: np.ndarray | None, flip: Flip = "sum") -> np.ndarray:
    """The joint features [N,D] (concat: [N,2D]), float64; without mirror images the plain ones.

    Args:
        plain: raw features [N,D].
        mirrored: raw features [N,D] of the mirror images, or None.
        flip: how both are joined.

    Raises:
        UserError: `flip` is none of these, or both differ in shape.
    """
    if flip not in FLIPS:
        raise UserError(f"flip: '{flip}' is not known; choose one of {', '.join(FLIPS)}.")
    first = np.asarray(plain, np.float64)
    if mirrored is None:
        return first
    second = np.asarray(mirrored, np.float64)
    if first.shape != second.shape:
        raise UserError(
            f"mirrored: features {list(second.shape)} do not go with plain ones {list(first.shape)}; give one of each."
        )
    if flip == "sum":
        return first + second
    first, second = directions(first), directions(second)
    return directions(first + second if flip == "average" else np.concatenate([first, second], axis=1))


def directions(vectors: np.ndarray) -> np.ndarray:
    """Rows [N,D] divided by their length, float64; a row of zeros stays zero."""
    return vectors / np.maximum(lengths(vectors), np.finfo(np.float64).tiny)[:, None]


def unit_features(plain: np.ndarray, mirrored: np.ndarray | None = None, flip: Flip = "sum") -> np.ndarray:
    """Unit vectors [N,D] float32 of photos; a photo whose features are not finite (no face found) gives zeros."""
    joint = fuse(plain, mirrored, flip)
    joint[~np.isfinite(joint).all(axis=1)] = 0
    return directions(joint).astype(np.float32)
