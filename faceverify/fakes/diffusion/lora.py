"""LCM-LoRA: what makes a network paint in a few steps, added to its weights."""

from pathlib import Path
from typing import Any

from faceverify.errors import UserError


def fuse(pipe: Any, lora: Path) -> None:
    """Add a LoRA to the weights of a pipeline of diffusers.

    Raises:
        UserError: it is of another network.
    """
    try:
        pipe.load_lora_weights(lora.parent, weight_name=lora.name, local_files_only=True, use_safetensors=True)
    except (RuntimeError, ValueError, KeyError) as error:
        raise UserError(f"{lora} is no LoRA of this network; download it again.") from error
    pipe.fuse_lora()
    pipe.unload_lora_weights()
