"""Training over identities: the loss against a naive loop, determinism, and that something is learnt."""

import numpy as np
import pytest
import torch

from faceverify.models import card
from faceverify.models.iresnet import iresnet
from faceverify.training import IdentityTraining
from faceverify.training.identities import augment, cosface, train_identities

CARD = card.build(name="test", architecture="tiny", colour="RGB", mean=[127.5] * 3, std=[127.5] * 3, dim=16)


def test_cosface_equals_a_naive_loop() -> None:
    rng = np.random.default_rng(0)
    embeddings, centres = rng.normal(size=(5, 16)), rng.normal(size=(7, 16))
    targets = rng.integers(0, 7, 5)
    settings = IdentityTraining(scale=24.0, margin=0.2)
    total = 0.0
    for x, target in zip(embeddings, targets, strict=True):
        logits = [
            24.0 * (x @ c / np.linalg.norm(x) / np.linalg.norm(c) - 0.2 * (j == target)) for j, c in enumerate(centres)
        ]
        total += np.log(np.sum(np.exp(logits))) - logits[target]
    got = cosface(torch.from_numpy(embeddings), torch.from_numpy(centres), torch.from_numpy(targets), settings)
    assert got.item() == pytest.approx(total / 5, rel=1e-12)


def test_augmentation_moves_by_at_most_four_pixels_and_is_seeded() -> None:
    face = np.arange(112 * 112 * 3, dtype=np.uint32).astype(np.uint8).reshape(1, 112, 112, 3)
    faces = np.repeat(face, 40, axis=0)
    first, second = augment(faces, np.random.default_rng(1)), augment(faces, np.random.default_rng(1))
    assert (first == second).all()
    padded = np.pad(face[0], ((4, 4), (4, 4), (0, 0)), mode="edge")
    windows = [padded[y : y + 112, x : x + 112] for y in range(9) for x in range(9)]
    possible = {w.tobytes() for w in windows} | {np.ascontiguousarray(w[:, ::-1]).tobytes() for w in windows}
    assert {f.tobytes() for f in first} <= possible
    assert len({f.tobytes() for f in first}) > 10


def train(seed: int) -> tuple[list[float], torch.Tensor]:
    rng = np.random.default_rng(0)
    people = rng.integers(0, 256, (3, 1, 1, 3))  # three people, each of one colour
    labels = np.repeat(np.arange(3), 8)
    faces = np.clip(people[labels] + rng.normal(0, 20, (24, 112, 112, 3)), 0, 255).astype(np.uint8)
    torch.manual_seed(seed)
    network = iresnet("tiny", dim=16)
    losses: list[float] = []
    settings = IdentityTraining(epochs=4, batch=12, seed=seed)
    train_identities(network, CARD, faces, labels, settings, lambda _, loss: losses.append(loss))
    assert not network.training
    with torch.inference_mode():
        return losses, network(torch.from_numpy(faces[:3]).permute(0, 3, 1, 2).float())


def test_the_loss_falls_and_the_same_seed_gives_the_same_network() -> None:
    losses, embeddings = train(3)
    assert len(losses) == 4 and losses[-1] < losses[0]
    again, same = train(3)
    assert losses == again and torch.equal(embeddings, same)
    assert not torch.equal(embeddings, train(4)[1])
