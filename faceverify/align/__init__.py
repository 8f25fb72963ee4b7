"""From a photo to the 112x112 face crop that face-verification networks are made for.

    aligner = build(AlignConfig(method="yunet", weights="face_detection_yunet_2026may.onnx"))
    results = aligner.align(photos, [None] * len(photos))     # AlignedFace or BadData, one per photo, same order

Importing this package loads neither OpenCV nor ONNX Runtime; `build` loads what the chosen method needs.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from faceverify.errors import BadData, UserError

Method = Literal["yunet", "scrfd", "annotated", "none"]
Policy = Literal["largest", "most_central", "refuse"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AlignConfig:
    """How faces are found in photos and which one is taken."""

    method: Method = "yunet"
    """Where the five landmarks come from: yunet or scrfd (detectors), annotated (the photos table), none (the
    photos are aligned faces already)."""

    weights: str = ""
    """ONNX file of the detector, a local path or s3://; not read by annotated and none."""

    policy: Policy = "most_central"
    """Which face is taken where a detector finds several: largest (by box area), most_central (large and near the
    middle), refuse (the photo becomes a reject)."""

    min_score: float = -1.0
    """Detections scoring less are dropped, 0 to 1; -1 = the detector's own (yunet 0.6, scrfd 0.5)."""

    nms_iou: float = -1.0
    """Of two boxes overlapping by more than this share, 0 to 1, the weaker is dropped; -1 = the detector's own
    (yunet 0.3, scrfd 0.4)."""

    detect_side: int = 0
    """Longer side in pixels of the copy in which faces are looked for (the crop is always cut from the original);
    0 = the detector's own (640)."""

    def __post_init__(self) -> None:
        for field in ("min_score", "nms_iou"):
            value = getattr(self, field)
            if value != -1 and not 0 <= value <= 1:
                raise UserError(f"align.{field} is {value}: give a number from 0 to 1, or -1 for the detector's own.")
        if self.detect_side != 0 and (self.detect_side < 32 or self.detect_side % 32):
            raise UserError(f"align.detect_side is {self.detect_side}: give a multiple of 32 from 32 up, or 0.")


@dataclass(frozen=True, slots=True, eq=False)
class AlignedFace:
    """One aligned face.

    Args:
        image: [112, 112, 3] uint8 RGB.
        landmarks: [5, 2] float32 (x, y) in pixels of the photo: image-left eye, image-right eye, nose, image-left
            mouth corner, image-right mouth corner; None where nothing was looked for.
        score: the detector's confidence in [0, 1]; None where nothing was detected.
        faces_found: how many faces the detector found in the photo; None where nothing was detected.
    """

    image: np.ndarray
    landmarks: np.ndarray | None
    score: float | None
    faces_found: int | None


class Aligner(Protocol):
    """What `build` returns, and what a new method implements."""

    @property
    def name(self) -> str:
        """Method, and for detectors the first 12 hexadecimal digits of the weights' SHA-256: `yunet-ebafce4e3c11`."""
        ...

    def align(self, images: list[np.ndarray], landmarks: list[np.ndarray | None]) -> list[AlignedFace | BadData]:
        """Align one face per photo.

        Args:
            images: photos [H, W, 3] uint8 RGB, of any sizes.
            landmarks: for each photo the annotated [5, 2] (x, y) in its pixels, or None; only `annotated` reads them.

        Returns:
            One result per photo, in the same order. An unusable photo gives a `BadData` instance; nothing is raised.
        """
        ...


def build(config: AlignConfig) -> Aligner:
    """The aligner that `config` describes.

    Raises:
        UserError: the weights are missing, not a file, or not those of the method.
    """
    match config.method:
        case "yunet":
            from faceverify.align import yunet

            return yunet.build(config)
        case "scrfd":
            from faceverify.align import scrfd

            return scrfd.build(config)
        case "annotated":
            from faceverify.align.annotated import AnnotatedAligner

            return AnnotatedAligner()
        case "none":
            from faceverify.align.none import PassThroughAligner

            return PassThroughAligner()
