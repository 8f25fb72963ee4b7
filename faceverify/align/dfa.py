"""Aligner `dfa`: the differentiable face aligner of CVLface, one face per photo.

Every photo is looked at in a copy of 160x160 pixels, so that photos of any size share a batch. The network always gives
a face; where there is none its score is low. Batches are padded to one length, so that a photo's numbers do not depend
on what is beside it. The network and all its outputs, for use inside other networks: `dfa_module`.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from faceverify.align.cards import OWN, card, settings
from faceverify.align.cropping import unfit
from faceverify.align.device import torch_device
from faceverify.align.dfa_network import DfaNetwork
from faceverify.align.dfa_square import Square
from faceverify.align.dfa_warp import fit_thetas, sample
from faceverify.align.found import FoundFace
from faceverify.align.interface import AlignConfig, Aligner
from faceverify.align.retinaface_network import architecture_of
from faceverify.align.weights import load_strictly, not_weights_of, read_weights, state_dict
from faceverify.errors import BadData, Reason, UserError

MIN_SCORE = OWN["dfa"].min_score
_BATCH = {"cpu": 8, "cuda": 128}


class DfaAligner(Aligner):
    """See `Aligner`.

    Args:
        network: loaded, on its device.
        name: see `Aligner.name`.
        min_score: a photo scoring less holds no face.
        crop_from: see `AlignConfig.crop_from`.
    """

    def __init__(
        self,
        network: DfaNetwork,
        name: str,
        min_score: float = MIN_SCORE,
        crop_from: Literal["original", "network"] = "original",
    ) -> None:
        self.name = name
        self._network, self._min_score, self._crop_from = network, min_score, crop_from
        self._device = next(network.parameters()).device
        needs = card("dfa")
        self._mean, self._std = (
            torch.tensor(values, device=self._device)[:, None, None] for values in (needs.mean, needs.std)
        )

    @torch.inference_mode()
    def find(self, images: list[np.ndarray], landmarks: list[np.ndarray | None]) -> list[FoundFace | BadData]:
        """One result per photo, same order; NO_FACE where the score is low. `landmarks` is not read."""
        del landmarks
        length = _BATCH[self._device.type]
        batches = (images[start : start + length] for start in range(0, len(images), length))
        return [result for batch in batches for result in self._find(batch)]

    def _find(self, photos: list[np.ndarray]) -> list[FoundFace | BadData]:
        squares = [Square(*photo.shape[:2]) for photo in photos]
        bgr = self._input([square.copy(photo) for square, photo in zip(squares, photos, strict=True)])
        face = self._network.face(bgr)
        thetas = fit_thetas(face.landmarks)
        found = [value.cpu().numpy() for value in (face.score[:, 0], face.landmarks, thetas)]
        crops = self._crops(bgr, thetas) if self._crop_from == "network" else None
        results: list[FoundFace | BadData] = []
        for i, (photo, square) in enumerate(zip(photos, squares, strict=True)):
            score, points, theta = (value[i] for value in found)
            points, matrix = square.landmarks(points), square.crop_matrix(theta)
            fault = self._faceless(score) or unfit(points, matrix, *photo.shape[:2])
            image = None if crops is None else crops[i]
            face = FoundFace(points.astype(np.float32), float(score), None, to_arcface=matrix, image=image)
            results.append(fault or face)
        return results

    def _input(self, copies: list[np.ndarray]) -> Tensor:
        """BGR as the card says, as many pictures as a batch holds."""
        filled = np.zeros((_BATCH[self._device.type], *copies[0].shape), np.float32)
        filled[: len(copies)] = copies
        rgb = torch.from_numpy(filled).to(self._device).permute(0, 3, 1, 2)
        return (rgb.flip(1) - self._mean) / self._std

    def _crops(self, bgr: Tensor, thetas: Tensor) -> np.ndarray:
        """[B, 112, 112, 3] uint8 RGB, out of what the network saw."""
        pixels = sample(bgr, thetas) * self._std + self._mean
        return pixels.flip(1).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()

    def _faceless(self, score: float) -> BadData | None:
        if score >= self._min_score:
            return None
        return BadData(Reason.NO_FACE, f"score {score:.3f} is below {self._min_score:g}")


def build(config: AlignConfig) -> DfaAligner:
    """The aligner of `config`; an unset `min_score` becomes DFA's own.

    Raises:
        UserError: see `align.build`; also if several faces are to be refused, which DFA cannot count.
    """
    if config.policy == "refuse":
        raise UserError(
            "align.policy is refuse, but align.method dfa does not count the faces of a photo: set the policy to "
            "most_central, which it comes nearest to, or take a detector."
        )
    data, digest = read_weights(config)
    try:
        tensors = state_dict(data)
        network = DfaNetwork(architecture_of(tensors))
        load_strictly(network, tensors, torch_device(config))
    except ValueError as error:
        raise not_weights_of(config, str(error)) from error
    return DfaAligner(network, f"dfa-{digest[:12]}", settings(config).min_score, config.crop_from)
