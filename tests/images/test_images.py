import io
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from faceverify import images
from faceverify.errors import BadData, Reason
from faceverify.images import ImageLimits

sys.path.insert(0, str(Path(__file__).parent))  # test folders are no packages: the helper is found by its folder
from broken_images import SMALL_LIMITS, broken_files, encoded, good_files, picture

BROKEN = broken_files()
GOOD = good_files()
# One small file per decoder path, for mutation and truncation.
SEED_NAMES = (
    "jpeg jpeg_progressive jpeg_cmyk jpeg_exif_6 png png_palette png_interlaced png_exif_6 webp webp_lossless "
    "webp_exif_6 bmp bmp_palette tiff tiff_lzw tiff_deflate tiff_big"
)
SEEDS = {name: GOOD[name] for name in SEED_NAMES.split()}


def pillow(data: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def test_there_are_enough_kinds():
    assert len(BROKEN) >= 30
    assert len({data for data, _ in BROKEN.values()}) == len(BROKEN)


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file_gives_its_reason_and_no_noise(name: str, capfd: pytest.CaptureFixture[str]):
    data, reason = BROKEN[name]
    with pytest.raises(BadData) as caught:
        images.decode(data, SMALL_LIMITS)
    assert caught.value.reason == reason
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", GOOD)
def test_good_file_has_pillows_pixels(name: str, capfd: pytest.CaptureFixture[str]):
    rgb = images.decode(GOOD[name], SMALL_LIMITS)
    want = pillow(GOOD[name])
    assert rgb.dtype == np.uint8 and rgb.shape == want.shape
    tolerance = 1 if name == "jpeg_cmyk" else 0  # the decoders round K * C differently
    assert np.abs(rgb.astype(int) - want).max() <= tolerance
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", GOOD)
def test_size_is_read_from_the_header(name: str):
    stored = (96, 128) if name == "jpeg_thumbnail" else (48, 64)  # before the EXIF turn, and not the thumbnail's
    assert images.read_image_size(GOOD[name]) == (name.split("_")[0], *stored)


def test_exif_turns_are_all_different():
    turned = {images.decode(GOOD[f"png_exif_{turn}"], SMALL_LIMITS).tobytes() for turn in range(1, 9)}
    assert len(turned) == 8


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_png_drops_the_low_byte(channels: int):
    wide = np.random.default_rng(0).integers(0, 65536, (20, 30, channels), dtype=np.uint16)
    data = cv2.imencode(".png", wide)[1].tobytes()
    want = np.broadcast_to((wide >> 8)[..., ::-1], (20, 30, 3))
    np.testing.assert_array_equal(images.decode(data), want)


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_tiff_as_documented(channels: int):
    wide = np.random.default_rng(0).integers(0, 65536, (20, 30, channels), dtype=np.uint16)
    data = cv2.imencode(".tiff", wide)[1].tobytes()
    narrow = wide >> 8 if channels == 1 else np.round(wide / 257)
    np.testing.assert_array_equal(images.decode(data), np.broadcast_to(narrow[..., ::-1], (20, 30, 3)))


def test_tiff_alpha_is_composited_on_black():
    image = picture().convert("RGBA")
    image.putalpha(128)
    rgb = images.decode(encoded(image, "TIFF"))
    assert np.abs(rgb - np.asarray(picture()) * (128 / 255)).max() <= 1


def test_limits_are_inclusive():
    data = encoded(picture(40, 50), "PNG")
    exact = ImageLimits(max_bytes=len(data), max_pixels=2000, min_side=40)
    assert images.decode(data, exact).shape == (40, 50, 3)
    for tight in (
        ImageLimits(max_bytes=len(data) - 1),
        ImageLimits(max_pixels=1999),
        ImageLimits(min_side=41),
    ):
        with pytest.raises(BadData):
            images.decode(data, tight)


@pytest.mark.parametrize("name", SEEDS)
def test_every_truncation_is_refused(name: str):
    data = SEEDS[name]
    reasons = set()
    for length in range(0, len(data), 1 + len(data) // 300):
        with pytest.raises(BadData) as caught:
            images.decode(data[:length], SMALL_LIMITS)
        reasons.add(caught.value.reason)
    assert reasons <= {Reason.EMPTY, Reason.NOT_AN_IMAGE, Reason.TRUNCATED, Reason.CORRUPT}
    assert Reason.TRUNCATED in reasons


@settings(max_examples=400, deadline=None)
@given(
    name=st.sampled_from(sorted(SEEDS)),
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=6)), max_size=6),
    keep=st.floats(0.5, 1),
)
def test_mutations_give_a_picture_or_bad_data(name: str, edits: list[tuple[float, bytes]], keep: float):
    data = bytearray(SEEDS[name])
    for place, new in edits:
        at = int(place * place * len(data))  # squared: headers are hit more often than pixels
        data[at : at + len(new)] = new
    try:
        rgb = images.decode(bytes(data[: int(keep * len(data)) + 1]), SMALL_LIMITS)
    except BadData as bad:
        assert bad.reason in Reason
    else:
        assert rgb.dtype == np.uint8 and rgb.ndim == 3 and rgb.shape[2] == 3
        assert rgb.shape[0] * rgb.shape[1] <= SMALL_LIMITS.max_pixels


