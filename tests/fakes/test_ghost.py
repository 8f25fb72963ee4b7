"""Ghost in PyTorch: block by block and as a whole against the published program with recipe weights."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from fakes import graphs
from golden import recipe

from faceverify.align.geometry import nearest_pose, warp
from faceverify.errors import BadData, PlatformError, Reason, UserError
from faceverify.fakes import GENERATORS, FaceInput, Fake, Request, Weights, build, ghost, pasting
from faceverify.fakes.ghost_network import AEINet, Block, check
from faceverify.models.arcface import ArcFace

GOLDEN = Path(__file__).parent.parent / "golden" / "generators"


@pytest.fixture(scope="module")
def net() -> Any:
    return np.load(GOLDEN / "ghost_net.npz")


@pytest.fixture(scope="module")
def paste() -> Any:
    return np.load(GOLDEN / "ghost_paste.npz")


@pytest.fixture(scope="module")
def keys() -> dict[str, Any]:
    return json.loads((GOLDEN / "ghost_keys.json").read_text())


def shapes(network: torch.nn.Module) -> dict[str, list]:
    return {k: [list(v.shape), str(v.dtype).removeprefix("torch.")] for k, v in network.state_dict().items()}


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_names_and_shapes_are_those_of_the_released_files(keys, blocks):
    with torch.device("meta"):
        assert shapes(AEINet(blocks)) == keys[f"unet_{blocks}block{'s' if blocks > 1 else ''}"]


def test_its_recogniser_is_an_arcface(keys):
    with torch.device("meta"):
        assert shapes(ArcFace("arcface_r100")) == keys["iresnet100"]


def test_block(net):
    inputs = [torch.from_numpy(net[f"aad_{name}"]) for name in ("h", "attr", "id")]
    outputs = [name for name in net.files if name.startswith("aad_out_")]
    assert len(outputs) >= 3
    for name in outputs:
        width_in, width_out, count = map(int, name.split("_")[2:])
        block = Block(width_in, width_out, inputs[1].shape[1], inputs[2].shape[1], count).double()
        weights = recipe.weights({key: tuple(value.shape) for key, value in block.state_dict().items()}, 0)
        block.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()})
        with torch.inference_mode():
            assert (block(*(x.double() for x in inputs)) - torch.from_numpy(net[name])).abs().max() < 1e-6, name
            assert (block.float()(*(x.float() for x in inputs)) - torch.from_numpy(net[name])).abs().max() < 1e-4, name


def network(keys: dict[str, Any], blocks: int) -> AEINet:
    weights = recipe.weights(keys[f"unet_{blocks}block{'s' if blocks > 1 else ''}"], 0)
    with torch.device("meta"):
        made = AEINet(blocks)
    made.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()}, assign=True)
    return made.eval()


@pytest.mark.parametrize(
    ("blocks", "tolerance"),
    [
        (1, 1e-4),
        pytest.param(2, 2e-4, marks=pytest.mark.thorough),
        pytest.param(3, 1e-3, marks=pytest.mark.thorough),
    ],
)
def test_network(net, keys, blocks, tolerance):
    made = network(keys, blocks)
    picture = torch.from_numpy(recipe.image(41, 256, 256)).permute(2, 0, 1)[None].float() / 255
    identity = torch.from_numpy(np.random.default_rng(42).standard_normal((1, 512)).astype(np.float32))
    with torch.inference_mode():
        y = made((picture - 0.5) / 0.5, identity)
    assert np.abs(y[0, :, ::8, ::8].numpy() - net[f"b{blocks}_y_sample"]).max() < tolerance
    sample = net[f"b{blocks}_uint8_rgb_sample"]
    step = 256 // sample.shape[0]
    assert np.abs(ghost.to_pictures(y)[0, ::step, ::step].astype(int) - sample).max() <= 1


def test_source_is_halved_between_the_corners(paste):
    crop = torch.from_numpy(recipe.image(52, 224, 224)).permute(2, 0, 1)[None].float() / 255
    half = ghost.halved((crop - 0.5) / 0.5)[0].numpy()
    assert np.abs(half[:, ::7, ::7] - paste["arc_half_sample"]).max() < 1e-5
    assert np.abs(half[:, 50] - paste["arc_half_row"]).max() < 1e-5


@pytest.mark.thorough
def test_recogniser(paste, keys):
    with torch.device("meta"):
        made = ArcFace("arcface_r100")
    weights = recipe.weights(keys["iresnet100"], 0)
    made.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()}, assign=True)
    crop = torch.from_numpy(recipe.image(52, 224, 224)).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        feature = made.eval()(ghost.halved((crop - 0.5) / 0.5)).numpy()
    expected = paste["arc_feature"]
    assert np.abs(feature - expected).max() < 1e-5 * np.abs(expected).max()


def test_target_crop(paste):
    crop = warp(recipe.image(51, 300, 340), paste["paste_M"], ghost.CROP)
    assert np.abs(crop.astype(int) - paste["paste_crop_rgb"]).max() <= 1
    shown = cv2.resize(crop, (ghost.NETWORK, ghost.NETWORK))
    assert np.abs(shown[::8, ::8].astype(int) - paste["paste_resized256_rgb_sample"]).max() <= 1


def test_points(paste):
    shown = ghost.points_picture(paste["paste_crop_rgb"])
    assert np.abs(shown.astype(int) - paste["lmk106_input_rgb"]).max() <= 1
    points = ghost.to_points(paste["lmk106_pred"])[0]
    assert points.dtype == np.float32 and np.abs(points - paste["lmk106_points224"]).max() < 1e-3


def test_pictures_are_cut_off_not_rounded(paste):
    made = ghost.to_pictures(torch.from_numpy(paste["u8_in"]))
    assert (made[..., ::-1] == paste["u8_out_bgr"]).all()


def test_another_network_is_refused_by_name(tmp_path):
    torch.save(Block(4, 4, 4, 4, 1).state_dict(), tmp_path / "x.pth")
    for name in ("ghost_unet_2blocks", "ghost_backbone"):
        with pytest.raises(UserError, match=rf"x\.pth is another network than {name}.*as published"):
            check(name, tmp_path / "x.pth")
    (tmp_path / "y.pth").write_bytes((tmp_path / "x.pth").read_bytes()[:700])
    with pytest.raises(UserError, match=r"y\.pth is damaged or no PyTorch checkpoint"):
        check("ghost_backbone", tmp_path / "y.pth")


# -- the generator -----------------------------------------------------------------------------------------------------


class Mean(torch.nn.Module):
    """In place of the recogniser: the mean colour of what it is shown, 112 pixels wide."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[1:] == (3, 112, 112)
        return x.mean(dim=(2, 3))


