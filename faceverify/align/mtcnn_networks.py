"""The three networks of MTCNN (Zhang et al., IEEE SPL 2016) under the names of facenet-pytorch's published tensors.

Input is RGB, (x - 127.5) / 128. The dense layers were trained in Caffe on maps laid out (width, height, channels).

Shape letters: B crops, H x W pixels, h x w cells of the proposal network.
"""

import numpy as np
import torch
from torch import Tensor, nn

STRIDE, CELL = 2, 12  # pixels from one cell of the proposal network to the next, and seen by each
REFINE_SIDE, OUTPUT_SIDE = 24, 48  # pixels of the crops that the other two networks take


class ProposalNet(nn.Module):
    """Looks at every 12x12 window of a picture, every two pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), nn.PReLU(10)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, pictures_B3HW: Tensor, sizes_B2: Tensor) -> tuple[Tensor, Tensor]:
        """Face probability [B, h, w], and shifts of the window's sides [B, 4, h, w] as shares of its size.

        Pictures of several sizes (`sizes_B2`: height, width, int64) may share a canvas that is larger than each. No
        cell of a picture depends on what is beside it: convolutions without padding read the windows of their cells
        only, and where pooling reads one row or column further, at odd sizes, it finds a copy of the last one.
        """
        x = self.prelu1(self.conv1(pictures_B3HW))
        each = torch.arange(len(x), device=x.device)
        last_row, last_column = (sizes_B2 - 3).unbind(1)
        x[each, :, last_row + 1] = x[each, :, last_row]
        x[each, :, :, last_column + 1] = x[each, :, :, last_column]
        x = _pooled(x, 2)
        x = self.prelu2(self.conv2(x))
        x = self.prelu3(self.conv3(x))
        return self.conv4_1(x).softmax(dim=1)[:, 1], self.conv4_2(x)


def cells(sizes: np.ndarray) -> np.ndarray:
    """How many rows and columns of cells `ProposalNet` makes of pictures of `sizes` (height, width)."""
    return (sizes - 1) // 2 - 4


class RefineNet(nn.Module):
    """Judges crops of 24x24 pixels and corrects their boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 28, 3), nn.PReLU(28)
        self.conv2, self.prelu2 = nn.Conv2d(28, 48, 3), nn.PReLU(48)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)

    def forward(self, crops_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        """Face probability [B], and shifts of the box's sides [B, 4] as shares of its size."""
        x = _pooled(self.prelu1(self.conv1(crops_B3HW)), 3)
        x = _pooled(self.prelu2(self.conv2(x)), 3)
        x = self.prelu4(self.dense4(_flat(self.prelu3(self.conv3(x)))))
        return self.dense5_1(x).softmax(dim=1)[:, 1], self.dense5_2(x)


class OutputNet(nn.Module):
    """Judges crops of 48x48 pixels, corrects their boxes and gives five landmarks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 32, 3), nn.PReLU(32)
        self.conv2, self.prelu2 = nn.Conv2d(32, 64, 3), nn.PReLU(64)
        self.conv3, self.prelu3 = nn.Conv2d(64, 64, 3), nn.PReLU(64)
        self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.dense6_1, self.dense6_2, self.dense6_3 = nn.Linear(256, 2), nn.Linear(256, 4), nn.Linear(256, 10)

    def forward(self, crops_B3HW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Probability [B], shifts [B, 4], landmarks [B, 10]: five x, then five y, as shares of the box."""
        x = _pooled(self.prelu1(self.conv1(crops_B3HW)), 3)
        x = _pooled(self.prelu2(self.conv2(x)), 3)
        x = _pooled(self.prelu3(self.conv3(x)), 2)
        x = self.prelu5(self.dense5(_flat(self.prelu4(self.conv4(x)))))
        return self.dense6_1(x).softmax(dim=1)[:, 1], self.dense6_2(x), self.dense6_3(x)


def _pooled(x: Tensor, side: int) -> Tensor:
    return nn.functional.max_pool2d(x, side, 2, ceil_mode=True)


def _flat(x: Tensor) -> Tensor:
    return x.permute(0, 3, 2, 1).flatten(1)
