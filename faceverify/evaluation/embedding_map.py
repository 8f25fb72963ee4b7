"""Embeddings of some people in two dimensions, their real photos and their fakes: for the eye, not for a number.

Unit vectors are reduced to at most 50 numbers by PCA, and these to two by t-SNE (scikit-learn, the extra `map`), or by
PCA alone. t-SNE keeps neighbours together; distances between groups and sizes of groups mean nothing in it, so the mean
similarities in the full space stand beside it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from faceverify.errors import UserError
from faceverify.inputs import stream_table
from faceverify.storage import Location
from faceverify.vectors import unit

MapMethod = Literal["auto", "tsne", "pca"]
MOST = 25  # photos of a person, and fakes of the same, that are drawn
REDUCED = 50
PERPLEXITY = 30.0


@dataclass(frozen=True)
class Drawn:
    """A photo on the map."""

    photo: str
    person: int
    """Place in `EmbeddingMap.people`."""
    is_fake: bool
    generator: str


@dataclass(frozen=True, eq=False)
class Layout:
    """One network's embeddings. name: "before", "after"; xy: [N, 2]; the others: mean cosines, None without pairs."""

    name: str
    xy: np.ndarray
    same: float | None
    """Of two real photos of one person."""
    fakes: float | None
    """Of a fake and a real photo of the person it claims to be."""
    others: float | None
    """Of real photos of two people."""


@dataclass(frozen=True)
class EmbeddingMap:
    """The map: people, photos, and where they lie before and after; `rule` and `method` are sentences."""

    people: list[str]
    photos: list[Drawn]
    layouts: list[Layout]
    rule: str
    method: str


def make_map(
    photos: Sequence[Location], tables: dict[str, list[Location]], people: int, method: MapMethod, seed: int
) -> EmbeddingMap:
    """Choose people and draw them.

    Args:
        photos: files of the photos table (photo, person, is_fake, generator).
        tables: files of embeddings tables by the name of their picture, in the order of the pictures.
        people: how many are drawn at most.
        method: tsne, pca, or auto: t-SNE where scikit-learn is installed.
        seed: of t-SNE; the same gives the same picture.

    Raises:
        UserError: nobody has photos in all tables, or t-SNE is asked for and scikit-learn is not installed.
    """
    wanted = _wanted(method)
    names, chosen = choose(_rows(photos), [_names(files) for files in tables.values()], people)
    number = {one.photo: at for at, one in enumerate(chosen)}
    layouts: list[Layout] = []
    for name, files in tables.items():
        vectors = _vectors(files, number)
        xy = project(vectors, wanted, seed, layouts[0].xy if layouts else None)
        if layouts:
            xy = turned(xy, layouts[0].xy)
        layouts.append(Layout(name, xy, *closeness(vectors, chosen)))
    rule = (
        f"The {len(names)} people with the most fakes, then the most real photos in all tables, of equals the first "
        f"by name; of each the first {MOST} real photos and the first {MOST} fakes by name."
    )
    return EmbeddingMap(names, chosen, layouts, rule, _sentence(wanted, method, seed, len(layouts)))


def choose(
    rows: Iterable[tuple[str, str, bool, str]], embedded: Sequence[set[str]], people: int
) -> tuple[list[str], list[Drawn]]:
    """The people on the map and their photos; see `EmbeddingMap.rule`.

    Args:
        rows: photo, person, is_fake, generator.
        embedded: the photos that each table has.
        people: how many at most.

    Raises:
        UserError: nobody has a real photo in all tables.
    """
    there = set.intersection(*embedded)
    of_person: dict[str, list[tuple[str, bool, str]]] = defaultdict(list)
    for photo, person, is_fake, generator in rows:
        if photo in there:
            of_person[person].append((photo, is_fake, generator))

    def rank(person: str) -> tuple[int, int, str]:
        count = Counter(is_fake for _, is_fake, _ in of_person[person])
        return -min(count[True], MOST), -min(count[False], MOST), person

    usable = [person for person, own in of_person.items() if not all(is_fake for _, is_fake, _ in own)]
    if not usable:
        raise UserError(
            "map: no person of the photos table has a real photo among the embeddings; give the embeddings of its "
            "photos as --map-embeddings."
        )
    names = sorted(sorted(usable, key=rank)[:people])
    drawn = [
        Drawn(photo, place, is_fake, generator)
        for place, person in enumerate(names)
        for kind in (False, True)
        for photo, is_fake, generator in sorted(one for one in of_person[person] if one[1] is kind)[:MOST]
    ]
    return names, drawn


