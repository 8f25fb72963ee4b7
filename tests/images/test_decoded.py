"""Photos decoded at a reduced size: how large, what the pixels are, and when they are decoded again."""

import cv2
import numpy as np
import pytest

from faceverify.errors import BadData, Reason
from faceverify.images import ImageLimits, decode, encode_jpeg, encode_png, reduction_for
from faceverify.images.decoded import DecodedPhoto


def smooth(height: int, width: int) -> np.ndarray:
    """A picture that survives JPEG."""
    coarse = np.random.default_rng(1).integers(40, 216, (6, 7, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [(480, 640), (481, 643)])
def test_a_reduced_pixel_is_the_mean_of_those_it_stands_for(reduction: int, size: tuple[int, int]) -> None:
    data = encode_jpeg(smooth(*size), 95)
    small, height, width = decode(data, reduction=reduction), size[0] // reduction, size[1] // reduction
    assert small.shape[:2] == (-(-size[0] // reduction), -(-size[1] // reduction))
    whole = decode(data)[: height * reduction, : width * reduction].astype(float)
    means = whole.reshape(height, reduction, width, reduction, 3).mean((1, 3))
    assert np.abs(small[:height, :width] - means).mean() < 1.5


def test_no_smaller_than_asked_for_and_only_where_the_codec_can() -> None:
    data = encode_jpeg(smooth(960, 1280))
    assert [reduction_for(data, side) for side in (0, 1281, 1280, 641, 640, 320, 160, 1)] == [1, 1, 1, 1, 2, 4, 8, 8]
    assert reduction_for(encode_png(smooth(960, 1280)), 160) == 1


def test_what_is_too_coarse_is_decoded_again() -> None:
    data = encode_jpeg(smooth(1600, 2000))
    photo = DecodedPhoto.of(data, longer_side=250)
    assert (photo.reduction, photo.pixels.shape) == (8, (200, 250, 3))
    assert photo.at_most(9.0) is photo
    for wanted, reduction in [(7.9, 4), (4.0, 4), (3.9, 2), (1.99, 1), (0.3, 1)]:
        finer = photo.at_most(wanted)
        assert finer.reduction == reduction and np.array_equal(finer.pixels, decode(data, reduction=reduction))
        assert bool(finer.data) == (reduction > 1)
    whole = DecodedPhoto(decode(data))
    assert whole.at_most(0.1) is whole


def test_the_limits_are_of_the_photo_not_of_its_copy() -> None:
    data = encode_jpeg(smooth(960, 1280))
    with pytest.raises(BadData) as caught:
        DecodedPhoto.of(data, ImageLimits(max_pixels=960 * 1280 - 1), 160)
    assert caught.value.reason is Reason.TOO_MANY_PIXELS


def test_the_turn_of_the_camera_is_obeyed_in_a_copy_too() -> None:
    from io import BytesIO

    from PIL import Image

    stream, exif = BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(smooth(480, 640)).save(stream, "JPEG", quality=95, exif=exif)
    whole, small = decode(stream.getvalue()), decode(stream.getvalue(), reduction=4)
    assert whole.shape == (640, 480, 3) and small.shape == (160, 120, 3)
    assert np.abs(small - cv2.resize(whole, (120, 160), interpolation=cv2.INTER_AREA).astype(float)).mean() < 1.5
