"""Fine-tuning for minutes on a GPU with fakes that never come twice: does that stop them, and what does it cost?

As `finetune_lfw`: the same start, people and test; but every fake is new, every real photo is cut out again each time,
and a step has hundreds of pairs. Training needs neither Ray nor more than a list of photos, so it runs where only
PyTorch is:

    python -m benchmarks.finetune_fresh list --work DIR LIST           # DIR: of finetune_lfw
    python -m benchmarks.finetune_fresh train --list LIST --out OUT    # there; --photos FOLDER if they lie elsewhere
    python -m benchmarks.finetune_fresh judge --work DIR OUT/*.safetensors
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from torch import nn

from benchmarks.finetune_lfw import CLAIM, COLUMNS, START, row
from benchmarks.finetune_sets import Judge, unseen
from benchmarks.fresh_faces import Photos, Pool
from benchmarks.fresh_pairs import Sampler, Shares
from benchmarks.harness import CORES, Report, parser
from benchmarks.verification import aligners
from faceverify.losses import LossConfig, LossWeights, build
from faceverify.models import checkpoints
from faceverify.models.card import ModelCard, card_path
from faceverify.training.config import NetworkConfig, OptimiserConfig
from faceverify.training.distributed import DistributedContext
from faceverify.training.learner import Learner
from faceverify.training.network import initial_network, precision_of, prepare_network, set_mode
from faceverify.training.optimiser import Schedule, build_optimiser


@dataclass(frozen=True)
class Recipe:
    """How one network is trained; all at once, side by side."""

    weights: Mapping[str, float]
    shares: Shares


RECIPES = {
    "distill_100": Recipe({"adaptive_margin": 1.0, "distill": 100.0}, Shares(0.35, 0.15)),
    "distill_400": Recipe({"adaptive_margin": 1.0, "distill": 400.0}, Shares(0.35, 0.15)),
}


class Run:
    """One training."""

    def __init__(self, recipe: Recipe, chosen: argparse.Namespace, pool: Pool) -> None:
        torch.manual_seed(0)
        self.world, start = DistributedContext.current(), str(chosen.data / START)
        config = NetworkConfig()
        network, self.card = initial_network(start, config, 0)
        self.network = prepare_network(network, config, self.world)
        losses = LossConfig(weights=LossWeights(**recipe.weights))
        objective = build(losses, dim=self.card.dim, people=0, seed=0)
        precision = precision_of("auto", self.world.device)
        self.learner = Learner(self.network, objective, self.card, precision).to(self.world.device)
        self.original: nn.Module | None = None
        if losses.needs_reference:
            self.original = prepare_network(initial_network(start, config, 0)[0], config, self.world).eval()
        self.optimising = OptimiserConfig(learning_rate=2e-3, schedule="cosine", warmup_steps=100)
        self.optimiser = build_optimiser(self.network, objective, self.optimising)
        self.schedule = Schedule(self.optimising, chosen.steps)
        self.sampler = Sampler(pool, recipe.shares, chosen.pairs, self.world.device)
        set_mode(self.learner, config.bn)

    def step(self, number: int) -> torch.Tensor:
        """One step; the loss."""
        self.schedule.apply(self.optimiser, number)
        batch = self.sampler.draw()
        if self.original is not None:
            with torch.inference_mode():
                reference = self.learner.embed(batch["faces"], self.original)
            batch["reference"] = reference.clone()
        loss, _ = self.learner(batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.optimising.clip_norm)
        self.optimiser.step()
        return loss.detach()


def train_one(name: str, chosen: argparse.Namespace, pool: Pool) -> None:
    """Train one network and write it with its card."""
    run = Run(RECIPES[name], chosen, pool)
    if chosen.compile:
        run.network.compile()
    begun = time.perf_counter()
    for step in range(chosen.steps):
        # The chunks of a step do not depend on how quickly they were made: a run can be repeated.
        run.sampler.take(min(pool.chunks, 4 + step * pool.chunks // chosen.steps))
        loss = run.step(step)
        if step % 100 == 0 or step + 1 == chosen.steps:
            took = time.perf_counter() - begun
            print(f"{name} {step + 1}/{chosen.steps}: loss {float(loss):.3f}, {took:.0f} s", flush=True)
    write(chosen.out / f"{name}.safetensors", run.network, run.card)


def write(path: Path, network: nn.Module, card: ModelCard) -> None:
    """Weights and card, as any job takes them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoints.save(network.state_dict(), path)
    card_path(path).write_text(replace(card, sha256=None).to_json())


