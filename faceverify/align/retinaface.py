"""Aligner `retinaface`: RetinaFace (Deng et al., CVPR 2020) as published with Pytorch_Retinaface, in PyTorch.

Photos of equal size share a batch. Larger photos are searched in a reduced copy; the priors reach from 16 to 512
pixels, so a face that fills it is found too.

Two networks were published as `mobilenet0.25_Final.pth` with the same names and shapes of tensors. In the wrong network
the weights load, give scores near 1, and wrong boxes and landmarks; so the files are distinguished by their SHA-256.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from faceverify.align.cards import OWN, card, settings
from faceverify.align.cropping import DetectingAligner
from faceverify.align.detections import Detections
from faceverify.align.device import torch_device
from faceverify.align.interface import AlignConfig, Variant
from faceverify.align.retinaface_network import RetinaFaceNetwork, architecture_of
from faceverify.align.retinaface_priors import Sizes, decode_boxes, decode_landmarks, priors
from faceverify.align.suppression import suppress
from faceverify.align.weights import load_strictly, not_weights_of, read_weights, state_dict
from faceverify.errors import UserError

MIN_SCORE, NMS_IOU, FIRST_SIDE = OWN["retinaface"]
_TOP_K = 5000  # candidates per photo, best first, as published
_BATCH_PIXELS = {"cpu": 1 << 20, "cuda": 1 << 24}


@dataclass(frozen=True, slots=True)
class Kind:
    """What the tensors do not say: the slope of LeakyReLU and the sizes of the priors in pixels."""

    slope: float
    min_sizes: Sizes


KINDS: dict[Variant, Kind] = {
    "pytorch_retinaface": Kind(0.1, ((16, 32), (64, 128), (256, 512))),
    "face_detector_1mb": Kind(0.0, ((10, 20), (32, 64), (128, 256))),
}
# SHA-256 of the published files -> what they are.
_PUBLISHED: dict[str, Variant] = {
    "2979b33ffafda5d74b6948cd7a5b9a7a62f62b949cef24e95fd15d2883a65220": "pytorch_retinaface",
    "ed6fa7d45a5179f03cb5ce82c73b0c6711372968e53782e88395acee88d319e1": "face_detector_1mb",
}


class RetinaFace:
    """A `Detector`.

    Args:
        network: loaded, on its device.
        kind: what it was trained with.
        name: see `Aligner.name`.
        min_score: detections scoring less are dropped.
        nms_iou: of two boxes overlapping by more, the weaker is dropped.
        side: photos with a longer side than this many pixels are searched in a copy of that size.
    """

    def __init__(
        self,
        network: RetinaFaceNetwork,
        kind: Kind,
        name: str,
        min_score: float = MIN_SCORE,
        nms_iou: float = NMS_IOU,
        side: int = FIRST_SIDE,
    ) -> None:
        self.name = name
        self._network, self._kind, self._side = network, kind, side
        self._min_score, self._nms_iou = min_score, nms_iou
        self._device = next(network.parameters()).device
        self._mean = torch.tensor(card("retinaface").mean, device=self._device)[:, None, None]

    def detect(self, images: list[np.ndarray]) -> list[Detections]:
        """All faces of each photo, best first (see `Detector`)."""
        copies = [self._reduced(image) for image in images]
        found: dict[int, Detections] = {}
        for batch in self._batches(copies):
            for i, faces in zip(batch, self._look([copies[i] for i in batch]), strict=True):
                ratio = (np.array(images[i].shape[1::-1]) / copies[i].shape[1::-1]).astype(np.float32)
                found[i] = Detections(faces.boxes * np.tile(ratio, 2), faces.scores, faces.landmarks * ratio)
        return [found[i] for i in range(len(images))]

    def _reduced(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        scale = self._side / max(height, width)
        if scale >= 1:
            return image
        size = max(1, round(width * scale)), max(1, round(height * scale))
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA)

    def _batches(self, copies: list[np.ndarray]) -> Iterator[list[int]]:
        """Numbers of photos of equal size, in batches of bounded size."""
        alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for i, copy in enumerate(copies):
            alike[copy.shape].append(i)
        for (height, width, _), numbers in alike.items():
            length = max(1, _BATCH_PIXELS[self._device.type] // (height * width))
            yield from (numbers[start : start + length] for start in range(0, len(numbers), length))

    @torch.inference_mode()
    def _look(self, copies: list[np.ndarray]) -> list[Detections]:
        """Detect in photos of one size."""
        height, width = copies[0].shape[:2]
        rgb = torch.from_numpy(np.stack(copies)).to(self._device)
        raw = self._network(rgb.permute(0, 3, 1, 2).flip(1).float() - self._mean)
        own = priors(height, width, self._kind.min_sizes).to(self._device)
        extent = torch.tensor([width, height], device=self._device)
        scores = raw.logits.softmax(-1)[..., 1].cpu().numpy()
        boxes = (decode_boxes(raw.boxes, own) * extent.repeat(2)).cpu().numpy()
        points = (decode_landmarks(raw.landmarks, own) * extent.repeat(5)).cpu().numpy()
        return [self._strongest(*one) for one in zip(boxes, scores, points, strict=True)]

    def _strongest(self, boxes_P4: np.ndarray, scores_P: np.ndarray, points_P10: np.ndarray) -> Detections:
        strong = np.flatnonzero(scores_P >= self._min_score)
        strong = strong[np.argsort(-scores_P[strong], kind="stable")[:_TOP_K]]
        one_photo = np.zeros(len(strong), np.intp)
        kept = strong[suppress(boxes_P4[strong], scores_P[strong], one_photo, self._nms_iou)]
        return Detections(boxes_P4[kept], scores_P[kept], points_P10[kept].reshape(-1, 5, 2))


def kind_of(config: AlignConfig, digest: str, architecture: str) -> Kind:
    """Which of the networks the weights belong to.

    Raises:
        UserError: a known file is said to be the other one, or an unknown mobilenet0.25 is not said to be either.
    """
    known = _PUBLISHED.get(digest, "pytorch_retinaface" if architecture == "resnet50" else config.variant)
    if config.variant not in ("auto", known):
        raise UserError(
            f"align.variant is {config.variant}, but align.weights {config.weights!r} belongs to {known}: set it to "
            "auto; in the other network it would give wrong landmarks with high scores."
        )
    if known == "auto":
        raise UserError(
            f"align.weights {config.weights!r} fits two networks and is none of the published files: say which with "
            "align.variant pytorch_retinaface or face_detector_1mb."
        )
    return KINDS[known]


def build(config: AlignConfig) -> DetectingAligner:
    """The aligner of `config`; unset options become RetinaFace's own."""
    data, digest = read_weights(config)
    try:
        tensors = state_dict(data)
        architecture = architecture_of(tensors)
        kind = kind_of(config, digest, architecture)
        network = RetinaFaceNetwork(architecture, kind.slope)
        load_strictly(network, tensors, torch_device(config))
    except ValueError as error:
        raise not_weights_of(config, str(error)) from error
    detector = RetinaFace(
        network,
        kind,
        # Weights of one's own fit two networks: which one it is decides the crops as much as they do.
        f"retinaface-{digest[:12]}" + ("" if digest in _PUBLISHED else f"-{config.variant}"),
        *settings(config),
    )
    return DetectingAligner(detector, config.policy)
