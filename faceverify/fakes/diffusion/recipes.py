"""The published recipes by the names of the generators, and the files that each takes; data alone."""

from dataclasses import dataclass, replace
from typing import Literal

LCM = "lcm/pytorch_lora_weights.safetensors"
ADAPTER = "ip-adapter.bin"
NETWORK = ("diffusion_pytorch_model", "model", "pytorch_model")  # what a folder's weights may be called


@dataclass(frozen=True, slots=True)
class Part:
    """A folder with one network, as diffusers and transformers publish them.

    Args:
        folder: below the generator's.
        kind: the class that its config.json must name.
        scaling: the `scaling_factor` that config.json must have, which tells the VAEs apart; None = is not looked at.
    """

    folder: str
    kind: str
    scaling: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How a generator paints.

    Args:
        family: which of the two networks, and the folder of its files below `models/` of the weights cache.
        parts: the networks in it.
        files: other files in it that are read.
        steps: of the scheduler.
        guidance: weight of what was asked for against what was not; 1 = none, which halves the work.
    """

    family: Literal["arc2face", "instantid"]
    parts: tuple[Part, ...]
    files: tuple[str, ...]
    steps: int
    guidance: float

    @property
    def few_steps(self) -> bool:
        """Whether an LCM-LoRA shortens the way."""
        return LCM in self.files


_SD15 = (
    Part("base/vae", "AutoencoderKL", 0.18215),
    Part("arc2face", "UNet2DConditionModel"),
    Part("encoder", "CLIPTextModel"),
)
_SCHEDULER = "base/scheduler/scheduler_config.json"
_SDXL = (
    Part("base/vae", "AutoencoderKL", 0.13025),
    Part("base/unet", "UNet2DConditionModel"),
    Part("base/text_encoder", "CLIPTextModel"),
    Part("base/text_encoder_2", "CLIPTextModelWithProjection"),
    Part("ControlNetModel", "ControlNetModel"),
)
_WORDS = tuple(f"base/{name}/{file}" for name in ("tokenizer", "tokenizer_2") for file in ("vocab.json", "merges.txt"))
_ARC2FACE = Recipe(family="arc2face", parts=_SD15, files=(_SCHEDULER,), steps=25, guidance=3.0)
_INSTANTID = Recipe(family="instantid", parts=_SDXL, files=(_SCHEDULER, *_WORDS, ADAPTER), steps=30, guidance=5.0)

RECIPES: dict[str, Recipe] = {
    "arc2face": _ARC2FACE,
    "arc2face_lcm": replace(_ARC2FACE, files=(*_ARC2FACE.files, LCM), steps=4, guidance=1.0),
    "instantid": _INSTANTID,
    "instantid_lcm": replace(_INSTANTID, files=(*_INSTANTID.files, LCM), steps=10, guidance=1.0),
}

# Published sums that independent projects state; for other files none has been.
KNOWN_SHA256 = {
    ADAPTER: "02b3618e36d803784166660520098089a81388e61a93ef8002aa79a5b1c546e1",
    "ControlNetModel/diffusion_pytorch_model.safetensors": (
        "c8127be9f174101ebdafee9964d856b49b634435cf6daa396d3f593cf0bbbb05"
    ),
}

PROMPTS = (
    "photo of a person, natural light",
    "portrait photo of a person, plain background, passport photo",
    "snapshot of a person outdoors, daylight, phone camera",
    "photo of a person indoors, office, fluorescent light",
    "photo of a person at a press conference, flash",
    "photo of a person in the street, overcast sky",
    "selfie of a person at home, evening light",
    "studio portrait photo of a person, soft light, grey background",
    "photo of a person in a car, daylight from one side",
    "video call screenshot of a person, webcam",
)
NEGATIVE = (
    "lowres, low quality, worst quality, text, watermark, frame, deformed, ugly, deformed eyes, blur, out of focus, "
    "painting, drawing, 3d render, doll, monochrome"
)
