"""What every alignment method is given and gives: its options, and the class `Aligner`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np

from faceverify.align.crops import ARCFACE, Crop
from faceverify.align.found import AlignedFace, FoundFace
from faceverify.config import Input
from faceverify.errors import BadData, UserError

Method = Literal["yunet", "scrfd", "retinaface", "mtcnn", "dfa", "annotated", "none"]
Policy = Literal["largest", "most_central", "refuse"]
Variant = Literal["auto", "pytorch_retinaface", "face_detector_1mb"]
Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AlignConfig:
    """How faces are found in photos and which one is taken."""

    method: Method = "yunet"
    """Where the five landmarks come from: yunet, scrfd, retinaface or mtcnn (detectors), dfa (a network that gives one
    face per photo), annotated (the photos table), none (the photos are aligned faces already)."""

    weights: Input = ""
    """A name of `faceverify models list`, or a local path or s3://: an ONNX file for yunet and scrfd, a state dict for
    retinaface and dfa, a folder with *pnet.pt, *rnet.pt and *onet.pt for mtcnn. Empty = the method's own: yunet,
    scrfd_2.5g, retinaface_mobilenet0.25, mtcnn, dfa_mobilenet. Not read by annotated and none."""

    variant: Variant = "auto"
    """Which RetinaFace mobilenet0.25 the weights are: two networks were published with the same keys. auto knows the
    published files by their SHA-256; weights of your own need this said. Read by retinaface only."""

    policy: Policy = "most_central"
    """Which face is taken where a detector finds several: largest (by box area), most_central (large and near the
    middle), refuse (the photo becomes a reject). dfa gives one face by itself, and cannot refuse."""

    min_score: float = -1.0
    """Detections scoring less are dropped, 0 to 1; -1 = the method's own (yunet and retinaface 0.6, mtcnn 0.7, scrfd
    and dfa 0.5)."""

    nms_iou: float = -1.0
    """Non-maximum suppression: a box that overlaps a stronger one by more than this share, 0 to 1, is dropped; -1 = the
    detector's own (yunet 0.3, scrfd and retinaface 0.4, mtcnn 0.7 of the smaller box)."""

    detect_side: int = 0
    """Longer side in pixels of the copy in which faces are looked for (the crop is always cut from the original);
    0 = the detector's own (640). dfa always looks at 160 pixels."""

    filter: Literal["area", "bilinear"] = "area"
    """How a face that is larger than its crop is shrunk: area = averaged, so that nothing of it is skipped; bilinear =
    one sample per pixel of the crop, as published networks were tested."""

    crop_from: Literal["original", "network"] = "original"
    """Where dfa reads the crop: original = from the photo at full resolution; network = from the copy of 160x160
    pixels that the network saw, as published, which loses detail. The others always cut from the original."""

    device: Device = "auto"
    """Where retinaface, mtcnn and dfa run: auto = on the GPU if there is one; yunet and scrfd run on the CPU."""

    def __post_init__(self) -> None:
        for field in ("min_score", "nms_iou"):
            value = getattr(self, field)
            if value != -1 and not 0 <= value <= 1:
                raise UserError(f"align.{field} is {value}: give a number from 0 to 1, or -1 for the detector's own.")
        if self.detect_side != 0 and (self.detect_side < 32 or self.detect_side % 32):
            raise UserError(f"align.detect_side is {self.detect_side}: give a multiple of 32 from 32 up, or 0.")


class Aligner(ABC):
    """What `build` returns, and what a new method implements: `name` and `find`.

    Attributes:
        name: method, and for detectors the first 12 hexadecimal digits of the weights' SHA-256: `yunet-ebafce4e3c11`.
    """

    name: str

    @abstractmethod
    def find(self, images: list[np.ndarray], landmarks: list[np.ndarray | None]) -> list[FoundFace | BadData]:
        """Find one face per photo.

        Args:
            images: photos [H, W, 3] uint8 RGB, of any sizes.
            landmarks: for each photo the annotated [5, 2] (x, y) in its pixels, or None; only `annotated` reads them.

        Returns:
            One result per photo, in the same order. An unusable photo gives a `BadData` instance; nothing is raised.
        """

    def align(
        self, images: list[np.ndarray], landmarks: list[np.ndarray | None], crop: Crop = ARCFACE
    ) -> list[AlignedFace | BadData]:
        """Find one face per photo and cut it out; arguments and results as of `find`."""
        from faceverify.align.cutting import cut

        return [
            one if isinstance(one, BadData) else AlignedFace(cut(image, one, crop), *one.facts)
            for image, one in zip(images, self.find(images, landmarks), strict=True)
        ]
