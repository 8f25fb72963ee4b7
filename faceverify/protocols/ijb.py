"""IJB-B and IJB-C 1:1: features of images are joined to media and these to templates, which are compared in pairs.

The steps of insightface's `eval_ijbc.py`, CVLface, AdaFace and MagFace; the switches are named by what they do, since
these scripts give the same name to opposite things (`use_norm_score` is true in one where the norm is kept, and in
another where it is removed). By their published names:

    insightface N1D1F1            Switches()
    insightface, AdaFace N1D0F1   Switches(detector=False)
    CVLface Norm:False_Det:True   Switches(norm=False)
    MagFace                       Switches(norm=True, detector=False, unit_media=True), scores by `angular`

F0 is: no mirror images given. A medium is numbered inside its template: one number in two templates is two media.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from faceverify.errors import UserError
from faceverify.protocols.fusion import Flip, directions, fuse

_IMAGES_AT_A_TIME = 512  # their features stay in the processor's cache
_FIRSTS_AT_A_TIME = 512  # templates that are compared with many others at once
_DENSE = 1 / 100  # of a block of the matrix of all similarities: with more pairs than this it is computed as a whole
_PAIRS_AT_A_TIME = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """How features of images become features of templates.

    Attributes:
        norm: keep the length of a feature (published as N1); else it is divided by it (N0). Some scripts call the
            option that removes it `use_norm_score`.
        detector: multiply by the detector's score of the image (D1).
        flip: how features of mirror images are joined with those of the images (F1 is `sum`).
        unit_media: divide the mean of each medium by its length (MagFace without its option `magface_qlt`).
    """

    norm: bool = True
    detector: bool = True
    flip: Flip = "sum"
    unit_media: bool = False


@dataclass(frozen=True, slots=True)
class Templates:
    """Features of templates.

    Attributes:
        numbers: the templates' numbers [T] int64, ascending.
        vectors: unit vectors [T,D] float64; zeros for a template without any usable image.
        images: usable images of each template [T] int64.
    """

    numbers: np.ndarray
    vectors: np.ndarray
    images: np.ndarray

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """The rows [M] of templates by their numbers [M].

        Raises:
            UserError: there is no such template.
        """
        return rows_of(self.numbers, numbers, "templates")


def rows_of(ascending: np.ndarray, numbers: np.ndarray, where: str) -> np.ndarray:
    """Where each of `numbers` [M] stands among `ascending` [T].

    Raises:
        UserError: one is not there; `where` is the source or field that names it.
    """
    at = np.searchsorted(ascending, numbers)
    absent = ascending[np.minimum(at, ascending.size - 1)] != numbers
    if absent.any():
        names = np.unique(np.asarray(numbers)[absent])
        shown = ", ".join(str(name) for name in names[:3])
        raise UserError(f"{where}: {names.size:,} templates have no image in the list of images ({shown}); check both.")
    return at


def build_templates(
    template: np.ndarray,
    medium: np.ndarray,
    plain: np.ndarray,
    mirrored: np.ndarray | None = None,
    detector: np.ndarray | None = None,
    switches: Switches | None = None,
) -> Templates:
    """Features of all templates: per medium the mean over its images, the sum over media, divided by its length.

    Memory is that of the result; features are read some thousand rows at a time, so they may be mapped from a file.

    Args:
        template: the template's number of each image [N], integers.
        medium: the medium's number of each image [N], integers.
        plain: raw features [N,D], not divided by their length. A row of NaN (no face was found) takes no part.
        mirrored: raw features [N,D] of the mirror images.
        detector: the detector's score of each image [N].
        switches: see `Switches`; by default N1D1F1.

    Raises:
        UserError: lengths differ, or the switches want what is not given.
    """
    switches = switches or Switches()
    weight = _weights(len(template), medium, plain, detector, switches)
    if switches.norm and mirrored is not None and switches.flip != "sum":
        raise UserError(f"norm: flip '{switches.flip}' forgets the norm, so it cannot be kept; set norm to false.")
    order = np.lexsort((medium, template))
    numbers, first = np.unique(np.asarray(template, np.int64)[order], return_index=True)
    edges = np.append(first, order.size)
    vectors, images = [], []
    start = 0
    while start < numbers.size:
        stop = max(int(np.searchsorted(edges, edges[start] + _IMAGES_AT_A_TIME, side="right")) - 1, start + 1)
        rows = order[edges[start] : edges[stop]]
        features = fuse(plain[rows], None if mirrored is None else mirrored[rows], switches.flip)
        usable = np.asarray(np.isfinite(features).all(axis=1))
        features[~usable] = 0
        features = features if switches.norm else directions(features)
        if weight is not None:
            features *= weight[rows, None]
        of = np.repeat(np.arange(stop - start), np.diff(edges[start : stop + 1]))
        vectors.append(_joined(features, usable, of, medium[rows], switches.unit_media))
        images.append(np.bincount(of[usable], minlength=stop - start))
        start = stop
    return Templates(numbers, np.concatenate(vectors), np.concatenate(images))


def _weights(
    images: int, medium: np.ndarray, plain: np.ndarray, detector: np.ndarray | None, switches: Switches
) -> np.ndarray | None:
    if not len(medium) == len(plain) == images or (detector is not None and len(detector) != images):
        raise UserError(
            f"features: there are {len(plain):,} for {images:,} images; give one row for each line of the list."
        )
    if not switches.detector:
        return None
    if detector is None:
        raise UserError("detector: the detector's scores are wanted but not given; set detector to false.")
    return np.asarray(detector, np.float64)


def _joined(
    features: np.ndarray, usable: np.ndarray, of: np.ndarray, medium: np.ndarray, unit_media: bool
) -> np.ndarray:
    """Unit vectors of whole templates from their images' features [n,D], which lie by template and then by medium."""
    new = np.append(True, (np.diff(of) != 0) | (np.diff(medium) != 0))
    starts = np.flatnonzero(new)
    count = np.add.reduceat(usable.astype(np.int64), starts)
    media = np.add.reduceat(features, starts, axis=0) / np.maximum(count, 1)[:, None]
    media = directions(media) if unit_media else media
    owner = np.flatnonzero(np.append(True, np.diff(of[starts]) != 0))
    return directions(np.add.reduceat(media, owner, axis=0))


