"""Aligner `mtcnn`: the cascade of three small networks (Zhang et al., IEEE SPL 2016) as facenet-pytorch runs it.

A photo is searched in copies reduced step by step, the *pyramid*, for windows of 12x12 pixels; what is found is judged
again in crops of 24 and of 48 pixels, the last of which gives the landmarks. All photos go through each step together:
levels of like size share a batch (`ProposalNet` keeps what lies beside a picture out of it), and so do the crops of all
photos. Batches of crops are padded to one length, so that a photo's numbers do not depend on what is beside it.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from faceverify.align.cards import OWN, card, settings
from faceverify.align.cropping import DetectingAligner
from faceverify.align.detections import Detections
from faceverify.align.device import torch_device
from faceverify.align.interface import AlignConfig
from faceverify.align.mtcnn_boxes import corrected, pixels, squared
from faceverify.align.mtcnn_networks import (
    CELL,
    OUTPUT_SIDE,
    REFINE_SIDE,
    STRIDE,
    OutputNet,
    ProposalNet,
    RefineNet,
    cells,
)
from faceverify.align.mtcnn_pixels import Pixels
from faceverify.align.suppression import suppress
from faceverify.align.weights import load_strictly, not_weights_of, place_of, read_file, state_dict
from faceverify.errors import UserError

MIN_FACE = 20  # pixels of the searched copy
FACTOR = 0.709  # from one level of the pyramid to the next
MIN_SCORE, NMS_IOU, FIRST_SIDE = OWN["mtcnn"]
THRESHOLDS = (0.6, 0.7)  # of the first two networks; `min_score` is the third's
_LEVEL_IOU, _PHOTO_IOU = 0.5, 0.7  # after the first network within one level and within a photo; after the second
_MAX_LEVELS = 64
_STEP = 16  # pixels; levels whose sides agree in steps of this size share a batch
# Most pixels and levels of a batch, and crops of a batch. On CPUs: what fits the cache; and from 16 levels on PyTorch
# 2.13 takes another way through the last layers, which rounds otherwise.
_BATCH_PIXELS, _BATCH_LEVELS = {"cpu": 1 << 17, "cuda": 1 << 23}, {"cpu": 8, "cuda": 256}
_BATCH_CROPS = {"cpu": 32, "cuda": 512}


@dataclass(frozen=True, slots=True)
class Networks:
    """The three networks, on one device."""

    propose: ProposalNet
    refine: RefineNet
    output: OutputNet


@dataclass(frozen=True, slots=True)
class _Level:
    """One step of a photo's pyramid: number, reduction, and the copy's size."""

    photo: int
    number: int
    scale: float
    height: int
    width: int

    @property
    def canvas(self) -> tuple[int, int]:
        """Height and width of what it shares with levels of like size; depends on nothing else."""
        return (self.height // _STEP + 1) * _STEP, (self.width // _STEP + 1) * _STEP


class Mtcnn:
    """A `Detector`.

    Args:
        networks: see `load`.
        name: see `Aligner.name`.
        min_score: detections scoring less are dropped.
        nms_iou: of two faces sharing more than this part of the smaller box, the weaker is dropped.
        side: photos with a longer side than this many pixels are searched in a copy of that size; 0 = never reduced.
    """

    def __init__(
        self, networks: Networks, name: str, min_score: float = MIN_SCORE, nms_iou: float = NMS_IOU, side: int = 0
    ) -> None:
        self.name = name
        self._networks, self._side = networks, side
        self._min_score, self._nms_iou = min_score, nms_iou
        self._device = next(networks.propose.parameters()).device

    @torch.inference_mode()
    def detect(self, images: list[np.ndarray]) -> list[Detections]:
        """All faces of each photo (see `Detector`), best first."""
        photos = Pixels([self._reduced(image) for image in images], self._device)
        which, boxes = self._refined(photos, *self._proposed(photos))
        which, boxes, scores, points = self._judged(photos, which, boxes)
        found = []
        for number, image in enumerate(images):
            ratio = (np.array(image.shape[1::-1]) / photos.sizes[number]).astype(np.float32)
            own = which == number
            found.append(Detections(boxes[own] * np.tile(ratio, 2), scores[own], points[own] * ratio))
        return found

    def _reduced(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        scale = self._side / max(height, width)
        if self._side == 0 or scale >= 1:
            return image
        size = max(1, round(width * scale)), max(1, round(height * scale))
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA)

    def _proposed(self, photos: Pixels) -> tuple[np.ndarray, np.ndarray]:
        """First network: photo [N] and box [N, 4] of everything worth a closer look."""
        windows = [self._windows(photos, batch) for batch in _batches(_pyramid(photos.sizes), self._device.type)]
        if not windows:
            return np.zeros(0, np.intp), np.zeros((0, 4), np.float32)
        where, boxes, scores, shifts = (np.concatenate(part) for part in zip(*windows, strict=True))
        # In the order of photo, level, row, column, however the levels were put together: equal scores need an order.
        order = np.lexsort(where.T[::-1])
        where, boxes, scores, shifts = where[order], boxes[order], scores[order], shifts[order]
        kept = suppress(boxes, scores, where[:, 0] * _MAX_LEVELS + where[:, 1], _LEVEL_IOU, more=0)
        kept = kept[suppress(boxes[kept], scores[kept], where[kept, 0], _PHOTO_IOU, more=0)]
        return where[kept, 0], squared(corrected(boxes[kept], shifts[kept], more=0))

    def _windows(self, photos: Pixels, levels: list[_Level]) -> tuple[np.ndarray, ...]:
        """Windows of some levels: (photo, level, row, column) [N, 4], box [N, 4], score [N], shifts [N, 4]."""
        pictures = levels * 2 if len(levels) == 1 else levels  # a batch of one takes another way through PyTorch
        sizes = np.array([(level.height, level.width) for level in pictures])
        copies = photos.copies(np.array([level.photo for level in pictures]), sizes, levels[0].canvas)
        probability, shifts = self._networks.propose(copies, torch.from_numpy(sizes).to(self._device))
        own = torch.from_numpy(cells(sizes)).to(self._device)[:, :, None, None]
        rows, columns = (torch.arange(n, device=self._device) for n in probability.shape[1:])
        found = (probability >= THRESHOLDS[0]) & (rows[:, None] < own[:, 0]) & (columns < own[:, 1])
        found[len(levels) :] = False
        index = found.nonzero().cpu().numpy()
        facts = np.array([(level.photo, level.number) for level in levels])[index[:, 0]]
        scale = np.array([level.scale for level in levels], np.float32)[index[:, :1]]
        corner = index[:, :0:-1].astype(np.float32) * STRIDE
        boxes = np.floor(np.hstack([corner + 1, corner + CELL]) / scale)
        picked = shifts.permute(0, 2, 3, 1)[found].cpu().numpy()
        return np.hstack([facts, index[:, 1:]]), boxes, probability[found].cpu().numpy(), picked

    def _refined(self, photos: Pixels, which: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Second network: fewer and better boxes."""
        which, boxes, (scores, shifts) = self._looked_at(photos, which, boxes, REFINE_SIDE, self._networks.refine)
        good = np.flatnonzero(scores > THRESHOLDS[1])
        good = good[suppress(boxes[good], scores[good], which[good], _PHOTO_IOU, more=0)]
        return which[good], squared(corrected(boxes[good], shifts[good], more=1))

    def _judged(self, photos: Pixels, which: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, ...]:
        """Third network: photo [K], box [K, 4], score [K] and landmarks [K, 5, 2] of the faces."""
        which, boxes, outputs = self._looked_at(photos, which, boxes, OUTPUT_SIDE, self._networks.output)
        good = np.flatnonzero(outputs[0] > self._min_score)
        which, boxes, scores, shifts, points = (part[good] for part in (which, boxes, *outputs))
        extent = boxes[:, None, 2:] - boxes[:, None, :2] + 1
        landmarks = points.reshape(-1, 2, 5).transpose(0, 2, 1) * extent + boxes[:, None, :2] - 1
        boxes = corrected(boxes, shifts, more=1)
        kept = suppress(boxes, scores, which, self._nms_iou, of_smaller=True)
        return which[kept], boxes[kept], scores[kept], landmarks[kept]

    def _looked_at(
        self, photos: Pixels, which: np.ndarray, boxes: np.ndarray, side: int, network: Callable[[Tensor], tuple]
    ) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        """Run a network on the boxes' pixels: the boxes that hold any, and what the network says of each."""
        areas = pixels(boxes, photos.sizes[which])
        some = (areas[:, 2:] > areas[:, :2]).all(axis=1)
        which, boxes, areas = which[some], boxes[some], areas[some]
        length = _BATCH_CROPS[self._device.type]
        parts = []
        for start in range(0, max(len(which), 1), length):
            batch = slice(start, start + length)
            crops = photos.crops(which[batch], areas[batch], side)
            padded = torch.nn.functional.pad(crops, (0, 0, 0, 0, 0, 0, 0, length - len(crops)))
            padded = padded.contiguous(memory_format=torch.channels_last)  # padding may have changed that
            parts.append([output[: len(crops)].cpu().numpy() for output in network(padded)])
        return which, boxes, [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


def _pyramid(sizes: np.ndarray) -> Iterator[_Level]:
    """All levels of photos of `sizes` (width, height): reduced until a side is shorter than one window."""
    for photo, (width, height) in enumerate(sizes.tolist()):
        scale, shorter, number = CELL / MIN_FACE, min(width, height) * (CELL / MIN_FACE), 0
        while shorter >= CELL:
            yield _Level(photo, number, scale, int(height * scale + 1), int(width * scale + 1))
            scale, shorter, number = scale * FACTOR, shorter * FACTOR, number + 1


def _batches(levels: Iterator[_Level], device: str) -> Iterator[list[_Level]]:
    """Levels of like size together, in batches of bounded size."""
    buckets: dict[tuple[int, int], list[_Level]] = defaultdict(list)
    for level in levels:
        buckets[level.canvas].append(level)
    for canvas, alike in buckets.items():
        length = max(1, min(_BATCH_LEVELS[device], _BATCH_PIXELS[device] // math.prod(canvas)))
        yield from (alike[start : start + length] for start in range(0, len(alike), length))


def load(tensors: list[dict[str, Tensor]], device: torch.device) -> Networks:
    """The networks with the tensors of pnet, rnet and onet.

    Raises:
        ValueError: they are not those of the networks.
    """
    networks = ProposalNet(), RefineNet(), OutputNet()
    for network, own in zip(networks, tensors, strict=True):
        load_strictly(network, own, device)
    return Networks(*networks)


def _read(config: AlignConfig, ending: str) -> tuple[bytes, str]:
    """The one file in the folder of the weights whose name ends so, and its SHA-256."""
    folder = place_of(config)
    names = [entry.path for entry in folder.files(recursive=False)] if folder.is_dir() else []
    fitting = [name for name in names if name.endswith(ending)]
    if len(fitting) != 1:
        needs = card("mtcnn").weights
        raise UserError(f"align.weights {config.weights!r} holds {len(fitting)} files named *{ending}: give {needs}.")
    return read_file(config, folder / fitting[0])


def build(config: AlignConfig) -> DetectingAligner:
    """The aligner of `config`; unset options become MTCNN's own."""
    files = [_read(config, ending) for ending in ("pnet.pt", "rnet.pt", "onet.pt")]
    digest = hashlib.sha256("".join(digest for _, digest in files).encode()).hexdigest()
    try:
        networks = load([state_dict(data) for data, _ in files], torch_device(config))
    except ValueError as error:
        raise not_weights_of(config, str(error)) from error
    detector = Mtcnn(
        networks,
        f"mtcnn-{digest[:12]}",
        *settings(config),
    )
    return DetectingAligner(detector, config.policy)
