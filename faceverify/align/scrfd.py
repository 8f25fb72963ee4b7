"""Aligner `scrfd`: SCRFD with five landmarks (Guo et al., ICLR 2022) through ONNX Runtime, strides 8, 16, 32.

The network is fed RGB, (x - 127.5) / 128. The photo is resized (bilinear, enlarged too) so that its longer side fills a
square canvas, pasted top-left on zeros, and boxes and landmarks are divided by the scale: as insightface with one
detection size does. A photo in which nothing is found gets a second look on a canvas of `SECOND_SIDE`, because faces
that fill the large canvas are beyond what the network knows.

The published graphs take one photo at a time.
"""

from functools import lru_cache

import cv2
import numpy as np
import onnxruntime

from faceverify.align.cards import OWN, settings
from faceverify.align.cropping import DetectingAligner
from faceverify.align.detections import Detections, no_detections
from faceverify.align.interface import AlignConfig
from faceverify.align.weights import not_weights_of, read_graph

SECOND_SIDE = 128
MIN_SCORE, NMS_IOU, FIRST_SIDE = OWN["scrfd"]
_STRIDES = (8, 16, 32)
_ANCHORS = 2


class Scrfd:
    """A `Detector`.

    Args:
        weights: content of the ONNX file: 9 outputs, first the scores of all strides, then boxes, then landmarks.
        name: see `Aligner.name`.
        min_score: detections scoring less are dropped.
        nms_iou: of two boxes overlapping by more, the weaker is dropped.
        side: side of the canvas in pixels, a multiple of 32.

    Raises:
        ValueError: `weights` is no network of this kind.
    """

    def __init__(
        self, weights: bytes, name: str, min_score: float = MIN_SCORE, nms_iou: float = NMS_IOU, side: int = FIRST_SIDE
    ) -> None:
        self.name = name
        self._min_score, self._nms_iou, self._side = min_score, nms_iou, side
        self._session = _session(weights)
        self._input = self._session.get_inputs()[0].name

    def detect(self, images: list[np.ndarray]) -> list[Detections]:
        """All faces of each photo, best first (see `Detector`)."""
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> Detections:
        found = self._look(image, self._side)
        return found if len(found) else self._look(image, SECOND_SIDE)

    def _look(self, image: np.ndarray, side: int) -> Detections:
        """Detect on a canvas of `side` pixels."""
        canvas, scale = letterbox(image, side)
        blob = (canvas.transpose(2, 0, 1)[None].astype(np.float32) - 127.5) / 128
        outputs = self._session.run(None, {self._input: blob})
        scores, boxes, landmarks = decode([np.asarray(output) for output in outputs], side)
        strong = scores >= self._min_score
        if not strong.any():
            return no_detections()
        scores, boxes, landmarks = scores[strong], boxes[strong] / scale, landmarks[strong] / scale
        kept = suppress(boxes, scores, self._nms_iou)
        return Detections(boxes[kept], scores[kept], landmarks[kept])


def _session(weights: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # one worker owns one core
    try:
        session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base of their own
        raise ValueError("not an ONNX file") from error
    widths = [output.shape[-1] for output in session.get_outputs()]
    if widths != [1] * 3 + [4] * 3 + [10] * 3:
        raise ValueError(f"outputs of widths {widths} are not those of SCRFD with landmarks")
    return session


def letterbox(image: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    """The photo resized to fill a square canvas [side, side, 3], top-left on zeros, and the scale of its height."""
    height, width = image.shape[:2]
    if height > width:
        new_height, new_width = side, max(1, int(side / (height / width)))
    else:
        new_height, new_width = max(1, int(side * (height / width))), side
    canvas = np.zeros((side, side, 3), np.uint8)
    canvas[:new_height, :new_width] = cv2.resize(image, (new_width, new_height))
    return canvas, new_height / height


@lru_cache(maxsize=4)
def _centres(side: int, stride: int) -> np.ndarray:
    """Anchor centres [A, 2]: (column, row) * stride without half a cell, each twice (two anchors)."""
    rows, columns = np.mgrid[: side // stride, : side // stride]
    centres = np.stack([columns, rows], axis=-1).reshape(-1, 2) * np.float32(stride)
    return np.repeat(centres, _ANCHORS, axis=0).astype(np.float32)


def decode(outputs: list[np.ndarray], side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All anchors of all strides: scores [A], boxes [A, 4] x1 y1 x2 y2 and landmarks [A, 5, 2] in canvas pixels.

    The network gives distances left, top, right, bottom and landmark offsets from the centre, in strides.
    """
    parts = []
    for level, stride in enumerate(_STRIDES):
        centres = _centres(side, stride)
        sides = outputs[3 + level] * stride
        boxes = np.hstack([centres - sides[:, :2], centres + sides[:, 2:]])
        landmarks = centres[:, None] + outputs[6 + level].reshape(-1, 5, 2) * stride
        parts.append((outputs[level][:, 0], boxes, landmarks))
    scores, boxes, landmarks = (np.concatenate(part) for part in zip(*parts, strict=True))
    return scores, boxes, landmarks


def suppress(boxes: np.ndarray, scores: np.ndarray, max_iou: float) -> np.ndarray:
    """Greedy non-maximum suppression: indices of the kept boxes [K, 4], best first.

    Sides count pixels on both ends (+1), as in the published evaluation code.
    """
    order = np.argsort(-scores, kind="stable")
    x1, y1, x2, y2 = boxes.T
    areas = (x2 - x1 + 1) * (y2 - y1 + 1)
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        width = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest]) + 1
        height = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest]) + 1
        shared = width.clip(0) * height.clip(0)
        order = rest[shared / (areas[best] + areas[rest] - shared) <= max_iou]
    return np.array(kept, np.intp)


def build(config: AlignConfig) -> DetectingAligner:
    """The aligner of `config`; unset options become SCRFD's own."""
    data, digest = read_graph(config)
    try:
        detector = Scrfd(
            data,
            f"scrfd-{digest[:12]}",
            *settings(config),
        )
    except ValueError as error:
        raise not_weights_of(config) from error
    return DetectingAligner(detector, config.policy)
