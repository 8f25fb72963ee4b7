"""Batches for the forensic network: real photos, and a fake of each that is made on the spot.

Shape letters: B pairs of one worker's share of a step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from faceverify.errors import BadData
from faceverify.fakes import Description, FaceInput, Generator, Request, build
from faceverify.forensics.config import ForensicSteps, MixConfig
from faceverify.forensics.examples import CROP, Example, changed, make_pair, outline_mask
from faceverify.forensics.material import ForensicMaterial
from faceverify.forensics.model import scale_of
from faceverify.forensics.patches import Patch
from faceverify.training.batches import EpochOrder, worker_rows

_GIVEN = -1  # in the place of a generator's number: the fake is one of the table
_DRAWS = 4  # of a fake from two photos that do not go together, before the photo is taken as it is


@dataclass(frozen=True, eq=False)
class ForensicBatch:
    """One worker's share of a step: first the real photos, then the fakes made of them.

    step: from 0; rows: [2B] rows of the table; faces: [2B, 256, 256, 3] uint8 RGB; scale: [2B, 1] float32, log2 of the
    crop's pixels per pixel of the photo; is_fake: [2B] float32, 1 = a fake; fields: [2B, 16, 16] float32, share of each
    field that was manipulated.
    """

    step: int
    rows: np.ndarray
    faces: np.ndarray
    scale: np.ndarray
    is_fake: np.ndarray
    fields: np.ndarray


@dataclass(frozen=True, eq=False)
class ForensicPlan:
    """One worker's share of a step before pictures are decoded.

    step; seeds: of each pair; rows: [2B] the real photos, then whose face the fakes get (or the given fakes);
    generator: [B] number of the generator, or that of given fakes; distinct: [D] rows whose pictures are needed; back:
    [2B] index into `distinct`.
    """

    step: int
    seeds: Sequence[tuple[int, ...]]
    rows: np.ndarray
    generator: np.ndarray
    distinct: np.ndarray
    back: np.ndarray


@dataclass(eq=False)
class ForensicBuilder:
    """Makes batches; the same bytes for the same step wherever and whenever they are made.

    Args:
        material: the patches.
        batches: size, seed.
        generators: who makes fakes on the spot, with their weights.
        mix: shares of the generators and of given fakes.
    """

    material: ForensicMaterial
    batches: ForensicSteps
    generators: tuple[Description, ...]
    mix: MixConfig
    _built: dict[int, Generator] = field(default_factory=dict, init=False, repr=False)

    batch_type = ForensicBatch

    def order(self) -> EpochOrder:
        """The order of the real photos that are learnt from."""
        return EpochOrder(len(self.material.train), self.batches.size, self.batches.seed)

    def plan(self, order: EpochOrder, step: int, rank: int, workers: int) -> ForensicPlan:
        """Which photos the share of worker `rank` of `workers` consists of, and who makes which fake of them."""
        chosen = worker_rows(order.rows(step), rank, workers)
        seeds = [(self.batches.seed, step, int(place)) for place in chosen]
        return self.plan_of(step, seeds, self.material.train[chosen], self.material.train, self.material.given)

    def plan_of(
        self, step: int, seeds: Sequence[tuple[int, ...]], real: np.ndarray, sources: np.ndarray, given: np.ndarray
    ) -> ForensicPlan:
        """The plan for some real photos.

        Args:
            step: for `ForensicBatch`.
            seeds: of each.
            real: [B] their rows.
            sources: rows of real photos whose faces may be put into them.
            given: rows of fakes of the table that may be taken instead.
        """
        shares = np.array([getattr(self.mix, one.name) for one in self.generators], np.float64)
        shares /= shares.sum()
        of_given = self.mix.given / (1 + self.mix.given) if len(given) else 0.0
        generator, other = np.zeros(len(real), np.int64), np.zeros(len(real), np.int64)
        for i, seed in enumerate(seeds):
            rng = np.random.default_rng(list(seed))
            is_given, number = rng.random() < of_given, int(rng.choice(len(shares), p=shares))
            generator[i] = _GIVEN if is_given else number
            other[i] = rng.choice(given) if is_given else self._source(int(real[i]), sources, rng)
        originals = np.where(generator == _GIVEN, self.material.original[other], -1)
        rows = np.concatenate([np.where(originals >= 0, originals, real), other])
        return ForensicPlan(step, seeds, rows, generator, *np.unique(rows, return_inverse=True))

    def _source(self, host: int, sources: np.ndarray, rng: np.random.Generator) -> int:
        """Whose face is put into a photo: another person's, if there is one among a few drawn."""
        drawn = rng.choice(sources, _DRAWS)
        person = self.material.person
        return int(next((row for row in drawn if person[row] != person[host]), drawn[0]))

    def build(self, planned: ForensicPlan, pictures: list[bytes]) -> ForensicBatch:
        """Make the fakes of a planned share, and what the network sees of them.

        Args:
            planned: the share.
            pictures: encoded pictures of `planned.distinct`.

        Raises:
            UserError: a picture is damaged.
        """
        examples, is_fake = self.examples(planned, pictures)
        eyes = np.array([one.eyes for one in examples])
        return ForensicBatch(
            planned.step,
            planned.rows,
            np.stack([one.crop for one in examples]),
            scale_of(eyes, CROP)[:, None],
            is_fake.astype(np.float32),
            np.stack([one.fields for one in examples]),
        )

    def examples(self, planned: ForensicPlan, pictures: list[bytes]) -> tuple[list[Example], np.ndarray]:
        """The examples [2B] of a planned share, and which of them are fakes [2B]."""
        patches = [self.material.patch(int(row), data) for row, data in zip(planned.distinct, pictures, strict=True)]
        pairs = len(planned.generator)
        real, fake = list[Example](), list[Example]()
        is_fake = np.repeat([False, True], pairs)
        for i, number in enumerate(planned.generator):
            photo, other, seed = patches[planned.back[i]], patches[planned.back[pairs + i]], [*planned.seeds[i], 1]
            if number == _GIVEN:
                known = self.material.original[planned.rows[pairs + i]] >= 0
                made, mask = other, changed(photo.image, other.image) if known else outline_mask(other)
            else:
                made, mask, is_fake[pairs + i] = self._made(int(number), photo, other, seed)
            one, two = make_pair(photo, made, mask, seed)
            real.append(one)
            fake.append(two)
        return real + fake, is_fake

    def _made(self, number: int, host: Patch, source: Patch, seed: list[int]) -> tuple[Patch, np.ndarray, bool]:
        """A fake by a generator, where the photo was changed, and True; the photo itself where none can be made."""
        if number not in self._built:
            self._built[number] = build(self.generators[number])
        rng = np.random.default_rng(seed)
        into, face = FaceInput(host.image, host.landmarks), FaceInput(source.image, source.landmarks)
        for _ in range(_DRAWS):
            target = self.generators[number].target
            [made] = self._built[number].make([Request((face,), into, rng) if target else Request((into,), None, rng)])
            if not isinstance(made, BadData):
                return Patch(made.image, host.landmarks), changed(host.image, made.image), True
        return host, np.zeros(host.image.shape[:2], np.float32), False