@given(st.binary(max_size=200), st.sampled_from([b"", *{data[:12] for data in SEEDS.values()}]))
def test_random_bytes_are_refused(tail: bytes, head: bytes):
    with pytest.raises(BadData):
        images.decode(head + tail)


def test_threads_do_not_take_each_others_damage(capfd: pytest.CaptureFixture[str]):
    good = encoded(picture(200, 200), "JPEG")
    bad = BROKEN["jpeg_cut_and_closed"][0]

    def verdict(index: int) -> bool:
        try:
            images.decode(bad if index % 3 == 0 else good)
        except BadData as caught:
            assert caught.reason == Reason.CORRUPT
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        verdicts = list(pool.map(verdict, range(300)))
    assert verdicts == [index % 3 != 0 for index in range(300)]
    assert capfd.readouterr().err == ""


def test_other_peoples_stderr_is_passed_on(capfd: pytest.CaptureFixture[str]):
    from faceverify.images.decoder_warnings import listen

    _, said = listen(lambda: os.write(2, b"a log line\nCorrupt JPEG data: bad Huffman code\nanother\n"))
    assert said == ["Corrupt JPEG data: bad Huffman code"]
    assert capfd.readouterr().err == "a log line\nanother\n"
    with pytest.raises(ZeroDivisionError):
        listen(lambda: 1 // 0)
    os.write(2, b"back\n")
    assert capfd.readouterr().err == "back\n"


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_png_round_trip(height: int, width: int, seed: int):
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    limits = ImageLimits(min_side=1)
    np.testing.assert_array_equal(images.decode(images.encode_png(rgb), limits), rgb)
    assert images.encode_png(rgb) == images.encode_png(rgb.copy())


def test_jpeg_round_trip_keeps_colours_in_order():
    rgb = np.full((32, 32, 3), (200, 100, 20), np.uint8)
    assert np.abs(images.decode(images.encode_jpeg(rgb)).astype(int) - rgb).max() <= 3
    photo = np.asarray(picture())
    assert len(images.encode_jpeg(photo, 50)) < len(images.encode_jpeg(photo, 95))


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)],
    ids=["grey", "alpha", "float"],
)
def test_other_arrays_are_not_encoded(pixels: np.ndarray):
    with pytest.raises(ValueError, match="uint8"):
        images.encode_png(pixels)


@pytest.mark.parametrize("quality", [0, 101])
def test_quality_out_of_range(quality: int):
    with pytest.raises(ValueError, match="quality"):
        images.encode_jpeg(np.zeros((4, 4, 3), np.uint8), quality)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 128))
def test_thumbnail_fits_and_never_grows(height: int, width: int, side: int):
    rgb = np.full((height, width, 3), (10, 20, 30), np.uint8)
    small = images.thumbnail(rgb, side)
    assert max(small.shape[:2]) == min(side, max(height, width))
    assert min(small.shape[:2]) >= 1
    assert (small == (10, 20, 30)).all()


def test_real_photos_have_pillows_pixels(shared_data: Path):
    for path in [
        *sorted((shared_data / "lfw/images/John_Kerry").iterdir()),
        *sorted((shared_data / "odd").glob("*.jpg")),
    ]:
        np.testing.assert_array_equal(images.decode(path.read_bytes()), pillow(path.read_bytes()))
