"""The generator of the job: requests in, pictures out, on whatever there is to compute them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from faceverify.errors import BadData, PlatformError, Reason, UserError
from faceverify.fakes import Description, Fake, Request
from faceverify.fakes.checks import check_face
from faceverify.fakes.diffusion.recipes import RECIPES, Recipe


class Painter(Protocol):
    """What `Arc2Face` and `InstantId` have in common."""

    pipe: Any

    def size(self, request: Request) -> tuple[int, int]:
        """(width, height) of the picture for a request."""
        ...

    def paint(
        self, requests: Sequence[Request], prompts: Sequence[str], latents: torch.Tensor, noise: list[torch.Generator]
    ) -> torch.Tensor:
        """Pictures [N, 3, H, W] in 0..1."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A request and what was drawn for it."""

    request: Request
    prompt: str
    latents: torch.Tensor
    noise: int


class DiffusionGenerator:
    """New pictures of a person; `description.name` says by which recipe.

    On a GPU in half precision, up to `description.batch` at a time; on a CPU in single precision, one at a time, so
    that what comes out does not depend on what is made beside it. A picture of which the numbers are not finite is a
    reject.
    """

    def __init__(self, description: Description, painter: Painter | None = None) -> None:
        self.description, self.recipe = description, RECIPES[description.name]
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.most = description.batch if self.device == "cuda" else 1
        self.tiled = False
        self.painter = painter or self._open()

    def make(self, requests: Sequence[Request]) -> list[Fake | BadData]:
        """One result per request, same order.

        Raises:
            PlatformError: one picture is too much for the GPU's memory.
        """
        results: list[Fake | BadData | None] = [None] * len(requests)
        drafts: dict[int, Draft] = {}
        for number, request in enumerate(requests):
            try:
                drafts[number] = self._draw(request)
            except BadData as fault:
                results[number] = fault
        numbers = list(drafts)
        while numbers:
            some, numbers = numbers[: self.most], numbers[self.most :]
            pictures = self._paint([drafts[number] for number in some])
            if pictures is None:
                numbers = some + numbers  # again, as fewer
                continue
            for number, picture in zip(some, pictures, strict=True):
                results[number] = self._fake(drafts[number], picture)
        return [result for result in results if result is not None]

    def _open(self) -> Painter:
        [weights] = self.description.weights
        dtype = torch.float16 if self.device == "cuda" else torch.float32
        painter = open_painter(self.recipe, Path(weights.uri), dtype)
        try:
            painter.to(self.device)
        except torch.cuda.OutOfMemoryError as error:
            raise PlatformError(self._too_small()) from error
        return painter

    def _draw(self, request: Request) -> Draft:
        """Everything that is random: from the request's generator, on the CPU, so that devices agree."""
        if request.target is not None:
            check_face(request.target, "host")
        embedding = request.sources[0].embedding
        if embedding is None or not np.isfinite(embedding).all():
            raise BadData(Reason.BAD_EMBEDDING, "source: the embedding is not finite")
        prompts = self.description.prompts or ("",)
        prompt = prompts[int(request.rng.integers(len(prompts)))]
        noise = int(request.rng.integers(2**63))
        width, height = self.painter.size(request)
        factor, channels = self.painter.pipe.vae_scale_factor, self.painter.pipe.unet.config.in_channels
        shape = (1, channels, height // factor, width // factor)
        return Draft(request, prompt, torch.from_numpy(request.rng.standard_normal(shape, np.float32)), noise)

    def _paint(self, drafts: list[Draft]) -> torch.Tensor | None:
        """Pictures [N, 3, H, W]; None if they are too many for the memory, and fewer are to be asked for."""
        try:
            return self.painter.paint(
                [draft.request for draft in drafts],
                [draft.prompt for draft in drafts],
                torch.cat([draft.latents for draft in drafts]),
                [torch.Generator().manual_seed(draft.noise) for draft in drafts],
            ).float()
        except torch.cuda.OutOfMemoryError as error:
            if len(drafts) == 1 and self.tiled:
                raise PlatformError(self._too_small()) from error
        torch.cuda.empty_cache()
        if len(drafts) > 1:
            self.most = len(drafts) // 2
        else:  # the largest piece is the decoder's, which can go over the picture in tiles
            self.painter.pipe.vae.enable_tiling()
            self.tiled = True
        return None

    def _fake(self, draft: Draft, picture: torch.Tensor) -> Fake | BadData:
        pixels = picture.permute(1, 2, 0).cpu().numpy()
        if not np.isfinite(pixels).all():
            return BadData(Reason.BAD_FAKE, "the picture's numbers are not finite")
        image = np.round(pixels.clip(0, 1) * 255).astype(np.uint8)
        how = f"{self.recipe.steps} steps, guidance {self.recipe.guidance:g}"
        return Fake(image, None, None, None, f"{how}, {draft.prompt}" if draft.prompt else how)

    def _too_small(self) -> str:
        free, whole = torch.cuda.mem_get_info() if self.device == "cuda" else (0, 0)
        return (
            f"{self.description.name}: the GPU's memory is too small for one picture ({free / 2**30:.1f} of "
            f"{whole / 2**30:.1f} GiB are free): end what else runs on it, or use a larger one."
        )


def open_painter(recipe: Recipe, folder: Path, dtype: torch.dtype) -> Any:
    """The networks of a recipe, loaded from their folder, on the CPU.

    Raises:
        UserError: the extra `fakes` is not installed here, or a file is not what it should be.
    """
    try:
        if recipe.family == "arc2face":
            from faceverify.fakes.diffusion.arc2face import Arc2Face as Kind
        else:
            from faceverify.fakes.diffusion.instantid import InstantId as Kind
    except ModuleNotFoundError as error:
        raise UserError(
            f"{recipe.family} needs {error.name} on every node: pip install 'faceverify[fakes]'."
        ) from error
    return Kind.open(folder, recipe, dtype)
