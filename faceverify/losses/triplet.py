"""Triplet loss over the photos of a batch of pairs."""

import torch
from torch import Tensor, nn

from faceverify.losses.batch import PairBatch
from faceverify.losses.options import TripletOptions
from faceverify.losses.vectors import cosine_matrix, masked_mean, unit

_FAR, _NEAR = 5.0, -1.0  # outside of the squared distances of unit vectors, 0 to 4


class Triplet(nn.Module):
    """Schroff et al., "FaceNet", CVPR 2015, sec. 3.1 and 3.2 (`semi_hard`); Hermans et al., "In Defense of the
    Triplet Loss", 2017, eq. 5 (`batch_hard`).

        loss = max(0, m + d(i, p) - d(i, n)),   mean over the anchors i that have both a p and an n
        d(i, j) = 2 - 2 cos(i, j),  the squared distance of the unit embeddings

    batch_hard: p is the farthest photo of the anchor's person, n the nearest that is not the person's.
    semi_hard: p is the photo with which the anchor is paired, n the nearest that is farther than p, and if none is, the
    farthest of those that are not the person's. m: margin, in squared distance. Choosing passes no gradient.

    Two real photos of one known person are the same, of two known persons are not; a real photo and a deepfake never
    are, whomever it claims to be; of all else only the pair's own label is known.
    """

    def __init__(self, options: TripletOptions) -> None:
        super().__init__()
        self.options = options

    def forward(self, batch: PairBatch) -> Tensor:
        """The mean over the anchors of the batch; 0 if there are none."""
        units = unit(batch.embeddings)
        distance_NN = 2 - 2 * cosine_matrix(units, units)
        same_NN, other_NN = _relations(batch)
        if self.options.mining == "batch_hard":
            positive = distance_NN.masked_fill(~same_NN, _NEAR).amax(dim=1)
            negative = distance_NN.masked_fill(~other_NN, _FAR).amin(dim=1)
            anchor = same_NN.any(dim=1)
        else:
            partner = _partners(len(units), distance_NN.device)
            positive = distance_NN.gather(1, partner).squeeze(1)
            anchor = same_NN.gather(1, partner).squeeze(1)
            farther_NN = other_NN & (distance_NN > positive[:, None])
            nearest = distance_NN.masked_fill(~farther_NN, _FAR).amin(dim=1)
            farthest = distance_NN.masked_fill(~other_NN, _NEAR).amax(dim=1)
            negative = torch.where(farther_NN.any(dim=1), nearest, farthest)
        loss = (self.options.margin + positive - negative).clamp_min(0)
        return masked_mean(loss, anchor & other_NN.any(dim=1))


def _partners(photos: int, device: torch.device) -> Tensor:
    """[N,1]: where the other photo of the same pair is."""
    return torch.arange(photos, device=device).roll(photos // 2)[:, None]


def _relations(batch: PairBatch) -> tuple[Tensor, Tensor]:
    """[N,N] bool each: the same real person (never a photo with itself), and surely not."""
    person, fake = batch.person, batch.is_fake
    known = ~fake & (person >= 0)
    both_NN = known[:, None] & known[None, :]
    equal_NN = person[:, None] == person[None, :]
    partner = _partners(len(person), person.device)
    paired_NN = torch.zeros_like(both_NN).scatter(1, partner, True)
    label_NN = batch.label.repeat(2)[:, None] == 1
    itself_NN = torch.eye(len(person), dtype=torch.bool, device=person.device)
    same_NN = ((both_NN & equal_NN) | (paired_NN & label_NN)) & ~itself_NN
    other_NN = (both_NN & ~equal_NN) | (fake[:, None] != fake[None, :]) | (paired_NN & ~label_NN)
    return same_NN, other_NN
