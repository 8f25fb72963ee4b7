"""The workers of a training as one of them sees them: torch.distributed where it is set up, else this process."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import distributed


@dataclass(frozen=True)
class DistributedContext:
    """One worker among those that train together.

    rank: number of this worker, from 0; size: number of workers; device: where this worker computes.
    """

    rank: int
    size: int
    device: torch.device

    @classmethod
    def current(cls) -> "DistributedContext":
        """Rank and size from torch.distributed; on the GPU given to this process, if there is one."""
        device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size(), device)
        return cls(0, 1, device)

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, the worker that writes files and reports progress."""
        return self.rank == 0

    def all_reduce_max(self, value: int) -> int:
        """The largest `value` of all workers; a collective call: every worker must make it."""
        most = torch.tensor([value], device=self.device)
        if self.size > 1:
            distributed.all_reduce(most, distributed.ReduceOp.MAX)
        return int(most.item())

    def all_reduce_mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean of `values` over all workers, in place; a collective call: every worker must make it."""
        if self.size > 1:
            distributed.all_reduce(values)
            values /= self.size
        return values

    def gather_texts(self, value: list[str]) -> list[list[str]]:
        """The texts of all workers by rank; a collective call: every worker must make it."""
        if self.size == 1:
            return [value]
        found: list[list[str]] = [[]] * self.size
        distributed.all_gather_object(found, value)
        return found

    def gather_rows(self, rows: np.ndarray, total: int) -> np.ndarray:
        """Assemble float32 [total, D], whose rows rank, rank + size, ... are this worker's `rows`.

        A collective call: every worker must make it.
        """
        if self.size == 1:
            return rows
        each = -(-total // self.size)
        mine = torch.zeros(each, rows.shape[1], device=self.device)
        mine[: len(rows)] = torch.from_numpy(rows).to(self.device)
        parts = [torch.empty_like(mine) for _ in range(self.size)]
        distributed.all_gather(parts, mine)
        return torch.stack(parts, 1).reshape(-1, rows.shape[1])[:total].cpu().numpy()
