"""GhostFaceNets from Keras files: the numbers of the reference, whatever names and order, and what is refused."""

import copy
import json
import re

import h5py
import keras_files
import numpy as np
import pytest
import torch

from faceverify.errors import UserError
from faceverify.models import EngineConfig, checkpoints, load_engine
from faceverify.models.card import card_path
from faceverify.models.engine_torch import TorchEngine

VARIANTS = ("v1_s1", "v1_s2", "v2_s1", "v2_s2")


@pytest.fixture(scope="module")
def described(golden):
    """Layers, description and weights of a variant."""
    every = json.loads((golden / "zoo/ghostfacenet_layers.json").read_text())

    def make(variant, **changes):
        layers = copy.deepcopy(every[variant]["layers"])
        return layers, keras_files.config(layers, **changes), keras_files.weights(layers)

    return make


@pytest.fixture(scope="module")
def golden_file(described, tmp_path_factory):
    """The file of a variant, made once."""
    folder = tmp_path_factory.mktemp("keras")

    def make(variant):
        path = folder / f"{variant}.h5"
        return path if path.exists() else keras_files.write(path, *described(variant))

    return make


@pytest.fixture
def embed(recipe, foreign_card):
    """Unit embeddings of the two pictures of the recipe."""

    def run(path, variant):
        card = foreign_card(f"ghostfacenet_{variant}", std=[128.0] * 3)
        engine = TorchEngine(checkpoints.load(checkpoints.read(path), card), card, EngineConfig(provider="cpu"))
        feature = engine.embed(np.stack([recipe.image(seed, 112, 112) for seed in (11, 12)]))
        return feature / np.linalg.norm(feature, axis=1, keepdims=True), feature

    return run


def layer_of(described, name):
    return next(layer for layer in described["config"]["layers"] if layer["name"] == name)


def refusal(path):
    with pytest.raises(UserError) as caught:
        checkpoints.read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("variant", VARIANTS)
def test_output_equals_the_reference(variant, golden_file, embed, golden):
    expected = np.load(golden / "zoo/ghostfacenet.npz")
    unit, feature = embed(golden_file(variant), variant)
    np.testing.assert_allclose(unit, expected[f"ghostface_{variant}_unit"], atol=1e-6, rtol=0)
    scale = np.abs(expected[f"ghostface_{variant}_feature"]).max()
    np.testing.assert_allclose(feature / scale, expected[f"ghostface_{variant}_feature"] / scale, atol=1e-5, rtol=0)


def test_all_parameters_are_taken(golden_file, golden):
    every = json.loads((golden / "zoo/ghostfacenet_layers.json").read_text())
    for variant in VARIANTS:
        found = checkpoints.read(golden_file(variant))
        [tensors] = found.content.values()
        count = sum(value.numel() for name, value in tensors.items() if not name.endswith("num_batches_tracked"))
        # A convolution without a bias has zeros as its bias here.
        assert count == every[variant]["params"] + (0 if variant == "v1_s1" else 512)
        assert checkpoints.identify(found) == (f"ghostfacenet_{variant}", 512)


def test_epsilon_is_the_files_own(described, embed, golden, tmp_path):
    """1e-3 is Keras's default, with which others rebuild the network."""
    expected = np.load(golden / "zoo/ghostfacenet.npz")
    path = keras_files.write(tmp_path / "x.h5", *described("v1_s2", epsilon=1e-3))
    off = np.abs(embed(path, "v1_s2")[0] - expected["ghostface_v1_s2_unit"]).max()
    assert off == pytest.approx(float(expected["ghostface_v1_s2_unit_dev_if_eps_1e-3"]), rel=0.01)


def test_an_epsilon_below_ours_is_taken_from_the_variance_or_refused(described, golden_file, tmp_path):
    layers, said, arrays = described("v1_s2", epsilon=0.0)
    [lowered] = checkpoints.read(keras_files.write(tmp_path / "x.h5", layers, said, arrays)).content.values()
    [plain] = checkpoints.read(golden_file("v1_s2")).content.values()
    expected = (plain["stem_bn.running_var"].double() - 1e-5).float()
    assert torch.equal(lowered["stem_bn.running_var"], expected)
    arrays["batch_normalization/moving_variance"] = np.full(20, 1e-6, np.float32)
    assert "has no weights as a norm" in refusal(keras_files.write(tmp_path / "y.h5", layers, said, arrays))


def test_names_and_order_of_another_run_change_nothing(described, golden_file, tmp_path):
    layers, _, arrays = described("v1_s1")
    new = {layer["name"]: f"of_another_run_{(number * 7) % 1000}" for number, layer in enumerate(layers)}
    renamed = []
    for layer in layers:
        renamed.append(
            layer
            | {
                "name": new[layer["name"]],
                "inputs": [new[name] for name in layer["inputs"]],
                "weights": [[f"{new[layer['name']]}/{key.rpartition('/')[2]}", s] for key, s in layer["weights"]],
            }
        )
    moved = {f"{new[key.partition('/')[0]]}/{key.partition('/')[2]}": value for key, value in arrays.items()}
    said = keras_files.config(renamed)
    said["config"]["layers"].sort(key=lambda layer: layer["name"])
    [one] = checkpoints.read(keras_files.write(tmp_path / "x.h5", renamed[::-1], said, moved)).content.values()
    [other] = checkpoints.read(golden_file("v1_s1")).content.values()
    assert list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in other)


