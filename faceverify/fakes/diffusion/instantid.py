"""InstantID: Stable Diffusion XL that is told the face by an adapter and a ControlNet, and the pose by key points."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    EulerDiscreteScheduler,
    LCMScheduler,
    StableDiffusionXLControlNetPipeline,
    UNet2DConditionModel,
)
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from faceverify.errors import UserError
from faceverify.fakes import Request
from faceverify.fakes.diffusion.key_points import draw, picture_size, scaled
from faceverify.fakes.diffusion.loading import load_network, read_bin
from faceverify.fakes.diffusion.lora import fuse
from faceverify.fakes.diffusion.recipes import ADAPTER, LCM, NEGATIVE, Recipe

_SCALE = 0.8  # of the adapter, and of the ControlNet


class TokenControlNet(ControlNetModel):
    """A ControlNet that is given the tokens of the face where others are given those of the text."""

    tokens: Tensor | None = None

    def forward(self, sample: Tensor, timestep: Any, encoder_hidden_states: Tensor, *args: Any, **more: Any) -> Any:
        """As of `ControlNetModel`, with `tokens` for the text."""
        return super().forward(sample, timestep, self.tokens, *args, **more)


class InstantId:
    """Pictures of faces in the composition of the host's photo, each [3, H, W]; the long side is 1280 at most."""

    def __init__(
        self,
        parts: dict[str, Any],
        adapter: dict[str, Any],
        scheduler: dict[str, Any],
        recipe: Recipe,
    ) -> None:
        self.recipe = recipe
        kind = LCMScheduler if recipe.few_steps else EulerDiscreteScheduler
        self.pipe = StableDiffusionXLControlNetPipeline(
            **parts, scheduler=kind.from_config(scheduler), add_watermarker=False
        )
        self.pipe.load_ip_adapter(adapter, subfolder="", weight_name="", image_encoder_folder=None)
        self.pipe.set_ip_adapter_scale(_SCALE)
        self.pipe.set_progress_bar_config(disable=True)

    @classmethod
    def open(cls, folder: Path, recipe: Recipe, dtype: torch.dtype) -> "InstantId":
        """Load it from its folder.

        Raises:
            UserError: see `load_network`; or the adapter or a tokenizer is not what it should be.
        """
        base = folder / "base"
        parts = {
            "vae": load_network(AutoencoderKL, base / "vae", dtype),
            "unet": load_network(UNet2DConditionModel, base / "unet", dtype),
            "text_encoder": load_network(CLIPTextModel, base / "text_encoder", dtype),
            "text_encoder_2": load_network(CLIPTextModelWithProjection, base / "text_encoder_2", dtype),
            "tokenizer": CLIPTokenizer.from_pretrained(base / "tokenizer", local_files_only=True),
            "tokenizer_2": CLIPTokenizer.from_pretrained(base / "tokenizer_2", local_files_only=True),
            "controlnet": load_network(TokenControlNet, folder / "ControlNetModel", dtype),
        }
        scheduler = EulerDiscreteScheduler.load_config(base / "scheduler", local_files_only=True)
        adapter = read_bin(folder / ADAPTER)
        try:
            made = cls(parts, adapter, scheduler, recipe)
        except (KeyError, ValueError, RuntimeError, AttributeError) as error:
            raise UserError(f"{folder / ADAPTER} is no adapter of this network; download it again.") from error
        if recipe.few_steps:
            fuse(made.pipe, folder / LCM)
        return made

    def to(self, device: str) -> None:
        """Move it."""
        self.pipe.to(device)

    def size(self, request: Request) -> tuple[int, int]:
        """(width, height) of the picture for a request."""
        assert request.target is not None
        height, width = request.target.image.shape[:2]
        return picture_size(width, height, self.pipe.unet.config.sample_size * self.pipe.vae_scale_factor)

    @torch.no_grad()
    def tokens(self, faces: Tensor) -> Tensor:
        """The tokens [N, 16, width] of faces [N, 512]: embeddings as antelopev2 gives them; zeros for nobody."""
        layer = self.pipe.unet.encoder_hid_proj.image_projection_layers[0]
        return layer(faces[:, None].to(self.pipe.unet.device, self.pipe.unet.dtype))

    def paint(
        self,
        requests: Sequence[Request],
        prompts: Sequence[str],
        latents: Tensor,
        noise: list[torch.Generator],
        **options: Any,
    ) -> Tensor:
        """Paint a face.

        Args:
            requests: one, with an embedding that is not normalised, and a host. The pipeline gives all pictures of a
                call the same face.
            prompts: what the picture is to show beside the face; one.
            latents: [1, 4, h, w], what is painted from.
            noise: one, from which the scheduler draws, if it does.
            options: of diffusers' pipeline, instead of those chosen here.

        Returns:
            [1, 3, H, W] in 0..1.
        """
        [request] = requests
        factor, unet = self.pipe.vae_scale_factor, self.pipe.unet
        width, height = latents.shape[3] * factor, latents.shape[2] * factor
        guidance = options.get("guidance_scale", self.recipe.guidance)
        faces = torch.from_numpy(request.sources[0].embedding)[None]
        if guidance > 1:  # what is not asked for is told by zeros, not by no tokens
            faces = torch.cat([torch.zeros_like(faces), faces])
        self.pipe.controlnet.tokens = self.tokens(faces)
        pose = torch.from_numpy(self.key_points(request, width, height))
        chosen = {
            "image": pose[None].permute(0, 3, 1, 2).float() / 255,
            "ip_adapter_image_embeds": [faces[:, None, None].to(unet.device, unet.dtype)],
            "latents": latents.to(unet.device, unet.dtype),
            "generator": noise,
            "num_inference_steps": self.recipe.steps,
            "guidance_scale": guidance,
            "controlnet_conditioning_scale": _SCALE,
            "height": height,
            "width": width,
            "output_type": "pt",
        }
        if "prompt_embeds" not in options:
            chosen |= {"prompt": list(prompts), "negative_prompt": [NEGATIVE]}
        return self.pipe(**chosen | options).images

    @staticmethod
    def key_points(request: Request, width: int, height: int) -> Any:
        """The key-point picture uint8 [height, width, 3] of the host's landmarks."""
        assert request.target is not None
        before = request.target.image.shape[1::-1]
        return draw(scaled(request.target.landmarks, before, (width, height)), width, height)
