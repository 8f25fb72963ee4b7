"""Stages cover the network once; what is frozen does not move."""

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from faceverify.errors import UserError
from faceverify.models import checkpoints
from faceverify.training import freezing


@pytest.mark.parametrize(
    "architecture, count", [("tiny", 6), ("ir_18", 6), ("mobilefacenet", 7), ("tiny_attention", 6), ("tiny_detail", 7)]
)
def test_stages_hold_every_weight_once(architecture: str, count: int) -> None:
    with torch.device("meta"):
        network = checkpoints.build(architecture, 16)
    stages = freezing.stages(network)
    assert len(stages) == count
    held = [id(p) for stage in stages for module in stage for p in module.parameters()]
    assert sorted(held) == sorted(id(p) for p in network.parameters())


def test_only_the_last_stages_learn() -> None:
    network = checkpoints.build("tiny", 16)
    freezing.freeze(network, 2)
    learning = {
        name.split(".")[0] + "." + name.split(".")[1] for name, p in network.named_parameters() if p.requires_grad
    }
    assert learning == {"body.3", "output_layer.0", "output_layer.3"}
    with pytest.raises(UserError, match=r"network\.train_last is 9, but this network has 6 stages"):
        freezing.freeze(network, 9)


def test_frozen_statistics_stay() -> None:
    network = checkpoints.build("tiny", 16)
    before = {name: value.clone() for name, value in network.named_buffers()}
    freezing.set_mode(network, "frozen")
    network(torch.randn(4, 3, 112, 112))
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())
    assert network.output_layer[1].training  # dropout goes on
    freezing.set_mode(network, "batch")
    network(torch.randn(4, 3, 112, 112))
    assert all(int(m.num_batches_tracked) == 1 for m in network.modules() if isinstance(m, _BatchNorm))


def test_a_frozen_stage_works_as_in_use() -> None:
    network = checkpoints.build("tiny", 16)
    freezing.freeze(network, 1)
    freezing.set_mode(network, "batch")
    assert not any(module.training for module in [*network.input_layer, *network.body])
    assert all(module.training for module in network.output_layer)
    for parameter in network.output_layer.parameters():
        parameter.requires_grad_(False)
    freezing.set_mode(network, "batch")
    assert not any(module.training for module in network.output_layer)  # neither its dropout nor its statistics


def test_recomputed_gradients_are_the_same() -> None:
    networks = [checkpoints.build("tiny", 16) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    freezing.recompute(networks[1])
    x, found = torch.randn(4, 3, 112, 112), []
    for network in networks:
        network.eval()
        network(x).square().sum().backward()
        found.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    assert torch.allclose(*found, atol=1e-5 * float(found[0].abs().max()))
