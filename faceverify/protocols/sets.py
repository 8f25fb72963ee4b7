"""Sets to be measured on: photos in, features of these photos, named numbers out (see the package's docstring).

PairSet      labelled pairs with folds: LFW, CALFW, CPLFW, CFP-FP, AgeDB-30, or a list of one's own
GallerySet   probes and a gallery: TinyFace, or folders of one's own
IjbSet       IJB-B and IJB-C, 1:1 and 1:N
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify.datasets.folds import folds_of
from faceverify.datasets.ijb import IjbLists, Subjects
from faceverify.datasets.tinyface import TinyFaceFolders
from faceverify.errors import UserError
from faceverify.evaluation.metrics import auc, equal_error_rate, sort_scores
from faceverify.protocols import tinyface
from faceverify.protocols.fusion import unit_features
from faceverify.protocols.identification import FPIRS, Identification, apart, joined, open_set, search
from faceverify.protocols.ijb import Switches, Templates, build_templates, pair_scores
from faceverify.protocols.lfw import fold_accuracy
from faceverify.protocols.tar import FARS, tar_of_sorted


@dataclass(frozen=True)
class Result:
    """What a set found.

    Attributes:
        numbers: by name, shares in [0, 1]; see the package's docstring.
        counts: what they rest on, by name: genuine, impostor, left_out (pairs with a photo without a face) ...
        similarity: score of each pair [P], NaN where it was left out; None where there are no pairs.
        label: of each pair [P] bool; None where there are no pairs.
    """

    numbers: dict[str, float]
    counts: dict[str, int]
    similarity: np.ndarray | None = None
    label: np.ndarray | None = None


class EvaluationSet(Protocol):
    """A set and its protocol.

    name: as the user calls it; protocol: pairs, gallery or ijb; photos: keys of the photos, in the order of the rows
    that `measure` takes.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def protocol(self) -> str: ...  # noqa: D102

    @property
    def photos(self) -> Sequence[str]: ...  # noqa: D102

    def measure(self, plain: np.ndarray, mirrored: np.ndarray | None = None) -> Result:
        """Numbers of a network from its raw features [N,D] of `photos`, and of their mirror images.

        Raises:
            UserError: the features do not go with the photos, or too few have a face to say anything.
        """
        ...


@dataclass(frozen=True)
class PairSet:
    """Labelled pairs.

    Attributes:
        name: as the user calls it.
        photos: keys.
        first, second: rows of `photos` [P].
        label: [P] bool, whether both show one person.
        fold: [P], or None for numbers without folds.
        fars: targets; those that need more impostor pairs than there are are not reported.
    """

    name: str
    photos: Sequence[str]
    first: np.ndarray
    second: np.ndarray
    label: np.ndarray
    fold: np.ndarray | None
    fars: tuple[float, ...] = FARS
    protocol: str = field(default="pairs", init=False)

    @classmethod
    def of(cls, name: str, pairs: pa.Table) -> "PairSet":
        """Of a table of pairs with `photo_a, photo_b, label` and, if known, `fold`; else folds are made as `folds_of`.

        Raises:
            UserError: a pair has no label, or all have the same one.
        """
        if pairs["label"].null_count or len(pairs["label"].unique()) < 2:
            raise UserError(f"pairs: of '{name}' every pair must have a label, and there must be pairs of both labels.")
        sides = [pairs[column].combine_chunks() for column in ("photo_a", "photo_b")]
        photos = pa.concat_arrays(sides).unique()
        first, second = (pc.index_in(side, photos).to_numpy() for side in sides)
        label = pairs["label"].to_numpy() == 1
        told = "fold" in pairs.column_names and not pairs["fold"].null_count
        fold = pairs["fold"].to_numpy() if told else folds_of(label)[0]
        return cls(name, photos.to_pylist(), first, second, label, fold)

    def measure(self, plain: np.ndarray, mirrored: np.ndarray | None = None) -> Result:
        """See `EvaluationSet`; features of mirror images are added, and cosines compared."""
        _check_rows(self.name, self.photos, plain)
        vectors = unit_features(plain, mirrored).astype(np.float64)
        similarity = pair_scores(vectors, self.first, self.second)
        usable = np.asarray(vectors.any(axis=1))
        kept = usable[self.first] & usable[self.second]
        similarity[~kept] = np.nan
        numbers, counts = _pair_numbers(similarity, self.label, self.fars)
        if self.fold is not None:
            found = fold_accuracy(similarity[kept], self.label[kept], self.fold[kept])
            numbers = {"accuracy": found.mean, "accuracy_std": found.std, **numbers}
        return Result(numbers, counts, similarity, self.label)


