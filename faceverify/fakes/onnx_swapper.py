"""Face swappers that are ONNX graphs: one class for all, driven by the rows of `swapper_table`."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from faceverify.align.geometry import SHARES, fit_points, warp
from faceverify.errors import BadData, Reason
from faceverify.fakes import Description, FaceInput, Fake, Request, pasting
from faceverify.fakes.checks import check_face, check_host, check_pasted
from faceverify.fakes.onnx_graph import Graph, identity_table
from faceverify.fakes.swapper_table import CONVERTER, SWAPPERS
from faceverify.fakes.weights import located
from faceverify.models import EngineConfig, onnx_file

_BORDERS = {"black": cv2.BORDER_CONSTANT, "replicate": cv2.BORDER_REPLICATE}


class OnnxSwapper:
    """Generator of face swaps by one of the networks of `SWAPPERS`, chosen by the description's name."""

    def __init__(self, description: Description) -> None:
        [description] = [description] if description.weights else located([description])
        self.description = description
        self._row = row = SWAPPERS[description.name]
        paths = {file.name: Path(file.uri) for file in description.weights}
        path, config = paths[row.weights], EngineConfig()
        model = onnx_file.read(path)
        self._table = identity_table(model, path) if row.identity == "table" else None
        self._graph = Graph(model, path, row.signature, description.batch, config)
        self._converter = None
        if row.converter:
            beside = paths[row.converter]
            self._converter = Graph(onnx_file.read(beside), beside, CONVERTER, description.batch, config)
        self._mask = pasting.box_mask(row.size)

    def make(self, requests: Sequence[Request]) -> list[Fake | BadData]:
        """A fake, or why there is none, for each request, in the same order.

        Raises:
            UserError: the network cannot be run.
            PlatformError: there is not enough memory for it.
        """
        ready = [self._prepared(request) for request in requests]
        good = [one for one in ready if not isinstance(one, BadData)]
        made = iter(self._run(good) if good else [])
        return [
            one if isinstance(one, BadData) else self._finished(request, one[0], next(made))
            for request, one in zip(requests, ready, strict=True)
        ]

    def _prepared(self, request: Request) -> tuple[np.ndarray, np.ndarray, np.ndarray] | BadData:
        """The target's matrix [2, 3] and crop [S, S, 3]; and what says who it is to be, for the network."""
        assert request.target is not None
        source, target = request.sources[0], request.target
        try:
            check_host(source, target)
            check_face(target, "target")
            return (*self._crop(target, self._row.template, self._row.size), self._identity(source))
        except BadData as fault:
            return fault

    def _crop(self, face: FaceInput, template: str, size: int) -> tuple[np.ndarray, np.ndarray]:
        matrix = fit_points(face.landmarks[None], SHARES[template] * size)[0]
        return matrix, warp(face.image, matrix, size, _BORDERS[self._row.border])

    def _identity(self, source: FaceInput) -> np.ndarray:
        row = self._row
        if row.identity == "picture":
            check_face(source, "source")
            return _planes(self._crop(source, row.source_template, row.source_size)[1])
        vector = source.embedding
        assert vector is not None, "the job gives it, as `Description.identity` says"
        length = float(np.linalg.norm(vector))
        if not (np.isfinite(length) and length > 0):
            raise BadData(Reason.BAD_EMBEDDING, f"source: norm {length}")
        return latent(vector, self._table) if self._table is not None else vector

    def _run(self, ready: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> np.ndarray:
        """[N, 3, S, S] pictures as the network gives them."""
        row = self._row
        mean, std = (np.array(values, np.float32)[:, None, None] for values in (row.mean, row.std))
        targets = np.stack([(_planes(crop) - mean) / std for _, crop, _ in ready])
        sources = np.stack([identity for _, _, identity in ready])
        if self._converter is not None:
            sources = self._converter.run(input=sources)
            if row.identity == "unit":
                sources = sources / np.linalg.norm(sources, axis=1, keepdims=True)
        return self._graph.run(target=targets, source=sources)

    def _finished(self, request: Request, matrix: np.ndarray, planes: np.ndarray) -> Fake | BadData:
        if not np.isfinite(planes).all():
            return BadData(Reason.BAD_FAKE, "the network gave numbers that are not finite")
        target = request.target
        assert target is not None
        crop = 255 * np.clip(self._shares(planes).transpose(1, 2, 0), 0, 1)
        if self._row.mask == "square":
            pasted = pasting.square(target.image, crop.astype(np.uint8), matrix)  # cuts the decimals off
        else:
            pasted = pasting.box(target.image, crop, matrix, self._mask)
        try:
            check_pasted(pasted)
        except BadData as fault:
            return fault
        return Fake(pasted.image, target.landmarks, pasted.box, pasted.mask, f"{self._row.mask} mask")

    def _shares(self, planes: np.ndarray) -> np.ndarray:
        return planes * np.float32(0.5) + np.float32(0.5) if self._row.signed else planes


def latent(vector: np.ndarray, table: np.ndarray) -> np.ndarray:
    """What inswapper is fed: the vector [512], of length 1, times the table [512, 512], of length 1 again."""
    found = (vector / np.linalg.norm(vector)) @ table
    return np.asarray(found / np.linalg.norm(found), np.float32)


def _planes(picture: np.ndarray) -> np.ndarray:
    """[H, W, 3] uint8 as [3, H, W] float32 in 0..1."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1)).astype(np.float32) / np.float32(255)