def test_no_bias_and_no_scale_are_zeros_and_ones(described, tmp_path):
    layers, said, arrays = described("v1_s1")
    layer_of(said, "GDC_conv")["config"]["use_bias"] = False
    layer_of(said, "pre_embedding")["config"]["scale"] = False
    for layer in layers:
        if layer["name"] in ("GDC_conv", "pre_embedding"):
            layer["weights"] = [
                pair for pair in layer["weights"] if pair[0].rpartition("/")[2] not in ("bias", "gamma")
            ]
    [tensors] = checkpoints.read(keras_files.write(tmp_path / "x.h5", layers, said, arrays)).content.values()
    assert not tensors["whole_embedding.bias"].any() and (tensors["embedding.weight"] == 1).all()


def test_another_stride_or_version_is_refused_by_name(golden_file, foreign_card):
    for held, said in (("v1_s1", "v1_s2"), ("v1_s2", "v1_s1"), ("v2_s1", "v1_s1")):
        card = foreign_card(f"ghostfacenet_{said}", std=[128.0] * 3)
        with pytest.raises(UserError, match=f"its tensors are those of ghostfacenet_{held} with 512 dimensions"):
            checkpoints.check(checkpoints.read(golden_file(held)), card)


def test_a_card_that_feeds_it_otherwise_is_refused(golden_file, foreign_card):
    found = checkpoints.read(golden_file("v1_s2"))
    with pytest.raises(UserError, match="keras container, whose weights take RGB, but its model card says BGR"):
        checkpoints.check(found, foreign_card("ghostfacenet_v1_s2", std=[128.0] * 3, colour="BGR"))
    with pytest.raises(UserError, match=r"mean 127\.5 and std 128, but its model card says mean 127\.5 and std 127\.5"):
        checkpoints.check(found, foreign_card("ghostfacenet_v1_s2"))


def test_hard_sigmoid_of_keras_3_is_another_function(described, tmp_path):
    path = keras_files.write(tmp_path / "x.h5", *described("v1_s2"), version="3.15.0")
    assert "is hard_sigmoid_torch of 1 and not hard_sigmoid of 1" in refusal(path)
    path = keras_files.write(tmp_path / "y.h5", *described("v2_s2"), version="3.15.0")  # it has the other one anyway
    assert checkpoints.identify(checkpoints.read(path)) == ("ghostfacenet_v2_s2", 512)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (
            "depthwise_conv2d_3",
            {"padding": "valid"},
            "'depthwise_conv2d_3' is depthwise of 1 kernel .* padding valid and",
        ),
        ("conv2d_6", {"activation": "relu"}, "'conv2d_6' is Conv2D with activation relu of 1"),
        ("activation_1", {"shared_axes": [1]}, "PReLU of every pixel"),
        ("conv2d", {"strides": [3, 3]}, "stride 3"),
        ("batch_normalization_3", {"epsilon": "x"}, "could not convert string to float"),
    ],
)
def test_another_network_is_refused_by_the_first_layer_that_differs(name, change, said, described, tmp_path):
    layers, whole, arrays = described("v1_s2")
    layer_of(whole, name)["config"].update(change)
    text = refusal(keras_files.write(tmp_path / "x.h5", layers, whole, arrays))
    assert "GhostFaceNet" in text
    assert re.search(said, text)


def test_missing_or_surplus_weights_are_refused(described, tmp_path):
    layers, whole, arrays = described("v1_s2")
    layers[1]["weights"] = []
    assert "'conv2d' has no weights" in refusal(keras_files.write(tmp_path / "x.h5", layers, whole, arrays))
    layers, whole, arrays = described("v1_s2")
    layers[1]["weights"].append(["conv2d/bias", [20]])
    arrays["conv2d/bias"] = np.zeros(20, np.float32)
    assert "weights of no use: bias" in refusal(keras_files.write(tmp_path / "y.h5", layers, whole, arrays))


def test_a_file_of_weights_alone_is_refused(golden_file, tmp_path):
    with h5py.File(golden_file("v1_s2")) as whole, h5py.File(tmp_path / "x.h5", "w") as file:
        whole.copy("model_weights", file)
    assert "no model_config" in refusal(tmp_path / "x.h5")


def test_as_safetensors_it_is_the_same_network(described, embed, tmp_path):
    """The epsilon goes along, in the variances."""
    path = keras_files.write(tmp_path / "x.h5", *described("v1_s2", epsilon=1e-3))
    checkpoints.convert(path, tmp_path / "x.safetensors")
    np.testing.assert_array_equal(embed(path, "v1_s2")[1], embed(tmp_path / "x.safetensors", "v1_s2")[1])


def test_it_is_loaded_by_its_card(golden_file, foreign_card, recipe):
    path = golden_file("v1_s2")
    card_path(path).write_text(foreign_card("ghostfacenet_v1_s2", std=[128.0] * 3).to_json())
    engine = load_engine(str(path), EngineConfig(provider="cpu", threads=1))
    assert engine.embed(np.stack([recipe.image(11, 112, 112)])).shape == (1, 512)
