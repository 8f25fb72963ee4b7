"""From DFA's landmarks to its crop, in closed form: no loop over faces, differentiable, and exportable to ONNX.

The published code fits a similarity transform to each face with scikit-image on the CPU, which stops the gradient. Its
least squares have the closed form of geometry.py; here it is carried on to `theta` [2,3], which maps points of the crop
to points of the input, both in [-1,1] (`affine_grid`). As published, a landmark l in shares of the side is the point
2 l - 1, and the points -1 and 1 are the middles of the outermost pixels (align_corners).

Shape letters: B pictures, 5 landmarks.
"""

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from faceverify.align.geometry import ARCFACE_112

CROP = 112


def fit_thetas(landmarks_B52: Tensor) -> Tensor:
    """[B,2,3]: the least-squares similarity from landmarks (shares of the input's side) to the template, inverted.

    With a, b the centred landmarks and template points, both in [-1,1]: P = sum(a.b), Q = sum(a_x b_y - a_y b_x),
    theta = [S | mean(a) - S mean(b)], S = sum|a|^2 / (P^2 + Q^2) [[P, Q], [-Q, P]]. Not finite where all landmarks are
    one point.
    """
    points = 2 * landmarks_B52 - 1
    target = landmarks_B52.new_tensor(ARCFACE_112) * (2 / CROP) - 1
    mean, mean_target = points.mean(dim=1), target.mean(dim=0)
    a, b = points - mean[:, None], target - mean_target
    P, Q = (a * b).sum(dim=(1, 2)), (a[..., 0] * b[:, 1] - a[..., 1] * b[:, 0]).sum(dim=1)
    turn = torch.stack([P, Q, -Q, P], dim=1).unflatten(1, (2, 2))
    S = turn * (a.square().sum(dim=(1, 2)) / (P.square() + Q.square()))[:, None, None]
    return torch.cat([S, (mean - S @ mean_target)[:, :, None]], dim=2)


def sample(pictures_B3HW: Tensor, thetas_B23: Tensor) -> Tensor:
    """Cut the crops [B,3,112,112] out of pictures in [-1,1]: bilinear, -1 (black) outside."""
    # shape[0] and not len(): that would be a constant in an exported graph.
    grid = affine_grid(thetas_B23, [thetas_B23.shape[0], 3, CROP, CROP], align_corners=True)
    return grid_sample(pictures_B3HW + 1, grid, align_corners=True) - 1


def landmarks_in_crop(landmarks_B52: Tensor, thetas_B23: Tensor) -> Tensor:
    """[B,5,2] in shares of the crop's side."""
    S, shift = thetas_B23[:, :, :2], thetas_B23[:, :, 2]
    # S is a turn and a scale: its inverse is its transpose over the square of the scale.
    power = S[:, :, 0].square().sum(dim=1)[:, None, None]
    return ((2 * landmarks_B52 - 1 - shift[:, None]) @ S / power) / 2 + 0.5
