"""Tiny networks of recipe weights in the folders and file forms in which Arc2Face and InstantID are published."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from golden import recipe
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from faceverify.fakes.diffusion.recipes import ADAPTER, LCM

PREFIX = "text_model."
RANK, ALPHA = 2, 6.0


def facts_of(golden: Path, name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a fixture holds."""
    folder = golden / "generators"
    return json.loads((folder / f"{name}.json").read_text()), dict(np.load(folder / f"{name}.npz"))


def arc2face(golden: Path, cache: Path) -> Path:
    """The folder of Arc2Face below `cache`, filled."""
    facts, _ = facts_of(golden, "arc2face")
    folder, configs = cache / "models" / "arc2face", facts["configs"]
    save(UNet2DConditionModel(**configs["unet"]), folder / "arc2face")
    save(AutoencoderKL(**configs["vae"]), folder / "base/vae")
    scheduler = next(value for name, value in configs.items() if name.startswith("scheduler"))
    write_json(folder / "base/scheduler/scheduler_config.json", {"_class_name": "PNDMScheduler", **scheduler})
    # Published as a pickle, under a class of its own, with names as they were before transformers 5.
    tensors = drawn(facts["tiny_shapes"]["text_encoder"])
    tensors[f"{PREFIX}embeddings.position_ids"] = torch.arange(77)[None]
    own = {"architectures": ["CLIPTextModelWrapper"], "model_type": "clip_text_model", **configs["text_encoder"]}
    write_json(folder / "encoder/config.json", own)
    torch.save(tensors, folder / "encoder/pytorch_model.bin")
    write_lora(folder / LCM, UNet2DConditionModel(**configs["unet"]))
    return folder


def instantid(golden: Path, cache: Path) -> Path:
    """The folder of InstantID below `cache`, filled."""
    facts, _ = facts_of(golden, "instantid")
    folder, configs = cache / "models" / "instantid", facts["configs"]
    unet = UNet2DConditionModel(**configs["unet"])
    save(unet, folder / "base/unet")
    save(AutoencoderKL(**configs["vae"]), folder / "base/vae")
    save(CLIPTextModel(CLIPTextConfig(**configs["text_encoder"])), folder / "base/text_encoder")
    second = CLIPTextConfig(**configs["text_encoder_2 (with projection)"])
    save(CLIPTextModelWithProjection(second), folder / "base/text_encoder_2")
    save(ControlNetModel(**configs["controlnet"]), folder / "ControlNetModel")
    scheduler = {"_class_name": "EulerDiscreteScheduler", **configs["scheduler EulerDiscrete"]}
    write_json(folder / "base/scheduler/scheduler_config.json", scheduler)
    for name, pad in (("tokenizer", "<|endoftext|>"), ("tokenizer_2", "!")):
        write_tokenizer(folder / "base" / name, pad)
    torch.save(adapter_of(facts, unet), folder / ADAPTER)
    write_lora(folder / LCM, unet)
    return folder


def drawn(shapes: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Recipe weights of these names."""
    return {key: torch.from_numpy(value) for key, value in recipe.weights(shapes).items()}


def save(network: Any, folder: Path) -> None:
    """Write a network with recipe weights, which go by the names that keys have when published."""
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    bare = isinstance(network, CLIPTextModel) and not any(key.startswith(PREFIX) for key in shapes)
    tensors = drawn({PREFIX + key if bare else key: shape for key, shape in shapes.items()})
    network.load_state_dict({key.removeprefix(PREFIX) if bare else key: value for key, value in tensors.items()})
    network.save_pretrained(folder)
    if bare:  # as older versions wrote them
        [path] = folder.glob("*.safetensors")
        save_file(tensors, path, metadata={"format": "pt"})


def adapter_of(facts: dict[str, Any], unet: UNet2DConditionModel) -> dict[str, dict[str, torch.Tensor]]:
    """InstantID's adapter for a tiny UNet: the published Resampler but for its output, and keys and values."""
    width = unet.config.cross_attention_dim
    shapes = {key: list(shape) for key, shape in facts["resampler"]["published"]["keys"].items()}
    for key in ("proj_out.weight", "proj_out.bias", "norm_out.weight", "norm_out.bias"):
        shapes[key][0] = width
    pairs = {}
    sides = {key: tuple(value.shape) for key, value in unet.state_dict().items()}
    for number, name in enumerate(facts["attn_processors_in_order"]):
        if number % 2:
            shape = sides[name.replace(".processor", ".to_k.weight")]
            pairs |= {f"{number}.to_k_ip.weight": shape, f"{number}.to_v_ip.weight": shape}
    return {"image_proj": drawn(shapes), "ip_adapter": drawn(pairs)}


def write_lora(path: Path, unet: UNet2DConditionModel) -> None:
    """A LoRA of two layers in the form of the published LCM-LoRAs."""
    tensors = {}
    for name, module in unet.named_modules():
        if name.endswith(
            ("attentions.0.transformer_blocks.0.attn2.to_q", "attentions.0.transformer_blocks.0.attn1.to_k")
        ):
            out, wide = module.weight.shape
            bare = f"lora_unet_{name.replace('.', '_')}"
            tensors |= drawn({f"{bare}.lora_down.weight": (RANK, wide), f"{bare}.lora_up.weight": (out, RANK)})
            tensors[f"{bare}.alpha"] = torch.tensor(ALPHA)
    path.parent.mkdir(parents=True)
    save_file(tensors, path)


def write_tokenizer(folder: Path, pad: str) -> None:
    """A tokenizer of CLIP's kind that knows letters and two syllables."""
    letters = [chr(code) for code in range(33, 127)]
    merges = ["p h", "o t"]
    words = [*letters, *(f"{letter}</w>" for letter in letters), *(merge.replace(" ", "") for merge in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    write_json(folder / "vocab.json", {word: number for number, word in enumerate(words)})
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    special = {"bos_token": words[-2], "eos_token": words[-1], "unk_token": words[-1], "pad_token": pad}
    write_json(
        folder / "tokenizer_config.json", {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, **special}
    )


def write_json(path: Path, content: Any) -> None:
    """Write it, and the folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
