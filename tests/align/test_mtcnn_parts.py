"""The parts of MTCNN against naive loops and PyTorch's own resampling; they need no weights."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faceverify.align.mtcnn_boxes import corrected, pixels, squared
from faceverify.align.mtcnn_networks import OutputNet, ProposalNet, RefineNet, cells
from faceverify.align.mtcnn_pixels import Pixels
from faceverify.align.suppression import suppress
from faceverify.align.weights import load_strictly

CPU = torch.device("cpu")


def share(a, b, more, of_smaller):
    """Shared area over joint or smaller area."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + more
    height = min(a[3], b[3]) - max(a[1], b[1]) + more
    shared = max(0.0, width) * max(0.0, height)
    area = [(c[2] - c[0] + more) * (c[3] - c[1] + more) for c in (a, b)]
    return shared / (min(area) if of_smaller else sum(area) - shared)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 40),
    st.sampled_from([0.3, 0.5, 0.7, 1.0]),
    st.integers(0, 1),
    st.booleans(),
)
def test_suppress_equals_a_double_loop_in_each_group(seed, count, limit, more, of_smaller):
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 30, (count, 2))
    boxes = np.hstack([corner, corner + rng.integers(1, 30, (count, 2))]).astype(np.float32)
    scores = rng.integers(0, 9, count).astype(np.float32)  # many are equal
    groups = rng.integers(0, 4, count)
    kept = []
    for group in range(4):
        own = []
        for i in sorted(np.flatnonzero(groups == group), key=lambda i: (-scores[i], i)):
            if all(np.float32(share(boxes[i], boxes[j], more, of_smaller)) <= np.float32(limit) for j in own):
                own.append(i)
        kept += own
    assert suppress(boxes, scores, groups, limit, more, of_smaller).tolist() == kept


def test_box_arithmetic():
    boxes = np.array([[10, 20, 30, 60]], np.float32)
    shifts = np.array([[0.1, -0.5, 0, 1]], np.float32)
    assert corrected(boxes, shifts, more=0).tolist() == [[12, 0, 30, 100]]
    assert corrected(boxes, shifts, more=1) == pytest.approx(np.array([[12.1, -0.5, 30, 101]]))
    assert squared(boxes).tolist() == [[0, 20, 40, 60]]
    sizes = np.array([[25, 100]])
    assert pixels(boxes, sizes).tolist() == [[9, 19, 25, 60]]
    assert pixels(np.array([[-3.9, 0.9, 0.99, 5]], np.float32), sizes).tolist() == [[0, 0, 0, 5]]  # no column


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.sampled_from([1, 5, 24]))
def test_crops_are_adaptive_means(seed, count, side):
    """Of photos of several sizes, in areas of one pixel up to the whole photo, reduced and enlarged."""
    rng = np.random.default_rng(seed)
    photos = [rng.integers(0, 256, (*rng.integers(1, 60, 2), 3), dtype=np.uint8) for _ in range(3)]
    which = rng.integers(0, 3, count)
    areas = []
    for i in which:
        (y1, y2), (x1, x2) = (sorted(rng.choice(n + 1, 2, replace=False)) for n in photos[i].shape[:2])
        areas.append((x1, y1, x2, y2))
    crops = Pixels(photos, CPU).crops(which, np.array(areas), side)
    for crop, i, (x1, y1, x2, y2) in zip(crops, which, areas, strict=True):
        part = torch.from_numpy(photos[i][y1:y2, x1:x2]).permute(2, 0, 1).double()
        mean = torch.nn.functional.adaptive_avg_pool2d(part, side)
        torch.testing.assert_close(crop.double(), (mean - 127.5) / 128, atol=1e-6, rtol=0)


def test_sums_beyond_32_bits_come_out_right():
    photo = np.full((3000, 3000, 3), 255, np.uint8)  # their sum is 2.3e9
    assert 255 * photo[..., 0].size > 2**31
    copies = Pixels([photo], CPU).copies(np.array([0]), np.array([[40, 40]]), (48, 48))
    assert copies.shape == (1, 3, 48, 48)
    assert torch.equal(copies[:, :, :40, :40], torch.full((1, 3, 40, 40), 127.5 / 128))


@pytest.mark.parametrize("size", [(12, 12), (13, 18), (31, 16), (50, 37)])
def test_what_is_beside_a_picture_does_not_count(size):
    torch.manual_seed(0)
    network = ProposalNet().eval()
    height, width = size
    picture = torch.randn(2, 3, height, width)
    canvas = 100 * torch.randn(2, 3, 64, 48)
    canvas[:, :, :height, :width] = picture
    sizes = torch.tensor([size, size])
    rows, columns = cells(np.array(size))
    with torch.inference_mode():
        # Without the canvas: a plain run of the same layers.
        x = torch.nn.functional.max_pool2d(network.prelu1(network.conv1(picture)), 2, 2, ceil_mode=True)
        x = network.prelu3(network.conv3(network.prelu2(network.conv2(x))))
        probability, shifts = network(canvas, sizes)
        assert x.shape[2:] == (rows, columns)
        want = network.conv4_1(x).softmax(dim=1)[:, 1]
        torch.testing.assert_close(probability[:, :rows, :columns], want, atol=1e-6, rtol=0)
        torch.testing.assert_close(shifts[:, :, :rows, :columns], network.conv4_2(x), atol=1e-6, rtol=0)


def test_loading_is_strict():
    for kind in (ProposalNet, RefineNet, OutputNet):
        torch.manual_seed(1)
        tensors = kind().state_dict()
        loaded = load_strictly(kind(), {key: value.double() for key, value in tensors.items()}, CPU).state_dict()
        assert all(torch.equal(loaded[key], value) for key, value in tensors.items())
        for broken in (
            {key: value for key, value in tensors.items() if key != "conv1.bias"},
            tensors | {"conv1.bias": torch.zeros(3)},
            tensors | {"extra": torch.zeros(1)},
        ):
            with pytest.raises(ValueError, match=r"^(missing|of another shape|unexpected): (conv1\.bias|extra)"):
                load_strictly(kind(), broken, CPU)
