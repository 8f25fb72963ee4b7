"""Train a DFA's aggregator on CPUs, on top of a RetinaFace that stays as it is."""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, smooth_l1_loss
from torch.optim import AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR

from benchmarks.dfa_pictures import Picture
from faceverify.align.cards import card
from faceverify.align.dfa_network import SIDE, DfaFace, DfaNetwork

BATCH = 64
LEARNING_RATE = 1e-3
_UNIT = SIDE / 10  # landmarks and boxes enter the loss in units of ten pixels, about as in RetinaFace
_BOX_SHARE = 0.25


def network_input(pictures: Sequence[Picture]) -> Tensor:
    """BGR as DFA's card says."""
    needs = card("dfa")
    rgb = torch.from_numpy(np.stack([picture.pixels for picture in pictures]))
    return ((rgb.flip(3) - torch.tensor(needs.mean)) / torch.tensor(needs.std)).permute(0, 3, 1, 2)


def loss_of(face: DfaFace, pictures: Sequence[Picture]) -> Tensor:
    """Cross-entropy of the class, and smooth L1 of landmarks and box where there is a face (as in CVLface)."""
    seen = torch.tensor([picture.is_face for picture in pictures])
    landmarks, boxes = (
        torch.tensor(np.stack([getattr(picture, part) for picture in pictures]), dtype=torch.float32)[seen] * _UNIT
        for part in ("landmarks", "box")
    )
    where = smooth_l1_loss(face.landmarks[seen] * _UNIT, landmarks)
    where = where + _BOX_SHARE * smooth_l1_loss(face.box[seen] * _UNIT, boxes)
    return where + cross_entropy(face.logits, seen.long())


def train_aggregator(network: DfaNetwork, pictures: Iterator[Picture], steps: int) -> None:
    """Train in place; everything else of the network is frozen, its BN too."""
    network.requires_grad_(False)
    network.aggregator.requires_grad_(True)
    optimizer = AdamW(network.aggregator.parameters(), lr=LEARNING_RATE)
    schedule = CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        batch = list(islice(pictures, BATCH))
        loss = loss_of(network.face(network_input(batch)), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            print(f"step {step} of {steps}: loss {loss.detach():.3f}", flush=True)
    network.requires_grad_(False)
