"""Thumbnails keep the shape and the colours, and never grow."""

import cv2
import numpy as np
import pytest

from faceverify.report.thumbnails import thumbnail


@pytest.mark.parametrize(
    ("shape", "want"), [((300, 200), (112, 75)), ((200, 300), (75, 112)), ((50, 40), (50, 40)), ((2000, 3), (112, 1))]
)
def test_the_longer_side_is_bounded(shape: tuple[int, int], want: tuple[int, int]) -> None:
    rgb = np.zeros((*shape, 3), np.uint8)
    rgb[..., 0] = 200  # red
    picture = cv2.imdecode(np.frombuffer(thumbnail(rgb), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert picture is not None
    assert picture.shape[:2] == want
    assert picture[..., 0].mean() > 180
    assert picture[..., 2].mean() < 20
