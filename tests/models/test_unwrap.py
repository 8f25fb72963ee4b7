"""Weights are found under whatever training programs put around them, and nothing else is taken for them."""

import itertools

import pytest
import torch

from faceverify.errors import UserError
from faceverify.models import checkpoints, unwrap
from ray_jobs import models

COUNTER = ".num_batches_tracked"


def prefixed(prefix):
    return lambda tensors: {f"{prefix}{name}": value for name, value in tensors.items()}


def under(key):
    return lambda tensors: {key: tensors, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}}}


def with_head(tensors):
    # Beside the backbone, wherever its prefix puts it.
    return tensors | {"fc.weight": torch.zeros(10, 32), "fc.bias": torch.zeros(10)}


def without_counters(tensors):
    return {name: value for name, value in tensors.items() if not name.endswith(COUNTER)}


DDP, COMPILED, BACKBONE = prefixed("module."), prefixed("_orig_mod."), prefixed("backbone.")
WAYS = {
    "plain": [],
    "ddp": [DDP],
    "compiled": [COMPILED],
    "model": [under("model")],
    "model_state_dict": [under("model_state_dict")],
    "backbone": [BACKBONE],
    "head": [with_head],
    "no counters": [without_counters],
    "ddp of compiled": [COMPILED, DDP],
    "backbone and head in ddp": [BACKBONE, with_head, DDP],
    "all": [without_counters, BACKBONE, with_head, COMPILED, DDP, under("model_state_dict")],
    "state_dict of model": [DDP, under("state_dict"), under("model")],
}


@pytest.mark.parametrize("name", WAYS)
def test_all_ways_in_which_weights_are_wrapped_load_strictly(name, tiny, make_card, tmp_path):
    content = tiny.state_dict()
    for wrap in WAYS[name]:
        content = wrap(content)
    torch.save(content, tmp_path / "x.pt")
    found = checkpoints.read(tmp_path / "x.pt")
    assert checkpoints.identify(found) == ("tiny", 32)
    loaded = checkpoints.load(found, make_card()).state_dict()
    for key, value in tiny.state_dict().items():
        assert torch.equal(loaded[key], value) or (key.endswith(COUNTER) and without_counters in WAYS[name])


WRAPS = [DDP, COMPILED, BACKBONE, with_head, without_counters]


@pytest.mark.parametrize("wraps", list(itertools.permutations(WRAPS, 3)))
def test_combinations_fit(wraps, tiny):
    content = tiny.state_dict()
    for wrap in wraps:
        content = wrap(content)
    want = {name: tuple(value.shape) for name, value in tiny.state_dict().items()}
    found = unwrap.fit(under("model")(content), want, 32)
    assert found.tensors.keys() == want.keys()
    assert all(torch.equal(found.tensors[key], value) for key, value in tiny.state_dict().items() if COUNTER not in key)


def test_what_was_taken_off_is_said_once(tiny, make_card, tmp_path, capsys, cache_folder):
    torch.save(under("model_state_dict")(DDP(with_head(BACKBONE(tiny.state_dict())))), tmp_path / "said.pt")
    said = (
        "Weights: taken off: key 'model_state_dict', prefix 'module.', prefix 'backbone.', "
        "2 classifier tensors (fc.weight, fc.bias)"
    )
    assert (
        models.main(["card", str(tmp_path / "said.pt"), *["--colour", "RGB", "--mean", "127.5", "--std", "127.5"]]) == 0
    )
    assert said in capsys.readouterr().out.splitlines()
    unwrap.say.cache_clear()
    for _ in range(2):
        checkpoints.load(checkpoints.read(tmp_path / "said.pt"), make_card())
    assert capsys.readouterr().err.splitlines() == [said]


