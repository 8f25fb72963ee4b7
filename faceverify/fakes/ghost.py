"""Ghost in PyTorch: the published crops, networks, hull and pasting (Groshev et al., IEEE Access 2022)."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from onnx import ModelProto
from torch import Tensor
from torch.nn import functional

from faceverify.align.geometry import nearest_pose, warp
from faceverify.errors import BadData, Reason
from faceverify.fakes import Description, Fake, Request, pasting
from faceverify.fakes.checks import check_face, check_host, check_pasted
from faceverify.fakes.ghost_network import load
from faceverify.fakes.onnx_graph import Graph, out_of_memory
from faceverify.fakes.swapper_table import GHOST_BACKBONE, GHOST_POINTS, GHOSTS, POINTS_106
from faceverify.fakes.weights import located
from faceverify.models import EngineConfig, onnx_file
from faceverify.redaction import first_line

CROP, NETWORK, POINTS = 224, 256, 192  # sides in pixels: of the crop, and of what the networks are shown
_TO_POINTS = np.array([[4 / 7, 0, 32], [0, 4 / 7, 32]])  # from the crop to the picture of the 106 points


class Ghost:
    """Generator of face swaps by Ghost's own network, with 1, 2 or 3 blocks as the description's name says.

    On a CPU each face is a call of its own, so it comes out the same whatever faces it is together with; on a GPU calls
    are filled up to the description's batch, in half precision as published.
    """

    def __init__(self, description: Description) -> None:
        [description] = [description] if description.weights else located([description])
        self.description = description
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        paths = {file.name: Path(file.uri) for file in description.weights}
        network, _ = GHOSTS[description.name]
        self._network = load(network, paths[network], self._device)
        self._recogniser = load(GHOST_BACKBONE, paths[GHOST_BACKBONE], self._device)
        self._type = torch.float32
        if self._device.type == "cuda":
            self._type = torch.float16
            self._network.half()
        self._points = Points106(onnx_file.read(paths[GHOST_POINTS]), paths[GHOST_POINTS], description.batch)

    def make(self, requests: Sequence[Request]) -> list[Fake | BadData]:
        """A fake, or why there is none, for each request, in the same order.

        Raises:
            PlatformError: there is not enough memory.
        """
        ready = [_prepared(request) for request in requests]
        good = [one for one in ready if not isinstance(one, BadData)]
        made = iter(self._run(good) if good else [])
        return [
            one if isinstance(one, BadData) else _finished(request, one[2], *next(made))
            for request, one in zip(requests, ready, strict=True)
        ]

    def _run(
        self, ready: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]
    ) -> list[tuple[np.ndarray, bool, np.ndarray, np.ndarray]]:
        """Of each: the swapped crop [224, 224, 3], whether it is finite, the 106 points of it and of the target's."""
        sources = np.stack([source for source, *_ in ready])
        targets = np.stack([target for _, target, *_ in ready])
        size = 1 if self._device.type == "cpu" else self.description.batch
        try:
            made = [self._swapped(sources[at : at + size], targets[at : at + size], size) for at in _every(ready, size)]
        except torch.OutOfMemoryError as error:
            raise out_of_memory(self.description.name, first_line(error)[:200]) from None
        swapped, finite = (np.concatenate(parts) for parts in zip(*made, strict=True))
        points = self._points(np.concatenate([swapped, targets]))
        count = len(ready)
        return [(swapped[at], bool(finite[at]), points[at], points[count + at]) for at in range(count)]

    @torch.inference_mode()
    def _swapped(self, sources: np.ndarray, targets: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """[n, 224, 224, 3] uint8 of crops of that shape, and which are finite; the networks are given `size`."""
        identity = self._recogniser(halved(_tensor(_filled(sources, size)).to(self._device)))
        shown = np.stack([cv2.resize(target, (NETWORK, NETWORK)) for target in targets])
        made = self._network(_tensor(_filled(shown, size)).to(self._device, self._type), identity.to(self._type))
        made = made[: len(targets)]
        finite = torch.isfinite(made).flatten(1).all(dim=1).cpu().numpy()
        pictures = to_pictures(torch.nan_to_num(made))
        return np.stack([cv2.resize(picture, (CROP, CROP)) for picture in pictures]), finite


class Points106:
    """Finds 106 landmarks in crops of 224 pixels: a face's outline, brows, eyes, nose and mouth."""

    def __init__(self, model: ModelProto, path: Path, batch: int) -> None:
        self._graph = Graph(model, path, POINTS_106, batch, EngineConfig())

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Points [N, 106, 2] in pixels of the crops [N, 224, 224, 3] uint8."""
        shown = np.stack([points_picture(crop) for crop in crops]).transpose(0, 3, 1, 2)
        return to_points(self._graph.run(data=np.ascontiguousarray(shown).astype(np.float32)))


def points_picture(crop: np.ndarray) -> np.ndarray:
    """What the network of the points is shown of a crop [224, 224, 3]: all of it, smaller, with a black margin."""
    return warp(crop, _TO_POINTS, POINTS)


def to_points(given: np.ndarray) -> np.ndarray:
    """Pixels [N, 106, 2] of the crop, of the network's numbers [N, 212]."""
    half = np.float32(POINTS / 2)
    return (given.reshape(-1, 106, 2) + np.float32(1)) * half * np.float32(7 / 4) - np.float32(56)


def halved(pictures: Tensor) -> Tensor:
    """[N, 3, 224, 224] as [N, 3, 112, 112]: sampled between the corners' centres, as Ghost does it."""
    return functional.interpolate(pictures, scale_factor=0.5, mode="bilinear", align_corners=True)


def to_pictures(made: Tensor) -> np.ndarray:
    """[N, 3, H, W] in -1..1 as [N, H, W, 3] uint8, decimals cut off."""
    return ((made.float() * 0.5 + 0.5) * 255).permute(0, 2, 3, 1).to(torch.uint8).cpu().numpy()


def _prepared(request: Request) -> tuple[np.ndarray, np.ndarray, np.ndarray] | BadData:
    """Crops [224, 224, 3] of source and target, and the target's matrix [2, 3]."""
    assert request.target is not None
    source, target = request.sources[0], request.target
    try:
        check_host(source, target)
        check_face(source, "source")
        check_face(target, "target")
    except BadData as fault:
        return fault
    matrix = nearest_pose(target.landmarks, CROP)[1]
    shown = warp(source.image, nearest_pose(source.landmarks, CROP)[1], CROP)
    return shown, warp(target.image, matrix, CROP), matrix


def _finished(
    request: Request,
    matrix: np.ndarray,
    swapped: np.ndarray,
    finite: bool,
    new_points: np.ndarray,
    old_points: np.ndarray,
) -> Fake | BadData:
    target = request.target
    assert target is not None
    if not (finite and np.isfinite(new_points).all() and np.isfinite(old_points).all()):
        return BadData(Reason.BAD_FAKE, "the network gave numbers that are not finite")
    mask, case = pasting.hull_mask(new_points, old_points)
    pasted = pasting.hull(target.image, swapped, matrix, mask)
    try:
        check_pasted(pasted)
    except BadData as fault:
        return fault
    how = f"hull {'grown' if case.shrink < 0 else 'shrunk'} by {abs(case.shrink)}"
    return Fake(pasted.image, target.landmarks, pasted.box, pasted.mask, how)


def _every(things: Sequence[object], size: int) -> range:
    return range(0, len(things), size)


def _filled(pictures: np.ndarray, size: int) -> np.ndarray:
    """At least `size` pictures, the last one again and again."""
    return np.concatenate([pictures, np.repeat(pictures[-1:], size - len(pictures), axis=0)])


def _tensor(pictures: np.ndarray) -> Tensor:
    """[N, H, W, 3] uint8 as [N, 3, H, W] in -1..1."""
    shares = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    return (shares - 0.5) / 0.5
