"""Arc2Face and InstantID on tiny networks, against what their reference implementations painted with them."""

import numpy as np
import pytest
import torch

from faceverify.fakes import FaceInput, Request
from faceverify.fakes.diffusion.recipes import RECIPES

pytestmark = [
    pytest.mark.thorough,
    # Of diffusers' schedulers.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
NOISE = [torch.Generator()]


@pytest.fixture(scope="module")
def arc2face(published, golden):
    from fakes.diffusion.tiny import facts_of

    from faceverify.fakes.diffusion.arc2face import Arc2Face

    opened = lambda name: Arc2Face.open(published / "models/arc2face", RECIPES[name], torch.float32)  # noqa: E731
    return opened, *facts_of(golden, "arc2face")


@pytest.fixture(scope="module")
def instantid(published, golden):
    from fakes.diffusion.tiny import facts_of

    from faceverify.fakes.diffusion.instantid import InstantId

    model = InstantId.open(published / "models/instantid", RECIPES["instantid"], torch.float32)
    return model, *facts_of(golden, "instantid")


def apart(one: torch.Tensor, other: np.ndarray) -> float:
    assert tuple(one.shape) == other.shape
    return float(np.abs(one.double().numpy() - other).max())


def request_of(embedding: np.ndarray, target: FaceInput | None = None) -> Request:
    blank = np.zeros((112, 112, 3), np.uint8)
    source = FaceInput(blank, np.zeros((5, 2), np.float32), embedding.astype(np.float32))
    return Request((source,), target, np.random.default_rng(0))


def steps_into(kept: list[torch.Tensor]):
    def note(_pipe, _step, _time, values):
        kept.append(values["latents"].clone())
        return values

    return note


def latents_of(seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


# -- Arc2Face ----------------------------------------------------------------------------------------------------------


def test_the_face_in_the_prompt(arc2face):
    opened, _, arrays = arc2face
    model = opened("arc2face")
    faces = np.random.default_rng(21).standard_normal((2, 512))
    faces = (faces / np.linalg.norm(faces, axis=1, keepdims=True)).astype(np.float32)
    assert np.abs(faces - arrays["face_embs"]).max() < 1e-7
    before = model.encode(None)
    assert apart(model.encode(torch.from_numpy(faces)), arrays["prompt_embeds"]) < 3e-5
    assert apart(model.encode(None), arrays["empty_prompt_embeds"]) < 3e-5, "the negative branch knows no face"
    assert (model.encode(None) == before).all()
    assert model.size(request_of(faces[0])) == (32, 32)


def test_what_arc2face_paints(arc2face):
    opened, facts, arrays = arc2face
    model, start = opened("arc2face"), latents_of(22, (1, 4, 16, 24))
    one, other = (request_of(face) for face in arrays["face_embs"])
    kept: list[torch.Tensor] = []
    short = {"num_inference_steps": 2, "callback_on_step_end": steps_into(kept)}
    [picture] = model.paint([one], [""], start, NOISE, **short)
    assert model.pipe.scheduler.timesteps.tolist() == facts["run"]["timesteps"]
    for step, latents in enumerate(kept, start=1):
        assert apart(latents, arrays[f"latents_after_step{step}"]) < 1e-3
    assert apart(kept[-1], arrays["latents_final"]) < 1e-3 and apart(kept[-1], arrays["latents_final_f64"]) < 1e-3
    assert apart(picture.permute(1, 2, 0)[::2, ::3], arrays["image_sample"]) < 2e-5
    latent = {"output_type": "latent"}
    second = model.paint([other], [""], start, NOISE, num_inference_steps=2, **latent)
    assert apart(second, arrays["latents_final_second_person"]) < 1e-3
    both = model.paint([one, other], ["", ""], start.expand(2, -1, -1, -1), NOISE * 2, num_inference_steps=2, **latent)
    assert apart(both[:1], arrays["latents_final"]) < 1e-3
    assert apart(both[1:], arrays["latents_final_second_person"]) < 1e-3
    full = model.paint([one], [""], start, NOISE, **latent)
    assert apart(full, arrays["latents_final_25_steps"]) < 1e-3, "25 steps, guidance 3"
    assert model.pipe.scheduler.timesteps.tolist() == facts["run"]["timesteps_25"]


def test_what_arc2face_paints_in_few_steps(arc2face, published):
    _, facts, arrays = arc2face
    from fakes.diffusion.tiny import ALPHA, RANK

    from faceverify.fakes.diffusion.arc2face import Arc2Face

    folder = published / "models/arc2face"
    model = Arc2Face.open(folder, RECIPES["arc2face_lcm"], torch.float32)
    layer = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_q"
    plain = Arc2Face.open(folder, RECIPES["arc2face"], torch.float32)
    from safetensors.torch import load_file

    lora = load_file(folder / "lcm/pytorch_lora_weights.safetensors")
    bare = f"lora_unet_{layer.replace('.', '_')}"
    added = ALPHA / RANK * lora[f"{bare}.lora_up.weight"] @ lora[f"{bare}.lora_down.weight"]
    change = model.pipe.unet.get_submodule(layer).weight - plain.pipe.unet.get_submodule(layer).weight
    assert torch.allclose(change, added, atol=1e-5) and added.abs().max() > 0.1
    # The fixture has the scheduler alone.
    model.pipe.unet = plain.pipe.unet
    noise = [torch.Generator().manual_seed(0)]
    short = {"num_inference_steps": 2, "output_type": "latent"}
    latents = model.paint([request_of(arrays["face_embs"][0])], [""], latents_of(22, (1, 4, 16, 24)), noise, **short)
    assert apart(latents, arrays["lcm_latents_final"]) < 1e-3
    assert model.pipe.scheduler.timesteps.tolist() == facts["run"]["lcm_timesteps"]


# -- InstantID ---------------------------------------------------------------------------------------------------------


def test_the_tokens_of_a_face(instantid):
    from diffusers.models.embeddings import IPAdapterPlusImageProjection
    from fakes.diffusion.tiny import drawn

    model, facts, arrays = instantid
    faces = np.concatenate([np.zeros((1, 512), np.float32), arrays["embeddings"]])
    tensors = drawn(facts["resampler"]["published"]["keys"])
    layer = model.pipe.unet._convert_ip_adapter_image_proj_to_diffusers(tensors, low_cpu_mem_usage=False)
    assert isinstance(layer, IPAdapterPlusImageProjection)
    made = layer(torch.from_numpy(faces)[:, None]).detach()
    assert apart(made[:, :, ::32], arrays["published_tokens"]) < 3e-5
    embedding = np.random.default_rng(8).standard_normal(512).astype(np.float32)
    mine = model.tokens(torch.from_numpy(np.stack([np.zeros(512, np.float32), embedding])))
    assert apart(mine, arrays["run_image_tokens"]) < 3e-5


def test_what_instantid_paints(instantid):
    model, facts, arrays = instantid
    height, width = facts["inputs"]["size_h_w"]
    host = FaceInput(np.zeros((height, width, 3), np.uint8), np.array(facts["inputs"]["kps"]))
    embedding = np.random.default_rng(8).standard_normal(512)
    request = request_of(embedding, host)
    assert (model.key_points(request, width, height) == arrays["run_kps_image"]).all()
    words, pooled = torch.from_numpy(arrays["run_prompt_embeds"]), torch.from_numpy(arrays["run_pooled"])
    told = {"prompt_embeds": words[1:], "negative_prompt_embeds": words[:1], "num_inference_steps": 2}
    told |= {"pooled_prompt_embeds": pooled[1:], "negative_pooled_prompt_embeds": pooled[:1]}
    start, kept = latents_of(7, (1, 4, 32, 48)), []
    seen: dict[str, list[torch.Tensor]] = {"unet": [], "controlnet": []}

    def look(name: str):
        return lambda _module, _args, given: seen[name].append(given)

    hooks = [getattr(model.pipe, n).register_forward_pre_hook(look(n), with_kwargs=True) for n in seen]
    [picture] = model.paint([request], [""], start, NOISE, callback_on_step_end=steps_into(kept), **told)
    for hook in hooks:
        hook.remove()
    assert apart(model.pipe.controlnet.tokens, arrays["run_image_tokens"]) < 3e-5
    cond = seen["controlnet"][0]["controlnet_cond"]
    assert apart(cond[:1, :, ::4, ::4], arrays["run_controlnet_cond"]) < 1e-6
    assert apart(seen["unet"][0]["added_cond_kwargs"]["time_ids"], arrays["run_time_ids"]) == 0
    assert apart(kept[0], arrays["run_latents_after_step1"]) < 2e-4
    assert apart(kept[1], arrays["run_latents_after_step2"]) < 2e-4
    assert apart(kept[1], arrays["run_latents_final"]) < 2e-4 and apart(kept[1], arrays["run_latents_final_f64"]) < 2e-4
    assert apart(picture.permute(1, 2, 0)[::4, ::4], arrays["run_image_sample"]) < 2e-5

    latent = told | {"output_type": "latent"}
    assert (
        apart(
            model.paint([request], [""], start, NOISE, **latent | {"controlnet_conditioning_scale": 0.0}),
            arrays["run_latents_final_controlnet0"],
        )
        < 2e-4
    )
    alone = {key: value for key, value in latent.items() if not key.startswith("negative")}
    made = model.paint([request], [""], start, NOISE, guidance_scale=1.0, **alone)
    assert apart(made, arrays["run_latents_final_guidance1"]) < 2e-4
    unit = request_of(embedding / np.linalg.norm(embedding), host)
    made = model.paint([unit], [""], start, NOISE, **latent)
    assert apart(made, arrays["run_latents_final_unit_embedding"]) < 2e-4
    model.pipe.set_ip_adapter_scale(0.0)
    made = model.paint([request], [""], start, NOISE, **latent)
    model.pipe.set_ip_adapter_scale(0.8)
    assert apart(made, arrays["run_latents_final_ip_scale0"]) < 2e-4


def test_the_published_shapes_are_those_that_are_loaded(instantid, golden):
    import json

    from diffusers import ControlNetModel, UNet2DConditionModel

    keys = json.loads((golden / "generators/instantid_keys.json").read_text())
    large = {
        "block_out_channels": (320, 640, 1280),
        "attention_head_dim": (5, 10, 20),
        "transformer_layers_per_block": (1, 2, 10),
        "cross_attention_dim": 2048,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    }
    with torch.device("meta"):
        controlnet = ControlNetModel(**large)
        unet = UNet2DConditionModel(**large, up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"))
    assert {key: list(value.shape) for key, value in controlnet.state_dict().items()} == keys["controlnet"]
    assert list(unet.attn_processors) == keys["attn_processors_in_order"]
