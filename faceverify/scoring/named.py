"""The photos that a list of pairs names: are they there, under which name, and how many pairs could not be scored."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify import failures
from faceverify.datasets.paths import normalise_path
from faceverify.errors import Reason
from faceverify.inputs import stream_table
from faceverify.matching import SAMPLE, Shift, find_shift
from faceverify.naming import Naming, in_folder, in_table, listed
from faceverify.storage import Location

Photos = list[Location] | Location | None  # files of a photos table, or the folder of the photos


def look_up(names: Iterable[str], photos: Photos, embeddings: list[Location], embedded: np.ndarray) -> Naming:
    """What there is for the names of a list.

    Args:
        names: distinct.
        photos: where they are, or None if embeddings hold all.
        embeddings: files of the embeddings to re-use.
        embedded: [N] bool, which names have an embedding there; what else is there of them does not matter.
    """
    in_order = list(names)
    lacking = {name for name, has in zip(in_order, embedded.tolist(), strict=True) if not has}
    if not lacking:
        return Naming()
    if photos is None:
        return in_table([name for name in in_order if name in lacking], embeddings, exactly=True)
    naming = in_table(in_order, photos) if isinstance(photos, list) else in_folder(in_order, photos)
    return Naming(naming.others, naming.ways, [n for n in naming.missing if n in lacking], naming.near, naming.shift)


class Strays:
    """Paths of a list that leave the photos' root: how many pairs have one, and some of them."""

    def __init__(self) -> None:
        self.pairs = 0
        self.names: list[str] = []

    def see(self, piece: pa.Table) -> None:
        """Look at a piece of the list."""
        rows = piece.filter(pc.is_valid(piece["fault"]))
        self.pairs += rows.num_rows
        for name in ("photo_a", "photo_b") if len(self.names) < SAMPLE else ():
            strays = (path for path in rows[name].to_pylist() if path and normalise_path(path) is None)
            self.names += [path.replace("\\", "/") for path in strays]


def check(
    pairs: list[Location], count: int, numbers: dict[str, int], naming: Naming, strays: Strays, photos: Photos,
    max_failed: float,
) -> None:  # fmt: skip
    """Stop before work starts if most pairs, or most photos, could not be scored.

    Args:
        pairs: files of the planned pairs, with the columns a and b.
        count: of pairs.
        numbers: of the distinct photos.
        naming: what there is for them.
        strays: paths that leave the root.
        photos: where the photos are.
        max_failed: JobConfig.max_failed.

    Raises:
        UserError: names three photos, the nearest that exist, and the remedy.
    """
    reason = (Reason.UNKNOWN_PHOTO if photos is None or isinstance(photos, list) else Reason.MISSING).value
    names = {reason: [naming.examples()], Reason.OUTSIDE_ROOT.value: strays.names}
    remedies = {}
    if naming.shift:
        remedies[reason] = remedy(naming.shift, photos)
    counts: Counter[str] = Counter({reason: len(naming.missing)})
    failures.refuse(counts, len(numbers), max_failed, names=names, remedies=remedies)
    failed = np.zeros(len(numbers) + 1, bool)  # the last is of pairs that leave the root (-1)
    failed[[numbers[name] for name in naming.missing]] = True
    of_pairs = 0
    for rows in stream_table(pairs, ["a", "b"]) if naming.missing else ():
        of_pairs += int((failed[rows["a"].to_numpy()] | failed[rows["b"].to_numpy()]).sum())
    counts = Counter({reason: of_pairs, Reason.OUTSIDE_ROOT.value: strays.pairs})
    if failures.worst(counts, count, max_failed) == Reason.OUTSIDE_ROOT and isinstance(photos, Location):
        shift = find_shift(strays.names[:SAMPLE], listed(photos))
        remedies |= {Reason.OUTSIDE_ROOT.value: remedy(shift, photos)} if shift else {}
    failures.refuse(counts, count, max_failed, what="pairs", names=names, remedies=remedies)


def remedy(shift: Shift, photos: Photos) -> str:
    """The options that make a change of folders."""
    options = []
    if shift.add and isinstance(photos, Location):
        options.append(f"--photos '{photos / shift.add.rstrip('/')}'")
    if shift.strip:
        options.append(f"--pair-list.strip-prefix '{shift.strip.rstrip('/')}'")
    if shift.add and not isinstance(photos, Location):
        options.append(f"a list whose paths begin with '{shift.add}'")
    return f"if the photos are the same ones, give {' and '.join(options)}"
