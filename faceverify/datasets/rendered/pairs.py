"""A simple list of pairs over rendered photos."""

from collections import defaultdict
from itertools import combinations, product

import numpy as np
import pyarrow as pa

from faceverify import tables
from faceverify.errors import UserError

Row = dict[str, str]
Pair = tuple[Row, Row]


def rendered_pairs(photos: pa.Table, seed: int, count: int) -> pa.Table:
    """`count` distinct pairs: half genuine, a quarter impostor (another person of the same split), the rest deepfake.

    Args:
        photos: rows of `photos`, real and fake.
        seed: of the draw; the same photos and seed give the same pairs.
        count: how many; a deepfake pair is a real photo and a fake of the same person.

    Raises:
        UserError: the photos do not hold that many different pairs.
    """
    rng = np.random.default_rng(seed)
    reals, fakes = _by_person(photos, False), _by_person(photos, True)
    genuine = [pair for own in reals.values() for pair in combinations(own, 2)]
    deepfake = [pair for person, own in reals.items() for pair in product(own, fakes.get(person, []))]
    half, quarter = round(count / 2), round(count / 4)
    chosen = {
        "genuine": _pick(rng, genuine, half, "genuine"),
        "impostor": _impostors(rng, [row for own in reals.values() for row in own], quarter),
        "deepfake": _pick(rng, deepfake, count - half - quarter, "deepfake"),
    }
    rows = [_row(kind, *pair) for kind, pairs in chosen.items() for pair in pairs]
    return pa.Table.from_pylist(rows, tables.PAIRS)


def _by_person(photos: pa.Table, fake: bool) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in photos.select(["photo", "person", "is_fake", "generator", "split"]).to_pylist():
        if row["is_fake"] == fake:
            groups[row["person"]].append(row)
    return groups


def _pick(rng: np.random.Generator, pairs: list[Pair], count: int, kind: str) -> list[Pair]:
    if count > len(pairs):
        raise UserError(
            f"The photos give {len(pairs)} {kind} pairs, not {count}; ask for fewer pairs or draw more photos."
        )
    return [pairs[i] for i in rng.choice(len(pairs), count, replace=False)] if count else []


def _impostors(rng: np.random.Generator, rows: list[Row], count: int) -> list[Pair]:
    return _pick(rng, [pair for pair in combinations(rows, 2) if _strangers(*pair)], count, "impostor")


def _strangers(a: Row, b: Row) -> bool:
    return a["person"] != b["person"] and a["split"] == b["split"]


def _row(kind: str, a: Row, b: Row) -> dict[str, object]:
    return {
        "pair": f"{a['photo']}|{b['photo']}",
        "photo_a": a["photo"],
        "photo_b": b["photo"],
        "label": int(kind == "genuine"),
        "kind": kind,
        "generator": b["generator"],
        "split": a["split"],
        "person_a": a["person"],
        "person_b": b["person"],
    }