@dataclass(frozen=True)
class GallerySet:
    """Probes and a gallery, several entries per person allowed.

    Attributes:
        name: as the user calls it.
        photos: keys, the probes' first and then the gallery's.
        person: whom each probe shows [P], integers >= 0.
        entry_person: whom each entry shows [G]; -1 shows nobody who is searched for.
        ranks: to be reported.
    """

    name: str
    photos: Sequence[str]
    person: np.ndarray
    entry_person: np.ndarray
    ranks: tuple[int, ...] = tinyface.RANKS
    protocol: str = field(default="gallery", init=False)

    @classmethod
    def of_tinyface(cls, name: str, folders: TinyFaceFolders) -> "GallerySet":
        """TinyFace's test set."""
        return cls(name, folders.probes + folders.gallery, folders.person, folders.entry_person)

    @classmethod
    def of_photos(cls, name: str, probes: pa.Table, gallery: pa.Table) -> "GallerySet":
        """Of two tables of photos with `photo` and `person`; a photo without a person in the gallery is a distractor.

        Raises:
            UserError: a table is empty, a probe has no person, or one photo is in both tables or twice in one.
        """
        if not len(probes) or not len(gallery):
            raise UserError(
                f"gallery: '{name}' has {len(probes)} probes and {len(gallery)} entries; neither may be empty."
            )
        if probes["person"].null_count:
            raise UserError(
                f"gallery: {probes['person'].null_count:,} probes of '{name}' have no person; leave them out."
            )
        photos = [*probes["photo"].to_pylist(), *gallery["photo"].to_pylist()]
        if len(set(photos)) < len(photos):
            twice = next(photo for photo, count in Counter(photos).items() if count > 1)
            raise UserError(f"gallery: '{twice}' is in '{name}' twice; a photo is a probe or an entry, once.")
        people = pa.chunked_array([*probes["person"].chunks, *gallery["person"].chunks]).drop_null().unique()
        person, entry = (pc.fill_null(pc.index_in(of["person"], people), -1).to_numpy() for of in (probes, gallery))
        return cls(name, photos, person.astype(np.int64), entry.astype(np.int64))

    def measure(self, plain: np.ndarray, mirrored: np.ndarray | None = None) -> Result:
        """See `EvaluationSet`; a photo without a face is a miss, since nobody is found by it."""
        _check_rows(self.name, self.photos, plain)
        vectors = unit_features(plain, mirrored)
        found = search(vectors[: len(self.person)], self.person, vectors[len(self.person) :], self.entry_person)
        mated = found.mates > 0
        if not mated.any():
            raise UserError(f"gallery: no probe of '{self.name}' has a photo of its person in the gallery.")
        alone = int((~mated).sum())
        numbers = {f"rank_{rank}": found.rank_rate(rank) for rank in self.ranks}
        targets = [target for target in FPIRS if alone * target >= 1]
        if targets:
            numbers |= {f"tpir@{rate.target:g}": rate.tpir for rate in open_set(found, targets)}
        counts = {"mated": int(mated.sum()), "not_mated": alone, "entries": len(self.entry_person)}
        return Result(numbers, {**counts, "without_face": int((~vectors.any(axis=1)).sum())})


@dataclass(frozen=True)
class IjbSet:
    """IJB-B or IJB-C.

    Attributes:
        name: as the user calls it.
        lists: of the set.
        switches: how templates are made; by default N1D1F1 of insightface.
    """

    name: str
    lists: IjbLists
    switches: Switches = field(default_factory=Switches)
    protocol: str = field(default="ijb", init=False)

    @property
    def photos(self) -> Sequence[str]:
        """Names of the images."""
        return self.lists.images

    def measure(self, plain: np.ndarray, mirrored: np.ndarray | None = None) -> Result:
        """See `EvaluationSet`. A template without a face: its pairs are left out, and in 1:N it is a miss."""
        _check_rows(self.name, self.photos, plain)
        lists = self.lists
        made = build_templates(lists.template, lists.medium, plain, mirrored, lists.detector, self.switches)
        first, second = made.rows(lists.first), made.rows(lists.second)
        similarity = pair_scores(made.vectors, first, second)
        empty = made.images == 0
        similarity[empty[first] | empty[second]] = np.nan
        numbers, counts = _pair_numbers(similarity, lists.label, FARS)
        counts["templates_without_face"] = int(empty.sum())
        if lists.probes is not None:
            for found in self._identified(made, lists.probes):
                numbers |= {f"{found.form}_rank_{rank}": share for rank, share in found.ranks.items()}
                numbers |= {f"{found.form}_tpir@{rate.target:g}": rate.tpir for rate in found.tpir}
            counts["probes"] = len(lists.probes.template)
        return Result(numbers, counts, similarity, lists.label)

    def _identified(self, made: Templates, probes: Subjects) -> list[Identification]:
        probe = made.vectors[made.rows(probes.template)]
        galleries = [(made.vectors[made.rows(one.template)], one.subject) for one in self.lists.galleries.values()]
        whole = [np.concatenate(part) for part in zip(*galleries, strict=True)]
        return [joined(probe, probes.subject, whole[0], whole[1]), apart(probe, probes.subject, galleries)]


def require_photos(wanted: EvaluationSet, there: Collection[str]) -> None:
    """Check that all photos of a set are among the keys `there`, before anything is embedded.

    Raises:
        UserError: some are not.
    """
    absent = [photo for photo in wanted.photos if photo not in there]
    if absent:
        raise UserError(
            f"{wanted.name}: {len(absent):,} of {len(wanted.photos):,} photos are not there, such as "
            f"'{absent[0][:80]}'; check that list and photos are of one copy of the set."
        )


def _check_rows(name: str, photos: Sequence[str], plain: np.ndarray) -> None:
    if plain.ndim != 2 or len(plain) != len(photos):
        raise UserError(f"features: '{name}' has {len(photos):,} photos, and the features are {list(plain.shape)}.")


def _pair_numbers(
    similarity: np.ndarray, label: np.ndarray, fars: Sequence[float]
) -> tuple[dict[str, float], dict[str, int]]:
    kept = ~np.isnan(similarity)
    scores = sort_scores(similarity[kept & label], similarity[kept & ~label])
    counts = {"genuine": scores.genuine.size, "impostor": scores.negative.size, "left_out": int((~kept).sum())}
    numbers = {"eer": equal_error_rate(scores).eer, "auc": auc(scores)}
    for rate in tar_of_sorted(scores, [far for far in fars if far * scores.negative.size >= 1]):
        numbers[f"tar_nearest@{rate.target:g}"] = rate.nearest.tar
        numbers[f"tar_within@{rate.target:g}"] = rate.within.tar
    return numbers, counts
