"""Augmentation: each kind against a naive reference, and random numbers that depend on nothing but the seed."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceverify.errors import UserError
from faceverify.images import decode, encode_jpeg
from faceverify.training import augment as kinds
from faceverify.training.augment import STEPS, AugmentConfig, augment

KINDS = [kind for kind, _ in STEPS]
ALWAYS = AugmentConfig(**dict.fromkeys(KINDS, 1.0))
SEED = (7, 1, 12, 0)
SEEDS = range(6)


def smooth_face(seed: int = 0) -> np.ndarray:
    """[112,112,3] uint8 with coarse and fine structure."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(40, 215, (7, 7, 3)).repeat(16, 0).repeat(16, 1)
    return np.clip(coarse + rng.normal(0, 15, coarse.shape), 0, 255).astype(np.uint8)


FACE = smooth_face()


def both(seed: int) -> tuple[np.random.Generator, np.random.Generator]:
    """The generator for the function, and the same one for its reference."""
    return np.random.default_rng(seed), np.random.default_rng(seed)


def mirrored(i: int, size: int) -> int:
    """The index inside 0..size-1 that index i means, mirrored at the edge pixels."""
    i = abs(i) % (2 * size - 2)
    return min(i, 2 * size - 2 - i)


def rounded(levels: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def assert_levels(got: np.ndarray, want: np.ndarray, apart: int = 0) -> None:
    """Equal, save for a few pixels where a computed level lies at a half (or everywhere within `apart`)."""
    off = np.abs(got.astype(int) - want.astype(int))
    assert off.max() <= max(apart, 1) and (apart or (off > 0).mean() < 1e-3)


def test_flip() -> None:
    got = kinds.flip(FACE)
    assert got[3, 5].tolist() == FACE[3, 106].tolist()
    assert np.array_equal(kinds.flip(got), FACE)


@pytest.mark.parametrize("seed", SEEDS)
def test_light_is_one_curve(seed: int) -> None:
    rng, ours = both(seed)
    g, c = math.exp(0.4 * ours.uniform(-1, 1)), math.exp(0.4 * ours.uniform(-1, 1))
    curve = [min(255, round(255 * g * (x / 255) ** c)) for x in range(256)]
    assert_levels(kinds.light(FACE, 0.4, rng), np.array(curve, np.uint8)[FACE])


@pytest.mark.parametrize("seed", SEEDS)
def test_noise_is_normal_and_of_the_drawn_strength(seed: int) -> None:
    rng, ours = both(seed)
    s = ours.uniform(0, 25)
    grey = np.full((112, 112, 3), 128, np.uint8)
    got = kinds.noise(grey, 25, rng).astype(float) - 128
    n = ours.standard_normal((112, 112, 3), np.float32)
    assert_levels(got + 128, rounded(128 + s * n))
    assert got.mean() == pytest.approx(0, abs=4 * s / 190 + 1e-6)
    assert got.std() == pytest.approx(math.sqrt(s**2 + 1 / 12), rel=0.05)


@pytest.mark.parametrize("seed", SEEDS)
def test_rotation_is_bilinear_with_mirrored_edges(seed: int) -> None:
    rng, ours = both(seed)
    angle = math.radians(ours.uniform(-30, 30))
    got = kinds.rotation(FACE, 30, rng)
    cos, sin = math.cos(angle), math.sin(angle)
    for y in range(0, 112, 5):
        for x in range(0, 112, 5):
            # Where this pixel comes from: turned back. The y axis points down.
            sx = 55.5 + cos * (x - 55.5) - sin * (y - 55.5)
            sy = 55.5 + sin * (x - 55.5) + cos * (y - 55.5)
            x0, y0 = math.floor(sx), math.floor(sy)
            want = np.zeros(3)
            for dy, wy in ((0, y0 + 1 - sy), (1, sy - y0)):
                for dx, wx in ((0, x0 + 1 - sx), (1, sx - x0)):
                    want += wy * wx * FACE[mirrored(y0 + dy, 112), mirrored(x0 + dx, 112)]
            assert np.abs(got[y, x] - want).max() <= 1.01


def test_rotation_goes_counter_clockwise_for_positive_angles() -> None:
    face = np.zeros((112, 112, 3), np.uint8)
    face[50:62, 90:102] = 255  # to the right of the middle
    seed = next(s for s in range(99) if 40 < np.random.default_rng(s).uniform(-90, 90) < 80)
    y = np.nonzero(kinds.rotation(face, 90, np.random.default_rng(seed)))[0]
    assert y.mean() < 50  # gone up


@pytest.mark.parametrize("seed", SEEDS)
def test_blur_is_the_convolution(seed: int) -> None:
    rng, ours = both(seed)
    s = ours.uniform(0, 2.5)
    reach = math.ceil(3 * s)
    offsets = range(-reach, reach + 1)
    weights = np.array([math.exp(-(i**2) / (2 * s**2)) for i in offsets])
    weights /= weights.sum()
    want = FACE.astype(float)
    for axis in (0, 1):
        lines = np.moveaxis(want, axis, 0)
        mixed = [
            sum(w * lines[mirrored(k + i, 112)] for i, w in zip(offsets, weights, strict=True)) for k in range(112)
        ]
        want = np.moveaxis(np.array(mixed), 0, axis)
    assert_levels(kinds.blur(FACE, 2.5, rng), rounded(want))


@pytest.mark.parametrize("seed", SEEDS)
def test_sharpening_adds_the_difference_to_a_blurred_copy(seed: int) -> None:
    rng, ours = both(seed)
    a = ours.uniform(0, 1.5)
    weights = np.array([math.exp(-(i**2) / (2 * 0.8**2)) for i in range(-3, 4)])
    weights /= weights.sum()
    blurred = FACE.astype(float)
    for axis in (0, 1):
        places = [[mirrored(k + i, 112) for k in range(112)] for i in range(-3, 4)]
        blurred = sum(w * np.take(blurred, at, axis) for w, at in zip(weights, places, strict=True))
    assert_levels(kinds.sharpening(FACE, 1.5, rng), rounded(FACE + a * (FACE - blurred)))


def cubic(t: float) -> float:
    """The kernel of bicubic interpolation with a = -0.75 (Keys, 1981), as OpenCV has it."""
    t, a = abs(t), -0.75
    if t < 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0.0


def enlarged(grid: np.ndarray, y: int, x: int) -> np.ndarray:
    """A value [2] of a 4x4 grid [4,4,2] enlarged to 112x112, edges repeated."""
    sy, sx = ((place + 0.5) * 4 / 112 - 0.5 for place in (y, x))
    taps = [[math.floor(s) + i for i in range(-1, 3)] for s in (sy, sx)]
    return sum(
        cubic(sy - j) * cubic(sx - i) * grid[min(max(j, 0), 3), min(max(i, 0), 3)] for j in taps[0] for i in taps[1]
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_shake_is_one_bicubic_interpolation(seed: int) -> None:
    rng, ours = both(seed)
    y, x = np.mgrid[:112, :112]
    face = np.stack([2 * x, 2 * y, 0 * x], axis=-1).astype(np.uint8)  # red and green say where one is
    got = kinds.shake(face, 0.5, rng)
    angle, scale = math.radians(0.5 * ours.uniform(-8, 8)), math.exp(0.5 * ours.uniform(-0.08, 0.08))
    dx, dy = 0.5 * ours.uniform(-4, 4, 2)
    field = 0.5 * ours.uniform(0, 2.5) * ours.standard_normal((4, 4, 2))
    for y in range(16, 96, 9):
        for x in range(16, 96, 9):
            # Where this pixel comes from: shifted back, turned and scaled back, then bent.
            px, py = x - 55.5 - dx, y - 55.5 - dy
            bend = enlarged(field, y, x)
            sx = 55.5 + (math.cos(angle) * px - math.sin(angle) * py) / scale + bend[0]
            sy = 55.5 + (math.sin(angle) * px + math.cos(angle) * py) / scale + bend[1]
            if min(sx, sy) > 2 and max(sx, sy) < 109:
                assert got[y, x, :2].tolist() == pytest.approx([2 * sx, 2 * sy], abs=1.2)


def area(n: int, size: int = 112) -> np.ndarray:
    """[n, size]: which share of each pixel lies in each of n equal pieces."""
    piece = size / n
    overlap = [[max(0, min((i + 1) * piece, j + 1) - max(i * piece, j)) for j in range(size)] for i in range(n)]
    return np.array(overlap) / piece


def bilinear(n: int, size: int = 112) -> np.ndarray:
    """[size, n]: weights of n samples, whose centres lie at (i + 1/2) size / n, at each pixel's centre."""
    weights = np.zeros((size, n))
    for j in range(size):
        place = (j + 0.5) * n / size - 0.5
        low = math.floor(place)
        for i, w in ((low, low + 1 - place), (low + 1, place - low)):
            weights[j, min(max(i, 0), n - 1)] += w
    return weights


@pytest.mark.parametrize("seed", SEEDS)
def test_low_resolution_is_area_and_bilinear(seed: int) -> None:
    rng, ours = both(seed)
    n = int(ours.integers(10, 112))
    through = bilinear(n) @ area(n)
    want = np.einsum("yj,xi,jic->yxc", through, through, FACE.astype(float), optimize=True)
    assert_levels(kinds.low_resolution(FACE, 10, rng), rounded(want))


@pytest.mark.parametrize("seed", SEEDS)
def test_jpeg_of_the_drawn_quality(seed: int) -> None:
    rng, ours = both(seed)
    want = decode(encode_jpeg(FACE, int(ours.integers(20, 96))))
    assert np.array_equal(kinds.jpeg(FACE, 20, rng), want)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0.001, 1))
