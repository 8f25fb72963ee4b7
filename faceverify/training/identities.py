"""Learn to tell people apart from labelled faces: a network trained as a classifier over persons.

The loss is CosFace (Wang et al., CVPR 2018, eq. 4): cross entropy over s * (cos(theta_j) - m [j = y]), with unit
embeddings and unit class centres. The centres are thrown away afterwards; the embedding is what remains.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from faceverify.models.card import ModelCard
from faceverify.models.engines import preprocess
from faceverify.training import IdentityTraining


def train_identities(
    network: nn.Module,
    card: ModelCard,
    faces: np.ndarray,
    labels: np.ndarray,
    settings: IdentityTraining,
    report: Callable[[int, float], None],
) -> None:
    """Train `network` in place and leave it in evaluation mode.

    Args:
        network: [B,3,112,112] -> [B,D].
        card: how faces are fed to it.
        faces: [N,112,112,3] uint8 RGB.
        labels: [N] integers; equal means the same person.
        settings: see IdentityTraining.
        report: called with (epoch from 1, mean loss) after each epoch.
    """
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    classes, targets = np.unique(labels, return_inverse=True)
    centres = nn.Parameter(torch.randn(len(classes), card.dim))
    parameters = [*network.parameters(), centres]
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    steps = settings.epochs * len(list(_batches(len(faces), settings.batch, rng)))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.learning_rate, total_steps=steps)
    network.train()
    for epoch in range(1, settings.epochs + 1):
        losses = []
        for chosen in _batches(len(faces), settings.batch, rng):
            inputs = torch.from_numpy(preprocess(augment(faces[chosen], rng), card))
            loss = cosface(network(inputs), centres, torch.from_numpy(targets[chosen]), settings)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        report(epoch, float(np.mean(losses)))
    network.eval()


def cosface(embeddings: Tensor, centres: Tensor, targets: Tensor, settings: IdentityTraining) -> Tensor:
    """The CosFace loss (mean) of embeddings [B,D] against class centres [C,D], true classes targets [B]."""
    cosines = functional.normalize(embeddings) @ functional.normalize(centres).T
    margins = settings.margin * functional.one_hot(targets, len(centres)).to(cosines)
    return functional.cross_entropy(settings.scale * (cosines - margins), targets)


def augment(faces: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each face [N,112,112,3] uint8 flipped with probability one half and shifted by up to 4 pixels (edges repeat)."""
    padded = np.pad(faces, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="edge")
    out = np.empty_like(faces)
    for i, (y, x) in enumerate(rng.integers(0, 9, (len(faces), 2))):
        crop = padded[i, y : y + 112, x : x + 112]
        out[i] = crop[:, ::-1] if rng.random() < 0.5 else crop
    return out


def _batches(count: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Random batches of exactly `size` faces (all of them, if there are fewer): BatchNorm dislikes a small last one."""
    order = rng.permutation(count)
    whole = max(count // size, 1)
    yield from np.array_split(order[: whole * size], whole)