class Tint(torch.nn.Module):
    """In place of the network: the target, drawn towards the source's mean colour; one that is very dark breaks it."""

    def forward(self, target: torch.Tensor, identity: torch.Tensor) -> torch.Tensor:
        assert target.shape[1:] == (3, 256, 256)
        dark = torch.where(identity.mean(dim=1) < -0.99, torch.nan, 0.0)
        return 0.5 * target + (0.5 * identity + dark[:, None])[..., None, None]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The generator with small networks in place of its own."""
    monkeypatch.setattr(ghost, "load", lambda name, path, device: Mean() if name == "ghost_backbone" else Tint())
    monkeypatch.setattr("faceverify.models.registry.is_published", lambda sha256: True)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    graphs.write(graphs.points_106(), tmp_path / "points.onnx")
    needs = GENERATORS["ghost"]
    places = dict.fromkeys(needs.files, str(tmp_path / "points.onnx"))
    return build(dataclasses.replace(needs, weights=tuple(Weights(n, p, "0" * 64) for n, p in places.items())))


def test_generator(made, faces):
    """What it makes is what the published steps make, done here one by one."""
    source, target = faces[0], faces[2]
    [fake] = made.make([Request((source,), target, np.random.default_rng(0))])
    shown = warp(source.image, nearest_pose(source.landmarks, 224)[1], 224)
    half = ghost.halved(torch.from_numpy(shown).permute(2, 0, 1)[None].float() / 127.5 - 1)
    matrix = nearest_pose(target.landmarks, 224)[1]
    crop = warp(target.image, matrix, 224)
    tinted = 0.5 * (cv2.resize(crop, (256, 256)) / 127.5 - 1) + 0.5 * half.mean(dim=(2, 3)).numpy()
    swapped = cv2.resize((127.5 * (tinted + 1)).astype(np.uint8), (224, 224))
    new, old = (made._points(picture[None])[0] for picture in (swapped, crop))
    mask, case = pasting.hull_mask(new, old)
    expected = pasting.hull(target.image, swapped, matrix, mask)
    assert np.abs(fake.image.astype(int) - expected.image).max() <= 1 and fake.box == expected.box
    assert (fake.landmarks == target.landmarks).all() and str(abs(case.shrink)) in fake.how
    assert np.abs(fake.image.astype(int) - target.image).max() > 10
    outside = np.ones(target.image.shape[:2], bool)
    x0, y0, x1, y1 = fake.box
    outside[y0:y1, x0:x1] = fake.mask == 0
    assert (fake.image == target.image)[outside].all()


def test_generator_tells_why_there_is_no_fake_and_makes_the_others(made, faces):
    dark = FaceInput(np.zeros_like(faces[0].image), faces[0].landmarks)
    nowhere = FaceInput(faces[4].image, np.full((5, 2), np.nan, np.float32))
    pairs = [(faces[0], faces[2]), (dark, faces[2]), (faces[0], nowhere), (nowhere, faces[0]), (faces[2], faces[2])]
    pairs.append((faces[5], faces[3]))
    fakes = made.make([Request((source,), target, np.random.default_rng(0)) for source, target in pairs])
    reasons = [fake.reason if isinstance(fake, BadData) else None for fake in fakes]
    unusable = Reason.BAD_LANDMARKS
    assert reasons == [None, Reason.BAD_FAKE, unusable, unusable, Reason.NO_TARGET, None]
    [alone] = made.make([Request((faces[5],), faces[3], np.random.default_rng(9))])
    assert isinstance(fakes[5], Fake) and (fakes[5].image == alone.image).all()


def test_no_room_on_the_gpu_is_a_sentence(made, faces, monkeypatch):
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nAnd more.")

    monkeypatch.setattr(made._network, "forward", full)
    with pytest.raises(
        PlatformError, match=r"^ghost found no memory \(CUDA out of memory\. Tried .*end what else uses"
    ):
        made.make([Request((faces[0],), faces[2], np.random.default_rng(0))])
