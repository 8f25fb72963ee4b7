"""The forensic network's inputs: fixed filters that see patterns and not brightness, fields, the scale."""

import numpy as np
import torch

from faceverify.forensics.network import FIELDS, SIDE, TOP, Energies, ForensicNetwork, cosines


def photos(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_filters_are_orthonormal_and_without_a_constant() -> None:
    filters = cosines(5).reshape(24, 25)
    np.testing.assert_allclose(filters @ filters.T, np.eye(24), atol=1e-6)
    np.testing.assert_allclose(filters.sum(1), 0, atol=1e-6)


def test_energies_are_those_of_a_naive_loop() -> None:
    x, network = photos(1), Energies()
    luma = (torch.tensor([0.299, 0.587, 0.114]) * 127.5 / 16 @ x[0].reshape(3, -1)).reshape(SIDE, SIDE).numpy()
    padded, filters = np.pad(luma, 2), cosines(5).numpy()[:, 0]
    y, k = 32, 7  # a field of 4x4 pixels, and a pattern
    at = [(r, c) for r in (4 * y, 4 * y + 2) for c in (4 * y, 4 * y + 2)]
    energy = np.mean([(padded[r : r + 5, c : c + 5] * filters[k]).sum() ** 2 for r, c in at])
    maps = network(x)[0]
    assert maps.shape == (Energies.WIDTH, SIDE // 4, SIDE // 4)
    means = []
    for row in range(0, SIDE, 4):
        for column in range(0, SIDE, 4):
            some = [(r, c) for r in (row, row + 2) for c in (column, column + 2)]
            means.append(np.mean([(padded[r : r + 5, c : c + 5] * filters[k]).sum() ** 2 for r, c in some]))
    logs = np.log(np.array(means) + 0.5 / 256) / 2
    np.testing.assert_allclose(float(maps[k, y, y]), np.log(energy + 0.5 / 256) / 2 - logs.mean(), atol=1e-4)


def test_brightness_of_the_whole_photo_changes_no_pattern() -> None:
    x, network = photos(1) * 0.5, Energies()
    inside = slice(1, -1)  # at the edge the filters see what lies outside
    one, other = (network(value)[0, :40, inside, inside] for value in (x, x + 0.3))
    one, other = (value - value.mean((1, 2), keepdim=True) for value in (one, other))
    np.testing.assert_allclose(one, other, atol=2e-3)


def test_the_score_rests_on_the_most_suspicious_fields_and_on_the_scale() -> None:
    torch.manual_seed(0)
    network = ForensicNetwork().eval()
    x, scale = photos(), torch.tensor([[0.0], [1.0]])
    scores, fields = network.judge(x, scale)
    assert scores.shape == (2, 1) and fields.shape == (2, FIELDS, FIELDS)
    torch.testing.assert_close(network(x, scale), scores)
    weights = network.score.weight[0]
    moved = network(x, scale + 2) - scores
    torch.testing.assert_close(moved, (2 * weights[-1]).expand(2, 1), atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        weights[:] = 0
        weights[-2], network.score.bias[0] = 1, 0
    top = fields.flatten(1).sort(1, descending=True).values[:, :TOP].mean(1, keepdim=True)
    torch.testing.assert_close(network(x, scale), top)


def test_without_fixed_filters_it_has_the_learned_ones_alone() -> None:
    network = ForensicNetwork(dct=False).eval()
    assert network.energies is None
    assert network(photos(1), torch.zeros(1, 1)).isfinite().all()