def pair_scores(vectors: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Inner products [P] of rows `first` [P] and `second` [P] of `vectors` [T,D], in the type of `vectors`.

    Where pairs lie densely in the matrix of all similarities (IJB's do: each of 3,500 templates is compared with many
    of the others), blocks of it are computed as matrix products and read, which is many times as fast as fetching two
    vectors for every pair.
    """
    scores = np.empty(len(first), vectors.dtype)
    if not scores.size:
        return scores
    rows, row = _numbered(first, len(vectors))
    columns, column = _numbered(second, len(vectors))
    right = vectors[columns]
    blocks = -(-rows.size // _FIRSTS_AT_A_TIME)
    block = (row // _FIRSTS_AT_A_TIME).astype(np.uint16 if blocks < 1 << 16 else np.int64)  # 16 bits sort in one pass
    order = np.argsort(block, kind="stable")
    edges = np.concatenate([[0], np.cumsum(np.bincount(block, minlength=blocks))])
    for number, (start, stop) in enumerate(pairwise(edges.tolist())):
        here = order[start:stop]
        at = number * _FIRSTS_AT_A_TIME
        left = vectors[rows[at : at + _FIRSTS_AT_A_TIME]]
        if here.size >= _DENSE * len(left) * columns.size:
            scores[here] = (left @ right.T)[row[here] - at, column[here]]
            continue
        for begin in range(0, here.size, _PAIRS_AT_A_TIME):
            some = here[begin : begin + _PAIRS_AT_A_TIME]
            scores[some] = np.einsum("pd,pd->p", left[row[some] - at], right[column[some]])
    return scores


def _numbered(chosen: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct ones of `chosen` [P], ascending, and where each stands among them [P]; all are < `count`."""
    present = np.zeros(count, bool)
    present[chosen] = True
    return np.flatnonzero(present), (np.cumsum(present) - 1)[chosen]


def angular(cosine: np.ndarray) -> np.ndarray:
    """MagFace's score of a pair: 1 - arccos(cosine) / pi, in [0, 1]."""
    return 1 - np.arccos(np.clip(cosine, -1, 1)) / np.pi
