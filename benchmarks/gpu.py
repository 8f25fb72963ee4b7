"""How much of a GPU training and embedding use: faces per second, share of the arithmetic the device can do, profile.

The rivals are the same network in plain eager fp32 and fp16; all take turns in one process, without Ray. On a GPU the
network is IR-101 (24.15 GFLOP per 112x112 face), on a CPU `tiny`, which shows that the program runs and no more. The
share is of the fastest product of two large matrices in the same number format, measured in the same run. For fp32 that
is TF32, which PyTorch's convolutions use on GPUs unless told otherwise; its products of matrices do not.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.harness import Report, Spread, parser
from faceverify.losses import LossConfig, build
from faceverify.models import card as cards
from faceverify.models import checkpoints
from faceverify.models.card import ModelCard
from faceverify.training.config import NetworkConfig, OptimiserConfig
from faceverify.training.cost import estimate_cost
from faceverify.training.distributed import DistributedContext
from faceverify.training.learner import Learner
from faceverify.training.network import prepare_network
from faceverify.training.optimiser import build_optimiser

DIM = 512
TRAINING = 3  # times the arithmetic of a forward pass


@dataclass(frozen=True)
class Way:
    """A way to run the network: number format, memory layout, compiled or not; `ours` is what `train` does."""

    name: str
    dtype: torch.dtype
    ours: bool = False
    compiled: bool = False


WAYS = (
    Way("plain eager fp32", torch.float32),
    Way("plain eager fp16", torch.float16),
    Way("**faceverify bf16**", torch.bfloat16, ours=True),
    Way("**faceverify bf16, compiled**", torch.bfloat16, ours=True, compiled=True),
)


def seconds(work: Callable[[], object], device: torch.device, steps: int) -> float:
    """Of one call, after the device has finished."""
    synchronise = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    synchronise()
    start = time.perf_counter()
    for _ in range(steps):
        work()
    synchronise()
    return (time.perf_counter() - start) / steps


def product_rate(dtype: torch.dtype, device: torch.device) -> float:
    """Operations per second of the best of five products of two square matrices."""
    side = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    torch.backends.cuda.matmul.allow_tf32 = True
    best = min(seconds(lambda: a @ b, device, 3) for _ in range(5))
    torch.backends.cuda.matmul.allow_tf32 = False
    return 2 * side**3 / best


def learner(architecture: str, way: Way, world: DistributedContext) -> tuple[Learner, ModelCard]:
    """The network as `train` prepares it, or plain."""
    half = [127.5] * 3
    card = cards.build(name="n", architecture=architecture, colour="BGR", mean=half, std=half, dim=DIM)
    torch.manual_seed(0)
    network = checkpoints.build(architecture, DIM)
    if way.ours:
        network = prepare_network(network, NetworkConfig(), world)
    objective = build(LossConfig(), dim=DIM, people=0, seed=0)
    made = Learner(network, objective, card, way.dtype if way.ours else torch.float32).to(world.device).eval()
    if not way.ours:
        made.layout = torch.contiguous_format
    if way.compiled:
        made.network.compile()
    return made, card


def autocast(way: Way, device: torch.device) -> torch.autocast | nullcontext[None]:
    """Of the plain ways; ours brings its own."""
    return nullcontext() if way.ours or way.dtype == torch.float32 else torch.autocast(device.type, way.dtype)


def embedding(made: Learner, way: Way, faces: Tensor) -> Callable[[], object]:
    """One batch through the network."""

    @torch.inference_mode()
    def work() -> object:
        with autocast(way, faces.device):
            return made.embed(faces)

    return work


def training(made: Learner, way: Way, faces: Tensor) -> Callable[[], object]:
    """One step: forward, adaptive margin, backward, AdamW."""
    optimiser = build_optimiser(made.network, made.objective, OptimiserConfig())
    scaler = torch.amp.GradScaler(faces.device.type, enabled=way.dtype == torch.float16)
    pairs = len(faces) // 2
    label = torch.arange(pairs, device=faces.device) % 2
    fake = torch.zeros(2 * pairs, dtype=torch.bool, device=faces.device)
    batch = {"faces": faces, "label": label, "kind": torch.zeros_like(label), "is_fake": fake}

    def work() -> None:
        optimiser.zero_grad(set_to_none=True)
        with autocast(way, faces.device):
            loss, _ = made(batch)
        scaler.scale(loss).backward()
        scaler.unscale_(optimiser)
        nn.utils.clip_grad_norm_(made.parameters(), 5.0)
        scaler.step(optimiser)
        scaler.update()

    return work


def profiled(work: Callable[[], object], device: torch.device) -> str:
    """What takes the time of three calls: the ten operations that take most, each with the kernels that it starts."""
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
    with profile(activities=kinds) as found:
        for _ in range(3):
            work()
    of = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    operations = [event for event in found.key_averages() if event.device_type == DeviceType.CPU]
    events = sorted(operations, key=lambda event: -getattr(event, of))
    total = sum(getattr(event, of) for event in events)
    return ", ".join(f"{event.key} {getattr(event, of) / total:.0%}" for event in events[:10])


def measure(chosen: argparse.Namespace, report: Report, device: torch.device) -> None:
    """Fill the table."""
    world = DistributedContext(0, 1, device)
    faces = torch.randint(0, 256, (chosen.batch, 112, 112, 3), dtype=torch.uint8, device=device)
    peaks = {dtype: product_rate(dtype, device) for dtype in {way.dtype for way in WAYS}}
    for task, begin, factor in (("embedding", embedding, 1), ("training", training, TRAINING)):
        works = {}
        for way in WAYS:
            made, card = learner(chosen.architecture, way, world)
            per_face = estimate_cost(made.network, card, 1, 2, 1, half=False).flops_per_face * factor
            works[way] = begin(made, way, faces)
            seconds(works[way], device, 3)  # warm, compiled, its algorithms chosen
        took: dict[Way, list[float]] = {way: [] for way in WAYS}
        for _ in range(chosen.repeats):
            for way, work in works.items():
                took[way].append(seconds(work, device, chosen.steps))
        for way in WAYS:
            rate = Spread.of([chosen.batch / time for time in took[way]])
            reached = rate.median * per_face
            share = f"{reached / peaks[way.dtype]:.1%}"
            report.add(task, way.name, f"{rate:,.0f}", f"{reached / 1e12:.2f}", f"{peaks[way.dtype] / 1e12:.2f}", share)
        report.notes.append(f"Time of {task}, {WAYS[2].name}: {profiled(works[WAYS[2]], device)}.")


def main() -> None:
    """Entry point."""
    gpu = torch.cuda.is_available()
    options = parser(__doc__ or "")
    options.add_argument("--architecture", default="ir_101" if gpu else "tiny")
    options.add_argument("--batch", type=int, default=256 if gpu else 16, help="faces; half as many pairs")
    options.add_argument("--steps", type=int, default=20 if gpu else 2)
    options.add_argument("--repeats", type=int, default=5)
    chosen = options.parse_args()
    device = torch.device("cuda" if gpu else "cpu")
    name = torch.cuda.get_device_name(device) if gpu else "a CPU"
    columns = ("task", "way", "faces/s", "TFLOP/s", "matrix product, TFLOP/s", "share of it")
    report = Report("gpu", f"{chosen.architecture} on {name}, {chosen.batch} faces at a time.", columns)
    measure(chosen, report, device)
    report.notes.append("Faces lie on the device; adaptive margin, BN statistics frozen, AdamW, gradients clipped.")
    report.write(chosen.results)


if __name__ == "__main__":
    main()
