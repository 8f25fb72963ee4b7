"""Networks out of the folders in which they are published; no file is ever unpickled, none is fetched."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from faceverify.errors import UserError
from faceverify.fakes.diffusion.published import weights_in
from faceverify.models import unpickle

for _log in (diffusers_logging, transformers_logging):  # a worker's bars and hints are nobody's
    _log.set_verbosity_error()
    _log.disable_progress_bar()

_OLD_PREFIX = "text_model."  # of CLIP's text model in files that are older than transformers 5
_NOT_FOUND = (OSError, ValueError, RuntimeError, KeyError, SafetensorError)


def load_network(kind: type, folder: Path, dtype: torch.dtype) -> Any:
    """A network of diffusers or transformers, in eval mode on the CPU.

    Args:
        kind: its class.
        folder: with config.json and weights.
        dtype: of its numbers.

    Raises:
        UserError: the weights are damaged, or are not all those that config.json promises and no others.
    """
    path = weights_in(folder)
    if path.suffix == ".bin":
        return _from_bin(kind, folder, path).to(dtype).eval()
    variant = "fp16" if path.stem.endswith(".fp16") else None
    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "output_loading_info": True}
    options |= {"dtype" if issubclass(kind, PreTrainedModel) else "torch_dtype": dtype}
    try:
        network, told = kind.from_pretrained(folder, variant=variant, **options)
    except _NOT_FOUND as error:
        raise UserError(f"{path} cannot be loaded: {_first(error)}; download it again.") from error
    wrong = {name: [key for key in told[name] if not str(key).endswith("position_ids")] for name in told}
    _refuse(path, wrong.get("missing_keys", []), wrong.get("unexpected_keys", []), wrong.get("mismatched_keys", []))
    return network.eval()


def _from_bin(kind: type, folder: Path, path: Path) -> nn.Module:
    config = kind.config_class.from_dict(json.loads((folder / "config.json").read_bytes()))  # type: ignore[attr-defined]
    network = kind(config)
    tensors = {key: value for key, value in read_bin(path).items() if isinstance(value, Tensor)}
    wanted = network.state_dict()
    if not any(key.startswith(_OLD_PREFIX) for key in wanted):
        tensors = {key.removeprefix(_OLD_PREFIX): value for key, value in tensors.items()}
    tensors = {key: value for key, value in tensors.items() if not key.endswith("position_ids")}
    both = wanted.keys() & tensors.keys()
    others = [key for key in both if wanted[key].shape != tensors[key].shape]
    _refuse(path, sorted(wanted.keys() - both), sorted(tensors.keys() - both), sorted(others))
    network.load_state_dict(tensors)
    return network


def read_bin(path: Path) -> dict[str, Any]:
    """What a file of torch.save holds: tensors, or dictionaries of them. Nothing in it is run.

    Raises:
        UserError: it is damaged or malicious.
    """
    try:
        found = unpickle.read_bytes(path.read_bytes())
    except unpickle.Refused as error:
        raise UserError(f"{path} is damaged or no PyTorch checkpoint ({error}); download it again.") from error
    if not isinstance(found.content, dict):
        raise UserError(f"{path} holds no tensors; download it again.")
    return found.content


def _refuse(path: Path, missing: list[Any], unexpected: list[Any], others: list[Any]) -> None:
    faults = [
        f"{words} {len(keys)} ({keys[0]})"
        for words, keys in (("lacks", missing), ("has too many by", unexpected), ("has of another shape", others))
        if keys
    ]
    if faults:
        raise UserError(f"{path} is of another network: of the tensors it {', '.join(faults)}; download it again.")


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
