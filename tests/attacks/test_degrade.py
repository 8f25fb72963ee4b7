"""Degradations: what they do to pixels, in what unit, and that they can be made again."""

import cv2
import numpy as np
import pytest
import stand_ins

from faceverify.attacks.degrade import CROP, degrade, face_width
from faceverify.attacks.options import Attack, Condition


def photo(side: int = 112) -> np.ndarray:
    return stand_ins.draw(1, 2, side)


def under(attack: Attack, strength: float, rgb: np.ndarray, width: float = 112, name: str = "a", seed: int = 0):
    return degrade(rgb, Condition(attack, strength), width, name, seed)


@pytest.mark.parametrize(("attack", "strength"), [("noise", 8), ("blur", 1.5), ("jpeg", 20), ("low_resolution", 28)])
def test_the_size_stays_and_the_same_comes_again(attack: Attack, strength: float) -> None:
    rgb = photo(130)[:120]
    before = rgb.copy()
    found = under(attack, strength, rgb)
    assert found.shape == rgb.shape and found.dtype == np.uint8 and (found != rgb).any()
    assert (found == under(attack, strength, rgb)).all() and (rgb == before).all()


def test_noise_is_of_the_photos_name_and_the_seed_and_grows() -> None:
    rgb = np.full((200, 200, 3), 128, np.uint8)
    weak, strong = (under("noise", sigma, rgb).astype(float) - 128 for sigma in (8, 16))
    assert weak.std() == pytest.approx(8, rel=0.02) and strong.std() == pytest.approx(16, rel=0.02)
    assert np.corrcoef(weak.ravel(), strong.ravel())[0, 1] > 0.99, "one pattern"
    for other in (under("noise", 8, rgb, name="b"), under("noise", 8, rgb, seed=1)):
        assert abs(np.corrcoef(weak.ravel(), other.ravel())[0, 1]) < 0.02
    assert under("noise", 8, np.full((9, 9, 3), 255, np.uint8)).min() > 200, "clipped, not wrapped around"


def test_lengths_are_measured_in_the_width_of_the_face() -> None:
    """A photo of twice the size is blurred and shrunk to the same picture."""
    small = cv2.GaussianBlur(photo(112), (0, 0), 2)
    large = cv2.resize(small, (224, 224), interpolation=cv2.INTER_LINEAR)
    for attack, strength in (("blur", 3), ("low_resolution", 28)):
        of_small = under(attack, strength, small).astype(float)
        of_large = cv2.resize(under(attack, strength, large, 224), (112, 112), interpolation=cv2.INTER_AREA)
        changed = np.abs(of_small - small).mean()
        assert np.abs(of_large - of_small).mean() < 0.3 * changed


def test_low_resolution_keeps_that_many_pixels_across_the_face() -> None:
    stripes = np.zeros((112, 112, 3), np.uint8)
    stripes[:, ::2] = 255
    assert under("low_resolution", 28, stripes)[20:-20, 20:-20].std() < 3, "finer than a pixel of it"
    rgb = photo()
    assert (under("low_resolution", 112, rgb) == rgb).all()
    assert (under("low_resolution", 56, rgb, width=40) == rgb).all(), "the photo has fewer than that"


def test_the_width_of_a_face() -> None:
    template = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56, 71], [41, 92], [70, 92]])
    assert face_width(template, (500, 500, 3)) == pytest.approx(CROP, abs=0.01)
    turned = 3 * template @ np.array([[0, 1], [-1, 0]])
    assert face_width(turned, (500, 500, 3)) == pytest.approx(3 * CROP, abs=0.01)
    assert face_width(None, (160, 112, 3)) == 112
    assert face_width(np.zeros((5, 2)), (160, 112, 3)) == 1, "nothing is divided by zero"


def test_an_attack_on_gradients_is_none() -> None:
    with pytest.raises(ValueError, match="fgsm is no degradation"):
        under("fgsm", 1, photo())
