"""Denormal weights become zeros on loading: seconds of an IR-50 with them and without, and the same embeddings.

Random weights, of which as many are made denormal as the published IR-101 of CVLface is reported to hold (206,000), in
the later convolutions: scattered, or as whole dead filters. Both sides hold the same numbers but for the flushing, in
the same engine, on one thread.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Report, Spread, parser, seconds_of
from faceverify.models import card, checkpoints, denormals
from faceverify.models.engine_config import EngineConfig
from faceverify.models.engine_onnx import OnnxEngine
from faceverify.models.engine_torch import TorchEngine
from faceverify.models.engines import Engine
from faceverify.models.export import export_onnx

COUNT = 206_000
ENGINE = EngineConfig(provider="cpu", threads=1)
CARD = card.build(name="ir_50", architecture="ir_50", colour="RGB", mean=[127.5] * 3, std=[127.5] * 3, dim=512)
SPREADS = ("scattered", "dead filters")


def with_denormals(spread: str) -> dict[str, Tensor]:
    """An IR-50's tensors with denormal numbers in the convolutions from the eighth unit on."""
    torch.manual_seed(0)
    tensors = checkpoints.build("ir_50", 512).state_dict()
    late = [tensors[f"body.{unit}.res_layer.{place}.weight"] for unit in range(7, 24) for place in (1, 4)]
    rng = np.random.default_rng(0)
    for value in late:
        chosen = rng.random(tuple(value.shape)) < COUNT / len(late) / value.numel()
        if spread != "scattered":
            chosen[:] = False
            chosen[: COUNT // len(late) // value[0].numel() + 1] = True
        small = rng.uniform(1e-42, 1e-39, tuple(value.shape)).astype(np.float32)
        value[torch.from_numpy(chosen)] = torch.from_numpy(small[chosen])
    return tensors


def engines(tensors: dict[str, Tensor], folder: Path) -> dict[str, Engine]:
    """PyTorch and ONNX Runtime over the same weights, as they are loaded now."""
    network = checkpoints.load(checkpoints.WeightsFile(tensors, folder), CARD)
    exported = export_onnx(network, CARD, folder / "model.onnx")
    return {"PyTorch": TorchEngine(network, CARD, ENGINE), "ONNX Runtime": OnnxEngine(exported.path, CARD, ENGINE)}


def measure(chosen: argparse.Namespace, report: Report) -> None:
    """Both sides, taking turns."""
    faces = np.random.default_rng(1).integers(0, 256, (chosen.faces, 112, 112, 3), dtype=np.uint8)
    for spread in SPREADS:
        with tempfile.TemporaryDirectory() as folder:
            tensors = with_denormals(spread)
            count = sum(int(((value != 0) & (value.abs() < 2.0**-126)).sum()) for value in tensors.values())
            flushed = engines({name: value.clone() for name, value in tensors.items()}, Path(folder))
            with (
                mock.patch.object(denormals, "flushed", lambda values: values),
                mock.patch("faceverify.models.engine_onnx.flushed", lambda values: values),
            ):
                as_they_are = engines(tensors, Path(folder))
            for name in flushed:
                before, after = [], []
                one, other = (side[name].embed(faces) for side in (as_they_are, flushed))
                for _ in range(chosen.repeats):
                    before.append(seconds_of(partial(as_they_are[name].embed, faces)))
                    after.append(seconds_of(partial(flushed[name].embed, faces)))
                report.add(
                    name,
                    f"{count:,} {spread}",
                    f"{Spread.of(before):.2f}",
                    f"{Spread.of(after):.2f}",
                    f"{Spread.of([a / b for a, b in zip(after, before, strict=True)]):.2f}",
                    f"{np.abs(one - other).max() / np.abs(one).max():.1e}",
                )


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--faces", type=int, default=16, help="faces per measurement")
    options.add_argument("--repeats", type=int, default=5, help="measurements of each side")
    chosen = options.parse_args()
    columns = ("engine", "denormal weights", "as they are, s", "flushed, s", "ratio", "largest difference")
    report = Report("denormals", "Flushing denormal weights changes no embedding and costs nothing.", columns)
    measure(chosen, report)
    report.notes.append("What they cost as they are is the processor's affair: some multiply them at full speed.")
    report.write(chosen.results)


if __name__ == "__main__":
    main()