def test_occlusion_is_one_rectangle_inside(seed: int, share: float) -> None:
    face = FACE.copy()
    got = kinds.occlusion(face, share, np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    most = max(1, round(share * 112))
    height, width = rng.integers(1, [most + 1] * 2)
    top, left = rng.integers(0, [113 - height, 113 - width])
    want = FACE.copy()
    for y in range(top, top + height):
        want[y, left : left + width] = 0
    want[top : top + height, left : left + width] += rng.integers(0, 256, 3).astype(np.uint8)
    assert np.array_equal(got, want) and np.array_equal(face, FACE)


def fine_structure(face: np.ndarray) -> float:
    """Mean square step from one pixel to the next."""
    return float((np.diff(face.astype(float), axis=1) ** 2).mean())


def mean_of(kind: str, measure: str, **strength: float) -> float:
    """Of 40 faces to which only `kind` happens."""
    config = AugmentConfig(**{kind: 1.0}, **strength)
    faces = [augment(FACE, config, (0, 0, number, 0)) for number in range(40)]
    if measure == "fine":
        return float(np.mean([fine_structure(face) for face in faces]))
    return float(np.mean([np.abs(face.astype(float) - FACE).mean() for face in faces]))


def test_more_strength_has_more_effect() -> None:
    plain = fine_structure(FACE)
    assert plain > mean_of("blur", "fine", blur_sigma=1) > mean_of("blur", "fine", blur_sigma=4)
    low = "low_resolution"
    assert plain > mean_of(low, "fine", low_resolution_side=80) > mean_of(low, "fine", low_resolution_side=8)
    assert plain < mean_of("noise", "fine", noise_sigma=5) < mean_of("noise", "fine", noise_sigma=30)
    for kind, strength, weak, strong in (
        ("jpeg", "jpeg_quality", 90, 5),
        ("light", "light_strength", 0.1, 0.5),
        ("rotation", "rotation_degrees", 2, 20),
        ("occlusion", "occlusion_share", 0.1, 0.6),
        ("shake", "shake_strength", 0.2, 1.0),
        ("sharpening", "sharpening_amount", 0.2, 2.0),
    ):
        small, large = (mean_of(kind, "change", **{strength: value}) for value in (weak, strong))
        assert 0 < small < large, kind


def test_off_gives_the_same_array_and_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np.random, "SeedSequence", None)
    assert augment(FACE, AugmentConfig(), SEED) is FACE


