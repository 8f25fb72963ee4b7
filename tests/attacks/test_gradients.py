"""FGSM and PGD: gradients against finite differences, steps against a loop, and what they do to a network."""

from pathlib import Path

import numpy as np
import pytest
import stand_ins
import torch
from attacks.networks import write_network

from faceverify.attacks.gradients import GradientAttacker, feed, fgsm, pgd, similarity_gradient
from faceverify.attacks.options import Condition
from faceverify.errors import UserError
from faceverify.models import EngineConfig, card
from faceverify.models.engines import preprocess
from faceverify.vectors import unit

SIDE, DIM = 4, 5
CARD = card.build(
    name="net", architecture="net", input_size=(16, 16), colour="BGR", mean=[100.0, 120.0, 140.0], std=[50.0, 60, 70],
    dim=DIM,
)  # fmt: skip
WEIGHTS = np.random.default_rng(1).normal(0, 0.3, (DIM, 3 * SIDE * SIDE))


def network() -> torch.nn.Module:
    linear = torch.nn.Linear(3 * SIDE * SIDE, DIM, bias=False).double()
    linear.weight.data = torch.from_numpy(WEIGHTS)
    return torch.nn.Sequential(torch.nn.Flatten(), linear, torch.nn.Tanh()).eval()


def cosine(picture: np.ndarray, target: np.ndarray) -> float:
    """Of one picture [S, S, 3] RGB, pixel by pixel in float64."""
    embedding = np.zeros(DIM)
    for channel in range(3):  # of the network: blue first
        for y, x in np.ndindex(SIDE, SIDE):
            value = (picture[y, x, 2 - channel] - CARD.mean[channel]) / CARD.std[channel]
            embedding += WEIGHTS[:, (channel * SIDE + y) * SIDE + x] * value
    embedding = np.tanh(embedding)
    return float(embedding @ target / np.linalg.norm(embedding))


def slope(picture: np.ndarray, target: np.ndarray, step: float = 1e-4) -> np.ndarray:
    """Central differences."""
    out = np.zeros_like(picture)
    for place in np.ndindex(picture.shape):
        up, down = picture.copy(), picture.copy()
        up[place] += step
        down[place] -= step
        out[place] = (cosine(up, target) - cosine(down, target)) / (2 * step)
    return out


@pytest.fixture
def pictures() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (3, SIDE, SIDE, 3)).astype(np.uint8)


@pytest.fixture
def targets() -> np.ndarray:
    found = np.random.default_rng(3).normal(size=(3, DIM))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_the_gradient_is_that_of_the_similarity_by_pixels(pictures: np.ndarray, targets: np.ndarray) -> None:
    given = torch.from_numpy(pictures.astype(np.float64)), torch.from_numpy(targets)
    found, gradient = similarity_gradient(network(), CARD, *given)
    for i in range(3):
        assert found[i].item() == pytest.approx(cosine(pictures[i].astype(float), targets[i]), abs=1e-12)
        wanted = slope(pictures[i].astype(float), targets[i])
        assert np.abs(gradient[i].numpy() - wanted).max() < 1e-6 * np.abs(wanted).max()


@pytest.mark.parametrize("colour", ["RGB", "BGR"])
def test_the_network_is_fed_as_an_engine_feeds_it(pictures: np.ndarray, colour: str) -> None:
    described = card.build(
        name="net", architecture="net", colour=colour, mean=[100.0, 120.0, 140.0], std=[50.0, 60, 70], dim=2
    )
    found = feed(torch.from_numpy(pictures.astype(np.float32)), described).numpy()
    assert np.abs(found - preprocess(pictures, described)).max() <= 1e-6


@pytest.mark.parametrize("towards", [1, -1])
def test_steps_are_those_of_a_plain_loop(pictures: np.ndarray, targets: np.ndarray, towards: int) -> None:
    eps, steps = 6, 4
    begin = np.random.default_rng(4).uniform(-eps, eps, pictures.shape).astype(np.float32)

    def signs_at(now: np.ndarray) -> np.ndarray:
        _, gradient = similarity_gradient(
            network(), CARD, torch.from_numpy(now.astype(np.float64)), torch.from_numpy(targets)
        )
        return np.sign(gradient.numpy()).astype(np.float32) * towards

    for i, picture in enumerate(pictures.astype(float)):
        steepest = np.sign(slope(picture, targets[i])) * towards
        assert (fgsm(pictures, signs_at(pictures), eps)[i] == np.clip(picture + eps * steepest, 0, 255)).all()
        now = np.clip(picture + begin[i], 0, 255)
        for _ in range(steps):
            now = now + 2.5 * eps / steps * np.sign(slope(now, targets[i])) * towards
            now = np.clip(np.clip(now, picture - eps, picture + eps), 0, 255)
        assert (pgd(pictures, begin, signs_at, eps, steps)[i] == np.rint(now)).all()


# -- a network ---------------------------------------------------------------------------------------------------------

CONDITIONS = [Condition("fgsm", 2), Condition("pgd", 2), Condition("pgd", 6)]


@pytest.fixture(scope="module", params=["RGB", "BGR"])
def attacker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> GradientAttacker:
    path = write_network(tmp_path_factory.mktemp("network") / "tiny.pt", request.param)
    return GradientAttacker(str(path), EngineConfig(provider="cpu"), "", 5, 0)


def test_similarities_go_where_they_are_pushed_within_the_limit(attacker: GradientAttacker) -> None:
    faces = np.stack([stand_ins.draw(person, 0) for person in range(3)])
    faces[0, :8], faces[0, 8:16] = 0, 255  # at the ends of the range
    targets = unit(attacker.engine.embed(np.stack([stand_ins.draw(person, 1) for person in range(3)])))
    towards, names = np.array([1, -1, 1]), ["p", "q", "r"]
    before = attacker.similarities(faces, targets)
    found = dict(attacker.attacked(faces, targets, towards, names, CONDITIONS))
    gains = []
    for condition in CONDITIONS:
        changed = found[condition]
        assert changed.dtype == np.uint8
        assert np.abs(changed.astype(int) - faces).max() == condition.strength
        gains.append((attacker.similarities(changed, targets) - before) * towards)
    assert (np.array(gains) > 0).all()
    again = dict(attacker.attacked(faces, targets, towards, names, CONDITIONS))
    assert all((again[condition] == found[condition]).all() for condition in CONDITIONS)
    others = dict(attacker.attacked(faces, targets, towards, ["p", "q", "another"], CONDITIONS))
    assert (others[CONDITIONS[1]][:2] == found[CONDITIONS[1]][:2]).all()
    assert (others[CONDITIONS[1]][2] != found[CONDITIONS[1]][2]).any(), "each pair has a start of its own"


def test_another_network_than_was_checked_is_refused(tmp_path: Path) -> None:
    path = write_network(tmp_path / "tiny.pt")
    with pytest.raises(UserError, match="changed after the job began"):
        GradientAttacker(str(path), EngineConfig(), "0" * 64, 5, 0)
