"""What the workers of the job `attack` do: photos under every degradation, then pairs under every attack."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from faceverify.align import AlignConfig
from faceverify.align.crops import Crop
from faceverify.attacks.options import Condition
from faceverify.attacks.pairs import attacked_pairs, read_photos
from faceverify.attacks.photos import attacked_crops, embedded
from faceverify.faces import Crops, Stopwatch
from faceverify.images import ImageLimits
from faceverify.models import EngineConfig
from faceverify.parts import write_part
from faceverify.provenance import PhotoIdentity
from faceverify.scoring.numbering import Numbering
from faceverify.scoring.photos import STAGE as PHOTOS
from faceverify.scoring.photos import photo_facts
from faceverify.scoring.plan import ScorePlan
from faceverify.storage import Location
from ray_jobs.engine.photo_pipeline import EmbeddingSink, PhotoSource
from ray_jobs.engine.resources import limit_threads

PAIRS = "scores"  # stage


@dataclass(frozen=True)
class AttackedSource:
    """Photos, read once, degraded in every way, and aligned each time; on CPUs.

    conditions: the degradations; seed: of the noise; the rest as of `PhotoSource`.
    """

    align: AlignConfig
    limits: ImageLimits
    identity: PhotoIdentity
    crop: str
    shown: Crop
    conditions: tuple[Condition, ...]
    seed: int

    def open(self) -> Callable[[pa.Table, Stopwatch], Crops]:
        """Build the aligner."""
        known = {"identity": self.identity, "crop": self.crop, "crops": (self.shown,)}
        aligner, origin = PhotoSource(replace(self.align, device="cpu"), self.limits, **known).build()
        limits, conditions, seed = self.limits, self.conditions, self.seed
        return lambda rows, watch: attacked_crops(rows, aligner, limits, conditions, seed, watch, origin)


@dataclass(frozen=True)
class AttackedSink:
    """Embeddings of all crops of a photo in one row.

    sink: loads the network; conditions: how many degradations there are; pictures: whether crops are kept.
    """

    sink: EmbeddingSink
    conditions: int
    pictures: bool

    def open(self) -> Callable[[Crops, Stopwatch], tuple[pa.Table, pa.Table]]:
        """Load the network."""
        engine = self.sink.load()
        return lambda crops, watch: embedded(crops, engine, self.conditions, self.pictures, watch)


@dataclass(frozen=True)
class AttackJob:
    """What all workers on pairs have in common.

    conditions: all attacks; rejects: parts with the photos that failed; model, engine, digest: of the network; steps,
    seed: of PGD; threads: of a worker, 0 = as they are.
    """

    work: Location
    plan: ScorePlan
    conditions: tuple[Condition, ...]
    rejects: tuple[Location, ...]
    scored_with: str
    model: str
    engine: EngineConfig
    digest: str
    dim: int
    steps: int
    seed: int
    threads: int


class PairsUnderAttack:
    """A worker on shards of pairs, which keeps the network loaded where gradients are wanted."""

    def __init__(self, job: AttackJob) -> None:
        if job.threads:
            limit_threads(job.threads)
        self.job, self.numbering = job, Numbering.read(job.work / "numbers")
        self.facts = photo_facts(job.work, job.plan, list(job.rejects), np.zeros(job.plan.photos, bool))
        self.attacker = None
        if any(condition.on_gradients for condition in job.conditions):
            from faceverify.attacks.gradients import GradientAttacker

            self.attacker = GradientAttacker(job.model, job.engine, job.digest, job.steps, job.seed)

    def __call__(self, shard: int, pairs: pa.Table) -> tuple[int, int]:
        """Score one shard of pairs under every attack and write its part."""
        job, numbers = self.job, self.numbering.of(pairs)
        named = np.concatenate(numbers)
        pictures = self.attacker is not None
        photos = read_photos(job.work, PHOTOS, named[named >= 0], job.plan.rows_per_photo_shard, job.dim, pictures)
        rows = pairs.drop_columns(["a", "b"])
        scores = attacked_pairs(rows, numbers, photos, self.facts, job.conditions, self.attacker, job.scored_with)
        write_part(job.work, PAIRS, shard, scores)
        return scores.num_rows, 0
