"""One batch of pairs as the losses see it, so that training need not know which losses are in use."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PairBatch:
    """B pairs of photos; tensors of one device.

    Args:
        embeddings_a: [B,D] as the network gives them, not normalised: AdaFace reads the lengths.
        embeddings_b: the same of the second photos.
        label: [B] 1 = the same real person, 0 = not.
        kind: [B] integers, the place in `faceverify.pairs.rows.KINDS`: 0 genuine, 1 impostor, 2 deepfake.
        person_a: [B] int64, number of the person in the photo, from 0 in steps of 1 over the people trained on; of a
            deepfake, of the person it claims to be; -1 = unknown. None unless a loss needs it (`needs_identities`).
        person_b: the same of the second photos.
        is_fake_a: [B] bool, whether the photo is a deepfake.
        is_fake_b: the same of the second photos.
        reference_a: [B,D] embeddings of the same pictures by the original network, not normalised. None unless
            a loss needs them (`needs_reference`).
        reference_b: the same of the second photos.
        scores_a: [B] logits, the branch `detail` of the network: how much it takes the photo for a deepfake. None
            unless a loss needs them (`needs_scores`).
        scores_b: the same of the second photos.
    """

    embeddings_a: Tensor
    embeddings_b: Tensor
    label: Tensor
    kind: Tensor
    is_fake_a: Tensor
    is_fake_b: Tensor
    person_a: Tensor | None = None
    person_b: Tensor | None = None
    reference_a: Tensor | None = None
    reference_b: Tensor | None = None
    scores_a: Tensor | None = None
    scores_b: Tensor | None = None

    @property
    def embeddings(self) -> Tensor:
        """[2B,D] of all photos, first the a, then the b; a photo of several pairs is there several times."""
        return torch.cat([self.embeddings_a, self.embeddings_b])

    @property
    def is_fake(self) -> Tensor:
        """[2B] bool, whether each photo is a deepfake; first the a, then the b."""
        return torch.cat([self.is_fake_a, self.is_fake_b])

    @property
    def person(self) -> Tensor:
        """[2B] int64 number of the person in each photo, -1 = unknown; first the a, then the b."""
        return _both("person", self.person_a, self.person_b)

    @property
    def reference(self) -> Tensor:
        """[2B,D] embeddings of the same pictures by the original network; first the a, then the b."""
        return _both("reference", self.reference_a, self.reference_b)

    @property
    def scores(self) -> Tensor:
        """[2B] logits of the branch `detail`, higher = more likely a deepfake; first the a, then the b."""
        return _both("scores", self.scores_a, self.scores_b)

    def classes(self, people: int, *, fakes_as_own_class: bool) -> Tensor:
        """[2B] int64, for losses over people: the person's number; of a deepfake `people` + the number of the person
        it claims to be, or -1 if fakes are left out; -1 = unknown."""
        fake_class = torch.where(self.person < 0, -1, self.person + people) if fakes_as_own_class else -1
        return torch.where(self.is_fake, fake_class, self.person)


def _both(name: str, a: Tensor | None, b: Tensor | None) -> Tensor:
    if a is None or b is None:
        raise ValueError(f"a loss in use needs PairBatch.{name}_a and {name}_b, and they are None")
    return torch.cat([a, b])
