"""The photos that a list of pairs names: are they there, under which name, and how many pairs could not be scored."""

from collections import Counter
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from faceverify import failures
from faceverify.datasets.paths import normalise_path
from faceverify.errors import Reason
from faceverify.matching import SAMPLE, Shift, find_shift
from faceverify.naming import Naming, in_folder, in_table, listed
from faceverify.storage import Location

Photos = list[Location] | Location | None  # files of a photos table, or the folder of the photos


def look_up(names: list[str], photos: Photos, embeddings: list[Location]) -> Naming:
    """What there is for the names of a list.

    Args:
        names: distinct; where embeddings hold all photos, those that are not there.
        photos: where they are, or None if embeddings hold all.
        embeddings: files of the embeddings to re-use.
    """
    if photos is None:
        return in_table(names, embeddings, exactly=True)
    return in_table(names, photos) if isinstance(photos, list) else in_folder(names, photos)


class Strays:
    """Paths of a list that leave the photos' root: how many pairs have one, and some of them."""

    def __init__(self) -> None:
        self.pairs = 0
        self.names: list[str] = []

    def see(self, piece: pa.Table) -> None:
        """Look at a piece of the list."""
        rows = piece.filter(pc.is_valid(piece["fault"]))
        found = list[str]()
        for name in ("photo_a", "photo_b") if len(self.names) < SAMPLE else ():
            strays = (path for path in rows[name].to_pylist() if path and normalise_path(path) is None)
            found += [path.replace("\\", "/") for path in strays]
        self.add(rows.num_rows, found)

    def add(self, pairs: int, names: list[str]) -> None:
        """Add what was found in another piece."""
        self.pairs += pairs
        self.names += names if len(self.names) < SAMPLE else []


def check(
    pairs: int, count: int, naming: Naming, failing: Callable[[], int], strays: Strays, photos: Photos,
    max_failed: float,
) -> None:  # fmt: skip
    """Stop before work starts if most pairs, or most photos, could not be scored.

    Args:
        pairs: how many there are.
        count: of distinct photos.
        naming: what there is for them.
        failing: counts the pairs with a photo that is missing; asked only if there is one.
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
    failures.refuse(counts, count, max_failed, names=names, remedies=remedies)
    of_pairs = failing() if naming.missing else 0
    counts = Counter({reason: of_pairs, Reason.OUTSIDE_ROOT.value: strays.pairs})
    if failures.worst(counts, pairs, max_failed) == Reason.OUTSIDE_ROOT and isinstance(photos, Location):
        shift = find_shift(strays.names[:SAMPLE], listed(photos))
        remedies |= {Reason.OUTSIDE_ROOT.value: remedy(shift, photos)} if shift else {}
    failures.refuse(counts, pairs, max_failed, what="pairs", names=names, remedies=remedies)


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
