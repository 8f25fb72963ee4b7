"""The rival of `ddp_overhead`: the same training as a plain script for torchrun, as one would write it down.

torchrun --standalone --nproc-per-node 2 benchmarks/ddp_plain.py FACES PAIRS ARCHITECTURE BATCH STEPS RESULT
"""

import json
import os
import statistics
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import torch
from torch import distributed, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cosine_similarity
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from faceverify.models import checkpoints

DIM = 128


class PairData(Dataset):
    """Two faces [2, 112, 112, 3] uint8 RGB and the label of each pair of the training split."""

    def __init__(self, faces: Path, pairs: Path) -> None:
        table = pq.read_table(faces, columns=["photo", "image"])
        self.images = dict(zip(table["photo"].to_pylist(), table["image"].to_pylist(), strict=True))
        self.pairs = [row for row in pq.read_table(pairs).to_pylist() if row["split"] == "train"]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        row = self.pairs[index]
        return np.stack([self._face(row["photo_a"]), self._face(row["photo_b"])]), row["label"]

    def _face(self, photo: str) -> np.ndarray:
        picture = cv2.imdecode(np.frombuffer(self.images[photo], np.uint8), cv2.IMREAD_COLOR_RGB)
        return np.asarray(picture)


def main(faces: str, pairs: str, architecture: str, batch: str, steps: str, result: str) -> None:
    """Train; the first process writes the median seconds of a step."""
    distributed.init_process_group("gloo")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = convert_conv2d_weight_memory_format(checkpoints.build(architecture, DIM).eval(), torch.channels_last)
    model = DistributedDataParallel(network)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-6, weight_decay=1e-2)
    data = PairData(Path(faces), Path(pairs))
    share = int(batch) // distributed.get_world_size()
    loader = DataLoader(data, share, sampler=DistributedSampler(data, seed=0), num_workers=1, prefetch_factor=4)
    took: list[float] = []
    while len(took) < int(steps):
        start = time.perf_counter()
        for images, label in loader:
            x = (images.permute(1, 0, 4, 2, 3).flatten(0, 1).float() - 127.5) / 127.5
            a, b = model(x.contiguous(memory_format=torch.channels_last)).chunk(2)
            cosine = cosine_similarity(a, b)
            logits = 64 * (cosine - (0.35 + 0.1 * (1 - cosine)) * label)
            loss = binary_cross_entropy_with_logits(logits, label.float())
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimiser.step()
            loss.item()
            took.append(time.perf_counter() - start)
            start = time.perf_counter()
            if len(took) == int(steps):
                break
    if distributed.get_rank() == 0:
        Path(result).write_text(json.dumps(statistics.median(took[len(took) // 4 :])))
    distributed.barrier()
    sys.stdout.flush()
    os._exit(0)  # the loader's process need not be waited for


if __name__ == "__main__":
    main(*sys.argv[1:])
