"""What the page shows of one person, as JSON-like values; the page itself decides nothing about the data."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from faceverify.review import layout

Row = dict[str, Any]
Link = Callable[[int, str], str]
"""(photo's number in the case, "small" | "large" | "suggested") -> address of its picture."""


def case_view(row: Row, threshold: float, link: Link) -> dict[str, Any]:
    """One person: photos with their pictures and proposals, groups, similarity matrix, drawn graph.

    Args:
        row: as `Cases.read` gives it.
        threshold: cosine from which on photos are joined.
        link: addresses of the pictures.
    """
    size = len(row["photo"])
    matrix = np.array(row["matrix"], np.float64).reshape(size, size)  # None becomes NaN
    kept = [slot for slot in range(size) if row["component"][slot] == 0 and not row["is_fake"][slot]]
    own = to_mean(matrix, kept)
    return {
        "person": row["person"],
        "hardness": row["hardness"],
        "headline": row["headline"] or "",
        "photos_total": row["photos_total"],
        "threshold": threshold,
        "photos": [_photo(row, slot, own[slot], threshold, link) for slot in range(size)],
        "groups": list(_groups(row)),
        "typical": int(kept[np.nanargmax(own[kept])]) if kept and np.isfinite(own[kept]).any() else None,
        "matrix": [_number(value) for value in matrix.ravel().tolist()],
        "graph": {
            "nodes": np.round(layout.positions(matrix), 4).tolist(),
            "edges": layout.edges(matrix, threshold),
            "bridges": list(zip(row["bridges"][::2], row["bridges"][1::2], strict=True)),
        },
    }


def to_mean(matrix: np.ndarray, kept: list[int]) -> np.ndarray:
    """Cosine [P] of each photo to the mean of the `kept` ones, from the photos' cosines [P, P] alone.

    For unit vectors x and k1..kn it is mean(x.ki) / |mean(k)|, and |mean(k)|^2 = mean(ki.kj).
    """
    if not kept:
        return np.full(len(matrix), np.nan)
    length = math.sqrt(max(float(matrix[np.ix_(kept, kept)].mean()), 1e-12))
    return matrix[:, kept].mean(1) / length


def proposal(decision: str, suggested: str | None, component: int | None) -> dict[str, str | None]:
    """What is proposed for a photo of which cleaning said `decision`.

    Of a photo held for review: that it stays if it is in the main component, goes to the person to whom it is near
    otherwise, and is dropped if there is none, for that is where cleaning has left it.

    Args:
        decision: kept, moved, review or dropped.
        suggested: a person to whom the photo is near, if there is one.
        component: of the photo.
    """
    if decision == "kept" or (decision == "review" and component == 0):
        return {"decision": "kept", "to": None}
    if decision != "dropped" and suggested is not None:
        return {"decision": "moved", "to": suggested}
    return {"decision": "dropped", "to": None}


def _photo(row: Row, slot: int, own: float, threshold: float, link: Link) -> dict[str, Any]:
    decision, suggested, component = row["decision"][slot], row["suggested_person"][slot], row["component"][slot]
    near = (row["similarity_suggested"][slot] or 0) >= threshold
    return {
        "photo": row["photo"][slot],
        "fake": bool(row["is_fake"][slot]),
        "component": component,
        "was": decision,
        "waits": row["open"][slot],
        "suggested": suggested,
        "own_similarity": _number(own),
        "suggested_similarity": _number(row["similarity_suggested"][slot]),
        "evidence": row["evidence"][slot] or "",
        "propose": proposal(decision, suggested if near or decision == "moved" else None, component),
        "small": link(slot, "small"),
        "large": link(slot, "large"),
        "suggested_picture": link(slot, "suggested") if row["suggested_uri"][slot] else None,
    }


def _groups(row: Row) -> Iterator[dict[str, Any]]:
    """Photos by component: what waits for a decision first, the kept component last."""
    members: dict[int | None, list[int]] = {}
    for slot, component in enumerate(row["component"]):
        members.setdefault(component, []).append(slot)
    kept, unplaced = members.pop(0, []), members.pop(None, [])
    alone = [slots[0] for slots in members.values() if len(slots) == 1]
    for component, slots in sorted(members.items()):
        if len(slots) > 1:
            yield {"kind": "other", "component": component, "slots": slots}
    for kind, slots in (("alone", alone), ("unplaced", unplaced), ("kept", kept)):
        if slots:
            yield {"kind": kind, "component": None, "slots": slots}


def _number(value: float | None) -> float | None:
    # The page shows two digits; with three here it would round twice.
    return None if value is None or not math.isfinite(value) else round(value, 4)
