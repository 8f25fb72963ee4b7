"""The classic face swap: the source's inner face warped onto the target's landmarks, re-coloured and blended in."""

import numpy as np

from faceverify.fakes import FaceInput, Fake, Request
from faceverify.fakes.blending import blend, match_colours, match_light, poisson
from faceverify.fakes.checks import check_cover, check_face
from faceverify.fakes.masks import bounding_box, draw_variation, feathered, filled, outline, polygon_area
from faceverify.fakes.single_fake import SingleFakeGenerator
from faceverify.fakes.warping import face_warp, sample


class LandmarkSwap(SingleFakeGenerator):
    """Generator of classic face swaps: the inner face of the source photo, pasted into the target photo."""

    def make_one(self, request: Request) -> Fake:
        """The first source's face swapped into the target photo; raises BadData as `swap` does."""
        assert request.target is not None
        return swap(request.sources[0], request.target, request.rng)


def swap(source: FaceInput, target: FaceInput, rng: np.random.Generator) -> Fake:
    """The face of `source` in the photo `target`, which stays as it is outside `Fake.mask`.

    Raises:
        BadData: BAD_LANDMARKS: not finite, all in one point, too small a face, or cut off by the edge of a photo.
    """
    check_face(source, "source")
    check_face(target, "target")
    how = "poisson" if rng.random() < 0.5 else "feather"
    warp, landmarks = face_warp(source.landmarks, target.landmarks, rng.uniform(0.2, 0.6))
    variation = draw_variation(rng)
    # Within both faces: beyond its own outline the source has hair and background, and so has the target.
    shapes = [outline(points, variation) for points in (landmarks, target.landmarks.astype(np.float64))]
    box = bounding_box(shapes[1], target.image.shape)
    inside = np.minimum(filled(shapes[0], box), filled(shapes[1], box))
    face, known = sample(source.image, warp, box)
    hard = np.where(known, inside, 0).astype(np.float32)
    whole = polygon_area(shapes[1])
    check_cover(hard, whole)
    x0, y0, x1, y1 = box
    host = target.image[y0:y1, x0:x1]
    size = np.sqrt(whole)
    face = match_colours(face, host, hard)
    face = match_light(face, host, hard, 0.2 * size, rng.uniform(0.2, 0.7))
    mask = feathered(hard, size * (rng.uniform(0.03, 0.08) if how == "poisson" else rng.uniform(0.05, 0.14)))
    if how == "poisson":
        face = poisson(host, face, hard >= 1)
    image = target.image.copy()
    image[y0:y1, x0:x1] = blend(host, face, mask)
    return Fake(image, landmarks.astype(np.float32), box, mask, how)