@pytest.mark.parametrize("kind", KINDS)
def test_a_face_stays_a_face_and_the_given_one_stays_as_it_is(kind: str) -> None:
    face = FACE.copy()
    face.setflags(write=False)
    for number in range(5):
        for config in (AugmentConfig(**{kind: 1.0}), ALWAYS):
            got = augment(face, config, (*SEED[:2], number, 0))
            assert got.shape == (112, 112, 3) and got.dtype == np.uint8 and got.flags.c_contiguous
            assert not np.shares_memory(got, face)
    assert np.array_equal(face, FACE)


def test_the_same_seed_gives_the_same_face_in_any_order() -> None:
    config = AugmentConfig(**dict.fromkeys(KINDS, 0.5))
    numbers = list(range(20))
    first = {n: augment(FACE, config, (7, 1, n, 0)).tobytes() for n in numbers}
    again = {n: augment(FACE, config, (7, 1, n, 0)).tobytes() for n in reversed(numbers)}
    assert first == again and len(set(first.values())) > 15
    for place in range(4):
        other = tuple(value + (i == place) for i, value in enumerate(SEED))
        assert augment(FACE, ALWAYS, other).tobytes() != augment(FACE, ALWAYS, SEED).tobytes()


def test_a_kind_does_not_change_the_numbers_of_another() -> None:
    both_on = AugmentConfig(occlusion=1, jpeg=1)
    want = augment(augment(FACE, AugmentConfig(occlusion=1), SEED), AugmentConfig(jpeg=1), SEED)
    assert np.array_equal(augment(FACE, both_on, SEED), want)


