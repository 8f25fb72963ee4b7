"""What a detector finds in one photo, and the rule that picks one face of it."""

from dataclasses import dataclass

import numpy as np

from faceverify.align.interface import Policy
from faceverify.errors import BadData, Reason


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """The K faces found in one photo, in any order.

    Args:
        boxes: [K, 4] float32, x1 y1 x2 y2 in pixels of the photo; may reach over its edges.
        scores: [K] float32 in [0, 1].
        landmarks: [K, 5, 2] float32 (x, y): image-left eye, image-right eye, nose, image-left and image-right mouth
            corner.
    """

    boxes: np.ndarray
    scores: np.ndarray
    landmarks: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)


def no_detections() -> Detections:
    """K = 0."""
    return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))


def choose(found: Detections, policy: Policy, height: int, width: int) -> int | BadData:
    """The index of the face to take, or why there is none.

    `largest` takes the greatest box area. `most_central` takes the greatest area - 2 d^2, with d the distance in pixels
    from the middle of the box to the middle of the photo (the rule of insightface): a big face beats a small one in the
    very middle. `refuse` takes a face only if it is the only one. Ties go to the higher score, then to the left, then
    to the top, so the order of detections never matters.
    """
    if len(found) == 0:
        return BadData(Reason.NO_FACE, "no face found")
    if policy == "refuse" and len(found) > 1:
        return BadData(Reason.SEVERAL_FACES, f"{len(found)} faces found and align.policy is refuse")
    x1, y1, x2, y2 = found.boxes.astype(np.float64).T
    value = (x2 - x1).clip(0) * (y2 - y1).clip(0)
    if policy == "most_central":
        value = value - 2 * (((x1 + x2 - width) / 2) ** 2 + ((y1 + y2 - height) / 2) ** 2)
    # lexsort sorts by its last key first.
    return int(np.lexsort((y1, x1, -found.scores, -value))[0])
