"""The closed form against Umeyama's fit and a three-point transform, face by face; its gradients; the crop."""

import numpy as np
import torch

from faceverify.align.dfa_warp import CROP, fit_thetas, landmarks_in_crop, sample
from faceverify.align.geometry import ARCFACE_112

SIDE = 160  # any; the template is in pixels, and theta is in shares


def some_landmarks(count):
    """[count, 5, 2] float64 in shares: the template turned, scaled, moved and disturbed."""
    rng = np.random.default_rng(3)
    angle, scale = rng.uniform(-np.pi, np.pi, count), np.exp(rng.uniform(-2, 1, count))
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], -1).reshape(-1, 2, 2)
    points = (ARCFACE_112 / CROP - 0.5) @ (turn * scale[:, None, None])
    return points + rng.uniform(-0.2, 1.2, (count, 1, 2)) + scale[:, None, None] * rng.normal(0, 0.04, (count, 5, 2))


def umeyama(points, target):
    """[3, 3]: Umeyama (1991), with its guard against reflections."""
    mean, mean_target = points.mean(0), target.mean(0)
    a, b = points - mean, target - mean_target
    U, values, V = np.linalg.svd(b.T @ a / len(a))
    guard = np.array([1, np.sign(np.linalg.det(U) * np.linalg.det(V))])
    R = (U * guard) @ V * ((values * guard).sum() / a.var(0).sum())
    return np.vstack([np.c_[R, mean_target - R @ mean], [0, 0, 1]])


def published_theta(landmarks):
    """One face as the published code does it: fit in pixels, then the affine transform through three points."""
    back = np.linalg.inv(umeyama(landmarks * SIDE, ARCFACE_112))
    three = np.array([[0, 0, 1], [CROP, 0, 1], [0, CROP, 1]], float)
    source = (three @ back.T)[:, :2] / SIDE * 2 - 1
    crop = np.c_[three[:, :2] / CROP * 2 - 1, np.ones(3)]
    return np.linalg.solve(crop, source).T


def test_equals_the_published_way_face_by_face():
    landmarks = some_landmarks(300)
    found = fit_thetas(torch.from_numpy(landmarks))
    want = np.stack([published_theta(one) for one in landmarks])
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-10)
    np.testing.assert_allclose(fit_thetas(torch.from_numpy(landmarks).float()), want, rtol=0, atol=2e-5)


def test_landmarks_in_crop_invert_theta():
    landmarks = torch.from_numpy(some_landmarks(20))
    thetas = fit_thetas(landmarks)
    in_crop = 2 * landmarks_in_crop(landmarks, thetas) - 1
    back = torch.einsum("bij,bnj->bni", thetas[:, :, :2], in_crop) + thetas[:, None, :, 2]
    torch.testing.assert_close((back + 1) / 2, landmarks)
    template = torch.from_numpy(ARCFACE_112 / CROP)[None]
    torch.testing.assert_close(landmarks_in_crop(template, fit_thetas(template)), template)


def test_gradients_are_those_of_the_formula():
    landmarks = torch.from_numpy(some_landmarks(4)).requires_grad_()
    assert torch.autograd.gradcheck(fit_thetas, landmarks)
    assert torch.autograd.gradcheck(lambda x: landmarks_in_crop(x, fit_thetas(x)), landmarks)


def test_gradients_go_through_the_crop():
    """On a sloping plane bilinear sampling has no kinks, so that numerical gradients are exact."""
    plane = torch.stack([torch.linspace(-0.9, 0.9, 40, dtype=torch.float64).expand(40, 40)] * 3)[None]
    landmarks = torch.from_numpy(ARCFACE_112 / CROP * 0.4 + 0.3)[None].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: sample(plane, fit_thetas(x))[:, 0, ::37, ::37], landmarks)


def test_landmarks_in_one_point_are_not_finite_and_leave_the_others_alone():
    landmarks = torch.from_numpy(some_landmarks(3))
    landmarks[1] = 0.5
    found = fit_thetas(landmarks)
    assert found.isfinite().all(dim=2).all(dim=1).tolist() == [True, False, True]
    torch.testing.assert_close(found[2], fit_thetas(landmarks[2:])[0], rtol=0, atol=0)


def test_black_outside():
    theta = torch.tensor([[[1.0, 0, 5], [0, 1, 0]]])
    assert (sample(torch.ones(1, 3, 20, 20), theta) == -1).all()
