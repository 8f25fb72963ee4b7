"""Similarities of pairs under every attack, for one shard of pairs at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from faceverify.attacks.options import Condition
from faceverify.images import decode
from faceverify.inputs import stream_table
from faceverify.parts import part
from faceverify.scoring.similarity import OK, PairDecision, PhotoFacts, cosines, score_rows
from faceverify.storage import Location
from faceverify.vectors import unit

if TYPE_CHECKING:
    from faceverify.attacks.gradients import GradientAttacker


@dataclass(frozen=True, eq=False)
class AttackedPhotos:
    """Some photos after embedding.

    numbers: [N] ascending; units: [N, 1 + C, dim] float32, NaN where there is no face; images: PNG of each, or None.
    """

    numbers: np.ndarray
    units: np.ndarray
    images: list[bytes | None]

    def at(self, numbers: np.ndarray) -> np.ndarray:
        """Places of photos that are here."""
        return np.searchsorted(self.numbers, numbers)

    def take(self, condition: int) -> Callable[[np.ndarray], np.ndarray]:
        """Unit vectors [P, dim] by photo number, under the condition of that place (0 = as they are)."""
        return lambda numbers: self.units[self.at(numbers), condition]


def read_photos(
    work: Location, stage: str, numbers: np.ndarray, rows_per_shard: int, dim: int, images: bool
) -> AttackedPhotos:
    """Read the embeddings of photos that have some.

    Args:
        work: the run's working folder.
        stage: where their parts are, rows as of `photos.vectors_schema`.
        numbers: of the photos, from 0; those without an embedding are left out.
        rows_per_shard: consecutive photos per part.
        dim: numbers of an embedding.
        images: whether their crops are read.
    """
    wanted, columns = np.unique(numbers), ["row", "vectors", *(["image"] if images else [])]
    found, vectors, pictures = [np.zeros(0, np.int64)], [], []
    for shard in np.unique(wanted // rows_per_shard).tolist():
        for table in stream_table([part(work, stage, shard)], columns):
            some = table.filter(pa.array(np.isin(table["row"].to_numpy(), wanted))).combine_chunks()
            found.append(some["row"].to_numpy())
            vectors.append(np.array(some["vectors"].combine_chunks().flatten(), np.float32).reshape(len(some), -1, dim))
            pictures += some["image"].to_pylist() if images else [None] * len(some)
    numbers = np.concatenate(found)
    units = np.concatenate(vectors) if vectors else np.zeros((0, 1, dim), np.float32)
    order = np.argsort(numbers, kind="stable")
    flat = unit(units[order].reshape(-1, dim)).reshape(units.shape)
    return AttackedPhotos(numbers[order], flat, [pictures[at] for at in order.tolist()])


def attacked_pairs(
    pairs: pa.Table,
    numbers: tuple[np.ndarray, np.ndarray],
    photos: AttackedPhotos,
    facts: PhotoFacts,
    conditions: Sequence[Condition],
    attacker: "GradientAttacker | None",
    scored_with: str,
) -> pa.Table:
    """Rows of `scores` as `score_rows` makes them, and a column of similarities for each condition.

    A similarity is null where the pair has none without an attack; where the attacked photo shows no face any more; and
    under an attack on gradients where the pair has no label, which says in what direction to push.

    Args:
        pairs, numbers, facts, scored_with: see `score_rows`.
        photos: all those of the pairs that have an embedding; with images if there is an `attacker`.
        conditions: of which the photos have the degradations, in this order.
        attacker: computes the others.
    """
    scores = score_rows(pairs, numbers, photos.take(0), facts, PairDecision(), scored_with=scored_with)
    usable = np.array([status == OK for status in scores["status"].to_pylist()], bool)
    a, b = numbers[0][usable], numbers[1][usable]
    columns: dict[Condition, np.ndarray] = {}
    degraded = [condition for condition in conditions if not condition.on_gradients]
    for place, condition in enumerate(degraded, 1):
        columns[condition] = _cosines(photos.take(0)(a), photos.take(place)(b))
    if attacker is not None:
        kept = scores.filter(pa.array(usable))
        columns |= _on_gradients(kept, a, b, photos, [c for c in conditions if c.on_gradients], attacker)
    for condition in conditions:
        values = np.full(len(usable), np.nan, np.float32)
        values[usable] = columns[condition]
        scores = scores.append_column(condition.name, pa.array(values, mask=np.isnan(values)))
    return scores


def _cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of rows [P, dim] with rows [P, dim]."""
    both, rows = np.concatenate([one, other]), np.arange(len(one))
    return cosines(lambda at: both[at], rows, rows + len(one))


def _on_gradients(
    pairs: pa.Table,
    a: np.ndarray,
    b: np.ndarray,
    photos: AttackedPhotos,
    conditions: list[Condition],
    attacker: "GradientAttacker",
) -> dict[Condition, np.ndarray]:
    """Similarities [P] under each attack on gradients; NaN where a pair has no label."""
    out = {condition: np.full(len(a), np.nan, np.float32) for condition in conditions}
    labelled = np.flatnonzero(pairs["label"].is_valid().to_numpy())
    if not len(labelled):
        return out
    label = pairs["label"].fill_null(0).to_numpy()[labelled]
    names = [pairs["pair"][at].as_py() for at in labelled.tolist()]
    targets = photos.take(0)(a[labelled])
    faces = np.stack([_pixels(photos.images[at]) for at in photos.at(b[labelled]).tolist()])
    for condition, changed in attacker.attacked(faces, targets, np.where(label == 1, -1, 1), names, conditions):
        out[condition][labelled] = attacker.similarities(changed, targets)
    return out


def _pixels(image: bytes | None) -> np.ndarray:
    assert image is not None, "read without pictures"
    return decode(image)
