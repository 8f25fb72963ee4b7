"""Where the photos of one person stand when their similarity graph is drawn."""

import numpy as np

Edges = list[tuple[int, int]]
_NEAR, _FAR = 0.35, 1.1  # drawn distance of photos whose cosine is 1, and 0 or unknown


def edges(matrix: np.ndarray, threshold: float) -> Edges:
    """Pairs (a < b) of photos whose cosine in `matrix` [P, P] reaches `threshold`; NaN reaches nothing."""
    with np.errstate(invalid="ignore"):
        first, second = np.nonzero(np.triu(matrix >= threshold, 1))
    return list(zip(first.tolist(), second.tolist(), strict=True))


def positions(matrix: np.ndarray) -> np.ndarray:
    """(x, y) of each photo, [P, 2] in [0, 1]; the same for the same matrix.

    Kamada and Kawai: the distances on the paper follow the dissimilarities, so that a stray stands apart.
    """
    import networkx

    size = len(matrix)
    if size < 2:
        return np.full((size, 2), 0.5)
    apart = _FAR - (_FAR - _NEAR) * np.clip(np.nan_to_num(matrix), 0, 1)
    distances = {a: {b: float(apart[a, b]) for b in range(size)} for a in range(size)}
    placed = networkx.kamada_kawai_layout(networkx.complete_graph(size), dist=distances)
    points = np.array([placed[node] for node in range(size)])
    low, high = points.min(0), points.max(0)
    return (points - low) / np.maximum(high - low, 1e-9)
