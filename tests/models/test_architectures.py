"""The published networks that are not AdaFace's: keys, outputs of the reference implementations, and who is who."""

import numpy as np
import pytest
import torch

from faceverify.models import EngineConfig, checkpoints
from faceverify.models.architectures import ARCHITECTURES, build, shapes_of
from faceverify.models.card import contradictions, twin
from faceverify.models.engine_torch import TorchEngine

# Architecture, fixture file, and what its numbers are called there; the large ones take a second or two each.
REFERENCES = [
    ("arcface_r18", "arcface_iresnet", "r18"),
    pytest.param("arcface_r50", "arcface_iresnet", "r50", marks=pytest.mark.thorough),
    pytest.param("arcface_r100", "arcface_iresnet", "r100", marks=pytest.mark.thorough),
    ("magface_r18", "magface_iresnet", "magface_r18"),
    pytest.param("magface_r50", "magface_iresnet", "magface_r50", marks=pytest.mark.thorough),
    pytest.param("magface_r100", "magface_iresnet", "magface_r100", marks=pytest.mark.thorough),
    ("ir_se_50", "ir_se_50", "adaface_ir_se_50"),
    ("treb1en_ir_50", "ir_se_50", "ifpt_ir_50"),
    ("treb1en_ir_se_50", "ir_se_50", "ifpt_ir_se_50"),
]


@pytest.fixture
def embedded(recipe, foreign_weights, foreign_card, tmp_path):
    """Embeddings of the two pictures of the recipe, with its weights."""

    def embed(architecture, change=None, **changes):
        card = foreign_card(architecture, **changes)
        network = checkpoints.load(checkpoints.WeightsFile(foreign_weights(architecture), tmp_path), card)
        if change:
            change(network)
        pictures = np.stack([recipe.image(seed, *card.input_size) for seed in (11, 12)])
        return TorchEngine(network, card, EngineConfig(provider="cpu")).embed(pictures)

    return embed


def unit(feature):
    return feature / np.linalg.norm(feature, axis=1, keepdims=True)


def published(architecture, foreign_keys):
    return {key: tuple(shape) for key, (shape, _) in foreign_keys[architecture].items()}


def test_keys_shapes_and_order_are_those_published(foreign_keys):
    assert len(foreign_keys) == 12
    for name in foreign_keys:
        mine = shapes_of(name, 512)
        assert (name, list(mine.items())) == (name, list(published(name, foreign_keys).items()))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("arcface_r18", 24_040_351),
        ("arcface_r34", 34_165_239),
        ("arcface_r50", 43_629_071),
        ("arcface_r100", 65_225_946),
        ("facenet", 23_512_336),
    ],
)
def test_sizes_are_those_published(name, values):
    with torch.device("meta"):
        network = build(name, 512)
    assert sum(value.numel() for value in network.state_dict().values()) == values


def test_r200_has_the_published_depth():
    blocks = [key for key in shapes_of("arcface_r200", 512) if key.endswith("conv2.weight")]
    assert len(blocks) == 6 + 26 + 60 + 6 and "arcface_r200" in ARCHITECTURES


@pytest.mark.parametrize(("name", "file", "prefix"), REFERENCES)
def test_output_equals_the_reference(name, file, prefix, embedded, golden):
    expected = np.load(golden / f"zoo/{file}.npz")
    feature = embedded(name)
    # The other epsilon moves a number by 4e-6 to 5e-6.
    np.testing.assert_allclose(unit(feature), expected[f"{prefix}_unit"], atol=1e-6, rtol=0)
    scale = np.abs(expected[f"{prefix}_feature"]).max()
    np.testing.assert_allclose(feature / scale, expected[f"{prefix}_feature"] / scale, atol=1e-5, rtol=0)
    np.testing.assert_allclose(np.linalg.norm(feature, axis=1, keepdims=True), expected[f"{prefix}_norm"], rtol=1e-5)


@pytest.mark.thorough
def test_arcface_and_magface_differ_by_epsilon_colour_and_scale(embedded, golden):
    """What one gives that was taken for the other is known, so it is seen which of them ran."""
    arcface, magface = (np.load(golden / f"zoo/{kind}_iresnet.npz") for kind in ("arcface", "magface"))
    feature = embedded("magface_r50", colour="RGB", mean=[127.5] * 3, std=[127.5] * 3)
    off = np.abs(unit(feature) - arcface["r50_unit"]).max()
    assert off == pytest.approx(float(arcface["r50_unit_dev_if_eps_2e-5"]), rel=0.15)
    feature = embedded("magface_r50", colour="RGB")
    np.testing.assert_allclose(unit(feature), magface["magface_r50_wrong_rgb_unit"], atol=2e-6, rtol=0)
    feature = embedded("arcface_r50", colour="BGR")
    np.testing.assert_allclose(unit(feature), arcface["r50_bgr_unit"], atol=2e-6, rtol=0)


def test_twins_are_known_and_a_card_of_the_other_contradicts(foreign_card):
    found = {name: twin(name) for name in ARCHITECTURES if twin(name)}
    assert len(found) == 8 and all(found[other] == name for name, other in found.items())
    for name, other in found.items():
        assert shapes_of(name, 8) == shapes_of(other, 8)
    fed = {"colour": "RGB", "mean": [127.5] * 3, "std": [127.5] * 3}
    truth, wrong = (foreign_card(f"{kind}_r50", **fed) for kind in ("arcface", "magface"))
    assert contradictions(wrong, truth) == ["architecture magface_r50, not arcface_r50"]
    assert contradictions(foreign_card("onnx", **fed), truth) == []


def test_facenet_equals_the_reference_stage_by_stage(embedded, golden):
    expected = np.load(golden / "zoo/facenet.npz")
    seen = {}

    def watch(network):
        for name in ("conv2d_4b", "repeat_1", "mixed_6a", "repeat_2", "mixed_7a", "repeat_3", "block8"):
            network.get_submodule(name).register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out}))

    feature = embedded("facenet", watch)
    for name, out in seen.items():
        assert list(out.shape) == list(expected[f"facenet16_mid_{name}_shape"])
        found = np.stack([out.mean((1, 2, 3)), out.std((1, 2, 3), correction=0)], 1)
        np.testing.assert_allclose(found, expected[f"facenet16_mid_{name}_mean_std"], rtol=1e-5)
    np.testing.assert_allclose(unit(feature), expected["facenet16_unit"], atol=5e-7, rtol=0)
    np.testing.assert_allclose(feature, expected["facenet16_last_bn"], atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(feature, axis=1), expected["facenet16_last_bn_norm"], rtol=1e-6)
