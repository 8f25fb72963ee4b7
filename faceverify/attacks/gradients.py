"""FGSM and PGD on the embedding: pixels of an aligned crop changed along the gradient of the similarity.

**Threat model.** The attacker knows the network and its weights (white box), and the embedding of `photo_a`, the
enrolled photo, which stays as it is. They hand the system the aligned crop of `photo_b` (a digital attack behind the
aligner), in which every channel of every pixel may differ by at most `eps` levels of 0..255 from the true one
(L-infinity), and which is a picture of whole levels within 0..255, as a file would hold it.

    impersonation   pairs of label 0 (impostors, deepfakes): the similarity is pushed up, to be accepted
    evasion         pairs of label 1 (genuine): the similarity is pushed down, to be rejected

What is followed is the gradient of the cosine of both embeddings with respect to the pixels, through the preprocessing
of the card. FGSM (Goodfellow et al., 2015): one step of `eps` along its sign. PGD (Madry et al., 2018): from a random
point within `eps`, steps of 2.5 eps / steps along the sign, each followed by a return into the allowed range.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from faceverify.attacks.degrade import generator
from faceverify.attacks.options import Condition
from faceverify.errors import UserError
from faceverify.models.card import ModelCard
from faceverify.models.engine_config import EngineConfig
from faceverify.models.engine_torch import TorchEngine
from faceverify.models.loading import load_module
from faceverify.vectors import unit

BATCH = 16  # crops per gradient


def feed(pictures: Tensor, card: ModelCard) -> Tensor:
    """`engines.preprocess` for tensors, so that gradients go through.

    Args:
        pictures: [N, H, W, 3] RGB in 0..255, floating point.
        card: gives colour order, mean and deviation.

    Returns:
        [N, 3, H, W], channels in the order of the card.
    """
    ordered = pictures if card.colour == "RGB" else pictures.flip(-1)
    mean, std = (torch.tensor(values, dtype=pictures.dtype, device=pictures.device) for values in (card.mean, card.std))
    return ((ordered - mean) / std).permute(0, 3, 1, 2)


def similarity_gradient(module: nn.Module, card: ModelCard, pictures: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines [N] of the pictures' embeddings and unit vectors, and their gradients [N, H, W, 3] per level.

    Args:
        module: the network, in eval mode.
        card: how it is fed.
        pictures: [N, H, W, 3] RGB in 0..255, of the type and on the device of the network.
        targets: [N, dim] unit vectors.
    """
    with torch.enable_grad():
        pictures = pictures.detach().requires_grad_()
        cosine = nn.functional.cosine_similarity(module(feed(pictures, card)), targets, dim=1)
        (gradient,) = torch.autograd.grad(cosine.sum(), pictures)
    return cosine.detach(), gradient


class GradientAttacker:
    """A network and its gradients.

    Args:
        model: name or file of PyTorch weights.
        config: device and threads.
        digest: of the card that the model must have; empty = whatever it has.
        steps: of PGD.
        seed: of the points from which PGD starts.

    Raises:
        UserError: see `load_module`; or it is another network than was checked.
    """

    def __init__(self, model: str, config: EngineConfig, digest: str, steps: int, seed: int) -> None:
        self.module, self.card = load_module(model)
        if digest and self.card.digest != digest:
            raise UserError(
                f"model '{model}' changed after the job began, or is another file on this node (card "
                f"{self.card.digest[:12]}, not {digest[:12]}); run the same command again."
            )
        self.module.requires_grad_(False)
        self.engine = TorchEngine(self.module, self.card, config)
        self.steps, self.seed = steps, seed

    def attacked(
        self,
        faces: np.ndarray,
        targets: np.ndarray,
        towards: np.ndarray,
        names: Sequence[str],
        conditions: Sequence[Condition],
    ) -> Iterator[tuple[Condition, np.ndarray]]:
        """The crops under every attack on gradients.

        Args:
            faces: [N, H, W, 3] uint8 RGB, as on the card.
            targets: [N, dim] unit embeddings of the other photos.
            towards: [N] 1 where the similarity is to rise, -1 where it is to fall.
            names: of the pairs, from which the start of PGD is drawn.
            conditions: attacks and their strengths.

        Yields:
            A condition, and the crops [N, H, W, 3] uint8.
        """
        made = {condition: np.empty_like(faces) for condition in conditions}
        for start in range(0, len(faces), BATCH):
            part = slice(start, start + BATCH)
            given = faces[part], targets[part], towards[part]
            steepest = self._signs(given[0].astype(np.float32), *given[1:]) if self._has(conditions, "fgsm") else None
            for condition in conditions:
                if condition.attack == "fgsm":
                    assert steepest is not None
                    made[condition][part] = fgsm(given[0], steepest, int(condition.strength))
                else:
                    made[condition][part] = self._pgd(*given, names[part], int(condition.strength))
        yield from made.items()

    def similarities(self, faces: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Cosines [N] float32 of crops [N, H, W, 3] uint8 with unit vectors [N, dim], as scoring computes them."""
        return np.clip(np.einsum("ij,ij->i", unit(self.engine.embed(faces)), targets), -1, 1)

    @staticmethod
    def _has(conditions: Sequence[Condition], attack: str) -> bool:
        return any(condition.attack == attack for condition in conditions)

    def _signs(self, pictures: np.ndarray, targets: np.ndarray, towards: np.ndarray) -> np.ndarray:
        """Signs [N, H, W, 3] of the changes that push each similarity where it is to go."""
        device = next(self.module.parameters()).device
        pixels, wanted = (torch.from_numpy(np.ascontiguousarray(values)).to(device) for values in (pictures, targets))
        _, gradient = similarity_gradient(self.module, self.card, pixels, wanted)
        return np.sign(gradient.cpu().numpy()) * towards[:, None, None, None].astype(np.float32)

    def _pgd(
        self, faces: np.ndarray, targets: np.ndarray, towards: np.ndarray, names: Sequence[str], eps: int
    ) -> np.ndarray:
        begin = [
            generator(self.seed, "pgd", name).uniform(-eps, eps, face.shape).astype(np.float32)
            for name, face in zip(names, faces, strict=True)
        ]
        return pgd(faces, np.stack(begin), lambda now: self._signs(now, targets, towards), eps, self.steps)


def fgsm(faces: np.ndarray, signs: np.ndarray, eps: int) -> np.ndarray:
    """Crops [N, H, W, 3] uint8, each pixel moved by `eps` levels along `signs`, within 0..255."""
    return np.clip(faces + eps * signs, 0, 255).astype(np.uint8)


def pgd(
    faces: np.ndarray, begin: np.ndarray, signs_at: Callable[[np.ndarray], np.ndarray], eps: int, steps: int
) -> np.ndarray:
    """Projected steps along the signs of the gradient.

    Args:
        faces: [N, H, W, 3] uint8.
        begin: where it begins, as differences from `faces`, each within `eps`.
        signs_at: gives the signs at pictures [N, H, W, 3] float32.
        eps: largest difference of a pixel, in levels.
        steps: how many; each of 2.5 eps / steps levels.

    Returns:
        [N, H, W, 3] uint8: rounded, which keeps it within `eps`.
    """
    true = faces.astype(np.float32)
    low, high = np.maximum(true - eps, 0), np.minimum(true + eps, 255)
    now = np.clip(true + begin, low, high)
    for _ in range(steps):
        now = np.clip(now + np.float32(2.5 * eps / steps) * signs_at(now), low, high)
    return np.rint(now).astype(np.uint8)
