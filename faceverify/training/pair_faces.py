"""The faces of some pairs of one split as pixels: what a finished network is compared on."""

from collections.abc import Callable, Iterator

import numpy as np

from faceverify.errors import UserError
from faceverify.inputs import stream_table
from faceverify.models.parity import PairFaces
from faceverify.storage import Location
from faceverify.training.batches import decode_face
from faceverify.training.checks import sample
from faceverify.training.material import Pairs, any_faces, read_faces, read_pairs


def choose(
    faces: list[Location],
    pairs: list[Location],
    split: str,
    most: int,
    seed: int,
    remedy: Callable[[], str] = any_faces,
) -> Pairs:
    """At most `most` pairs of a split at random, each kind in its share; their faces are rows of the faces table.

    Args:
        faces: files of a faces table.
        pairs: files of a pairs table.
        split: as the pairs name it.
        most: 0 = all.
        seed: of the choice.
        remedy: see `read_pairs`.

    Raises:
        UserError: no such split, pairs of one label only, or what `read_pairs` refuses.
    """
    splits = read_pairs(pairs, read_faces(faces), remedy)
    if split not in splits:
        raise UserError(f"split is '{split}', but the pairs are of {', '.join(sorted(splits)) or 'none'}; give one.")
    chosen = sample(splits[split], most, seed)
    if len(np.unique(chosen.label)) < 2:
        raise UserError(
            f"pairs: the {len(chosen):,} pairs taken of the split '{split}' are not of both labels, which an EER "
            "needs; give another --split, or more --max-pairs."
        )
    return chosen


def read(faces: list[Location], pairs: Pairs) -> PairFaces:
    """Decode the faces that the pairs need.

    Raises:
        UserError: a picture is damaged.
    """
    rows, places = np.unique(np.concatenate([pairs.a, pairs.b]), return_inverse=True)
    a, b = places.reshape(2, -1)
    return PairFaces(np.stack(list(_pictures(faces, rows))), a, b, pairs.label)


def _pictures(faces: list[Location], rows: np.ndarray) -> Iterator[np.ndarray]:
    """The decoded pictures of ascending rows of the table."""
    start = 0
    for table in stream_table(faces, ["image"], rows=4096):
        wanted = rows[(rows >= start) & (rows < start + table.num_rows)] - start
        yield from map(decode_face, table["image"].take(wanted).to_pylist())
        start += table.num_rows
