"""The objective: the sum of its losses, what it needs and owns, and that each of its losses teaches the right thing."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from losses.checks import assert_finite, edges, ordinary
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from faceverify.errors import UserError
from faceverify.losses import AdaFaceOptions, HardNegativeOptions, LossConfig, LossWeights, build
from faceverify.losses.batch import PairBatch
from faceverify.losses.hard_negative import hardest
from faceverify.losses.objective import Objective
from faceverify.losses.vectors import cosine

ALL = ("adaptive_margin", "contrastive", "circle", "triplet", "arcface", "adaface", "center", "distill", "detection")


def batch_of(a: Tensor, b: Tensor) -> PairBatch:
    """Two people: four genuine pairs, two impostors, two deepfakes."""
    return PairBatch(
        embeddings_a=a,
        embeddings_b=b,
        label=torch.tensor([1, 1, 1, 1, 0, 0, 0, 0]),
        kind=torch.tensor([0, 0, 0, 0, 1, 1, 2, 2]),
        is_fake_a=torch.zeros(8, dtype=torch.bool),
        is_fake_b=torch.arange(8) > 5,
        person_a=torch.tensor([0, 0, 1, 1, 0, 1, 0, 1]),
        person_b=torch.tensor([0, 0, 1, 1, 1, 0, 0, 1]),
        reference_a=a.detach() + 1,
        reference_b=b.detach() - 1,
        scores_a=a[:, 0],
        scores_b=b[:, 0],
    )


BATCH = batch_of(ordinary(8, seed=1).float(), ordinary(8, seed=2).float())


def with_embeddings(a: Tensor, b: Tensor) -> PairBatch:
    return replace(BATCH, embeddings_a=a, embeddings_b=b, scores_a=a[:, 0], scores_b=b[:, 0])


def build_for(*names: str, **more: Any) -> Objective:
    return build(LossConfig(weights=LossWeights(**{name: 1.0 for name in names}), **more), dim=8, people=2)


def test_the_total_is_the_weighted_sum_of_the_losses_called_one_by_one() -> None:
    weights = {name: 0.5 + i for i, name in enumerate(ALL)}
    total, components = build(LossConfig(weights=LossWeights(**weights)), dim=8, people=2)(BATCH)
    assert list(components) == list(ALL)
    assert not any(value.requires_grad or value.shape for value in components.values())
    for name, value in components.items():
        assert value > 0 and torch.equal(build_for(name)(BATCH).total, value)
    want = sum(weights[name] * components[name].item() for name in ALL)
    assert total.item() == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_descending_teaches(name: str) -> None:
    """The embeddings themselves as parameters: what was wanted grows, what was not falls."""
    a, b = (x.clone().requires_grad_() for x in (BATCH.embeddings_a, BATCH.embeddings_b))
    objective = build_for(name, adaface=AdaFaceOptions(start_mean=5, start_std=1))
    optimiser = torch.optim.Adam([a, b, *objective.parameters()], lr=0.1)
    for _ in range(60):
        optimiser.zero_grad()
        objective(with_embeddings(a, b)).total.backward()
        optimiser.step()
    after = with_embeddings(a.detach(), b.detach())
    assert objective(after).total < 0.3 * build_for(name)(BATCH).total
    old, new = cosine(BATCH.embeddings_a, BATCH.embeddings_b), cosine(after.embeddings_a, after.embeddings_b)
    if name == "detection":
        assert after.scores[after.is_fake].min() > 0 > after.scores[~after.is_fake].max()
        return
    if name == "distill":
        assert cosine(after.embeddings, after.reference)[~after.is_fake].min() > 0.95
    else:
        assert new[:4].mean() - new[4:6].mean() > old[:4].mean() - old[4:6].mean() + 0.2
    if name in ("adaptive_margin", "contrastive", "circle", "triplet"):
        assert new[:4].min() > new[4:].max()
    else:  # deepfakes are left out
        assert torch.equal(after.embeddings_b[6:], BATCH.embeddings_b[6:])


def test_fakes_can_be_classes_of_their_own() -> None:
    objective = build_for("arcface", "center", fakes_as_own_class=True)
    assert [len(x) for x in objective.state_dict().values()] == [4, 4]
    leaf = BATCH.embeddings_b.clone().requires_grad_()
    objective(replace(BATCH, embeddings_b=leaf)).total.backward()
    assert leaf.grad is not None and (leaf.grad[6:] != 0).any(dim=1).all()


def test_mining_is_for_pair_losses_only() -> None:
    cosines = cosine(BATCH.embeddings_a, BATCH.embeddings_b)
    keep = hardest(cosines, BATCH.label, BATCH.kind, 0.5)
    assert keep.sum() == 6
    kept = PairBatch(**{n: getattr(BATCH, n)[keep] for n in PairBatch.__slots__ if getattr(BATCH, n) is not None})
    mined = HardNegativeOptions(share=0.5)
    for name in ("adaptive_margin", "contrastive", "circle"):
        got = build_for(name, hard_negatives=mined)(BATCH).total
        torch.testing.assert_close(got, build_for(name)(kept).total)
        assert got != build_for(name)(BATCH).total
    for name in ("triplet", "arcface", "distill", "detection"):
        assert torch.equal(build_for(name, hard_negatives=mined)(BATCH).total, build_for(name)(BATCH).total)


@pytest.mark.parametrize("fakes_as_own_class", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("label", [0, 1, None])
def test_edges(fakes_as_own_class: bool, dtype: torch.dtype, label: int | None) -> None:
    objective = build_for(*ALL, fakes_as_own_class=fakes_as_own_class, hard_negatives=HardNegativeOptions(share=0.5))

    def total(a: Tensor, b: Tensor) -> Tensor:
        batch = batch_of(a, b)
        return objective(batch if label is None else replace(batch, label=torch.full((8,), label))).total

    assert_finite(total, *edges(dtype))


def test_autocast_changes_nothing() -> None:
    for name in ALL:
        plain = build_for(name)(BATCH).total
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = build_for(name)(BATCH).total
        assert torch.equal(plain, inside), name


def test_what_it_needs_and_says_when_it_is_not_there() -> None:
    assert build_for("triplet").needs_identities and not build_for("triplet").needs_reference
    assert build_for("distill").needs_reference and not build_for("distill").needs_identities
    with pytest.raises(ValueError, match="reference_a"):
        build_for("distill")(replace(BATCH, reference_a=None))
    assert build_for("detection").needs_scores and not build_for("distill").needs_scores
    assert not build_for("detection").needs_embeddings and build_for("detection", "distill").needs_embeddings
    with pytest.raises(ValueError, match="scores_a"):
        build_for("detection")(replace(BATCH, scores_b=None))
    with pytest.raises(ValueError, match="person_a"):
        build_for("adaface")(replace(BATCH, person_b=None))
    with pytest.raises(UserError, match=r"losses\.weights names 'adaface'"):
        build(LossConfig(weights=LossWeights(adaface=1)), dim=8)
    absent = ("person_a", "person_b", "reference_a", "reference_b", "scores_a", "scores_b")
    build_for("adaptive_margin")(replace(BATCH, **dict.fromkeys(absent)))


def test_a_checkpoint_holds_all_that_moves() -> None:
    first, second = (
        build_for(*ALL),
        build(LossConfig(weights=LossWeights(**{name: 1.0 for name in ALL})), dim=8, people=2, seed=1),
    )
    assert not torch.equal(first(BATCH).total, second(BATCH).total)
    assert {name.split(".")[-1] for name in first.state_dict()} == {"weight", "batch_mean", "batch_std", "centres"}
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(BATCH).total, second(BATCH).total)
    assert not list(build_for("adaptive_margin", "distill").parameters())


def test_the_same_seed_gives_the_same_class_vectors() -> None:
    torch.manual_seed(5)
    first = build_for(*ALL)
    torch.manual_seed(6)
    assert torch.equal(first(BATCH).total, build_for(*ALL)(BATCH).total)


def test_people_can_start_from_their_mean_embeddings() -> None:
    objective = build_for("arcface", "adaface", "center", fakes_as_own_class=True)
    before = {name: x.clone() for name, x in objective.state_dict().items() if not name.endswith(("mean", "std"))}
    objective.start_from(torch.stack([torch.zeros(8), 5 * torch.eye(8)[1]]))
    assert len(before) == 3
    for name, old in before.items():
        new = objective.state_dict()[name]
        assert torch.equal(new[1], torch.eye(8)[1])
        assert torch.equal(new[[0, 2, 3]], old[[0, 2, 3]])  # a person without photos, and the fakes' classes


@pytest.fixture
def one_rank() -> Iterator[None]:
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def test_goes_through_distributed_data_parallel_also_without_people_in_the_batch(one_rank: None) -> None:
    objective = build_for("adaface", "adaptive_margin")
    parallel = DistributedDataParallel(objective)
    nobody = torch.full((8,), -1)
    for batch in (BATCH, replace(BATCH, person_a=nobody, person_b=nobody), BATCH):
        total, components = parallel(batch)
        total.backward()
        assert set(components) == {"adaface", "adaptive_margin"}
