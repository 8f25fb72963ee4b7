"""The branch `detail` taught alone, for half an hour on a CPU: does it stop fakes, and what does it cost?

As `finetune_lfw`: the same start, people and test. But the branch needs no recogniser to learn from, so only itself is
computed; every fake is new; and each comes with the photo that it was made in, cut out and altered in the same way, so
that the one difference between the two is what was done to the face. Fakes are by the project's generators, and cruder
swaps (`crude_swap`) that are not in the test. d0 is set as by the job, by crops of the people of validation.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format
from torch.utils.data import DataLoader, IterableDataset

from benchmarks.crude_swap import CrudeSwap
from benchmarks.finetune_fresh import people, write
from benchmarks.finetune_lfw import CLAIM, COLUMNS, START, Sets, row
from benchmarks.finetune_sets import Judge, unseen
from benchmarks.fresh_faces import Photos, generators, plainly, varied
from benchmarks.harness import Report, parser, require
from benchmarks.verification import aligners
from faceverify.fakes import Description, FaceInput, Generator
from faceverify.fakes.blending import to_bytes
from faceverify.losses.detection import Detection
from faceverify.models.card import ModelCard
from faceverify.models.detail import Detail, threshold_of
from faceverify.models.mobilefacenet import MobileFaceNet
from faceverify.training.config import NetworkConfig, ValidationConfig
from faceverify.training.network import initial_network

SELF_BLENDS, CRUDE = 0.6, 0.16  # shares of the fakes; the rest are landmark swaps
PLAIN = 0.35  # share of pairs whose colours and sharpness stay as they are
SHARPER = 0.3  # of the others, share that is sharpened strongly, as photos of high resolution are once cut out
DECAY = 0.02


class Beside(IterableDataset[np.ndarray]):
    """Endless pairs [2,112,112,3] of uint8 RGB: a photo, and what a fake made of it. One process, one sequence."""

    def __init__(self, photos: Photos, seed: int) -> None:
        self.photos, self.seed = photos, seed

    def __iter__(self) -> Iterator[np.ndarray]:
        cv2.setNumThreads(1)
        ours: list[Generator] = generators()
        makers = [*ours, CrudeSwap(Description(name="crude_swap", class_path="", target=True))]
        rng, crowd = np.random.default_rng(self.seed), len(self.photos.crowd.names)
        while True:
            person, index, kind = int(rng.integers(crowd)), int(rng.integers(1 << 30)), rng.random()
            turn = 1 if kind < SELF_BLENDS else 2 if kind < SELF_BLENDS + CRUDE else 0
            host, fake = self.photos.fake(person, turn, index, makers)
            assert fake.landmarks is not None
            yield pair(self.photos.face(host), FaceInput(fake.image, fake.landmarks), (self.seed, person, index))


def pair(real: FaceInput, fake: FaceInput, seed: tuple[int, ...]) -> np.ndarray:
    """Both cut out and altered in the same way: [2,112,112,3]."""
    rng = np.random.default_rng((*seed, 0))
    if rng.random() < PLAIN:
        return np.stack([plainly(face.image, face.landmarks, seed) for face in (real, fake)])
    crops = np.stack([varied(face.image, face.landmarks, seed) for face in (real, fake)])
    if rng.random() < SHARPER:
        reach, strength = rng.uniform(0.6, 1.2), rng.uniform(0.5, 3)
        blurred = np.stack([cv2.GaussianBlur(crop, (0, 0), reach) for crop in crops]).astype(np.float32)
        crops = to_bytes(crops + np.float32(strength) * (crops - blurred))
    return crops


def train(chosen: argparse.Namespace, work: Path) -> tuple[nn.Module, ModelCard]:
    """The network with the branch, taught."""
    torch.manual_seed(0)
    network, card = initial_network(str(chosen.data / START), NetworkConfig(detail=True), 0)
    assert isinstance(network, MobileFaceNet) and network.detail is not None
    branch = network.detail.train()
    convert_conv2d_weight_memory_format(branch.body, torch.channels_last)
    pairs = DataLoader(Beside(Photos.read(people(work, "train"), 0), 0), chosen.pairs, num_workers=1)
    optimiser = torch.optim.AdamW(decayed(branch), lr=chosen.learning_rate, fused=True)
    loss, begun, mean_loss, flips = Detection(), time.perf_counter(), 0.7, np.random.default_rng(0)
    for step, batch in zip(range(chosen.steps), pairs, strict=False):
        for group in optimiser.param_groups:
            group["lr"] = chosen.learning_rate * rate(step, chosen.steps)
        mirrored = torch.from_numpy(flips.random(len(batch)) < 0.5)[:, None, None, None, None]
        faces = torch.where(mirrored, batch.flip(3), batch).flatten(0, 1)
        value = loss(scores(branch, card, faces), torch.tensor([False, True]).repeat(len(batch)))
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(branch.parameters(), 5.0)
        optimiser.step()
        mean_loss += 0.02 * (value.item() - mean_loss)
        if (step + 1) % 50 == 0:
            print(f"step {step + 1:,}: {time.perf_counter() - begun:.0f} s, loss {mean_loss:.3f}", flush=True)
    branch.threshold.fill_(threshold(branch.eval(), card, Photos.read(people(work, "val"), 0)))
    return network, card


def threshold(branch: Detail, card: ModelCard, photos: Photos) -> float:
    """d0 by the real crops of some people, each photo cut out in four ways."""
    faces = (photos.face(photo) for photo in range(len(photos.pictures)) for _ in range(4))
    crops = np.stack([plainly(face.image, face.landmarks, (1, number)) for number, face in enumerate(faces)])
    with torch.inference_mode():
        found = scores(branch, card, torch.from_numpy(crops))
    return threshold_of(found, ValidationConfig().mistaken)


def mistakes(network: nn.Module, card: ModelCard, judge: Judge) -> str:
    """How many real photos of the test are turned away by half or more."""
    assert isinstance(network, MobileFaceNet) and network.detail is not None
    branch = network.detail.eval()
    counts = []
    of_unseen = [judge.pairs[name][:, 0] for name in unseen(judge.pairs)]
    of_view = [judge.pairs[name].ravel() for name in ("genuine", "impostor")]
    for what, rows in (("View-1's photos", of_view), ("those beside unseen fakes", of_unseen)):
        faces = torch.from_numpy(judge.faces[np.unique(np.concatenate(rows))])
        with torch.inference_mode():
            found = torch.cat([scores(branch, card, some) for some in faces.split(256)])
        counts.append(f"{int((found > branch.threshold).sum())} of {len(faces)} of {what}")
    return f"Real photos that are turned away by half or more: {', '.join(counts)}."


def scores(branch: Detail, card: ModelCard, faces: torch.Tensor) -> torch.Tensor:
    """Of faces [B,112,112,3] of uint8 RGB; without the network that the branch belongs to."""
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (card.mean, card.std))
    with torch.autocast("cpu", torch.bfloat16):
        return branch.scores((faces.permute(0, 3, 1, 2) - mean) / std)


def decayed(branch: Detail) -> list[dict[str, object]]:
    """Weights, which decay, and what shifts and scales, which does not."""
    kinds = [[p for p in branch.parameters() if (p.ndim > 1) == wanted] for wanted in (True, False)]
    return [{"params": part, "weight_decay": decay} for part, decay in zip(kinds, (DECAY, 0.0), strict=True)]


def rate(step: int, steps: int) -> float:
    """Share of the learning rate: 50 steps of warming up, then a cosine down to a fiftieth."""
    return min(1.0, (step + 1) / 50) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps)))


def measure(chosen: argparse.Namespace, work: Path) -> None:
    """Fill and write the table."""
    align = next(iter(aligners(chosen.data).values()))
    judge = Judge.of(chosen.data, align, work / "test")
    Sets(chosen.data, align, work).of("true labels")
    report = Report("detail_lfw", CLAIM, (*COLUMNS, *unseen(judge.pairs)))
    row(report, "before", "0", judge.verdict(chosen.data / START))
    file = work / "detail.safetensors"
    network, card = train(chosen, work)
    write(file, network, card)
    row(report, "branch `detail`, fakes beside their photos", f"{chosen.steps:,}", judge.verdict(file))
    report.notes += [f"Steps of {chosen.pairs} pairs, AdamW, learning rate {chosen.learning_rate}, cosine, bf16."]
    report.notes += [mistakes(network, card, judge)]
    report.write(chosen.results)


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--work", type=Path, help="as in `finetune_lfw`, whose sets are used if they are there")
    options.add_argument("--steps", type=int, default=1600)
    options.add_argument("--pairs", type=int, default=48, help="of a step")
    options.add_argument("--learning-rate", type=float, default=2e-3)
    chosen = options.parse_args()
    require(chosen.data / "lfw" / "images", chosen.data / "fakes" / "images", chosen.data / "models")
    with tempfile.TemporaryDirectory() as folder:
        measure(chosen, (chosen.work or Path(folder)).resolve())


if __name__ == "__main__":
    main()
