"""The workers of a training as one of them sees them: torch.distributed where it is set up, else this process."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import distributed


@dataclass(frozen=True)
class World:
    """rank: of this worker, from 0; size: how many there are; device: where this one computes."""

    rank: int
    size: int
    device: torch.device

    @classmethod
    def here(cls) -> "World":
        """As torch.distributed says; on the GPU that this process was given, if there is one."""
        device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size(), device)
        return cls(0, 1, device)

    @property
    def first(self) -> bool:
        """Whether this is the worker that writes files and speaks."""
        return self.rank == 0

    def largest(self, here: int) -> int:
        """The largest of all workers' numbers; all must ask."""
        most = torch.tensor([here], device=self.device)
        if self.size > 1:
            distributed.all_reduce(most, distributed.ReduceOp.MAX)
        return int(most.item())

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean over all workers; all must ask."""
        if self.size > 1:
            distributed.all_reduce(values)
            values /= self.size
        return values

    def gather(self, value: list[str]) -> list[list[str]]:
        """The texts of all workers by rank; all must ask."""
        if self.size == 1:
            return [value]
        found: list[list[str]] = [[]] * self.size
        distributed.all_gather_object(found, value)
        return found

    def gather_rows(self, rows: np.ndarray, total: int) -> np.ndarray:
        """Put together float32 [total, D] whose rows rank, rank + size, ... are this worker's `rows`; all must ask."""
        if self.size == 1:
            return rows
        each = -(-total // self.size)
        mine = torch.zeros(each, rows.shape[1], device=self.device)
        mine[: len(rows)] = torch.from_numpy(rows).to(self.device)
        parts = [torch.empty_like(mine) for _ in range(self.size)]
        distributed.all_gather(parts, mine)
        return torch.stack(parts, 1).reshape(-1, rows.shape[1])[:total].cpu().numpy()
