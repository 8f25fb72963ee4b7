"""Embedders that PyTorch runs, and loading of networks for training and export."""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format

from faceverify.errors import UserError
from faceverify.models import checkpoints
from faceverify.models.card import ModelCard
from faceverify.models.engine_config import EngineConfig
from faceverify.models.engines import CPU_BATCH, Engine, threads_of
from faceverify.wording import count_of


class TorchEngine(Engine):
    """A network in eval mode, on the GPU if there is one.

    Takes the module over: it is moved and set to eval. With `threads` above 0 the number of threads is set for the
    whole process, because PyTorch knows no other.
    """

    def __init__(self, module: nn.Module, card: ModelCard, config: EngineConfig) -> None:
        self._device = _device(config.provider)
        if self._device.type == "cpu":
            threads = threads_of(config)
            if config.threads > 0:
                torch.set_num_threads(threads)
            provider = f"torch CPU, {count_of(torch.get_num_threads(), 'thread')}"
        else:
            provider = f"torch CUDA, {torch.cuda.get_device_name(self._device)}"
        on_cpu = self._device.type == "cpu"
        # Measured on a CPU: IR-18 takes 0.8 of the time with channels last, MobileFaceNet 0.7.
        self._format = torch.channels_last if on_cpu else torch.contiguous_format
        self._module = convert_conv2d_weight_memory_format(module.to(self._device), self._format).eval()
        super().__init__(card, provider, min(config.batch_size, CPU_BATCH) if on_cpu else config.batch_size)

    @torch.inference_mode()
    def forward(self, x: np.ndarray) -> np.ndarray:
        """Run the network on [n, 3, H, W] float32; return [n, dim] float32."""
        picture = torch.from_numpy(x).to(self._device).to(memory_format=self._format)
        return self._module(picture).float().cpu().numpy()


def load_network(path: Path, card: ModelCard) -> nn.Module:
    """Load the weights of a PyTorch or safetensors file into the card's network, strictly.

    Raises:
        UserError: if they do not fit.
    """
    if path.suffix.lower() == ".onnx":
        raise UserError(f"{path} is an ONNX graph, which cannot be trained or exported; give PyTorch weights.")
    return checkpoints.load(checkpoints.read(path), card)


def check(path: Path, card: ModelCard) -> str:
    """Check that a PyTorch or safetensors file holds the card's network; returns what is taken off, for people.

    Raises:
        UserError: if not.
    """
    return checkpoints.check(checkpoints.read(path), card).taken_off


def _device(provider: str) -> torch.device:
    there = ["cuda", "cpu"] if torch.cuda.is_available() else ["cpu"]
    chosen = there[0] if provider == "auto" else provider
    if chosen not in there:
        raise UserError(
            f"provider is '{provider}', but PyTorch has only {', '.join(there)} here; set one of them or 'auto'."
        )
    return torch.device(chosen)