def test_the_kinds_happen_in_the_order_told() -> None:
    want = FACE
    scene, lens = ("flip", "shake", "rotation", "occlusion", "light"), ("blur", "low_resolution")
    for kind in (*scene, *lens, "sharpening", "noise", "jpeg"):
        want = augment(want, AugmentConfig(**{kind: 1.0}), SEED)
    assert np.array_equal(augment(FACE, ALWAYS, SEED), want)


@pytest.mark.parametrize("probability", [0.2, 0.7])
def test_a_kind_happens_as_often_as_told(probability: float) -> None:
    config = AugmentConfig(flip=probability)
    happened = sum(augment(FACE, config, (0, 0, n, 1)) is not FACE for n in range(1000))
    assert happened / 1000 == pytest.approx(probability, abs=4 * math.sqrt(probability * (1 - probability) / 1000))


@pytest.mark.parametrize(
    ("field", "value", "advice"),
    [
        *((kind, 1.5, "a probability from 0 to 1") for kind in KINDS),
        ("light", math.nan, "a probability from 0 to 1"),
        ("rotation_degrees", 200, "above 0, at most 180"),
        ("occlusion_share", 0, "above 0, at most 1"),
        ("light_strength", -1, "above 0, at most 2"),
        ("blur_sigma", 31, "above 0, at most 30"),
        ("noise_sigma", math.inf, "above 0, at most 255"),
        ("low_resolution_side", 112, "from 4 to 111"),
        ("jpeg_quality", 0, "from 1 to 95"),
    ],
)
def test_mistakes_are_named(field: str, value: float, advice: str) -> None:
    with pytest.raises(UserError, match=rf"augment\.{field} is {value}: give .*{advice}\."):
        replace(AugmentConfig(), **{field: value})