def project(
    vectors: np.ndarray, method: Literal["tsne", "pca"], seed: int, begin: np.ndarray | None = None
) -> np.ndarray:
    """Unit vectors [N, D] in two dimensions, [N, 2] float64; the same arguments give the same numbers.

    t-SNE begins from `begin` [N, 2], so that groups that have not changed stay where they are there, or from PCA.
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    reduced = (left * sizes)[:, :REDUCED]
    # The sign of a direction is arbitrary: its largest coordinate is made positive.
    largest = reduced[np.abs(reduced).argmax(axis=0), np.arange(reduced.shape[1])]
    reduced = reduced * np.where(largest < 0, -1, 1)
    flat = np.zeros((len(vectors), 2))
    flat[:, : min(2, reduced.shape[1])] = reduced[:, :2]
    if method == "pca" or len(vectors) < 5 or not flat.std():
        return flat
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(PERPLEXITY, (len(vectors) - 1) / 3)
    begin = flat if begin is None else begin
    small = (begin / begin[:, 0].std() * 1e-4).astype(np.float32)
    # 4, as first published; the later 12 throws the groups of `begin` about, and fits no better.
    tsne = TSNE(perplexity=perplexity, init=small, random_state=seed, early_exaggeration=4)
    with threadpool_limits(1):  # sums in one order
        return tsne.fit_transform(reduced).astype(np.float64)


def turned(xy: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Points [N, 2] turned and mirrored, not scaled, so that they lie as near to `like` [N, 2] as they can."""
    one, other = (points - points.mean(axis=0) for points in (xy, like))
    left, _, right = np.linalg.svd(one.T @ other)
    return one @ (left @ right)


def closeness(vectors: np.ndarray, photos: Sequence[Drawn]) -> tuple[float | None, float | None, float | None]:
    """Mean cosines of unit vectors [N, D]: two real photos of one person; a fake and its person; two people."""
    person, fake = np.array([one.person for one in photos]), np.array([one.is_fake for one in photos])
    cosine = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    above = np.triu(np.ones(cosine.shape, bool), 1)
    own = person[:, None] == person[None, :]
    real, one_fake = ~fake[:, None] & ~fake[None, :], fake[:, None] ^ fake[None, :]
    masks = (above & own & real, above & own & one_fake, above & ~own & real)
    same, fakes, others = (float(cosine[mask].mean()) if mask.any() else None for mask in masks)
    return same, fakes, others


def _wanted(method: MapMethod) -> Literal["tsne", "pca"]:
    if method == "pca":
        return "pca"
    try:
        import sklearn.manifold  # noqa: F401
    except ImportError:
        if method == "tsne":
            raise UserError(
                "map_method is tsne, and scikit-learn is not installed: pip install 'faceverify[map]', or give "
                "--map-method pca."
            ) from None
        return "pca"
    return "tsne"


def _sentence(used: str, asked: MapMethod, seed: int, pictures: int) -> str:
    how = f"PCA to {REDUCED} numbers, then t-SNE (seed {seed})" if used == "tsne" else "The first two directions of PCA"
    why = ", because scikit-learn (the extra `map`) is not installed" if used == "pca" and asked == "auto" else ""
    begins = "begins where the first ended and " if used == "tsne" else ""
    fit = f"; the second picture {begins}is turned to lie like the first" if pictures > 1 else ""
    return f"{how}{why}{fit}."


def _rows(photos: Sequence[Location]) -> Iterable[tuple[str, str, bool, str]]:
    for table in stream_table(list(photos), ["photo", "person", "is_fake", "generator"]):
        for row in table.filter(table["person"].is_valid()).to_pylist():
            yield row["photo"], row["person"], bool(row["is_fake"]), row["generator"] or ""


def _names(files: list[Location]) -> set[str]:
    return {photo for table in stream_table(files, ["photo"]) for photo in table["photo"].to_pylist()}


def _vectors(files: list[Location], number: dict[str, int]) -> np.ndarray:
    """Unit embeddings [N, D] of photos by their numbers."""
    found: dict[int, np.ndarray] = {}
    for table in stream_table(files, ["photo", "embedding"], 8192):
        places = [number.get(photo, -1) for photo in table["photo"].to_pylist()]
        chosen = pa.array([place >= 0 for place in places])
        vectors = table["embedding"].filter(chosen).combine_chunks()
        rows = np.array(vectors.flatten(), np.float32).reshape(len(vectors), -1)
        found |= zip((place for place in places if place >= 0), rows, strict=True)
    return unit(np.stack([found[place] for place in range(len(number))]))
