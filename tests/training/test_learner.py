"""Pixels reach the network as they reach every engine; parts of a batch give the gradient of the whole."""

import numpy as np
import pytest
import torch
from training.small import BRANCH, Asked, Data, make

from faceverify.errors import UserError
from faceverify.losses import LossConfig, LossWeights
from faceverify.models import card as cards
from faceverify.models import checkpoints
from faceverify.models.engines import preprocess
from faceverify.training.config import BatchConfig, NetworkConfig
from faceverify.training.learner import Learner, split_batch, to_tensors
from faceverify.training.network import check_initial, layout_of, precision_of

CPU = torch.device("cpu")


@pytest.mark.parametrize("colour", ["RGB", "BGR"])
def test_pixels_are_prepared_as_for_every_engine(colour: str) -> None:
    card = cards.build(
        name="n", architecture="tiny", colour=colour, mean=[1.0, 20.0, 99.5], std=[50.0, 60.0, 127.5], dim=4
    )
    faces = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    seen = []

    class Spy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            return x.mean((2, 3))

    Learner(Spy(), torch.nn.Identity(), card, torch.float32).embed(torch.from_numpy(faces))  # type: ignore[arg-type]
    assert np.allclose(seen[0].numpy(), preprocess(faces, card), atol=1e-6)


def test_pieces_give_the_gradient_of_the_whole(data: Data, tmp_path) -> None:  # type: ignore[no-untyped-def]
    gradients = []
    for count in (1, 2, 4):
        training = make(data, tmp_path / str(count), Asked(network=NetworkConfig(bn="frozen")))
        learner = training.task.learner.eval()
        batch = to_tensors(next(training.loader.batches(0, 1)), CPU)
        parts = split_batch(batch, count)
        assert [len(part["label"]) for part in parts] == [8 // count] * count
        for part in parts:
            (learner(part)[0] / count).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in learner.network.parameters()]))
    for other in gradients[1:]:
        assert torch.allclose(other, gradients[0], rtol=1e-4, atol=1e-5 * float(gradients[0].abs().max()))


def test_detection_needs_the_branch_that_it_teaches() -> None:
    config = LossConfig(weights=LossWeights(adaptive_margin=1.0, detection=0.5))
    batch = NetworkConfig(bn="batch")
    check_initial(checkpoints.build("tiny_detail", 4), batch, config)
    check_initial(checkpoints.build("tiny", 4), batch, LossConfig())
    with pytest.raises(UserError, match=r"losses\.weights\.detection is 0\.5, but .* network\.detail to true"):
        check_initial(checkpoints.build("tiny", 4), batch, config)


def test_the_branch_learns_the_same_without_the_network_beside_it(
    data: Data,
    tmp_path,  # type: ignore[no-untyped-def]
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learner = make(data, tmp_path, Asked(**BRANCH)).task.learner
    batch = to_tensors(next(make(data, tmp_path, Asked(**BRANCH)).loader.batches(0, 1)), CPU)
    gradients = []
    for needs in (True, False):
        monkeypatch.setattr(learner.objective, "needs_embeddings", needs)
        learner.zero_grad()
        loss, _ = learner.eval()(batch)
        loss.backward()
        moved = {name: p.grad.clone() for name, p in learner.network.named_parameters() if p.grad is not None}
        assert all(name.startswith("detail.") for name in moved)
        gradients.append(torch.cat([value.flatten() for value in moved.values()]))
    assert torch.equal(*gradients) and gradients[0].any()


def test_statistics_that_know_no_photo_are_not_frozen() -> None:
    network = checkpoints.build("tiny_detail", 4)
    check_initial(network, NetworkConfig(), LossConfig())  # all of it is fresh
    for name, value in network.named_buffers():
        if name.endswith("running_mean") and not name.startswith("detail."):
            value.fill_(0.1)
    check_initial(network, NetworkConfig(bn="batch"), LossConfig())
    with pytest.raises(UserError, match=r"bn is frozen, but 10 .* \(detail\.body\.0 is the first\)"):
        check_initial(network, NetworkConfig(), LossConfig())
    network.train()
    network(torch.rand(2, 3, 112, 112))
    check_initial(network, NetworkConfig(), LossConfig())


def test_what_cannot_be_cut_is_refused() -> None:
    with pytest.raises(UserError, match=r"batches\.accumulate is 3"):
        split_batch({"label": torch.zeros(8), "faces": torch.zeros(16, 1)}, 3)
    with pytest.raises(UserError, match=r"batches\.accumulate is 3"):
        BatchConfig(size=8, accumulate=3)


def test_precision() -> None:
    assert precision_of("auto", CPU) == torch.float32 and precision_of("bf16", CPU) == torch.bfloat16
    with pytest.raises(UserError, match="fp16"):
        precision_of("fp16", CPU)


def test_layouts_that_crash_are_avoided() -> None:
    narrow, wide = (torch.nn.Conv2d(width, 32, 1, 2) for width in (8, 16))
    assert layout_of(narrow, CPU) == torch.contiguous_format
    assert layout_of(wide, CPU) == layout_of(narrow, torch.device("cuda")) == torch.channels_last
