"""What the losses read off a batch of pairs."""

import pytest
import torch
from losses.checks import ordinary

from faceverify.losses.batch import PairBatch


def batch(**more: torch.Tensor) -> PairBatch:
    return PairBatch(
        embeddings_a=ordinary(3, seed=1),
        embeddings_b=ordinary(3, seed=2),
        label=torch.tensor([1, 0, 0]),
        kind=torch.tensor([0, 1, 2]),
        is_fake_a=torch.tensor([False, False, False]),
        is_fake_b=torch.tensor([False, False, True]),
        **more,
    )


def test_photos_come_a_before_b() -> None:
    pairs = batch(person_a=torch.tensor([0, 1, 2]), person_b=torch.tensor([0, -1, 2]))
    assert torch.equal(pairs.embeddings, torch.cat([ordinary(3, seed=1), ordinary(3, seed=2)]))
    assert pairs.person.tolist() == [0, 1, 2, 0, -1, 2]
    assert pairs.is_fake.tolist() == [False] * 5 + [True]


def test_deepfakes_are_left_out_or_classes_of_their_own() -> None:
    pairs = batch(person_a=torch.tensor([0, 1, 2]), person_b=torch.tensor([0, -1, 2]))
    assert pairs.classes(10, fakes_as_own_class=False).tolist() == [0, 1, 2, 0, -1, -1]
    assert pairs.classes(10, fakes_as_own_class=True).tolist() == [0, 1, 2, 0, -1, 12]
    unknown = batch(person_a=torch.tensor([0, 1, 2]), person_b=torch.tensor([0, 1, -1]))
    assert unknown.classes(10, fakes_as_own_class=True).tolist() == [0, 1, 2, 0, 1, -1]


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="person_a and person_b"):
        batch(person_a=torch.zeros(3)).person  # noqa: B018
    with pytest.raises(ValueError, match="reference_a and reference_b"):
        batch().reference  # noqa: B018
