"""Which pairs a step sees: a new global order in every epoch, the same on any number of workers."""

from dataclasses import dataclass, field

import numpy as np

from faceverify.errors import UserError


@dataclass
class Order:
    """The order of `count` rows in batches of `size`; a row comes once an epoch, an incomplete last batch is left out.

    Raises:
        UserError: there are fewer rows than one batch takes.
    """

    count: int
    size: int
    seed: int
    _epoch: int = -1
    _rows: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        if self.count < self.size:
            raise UserError(f"batches.size is {self.size}, but there are only {self.count:,} to draw from: give fewer.")

    @property
    def per_epoch(self) -> int:
        """Batches of one epoch."""
        return self.count // self.size

    def rows(self, step: int) -> np.ndarray:
        """The rows [size] of the batch of a step, counted from 0 over all epochs."""
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._rows = np.random.default_rng([self.seed, epoch]).permutation(self.count)
            self._epoch = epoch
        return self._rows[place * self.size : (place + 1) * self.size]


def share(rows: np.ndarray, rank: int, workers: int) -> np.ndarray:
    """One worker's rows of a batch; all have equally many, so that the mean of their means is that of the batch.

    Raises:
        UserError: the batch cannot be divided so.
    """
    if len(rows) % workers:
        raise UserError(f"batches.size is {len(rows)}, which {workers} workers cannot share evenly: give a multiple.")
    each = len(rows) // workers
    return rows[rank * each : (rank + 1) * each]
