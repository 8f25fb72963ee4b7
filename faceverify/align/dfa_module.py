"""DFA as published: a picture of any size to its aligned crop and five more outputs, all of it in PyTorch.

    aligner = DifferentiableAligner("mobile0.25")
    aligner.net.load_state_dict(tensors)
    crop = aligner(pictures).aligned_x                  # gradients reach the pictures and every weight

Shape letters: B pictures, H x W pixels.
"""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from faceverify.align.dfa_network import SIDE, DfaNetwork
from faceverify.align.dfa_warp import fit_thetas, landmarks_in_crop, sample
from faceverify.align.retinaface_network import Architecture


class DfaOutput(NamedTuple):
    """The published outputs, under their published names.

    Args:
        aligned_x: crops [B,3,112,112], RGB in [-1,1].
        orig_pred_ldmks: landmarks [B,5,2] in shares of the picture's side; None if the pictures are not square.
        aligned_ldmks: landmarks [B,5,2] in shares of the crop's side; KP-RPE networks take them.
        score: [B,1], how likely there is a face, 0 to 1.
        thetas: [B,2,3], from points of the crop to points of the network's input (see `dfa_warp`).
        normalized_bbox: [B,4] x1 y1 x2 y2, as published: shares of the network's input (its padding included) divided
            by 160 once more; multiply by 160. None if the pictures are not square.
    """

    aligned_x: Tensor
    orig_pred_ldmks: Tensor | None
    aligned_ldmks: Tensor
    score: Tensor
    thetas: Tensor
    normalized_bbox: Tensor | None


class DifferentiableAligner(nn.Module):
    """The whole aligner; the network's tensors are named `net.*`, as in CVLface's model.pt."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.net = DfaNetwork(architecture)

    def forward(self, pictures_B3HW: Tensor, padding_ratio_override: float | None = None) -> DfaOutput:
        """Align the one face of each picture.

        Args:
            pictures_B3HW: RGB in [-1,1].
            padding_ratio_override: black margin on each side, as a share of the side; None = none. CVLface looks for
                landmarks in pictures that are aligned already with 0.215.
        """
        ratio = padding_ratio_override or 0.0
        x = network_input(pictures_B3HW, ratio)
        face = self.net.face(x.flip(1))
        thetas = fit_thetas(face.landmarks)
        square = pictures_B3HW.shape[2] == pictures_B3HW.shape[3]
        return DfaOutput(
            aligned_x=sample(x, thetas),
            # The published arithmetic, although int(side * ratio) pixels were added.
            orig_pred_ldmks=(face.landmarks - 0.5) * (1 + 2 * ratio) + 0.5 if square else None,
            aligned_ldmks=landmarks_in_crop(face.landmarks, thetas),
            score=face.score,
            thetas=thetas,
            normalized_bbox=face.box / SIDE if square else None,
        )


def network_input(pictures_B3HW: Tensor, padding_ratio: float = 0.0) -> Tensor:
    """[B,3,160,160]: pictures centred on a black square, with a margin of `padding_ratio` of its side, and resized.

    Bilinear with the corners' pixels on each other; where it shrinks, pixels in between are skipped.
    """
    height, width = pictures_B3HW.shape[2:]
    side = max(height, width)
    margin = int(side * padding_ratio)
    left, top = (side - width) // 2, (side - height) // 2
    borders = left, side - width - left, top, side - height - top
    x = pad(pictures_B3HW, [border + margin for border in borders], value=-1.0)
    return interpolate(x, (SIDE, SIDE), mode="bilinear", align_corners=True)
