"""Arc2Face: Stable Diffusion 1.5 whose text encoder reads a face instead of the word `id`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DPMSolverMultistepScheduler,
    LCMScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from torch import Tensor
from transformers import CLIPTextModel

from faceverify.fakes import Request
from faceverify.fakes.diffusion.loading import load_network
from faceverify.fakes.diffusion.lora import fuse
from faceverify.fakes.diffusion.recipes import LCM, Recipe

_BEGIN, _END, _LENGTH = 49406, 49407, 77
ID_TOKEN = 1014
PROMPT_IDS = (_BEGIN, 1125, 539, 320, ID_TOKEN, 2533)  # "photo of a id person", as CLIP's tokenizer has it


def padded(ids: Sequence[int]) -> list[int]:
    """Token ids as the text encoder takes them: 77, those behind the text being its end."""
    return [*ids, *[_END] * (_LENGTH - len(ids))]


class Arc2Face:
    """Pictures of faces, each [3, H, W]; the sides are what the UNet was trained on (512)."""

    def __init__(
        self,
        unet: UNet2DConditionModel,
        vae: AutoencoderKL,
        encoder: CLIPTextModel,
        scheduler: dict[str, Any],
        recipe: Recipe,
    ) -> None:
        self.recipe, self.encoder = recipe, encoder
        # By way of PNDM's own settings, as in the reference: it decides the spacing of the time steps.
        kind = LCMScheduler if recipe.few_steps else DPMSolverMultistepScheduler
        self.pipe = StableDiffusionPipeline(
            vae=vae,
            text_encoder=None,
            tokenizer=None,
            unet=unet,
            scheduler=kind.from_config(PNDMScheduler.from_config(scheduler).config),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        self.pipe.set_progress_bar_config(disable=True)
        self._nobody: Tensor | None = None

    @classmethod
    def open(cls, folder: Path, recipe: Recipe, dtype: torch.dtype) -> "Arc2Face":
        """Load it from its folder.

        Raises:
            UserError: see `load_network`.
        """
        unet = load_network(UNet2DConditionModel, folder / "arc2face", dtype)
        vae = load_network(AutoencoderKL, folder / "base/vae", dtype)
        encoder = load_network(CLIPTextModel, folder / "encoder", dtype)
        scheduler = PNDMScheduler.load_config(folder / "base/scheduler", local_files_only=True)
        made = cls(unet, vae, encoder, scheduler, recipe)
        if recipe.few_steps:
            fuse(made.pipe, folder / LCM)
        return made

    def to(self, device: str) -> None:
        """Move it."""
        self.pipe.to(device)
        self.encoder.to(device)

    def size(self, request: Request) -> tuple[int, int]:
        """(width, height) of the picture for a request."""
        side = self.pipe.unet.config.sample_size * self.pipe.vae_scale_factor
        return side, side

    @torch.no_grad()
    def encode(self, faces: Tensor | None) -> Tensor:
        """The prompt with faces in it.

        Args:
            faces: [N, D] of length 1, D at most the encoder's width; None for the empty prompt, of the same encoder.

        Returns:
            [N, 77, width], or [1, 77, width].
        """
        table = self.encoder.get_input_embeddings()
        device = table.weight.device
        if faces is None:
            return self.encoder(torch.tensor([padded([_BEGIN])], device=device))[0]
        wide = torch.nn.functional.pad(faces, (0, table.embedding_dim - faces.shape[1])).to(table.weight)
        ids = torch.tensor([padded(PROMPT_IDS)], device=device).expand(len(faces), -1)

        def put_faces(_: Any, __: Any, words: Tensor) -> Tensor:
            return torch.where((ids == ID_TOKEN)[:, :, None], wide[:, None], words)

        hook = table.register_forward_hook(put_faces)
        try:
            return self.encoder(ids)[0]
        finally:
            hook.remove()

    def paint(
        self,
        requests: Sequence[Request],
        prompts: Sequence[str],
        latents: Tensor,
        noise: list[torch.Generator],
        **options: Any,
    ) -> Tensor:
        """Paint faces.

        Args:
            requests: with an embedding of length 1 each; N of them.
            prompts: are not read: the prompt is the face.
            latents: [N, 4, h, w], what is painted from.
            noise: one each, from which the scheduler draws, if it does.
            options: of diffusers' pipeline, instead of those chosen here.

        Returns:
            [N, 3, H, W] in 0..1.
        """
        faces = torch.stack([torch.from_numpy(one.sources[0].embedding) for one in requests])
        if self._nobody is None:
            self._nobody = self.encode(None)
        chosen = {
            "prompt_embeds": self.encode(faces),
            "negative_prompt_embeds": self._nobody.expand(len(faces), -1, -1),
            "latents": latents.to(self._nobody),
            "generator": noise,
            "num_inference_steps": self.recipe.steps,
            "guidance_scale": self.recipe.guidance,
            "height": latents.shape[2] * self.pipe.vae_scale_factor,
            "width": latents.shape[3] * self.pipe.vae_scale_factor,
            "output_type": "pt",
        }
        return self.pipe(**chosen | options).images
