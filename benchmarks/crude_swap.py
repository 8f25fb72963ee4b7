"""Swaps as simple programs make them: a hard edge, colours that do not match, or a Poisson blend without bounds.

To learn from beside those of `faceverify.fakes`, which take pains to look whole; a generator like any other.
"""

import numpy as np

from faceverify.fakes import FaceInput, Fake, Request
from faceverify.fakes.blending import blend, match_colours, poisson, to_bytes
from faceverify.fakes.checks import check_cover, check_face
from faceverify.fakes.masks import Variation, bounding_box, draw_variation, feathered, filled, outline, polygon_area
from faceverify.fakes.single_fake import SingleFakeGenerator
from faceverify.fakes.warping import face_warp, sample


class CrudeSwap(SingleFakeGenerator):
    """See the module."""

    def make_one(self, request: Request) -> Fake:
        """See `crude_swap`."""
        assert request.target is not None
        return crude_swap(request.sources[0], request.target, request.rng)


def crude_swap(source: FaceInput, target: FaceInput, rng: np.random.Generator) -> Fake:
    """The face of `source` in the photo `target`, every part of which may show.

    Raises:
        BadData: BAD_LANDMARKS: not finite, all in one point, too small a face, or cut off by the edge of a photo.
    """
    check_face(source, "source")
    check_face(target, "target")
    warp, landmarks = face_warp(source.landmarks, target.landmarks, rng.uniform(0.0, 0.9))
    wobble = draw_variation(rng).wobble
    extent = Variation(rng.uniform(0.9, 1.15), rng.uniform(0.9, 1.3), rng.uniform(0.95, 1.08), wobble)
    shape = outline(target.landmarks.astype(np.float64), extent)
    box = x0, y0, x1, y1 = bounding_box(shape, target.image.shape)
    face, known = sample(source.image, warp, box)
    hard = np.where(known, filled(shape, box), 0).astype(np.float32)
    check_cover(hard, polygon_area(shape))
    image = target.image.copy()
    host = image[y0:y1, x0:x1]
    cut = rng.random() < 0.5
    image[y0:y1, x0:x1] = _cut(host, face, hard, rng) if cut else poisson(host, face, hard >= 1, bleed=255.0)
    return Fake(image, landmarks.astype(np.float32), box, hard, "cut" if cut else "poisson, unbounded")


def _cut(host: np.ndarray, face: np.ndarray, hard: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if rng.random() < 0.5:
        share = rng.uniform(0, 1)
        face = to_bytes(share * match_colours(face, host, hard) + (1 - share) * face.astype(np.float32))
    return blend(host, face, feathered(hard, rng.uniform(1, 4)))