def train(chosen: argparse.Namespace) -> None:
    """All networks that are asked for."""
    rows = pq.read_table(chosen.list)
    if chosen.photos:
        moved = pc.binary_join_element_wise(str(chosen.photos), rows["photo"], "/")
        rows = rows.set_column(rows.schema.get_field_index("uri"), "uri", moved)
    pool = Pool(Photos.read(rows, 0), chosen.chunks, 0)
    pool.start(max(1, CORES - 1))
    context = multiprocessing.get_context("fork")  # the pool's memory is shared
    runs = [context.Process(target=train_one, args=(name, chosen, pool)) for name in chosen.only]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    sys.exit(max(run.exitcode or 0 for run in runs))


def listed(chosen: argparse.Namespace) -> None:
    """The real photos that are learnt from, as a file."""
    rows = people(chosen.work, "train")
    pq.write_table(rows, chosen.file)
    print(f"{len(rows):,} photos of {len(pc.unique(rows['person']))} people: {chosen.file}")


def people(work: Path, split: str) -> pa.Table:
    """The real photos of the people whom `finetune_lfw` has in a split, with the columns of `PhotoPool`."""
    made = work / "true_labels"
    columns = ["photo", "person", "is_fake", "generator", "landmarks"]
    faces = pq.read_table(made / "real_faces" / "faces", columns=columns)
    pairs = pq.read_table(made / "pairs" / "pairs", columns=["person_a", "split"])
    wanted = pc.unique(pairs.filter(pc.equal(pairs["split"], split))["person_a"])
    faces = faces.filter(pc.is_in(faces["person"], wanted))
    photos = pq.read_table(work / "photos" / "photos", columns=["photo", "uri"])
    uris = photos["uri"].combine_chunks().take(pc.index_in(faces["photo"], photos["photo"].combine_chunks()))
    return faces.append_column("uri", uris).append_column("split", pa.repeat("train", len(faces)))


def judge(chosen: argparse.Namespace) -> None:
    """The table."""
    align = next(iter(aligners(chosen.data).values()))
    judged = Judge.of(chosen.data, align, chosen.work / "test")
    report = Report("finetune_fresh", CLAIM, (*COLUMNS, *unseen(judged.pairs)))
    for network in (chosen.data / START, *chosen.networks):
        row(report, network.stem, "", judged.verdict(network))
    report.write(chosen.results)


def main() -> None:
    """Entry point."""
    common = parser(__doc__ or "")
    tasks = common.add_subparsers(required=True)
    options = tasks.add_parser("list")
    options.add_argument("--work", type=Path, required=True)
    options.add_argument("file", type=Path)
    options.set_defaults(task=listed)
    options = tasks.add_parser("train")
    options.add_argument("--list", type=Path, required=True)
    options.add_argument("--photos", type=Path, help="folder of the photos, if they are not where the list says")
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--only", nargs="+", choices=RECIPES, default=list(RECIPES))
    options.add_argument("--steps", type=int, default=2000)
    options.add_argument("--pairs", type=int, default=256, help="of a step")
    options.add_argument("--chunks", type=int, default=100, help="of crops that are made meanwhile; 0.2 GB each")
    options.add_argument("--compile", action="store_true")
    options.set_defaults(task=train)
    options = tasks.add_parser("judge")
    options.add_argument("--work", type=Path, required=True)
    options.add_argument("networks", type=Path, nargs="+")
    options.set_defaults(task=judge)
    chosen = common.parse_args()
    chosen.task(chosen)


if __name__ == "__main__":
    main()
