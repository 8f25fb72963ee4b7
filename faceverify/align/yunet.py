"""Aligner `yunet`: OpenCV's small face detector (Wu et al., YuNet, 2023), five landmarks, about 3 ms for 250x250.

The network is fed BGR 0..255; OpenCV pads to a multiple of 32. Its first landmark is the subject's right eye, which is
the image-left one, so its order is the template's.

It finds faces from about 10 to about 700 pixels: it misses those that fill larger photos, or scores a part of them.
Hence a large photo is looked at in a reduced copy, and a photo in which nothing is found gets a second look at
`SECOND_SIDE`, where a face that fills a photo has a size that it knows, however large or tiny the photo.
"""

import cv2
import numpy as np

from faceverify.align.cards import OWN, settings
from faceverify.align.cropping import DetectingAligner
from faceverify.align.detections import Detections, no_detections
from faceverify.align.interface import AlignConfig
from faceverify.align.weights import not_weights_of, read_graph

SECOND_SIDE = 192
MIN_SCORE, NMS_IOU, FIRST_SIDE = OWN["yunet"]
_TOP_K = 5000


class YuNet:
    """A `Detector`.

    Args:
        weights: content of the ONNX file.
        name: see `Aligner.name`.
        min_score: detections scoring less are dropped.
        nms_iou: of two boxes overlapping by more, the weaker is dropped.
        side: photos with a longer side than this many pixels are first looked at in a copy of that size.

    Raises:
        cv2.error: `weights` is no network of this kind.
    """

    def __init__(
        self, weights: bytes, name: str, min_score: float = MIN_SCORE, nms_iou: float = NMS_IOU, side: int = FIRST_SIDE
    ) -> None:
        self.name = name
        self._side = side
        self._net = _open(weights, min_score, nms_iou)
        # A wrong network is only noticed when it runs.
        self._net.detect(np.zeros((64, 64, 3), np.uint8))

    def detect(self, images: list[np.ndarray]) -> list[Detections]:
        """All faces of each photo (see `Detector`)."""
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> Detections:
        longer = max(image.shape[:2])
        found = self._look(image, min(self._side, longer))
        return found if len(found) else self._look(image, SECOND_SIDE)

    def _look(self, image: np.ndarray, side: int) -> Detections:
        """Detect in a copy whose longer side is `side`."""
        height, width = image.shape[:2]
        scale = side / max(height, width)
        if scale != 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        self._net.setInputSize((image.shape[1], image.shape[0]))
        _, rows = self._net.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        if rows is None:
            return no_detections()
        # Rows: x y w h, five landmarks x y, score. Each axis has its own ratio after rounding.
        ratio = np.array([width / image.shape[1], height / image.shape[0]], np.float32)
        corner, extent = rows[:, :2] * ratio, rows[:, 2:4] * ratio
        landmarks = rows[:, 4:14].reshape(-1, 5, 2) * ratio
        return Detections(np.hstack([corner, corner + extent]), rows[:, 14], landmarks)


def _open(weights: bytes, min_score: float, nms_iou: float) -> cv2.FaceDetectorYN:
    content, no_config = np.frombuffer(weights, np.uint8), np.zeros(0, np.uint8)
    level = cv2.utils.logging.getLogLevel()
    # OpenCV 5 warns at every start that its new engine has one target only.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    try:
        return cv2.FaceDetectorYN.create("onnx", content, no_config, (64, 64), min_score, nms_iou, _TOP_K)
    finally:
        cv2.utils.logging.setLogLevel(level)


def build(config: AlignConfig) -> DetectingAligner:
    """The aligner of `config`; unset options become YuNet's own."""
    data, digest = read_graph(config)
    try:
        detector = YuNet(
            data,
            f"yunet-{digest[:12]}",
            *settings(config),
        )
    except cv2.error as error:
        raise not_weights_of(config) from error
    return DetectingAligner(detector, config.policy)
