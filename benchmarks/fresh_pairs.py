"""Pairs drawn on the device from a pool of crops.

Shape letters: B pairs, S places of a chunk.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.fresh_faces import CUTS, Pool

GENUINE, IMPOSTOR, DEEPFAKE = range(3)  # as in faceverify.pairs.rows.KINDS


@dataclass(frozen=True)
class Shares:
    """Of genuine and of impostor pairs; the rest are deepfakes beside a real photo of their person."""

    genuine: float
    impostor: float


class Sampler:
    """Holds the chunks of a pool on the device and draws pairs of them; every crop is mirrored half of the time."""

    def __init__(self, pool: Pool, shares: Shares, pairs: int, device: torch.device) -> None:
        self.pool, self.device = pool, device
        self.genuine, self.impostor = (round(share * pairs) for share in (shares.genuine, shares.impostor))
        self.deepfake = pairs - self.genuine - self.impostor
        self.faces = torch.empty(pool.faces.shape, dtype=torch.uint8, device=device)
        self.there = 0
        crowd = pool.photos.crowd
        self.start, self.count, self.person = (
            torch.from_numpy(np.ascontiguousarray(numbers)).long().to(device)
            for numbers in (crowd.start, crowd.count, pool.photos.persons)
        )
        self.paired = torch.nonzero(self.count[self.person] > 1)[:, 0]  # photos of people with another one

    def take(self, chunks: int) -> None:
        """Wait for so many chunks, and have them on the device."""
        for chunk in range(self.there, chunks):
            self.faces[chunk].copy_(torch.from_numpy(self.pool.wait(chunk)))
            self.there = chunk + 1

    def draw(self) -> dict[str, Tensor]:
        """A batch, as `faceverify.training.learner.tensors_of` makes it."""
        pairs = [self._genuine(), self._impostor(), self._deepfake()]
        places = torch.cat([first for first, _ in pairs] + [second for _, second in pairs])
        faces = self.faces[self._below(self.there, len(places)), places]
        mirrored = self._below(2, len(places)).bool()[:, None, None, None]
        sizes = torch.tensor([self.genuine, self.impostor, self.deepfake], device=self.device)
        kind = torch.repeat_interleave(torch.arange(3, device=self.device), sizes)
        return {
            "faces": torch.where(mirrored, faces.flip(2), faces),
            "label": (kind == GENUINE).long(),
            "kind": kind,
            "is_fake": torch.cat([torch.zeros_like(kind).bool(), kind == DEEPFAKE]),
        }

    def _genuine(self) -> tuple[Tensor, Tensor]:
        a = self.paired[self._below(len(self.paired), self.genuine)]
        start, count = self.start[self.person[a]], self.count[self.person[a]]
        return a, start + (a - start + 1 + self._up_to(count - 1)) % count

    def _impostor(self) -> tuple[Tensor, Tensor]:
        a = self._below(self.pool.reals, self.impostor)
        start, count = self.start[self.person[a]], self.count[self.person[a]]
        return a, (start + count + self._up_to(self.pool.reals - count)) % self.pool.reals

    def _deepfake(self) -> tuple[Tensor, Tensor]:
        fake = self._below(CUTS * self.pool.fakes, self.deepfake)
        victim = (fake // CUTS) % self.pool.people
        return self.start[victim] + self._up_to(self.count[victim]), self.pool.reals + fake

    def _below(self, limit: int, count: int) -> Tensor:
        return torch.randint(limit, (count,), device=self.device)

    def _up_to(self, limits: Tensor) -> Tensor:
        return (torch.rand(len(limits), device=self.device, dtype=torch.float64) * limits).long()