def refusal(content, make_card, tmp_path):
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(UserError) as caught:
        checkpoints.load(checkpoints.read(tmp_path / "x.pt"), make_card())
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ({"surprise.weight": torch.zeros(10, 32)}, "unexpected: surprise.weight"),  # no name of a classifier
        ({"fc.weight": torch.zeros(10, 33)}, "unexpected: fc.weight"),  # not of this embedding
        ({"fc.weight": torch.zeros(10, 32), "fc.scale": torch.zeros(7)}, "unexpected: fc.weight, fc.scale"),
        ({"fc.1.weight": torch.zeros(16, 32), "fc.2.weight": torch.zeros(10, 16)}, "unexpected: fc.1.weight, fc.2.w"),
        ({"head.weight": torch.zeros(10, 32, 1, 1)}, "unexpected: head.weight"),
    ],
)
def test_only_what_is_clearly_a_classifier_is_left_out(extra, named, tiny, make_card, tmp_path):
    assert named in refusal(DDP(tiny.state_dict() | extra), make_card, tmp_path)


def test_missing_statistics_are_not_made_up(tiny, make_card, tmp_path):
    tensors = dict(tiny.state_dict())
    gone = [name for name in tensors if name.endswith("running_mean")]
    content = under("model")(DDP({name: value for name, value in tensors.items() if name not in gone}))
    assert f"missing: {gone[0]}" in refusal(content, make_card, tmp_path)


def test_two_networks_that_fit_are_a_question(tiny, make_card, tmp_path):
    """And `convert --at` answers it."""
    own = tiny.state_dict()
    other = {name: value + 1 for name, value in own.items()}
    for content, places in (
        ({"model": DDP(own), "ema": other}, ["model", "ema"]),
        (
            {"state_dict": prefixed("student.")(own) | prefixed("teacher.")(other)},
            ["state_dict/student.", "state_dict/teacher."],
        ),
    ):
        text = refusal(content, make_card, tmp_path)
        assert f"2 networks that fit: {', '.join(places)}" in text and "--at PLACE" in text
        for place, want in zip(places, (own, other), strict=True):
            checkpoints.convert(tmp_path / "x.pt", tmp_path / "one.safetensors", place)
            loaded = checkpoints.load(checkpoints.read(tmp_path / "one.safetensors"), make_card()).state_dict()
            assert all(torch.equal(loaded[name], value) for name, value in want.items())


def test_the_same_network_twice_is_no_question(tiny, make_card, tmp_path):
    torch.save({"model": tiny.state_dict(), "best": DDP(tiny.state_dict())}, tmp_path / "x.pt")
    loaded = checkpoints.load(checkpoints.read(tmp_path / "x.pt"), make_card())
    assert all(torch.equal(value, tiny.state_dict()[name]) for name, value in loaded.state_dict().items())


def test_quantised_weights_are_refused(tiny, make_card, tmp_path):
    tensors = {name: value.to(torch.int8) for name, value in tiny.state_dict().items()}
    assert "whole numbers" in refusal(tensors, make_card, tmp_path)


def test_convert_asks_where_the_tensors_are(tiny, tmp_path):
    torch.save({"model": tiny.state_dict(), "centres": {"x": torch.zeros(2)}}, tmp_path / "x.pt")
    for at, said in (("", "tensors at model, centres; choose one with --at"), ("none", "tensors at model, centres")):
        with pytest.raises(UserError, match=said):
            checkpoints.convert(tmp_path / "x.pt", tmp_path / "y.safetensors", at)
    assert checkpoints.convert(tmp_path / "x.pt", tmp_path / "y.safetensors", "centres") == 1


@pytest.mark.parametrize("wraps", [[DDP], [COMPILED, DDP], [under("model")], [prefixed("net."), under("state_dict")]])
def test_aligners_are_unwrapped_alike(wraps):
    from faceverify.align.mtcnn_networks import RefineNet
    from faceverify.align.weights import load_strictly

    torch.manual_seed(0)
    content = network = RefineNet().state_dict()
    for wrap in wraps:
        content = wrap(content)
    loaded = load_strictly(RefineNet(), unwrap.bare(content), torch.device("cpu")).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in network.items())


def test_several_sets_of_tensors_are_a_question_to_aligners():
    with pytest.raises(ValueError, match="tensors at one, two"):
        unwrap.bare({"one": {"x": torch.zeros(1)}, "two": {"x": torch.zeros(1)}})
