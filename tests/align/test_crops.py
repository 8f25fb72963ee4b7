"""Crops by name: what can be written is read back, what cannot is refused, and where the five points come to lie."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceverify.align import AlignConfig
from faceverify.align.cards import crops_for, look_side
from faceverify.align.crops import ARCFACE, Crop, parse
from faceverify.align.geometry import ARCFACE_112, fit_similarity, template, transform_points
from faceverify.errors import UserError

ARCFACE_CROPS = st.builds(
    Crop,
    st.just("arcface"),
    st.integers(16, 1024),
    st.sampled_from([0.5, 1.0, 1.3, 2.25]),
    st.just(0),
    st.sampled_from(["black", "replicate"]),
    st.sampled_from(["area", "bilinear"]),
)
BOX_CROPS = st.builds(
    lambda size, margin, way: Crop("box", size, margin=margin, filter=way),
    st.integers(32, 1024),
    st.integers(0, 31),
    st.sampled_from(["area", "bilinear"]),
)


@given(st.one_of(ARCFACE_CROPS, BOX_CROPS))
def test_a_name_is_read_back(crop: Crop) -> None:
    assert parse(str(crop)) == crop


def test_names() -> None:
    assert str(ARCFACE) == "arcface112" and parse("arcface112") == ARCFACE
    assert parse("box160:margin=14") == Crop("box", 160, margin=14)
    assert parse("arcface256:filter=bilinear,view=1.3") == Crop(size=256, view=1.3, filter="bilinear")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("face112", "arcface<size>"),
        ("arcface", "arcface<size>"),
        ("arcface8", "size"),
        ("arcface2000", "16 to 1024"),
        ("arcface112:margin=3", "'margin'"),
        ("box160:view=2", "'view'"),
        ("box160:margin=160", "margin"),
        ("box160:margin=x", "margin is a number"),
        ("arcface112:view=nan", "view is a number from 0.25 to 4"),
        ("arcface112:view=1,view=2", "twice"),
        ("arcface112:filter=cubic", "area or bilinear"),
        ("arcface112:border", "black or replicate"),
    ],
)
def test_what_is_no_crop_is_refused_in_a_sentence(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        parse(text)
    assert repr(text) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [112, 128, 224, 256, 384, 512, 896])
def test_the_five_points_lie_where_a_fit_to_the_template_of_that_size_puts_them(size: int) -> None:
    rng = np.random.default_rng(size)
    points = ARCFACE_112 * 3 + rng.normal(0, 9, (5, 2)) + [40, 90]
    M, [direct] = parse(f"arcface{size}").from_arcface(), fit_similarity(points[None], size)
    np.testing.assert_allclose(transform_points(M, ARCFACE_112), template(size), atol=1e-9)
    by_arcface = transform_points(M, transform_points(fit_similarity(points[None])[0], points))
    np.testing.assert_allclose(by_arcface, transform_points(direct, points), atol=1e-9)


def test_a_wider_view_shows_more_about_the_middle() -> None:
    wide = parse("arcface112:view=2").from_arcface()
    np.testing.assert_allclose(transform_points(wide, np.array([55.5, 55.5])), [55.5, 55.5])
    np.testing.assert_allclose(transform_points(wide, np.array([-0.5, 111.5])), [27.5, 83.5])


def test_a_box_needs_a_detector() -> None:
    box = parse("box160")
    for method in ("dfa", "annotated"):
        with pytest.raises(UserError, match=f"align.method is {method}.*box160.*yunet"):
            crops_for(AlignConfig(method=method), box)
    with pytest.raises(UserError, match="crop_from is network"):
        crops_for(AlignConfig(method="dfa", crop_from="network"), parse("arcface128"))
    assert crops_for(AlignConfig(filter="bilinear"), ARCFACE, box) == (
        parse("arcface112:filter=bilinear"),
        parse("box160:filter=bilinear"),
    )


def test_no_more_is_decoded_than_the_detector_sees_unless_pixels_are_to_be_skipped() -> None:
    assert look_side(AlignConfig(), (ARCFACE,)) == 640
    assert look_side(AlignConfig(detect_side=960), (ARCFACE,)) == 960
    assert look_side(AlignConfig(), (ARCFACE, parse("arcface112:filter=bilinear"))) == 0
    for method in ("dfa", "annotated", "none"):
        assert look_side(AlignConfig(method=method), (ARCFACE,)) == 0
