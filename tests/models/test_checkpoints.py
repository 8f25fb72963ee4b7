"""Strict loading from the published containers, and what is said when a file does not fit."""

import argparse

import pytest
import torch
from safetensors.torch import save_file

from faceverify.errors import UserError
from faceverify.models import checkpoints


def head(dim):
    """The classifier of the published AdaFace checkpoints."""
    return {"head.kernel": torch.zeros(dim, 3), "head.t": torch.zeros(1)}


def write(container, tensors, folder):
    """Write tensors as their publisher does."""
    dim = len(tensors["output_layer.3.bias"])
    if container == "lightning":
        path = folder / "adaface.ckpt"
        torch.save({"epoch": 1, "state_dict": {f"model.{k}": v for k, v in tensors.items()} | head(dim)}, path)
    elif container == "cvlface":
        path = folder / "model.pt"
        torch.save({f"net.{k}": v for k, v in tensors.items()}, path)
    elif container == "huggingface":
        path = folder / "model.safetensors"
        save_file({f"model.net.{k}": v for k, v in tensors.items()}, path)
    else:
        path = folder / "bare.pth"
        torch.save(tensors, path)
    return path


@pytest.mark.parametrize(
    ("container", "colour"), [("lightning", "BGR"), ("cvlface", "RGB"), ("huggingface", "RGB"), ("bare", "RGB")]
)
def test_every_container_loads_strictly(container, colour, ir_weights, make_card, tmp_path):
    tensors = ir_weights("ir_18")
    found = checkpoints.read(write(container, tensors, tmp_path))
    network = checkpoints.load(found, make_card(architecture="ir_18", dim=512, colour=colour))
    state = network.state_dict()
    assert list(state) == list(tensors)
    assert all(torch.equal(state[key], tensors[key]) for key in tensors)
    assert not network.training
    assert all(p.requires_grad and p.dtype == torch.float32 for p in network.parameters())


@pytest.mark.parametrize("name", ["ir_18", "ir_34", "ir_50", "ir_101", "tiny"])
def test_the_network_is_recognised_by_its_tensors(name, tmp_path):
    with torch.device("meta"):
        state = checkpoints.build(name, 64).state_dict()
    assert checkpoints.identify(checkpoints.WeightsFile(state, tmp_path)) == (name, 64)


@pytest.mark.parametrize(("container", "wrong"), [("lightning", "RGB"), ("cvlface", "BGR"), ("huggingface", "BGR")])
def test_a_colour_that_contradicts_the_container_is_refused(container, wrong, tiny, make_card, tmp_path):
    found = checkpoints.read(write(container, tiny.state_dict(), tmp_path))
    with pytest.raises(UserError, match=f"card says {wrong}"):
        checkpoints.check(found, make_card(colour=wrong))


def test_half_precision_becomes_float32(tiny, make_card, tmp_path):
    tensors = {k: v.half() if v.is_floating_point() else v for k, v in tiny.state_dict().items()}
    network = checkpoints.load(checkpoints.WeightsFile(tensors, tmp_path), make_card())
    assert all(p.dtype == torch.float32 for p in network.parameters())


def misfit(tensors, card, tmp_path):
    with pytest.raises(UserError) as caught:
        checkpoints.load(checkpoints.WeightsFile(tensors, tmp_path), card)
    return str(caught.value)


def test_another_depth_is_named(make_card, tmp_path):
    with torch.device("meta"):
        tensors = checkpoints.build("ir_50", 512).state_dict()
    text = misfit(tensors, make_card(architecture="ir_101", dim=512), tmp_path)
    assert "those of ir_50 with 512 dimensions" in text
    assert "missing: body.3." not in text and "and" in text


def test_missing_unexpected_and_misshapen_are_listed(tiny, make_card, tmp_path):
    tensors = dict(tiny.state_dict())
    del tensors["input_layer.2.weight"]
    tensors["surprise"] = torch.zeros(1)
    tensors["output_layer.3.bias"] = torch.zeros(33)
    text = misfit(tensors, make_card(), tmp_path)
    assert "missing: input_layer.2.weight" in text
    assert "unexpected: surprise" in text
    assert "output_layer.3.bias (33,), not (32,)" in text
    assert "4 body units" in text


def test_foreign_layouts_are_named(make_card, tmp_path):
    one = torch.zeros(1)
    blocks = {f"layer3.{i}.downsample.0.weight": one for i in range(7)}
    assert "7 blocks in layer3" in misfit(blocks, make_card(), tmp_path)
    assert "1 body units" in misfit({"body.0.res_layer.se_block.fc1.weight": one}, make_card(), tmp_path)
    assert "no network here" in misfit({"blocks.0.attn": one}, make_card(), tmp_path)


@pytest.mark.parametrize("content", [[1, 2], {}, {"a": 1}, {"state_dict": {"a": "b"}}])
def test_files_without_tensors_are_refused(content, tmp_path):
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(UserError, match=r"x\.pt"):
        checkpoints.read(tmp_path / "x.pt")


@pytest.mark.parametrize("name", ["x.pt", "x.safetensors"])
def test_damaged_files_are_refused(name, tmp_path):
    (tmp_path / name).write_bytes(b"PK\x03\x04 nothing of use")
    with pytest.raises(UserError, match="damaged"):
        checkpoints.read(tmp_path / name)


def test_python_objects_are_not_run_but_can_be_converted(tiny, make_card, tmp_path):
    path = tmp_path / "lightning.ckpt"
    tensors = {f"model.{k}": v for k, v in tiny.state_dict().items()}
    torch.save({"state_dict": tensors | head(32), "hyper_parameters": argparse.Namespace(arch="tiny")}, path)
    with pytest.raises(UserError, match=r"models convert .*lightning\.ckpt lightning\.safetensors"):
        checkpoints.read(path)
    target = tmp_path / "out.safetensors"
    assert checkpoints.convert(path, target) == len(tensors) + len(head(32))
    network = checkpoints.load(checkpoints.read(target), make_card(colour="BGR"))
    assert all(torch.equal(v, tiny.state_dict()[k]) for k, v in network.state_dict().items())


def test_convert_refuses_what_it_cannot_read(tmp_path):
    (tmp_path / "x.ckpt").write_bytes(b"junk")
    with pytest.raises(UserError, match="cannot be converted"):
        checkpoints.convert(tmp_path / "x.ckpt", tmp_path / "x.safetensors")
    with pytest.raises(UserError, match=r"must end in \.safetensors"):
        checkpoints.convert(tmp_path / "x.ckpt", tmp_path / "x.pt")
    assert [p.name for p in tmp_path.iterdir()] == ["x.ckpt"]


def test_save_leaves_nothing_half_written(tiny, tmp_path):
    checkpoints.save(tiny.state_dict(), tmp_path / "a.safetensors")
    before = (tmp_path / "a.safetensors").read_bytes()
    shared = torch.zeros(4)
    checkpoints.save({"x": shared, "y": shared[:2]}, tmp_path / "b.safetensors")  # tensors that share memory
    with pytest.raises(AttributeError):
        checkpoints.save({"x": None}, tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


def test_unknown_architecture():
    with pytest.raises(UserError, match="vit"):
        checkpoints.build("vit", 512)


@pytest.mark.parametrize("name", ["tiny", "mobilefacenet", "mobilefacenet_attention", "mobilefacenet_detail"])
def test_no_faces_give_no_embeddings(name):
    """A worker's share of a step may hold fakes alone, and then `distill` has nothing to compare with."""
    with torch.inference_mode():
        assert checkpoints.build(name, 32).eval()(torch.zeros(0, 3, 112, 112)).shape == (0, 32)
