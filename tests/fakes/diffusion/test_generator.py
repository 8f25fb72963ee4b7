"""Requests in, pictures out: what the seed decides, what a small memory does, files that are not what they say."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from faceverify.errors import BadData, PlatformError, Reason, UserError
from faceverify.fakes import GENERATORS, FaceInput, Fake, Request, build
from faceverify.fakes.diffusion.generator import DiffusionGenerator
from faceverify.fakes.requirements import prepared

NAMES = ("arc2face", "arc2face_lcm", "instantid", "instantid_lcm")


def request_of(face: FaceInput, seed: int, host: FaceInput | None = None) -> Request:
    embedding = np.random.default_rng(5).standard_normal(512).astype(np.float32)
    return Request((face.with_embedding(embedding),), host, np.random.default_rng(seed))


# -- without networks --------------------------------------------------------------------------------------------------


class Echo:
    """A painter whose pictures are what it was given, and whose memory holds `most` of them."""

    def __init__(self, most: int, tiles: int) -> None:
        self.most, self.tiles, self.asked = most, tiles, []
        vae = SimpleNamespace(enable_tiling=lambda: setattr(self, "most", self.most + self.tiles))
        unet = SimpleNamespace(config=SimpleNamespace(in_channels=3))
        self.pipe = SimpleNamespace(vae_scale_factor=2, unet=unet, vae=vae)

    def size(self, request: Request) -> tuple[int, int]:
        return 12, 8

    def paint(
        self, requests: Sequence[Request], prompts: Sequence[str], latents: torch.Tensor, noise: list[torch.Generator]
    ) -> torch.Tensor:
        self.asked.append(len(requests))
        if len(requests) > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        first = torch.tensor([one.initial_seed() % 256 / 255 for one in noise])
        return torch.sigmoid(latents) * 0.5 + 0.25 * first[:, None, None, None]


def made_by(painter: Echo, requests: list[Request], batch: int = 4) -> list[Fake | BadData]:
    generator = DiffusionGenerator(GENERATORS["arc2face"], painter)
    generator.most = batch
    return generator.make(requests)


def test_a_batch_that_is_too_large_is_split_and_nothing_else_changes(faces):
    requests = lambda: [request_of(faces[0], seed) for seed in range(7)]  # noqa: E731
    plenty, little, least = Echo(4, 0), Echo(2, 0), Echo(0, 1)
    one, other, last = (made_by(painter, requests()) for painter in (plenty, little, least))
    assert plenty.asked == [4, 3] and little.asked == [4, 2, 2, 2, 1] and least.asked == [4, 2, 1, *[1] * 7]
    for a, b, c in zip(one, other, last, strict=True):
        assert (a.image == b.image).all() and (a.image == c.image).all() and a.image.shape == (4, 6, 3)
    assert len({fake.image.tobytes() for fake in one}) == 7


def test_a_picture_that_does_not_fit_at_all_ends_the_job_with_a_sentence(faces):
    with pytest.raises(PlatformError, match=r"arc2face: the GPU's memory is too small for one picture .*GiB.*: end"):
        made_by(Echo(0, 0), [request_of(faces[0], 0)])


def test_what_cannot_be_made_is_a_reject_in_its_place(faces):
    class Overflow(Echo):
        def paint(self, requests, prompts, latents, noise):
            pictures = super().paint(requests, prompts, latents, noise)
            pictures[0, 0, 0, 0] = torch.nan
            return pictures

    bad = Request((faces[0].with_embedding(np.full(512, np.nan, np.float32)),), None, np.random.default_rng(0))
    found = made_by(Overflow(4, 0), [bad, request_of(faces[0], 1), bad, request_of(faces[0], 2)])
    assert [getattr(one, "reason", None) for one in found] == [
        Reason.BAD_EMBEDDING,
        Reason.BAD_FAKE,
        Reason.BAD_EMBEDDING,
        None,
    ]


def test_prompts_are_drawn_from_the_list(faces):
    said = replace(GENERATORS["instantid"], prompts=("in a car", "at sea"))
    made = DiffusionGenerator(said, Echo(9, 0)).make([request_of(faces[0], seed, faces[2]) for seed in range(40)])
    hows = [fake.how for fake in made]
    assert set(hows) == {"30 steps, guidance 5, in a car", "30 steps, guidance 5, at sea"}
    assert 8 < sum("car" in how for how in hows) < 32
    far = FaceInput(faces[2].image, faces[2].landmarks + 500)
    [lost] = DiffusionGenerator(said, Echo(9, 0)).make([request_of(faces[0], 0, far)])
    assert lost.reason == Reason.BAD_LANDMARKS and "host" in lost.detail


# -- with tiny networks ------------------------------------------------------------------------------------------------


@pytest.fixture
def described(published: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FACEVERIFY_CACHE", str(published))
    return lambda *names: prepared([GENERATORS[name] for name in names])


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_and_nothing_else(described, faces, name):
    torch.set_num_threads(1)
    [needs] = described(name)
    generator = build(needs)
    host = faces[4] if needs.target else None
    seeds = range(3)
    alone = [generator.make([request_of(faces[0], seed, host)])[0] for seed in seeds]
    together = build(needs).make([request_of(faces[0], seed, host) for seed in seeds])
    for one, other in zip(alone, together, strict=True):
        assert (one.image == other.image).all() and one.how == other.how
        assert one.landmarks is one.box is one.mask is None
        assert one.image.shape == ((64, 64, 3) if needs.target else (32, 32, 3)) and one.image.std() > 5
    assert len({fake.image.tobytes() for fake in alone}) == len(seeds)
    steps = {"arc2face": 25, "arc2face_lcm": 4, "instantid": 30, "instantid_lcm": 10}[name]
    assert alone[0].how.startswith(f"{steps} steps, guidance ")
    assert (alone[0].how.count(",") > 1) == needs.target, "the prompt is told where there is one"
    other_face = Request(
        (faces[0].with_embedding(np.random.default_rng(6).standard_normal(512).astype(np.float32)),),
        host,
        np.random.default_rng(0),
    )
    assert (generator.make([other_face])[0].image != alone[0].image).any(), "the face is looked at"


def spoilt(published: Path, tmp_path: Path, family: str) -> Path:
    """A copy of a folder whose files may be changed."""
    shutil.copytree(published / "models" / family, tmp_path / "models" / family)
    return tmp_path / "models" / family


@pytest.mark.thorough
def test_files_that_are_not_what_they_say_are_named(published, tmp_path, monkeypatch):
    monkeypatch.setenv("FACEVERIFY_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"arc2face needs its networks in the folder .*models/arc2face, which is not"):
        prepared([GENERATORS["arc2face"]])
    folder = spoilt(published, tmp_path, "arc2face")
    [whole] = prepared([GENERATORS["arc2face"]])
    [weights] = whole.weights
    assert weights.uri == str(folder) and prepared([GENERATORS["arc2face"]]) == (whole,)

    unet = folder / "arc2face/diffusion_pytorch_model.safetensors"
    data = unet.read_bytes()
    for content, words in (
        (data[:-1], r"is cut off: it has [\d,]+ bytes of [\d,]+; download it again"),
        (data[:6], "is cut off, or no safetensors file"),
        (b"", "is cut off, or no safetensors file"),
        (b"\x10" + b"\0" * 7 + b"x" * 100, "is no safetensors file"),
    ):
        unet.write_bytes(content)
        with pytest.raises(UserError, match=words):
            prepared([GENERATORS["arc2face"]])
    changed = bytearray(data)
    changed[-1] ^= 1
    unet.write_bytes(bytes(changed))
    assert prepared([GENERATORS["arc2face"]])[0].weights[0].sha256 != weights.sha256, "other weights, another run"
    unet.unlink()
    with pytest.raises(UserError, match=r"the folder .*/arc2face holds no weights"):
        prepared([GENERATORS["arc2face"]])
    unet.write_bytes(data)

    encoder = folder / "encoder/pytorch_model.bin"
    data = encoder.read_bytes()
    encoder.write_bytes(data[:-100])
    with pytest.raises(UserError, match=r"pytorch_model\.bin is cut off"):
        prepared([GENERATORS["arc2face"]])
    encoder.write_bytes(data)
    config = folder / "encoder/config.json"
    kept = config.read_text()
    config.write_text(json.dumps(json.loads(kept) | {"hidden_size": 1024}))
    with pytest.raises(UserError, match=r"of another network than .*takes texts of width 768, not 1024"):
        prepared([GENERATORS["arc2face"]])
    config.write_text(json.dumps({"architectures": ["BertModel"], "hidden_size": 768}))
    with pytest.raises(UserError, match="is of a BertModel, and a CLIPTextModel is wanted"):
        prepared([GENERATORS["arc2face"]])
    config.write_text(kept)
    shutil.copy(published / "models/instantid/base/vae/config.json", folder / "base/vae/config.json")
    with pytest.raises(UserError, match=r"scaling_factor 0\.13025, not 0\.18215"):
        prepared([GENERATORS["arc2face"]])
    (folder / "base/scheduler/scheduler_config.json").unlink()


@pytest.mark.thorough
def test_weights_of_another_network_are_refused_when_they_are_loaded(published, tmp_path, monkeypatch):
    from safetensors.torch import load_file, save_file

    monkeypatch.setenv("FACEVERIFY_CACHE", str(tmp_path))
    folder = spoilt(published, tmp_path, "arc2face")
    unet = folder / "arc2face/diffusion_pytorch_model.safetensors"
    tensors = load_file(unet)
    lost = tensors.pop("conv_in.bias")
    save_file(tensors, unet)
    with pytest.raises(UserError, match=r"is of another network: of the tensors it lacks 1 \(conv_in\.bias\)"):
        build(*prepared([GENERATORS["arc2face"]]))
    save_file(tensors | {"conv_in.bias": lost, "one.more": lost.clone()}, unet)
    with pytest.raises(UserError, match=r"has too many by 1 \(one\.more\)"):
        build(*prepared([GENERATORS["arc2face"]]))
    save_file(tensors | {"conv_in.bias": lost}, unet)
    encoder = folder / "encoder/pytorch_model.bin"
    held = torch.load(encoder, weights_only=True)
    torch.save({key: value for key, value in held.items() if "final" not in key}, encoder)
    with pytest.raises(UserError, match=r"lacks 2 \(.*final_layer_norm"):
        build(*prepared([GENERATORS["arc2face"]]))
    torch.save({"run": Path("/")}, encoder)  # an object of a class: nothing of it is made
    with pytest.raises(UserError, match="of the tensors it lacks"):
        build(*prepared([GENERATORS["arc2face"]]))
    torch.save(held, encoder)
    lora = folder / "lcm/pytorch_lora_weights.safetensors"
    save_file(
        {"lora_unet_nothing.lora_down.weight": lost[None], "lora_unet_nothing.lora_up.weight": lost[:, None].clone()},
        lora,
    )
    with pytest.raises(UserError, match=r"pytorch_lora_weights\.safetensors is no LoRA of this network"):
        build(*prepared([GENERATORS["arc2face_lcm"]]))


@pytest.mark.thorough
def test_an_adapter_of_another_network_is_refused(published, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FACEVERIFY_CACHE", str(tmp_path))
    folder = spoilt(published, tmp_path, "instantid")
    described = prepared([GENERATORS["instantid"]])
    told = capsys.readouterr().out
    assert "ip-adapter.bin has SHA-256" in told and "not the published one; it is used" in told
    adapter = folder / "ip-adapter.bin"
    for content in ({"image_proj": {}, "ip_adapter": {}}, {"state_dict": {"a": torch.zeros(1)}}):
        torch.save(content, adapter)
        with pytest.raises(UserError, match=r"ip-adapter\.bin is no adapter of this network"):
            build(*described)
