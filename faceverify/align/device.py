"""Where a PyTorch network of an aligner runs."""

import torch

from faceverify.align.interface import AlignConfig
from faceverify.errors import UserError


def torch_device(config: AlignConfig) -> torch.device:
    """The device that `config.device` names or finds.

    Raises:
        UserError: a GPU is asked for, and there is none.
    """
    there = torch.cuda.is_available()
    if config.device == "cuda" and not there:
        raise UserError("align.device is cuda, but PyTorch finds no GPU here: set it to cpu or auto.")
    return torch.device("cuda" if there and config.device != "cpu" else "cpu")
