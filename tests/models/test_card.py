"""The model card: strict JSON there and back, one digest for one meaning."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceverify.errors import UserError
from faceverify.models import card, registry
from faceverify.models.card import ModelCard

FIELDS = {"name": "n", "architecture": "tiny", "colour": "BGR", "mean": [1, 2, 3], "std": [4, 5, 6], "dim": 8}


@given(
    mean=st.tuples(*[st.floats(-1e4, 1e4)] * 3),
    std=st.tuples(*[st.floats(1e-3, 1e4)] * 3),
    colour=st.sampled_from(["RGB", "BGR"]),
    notes=st.text(max_size=20),
)
def test_json_round_trip_keeps_card_and_digest(mean, std, colour, notes):
    one = ModelCard(name="n", architecture="tiny", colour=colour, mean=mean, std=std, dim=8, notes=notes)
    other = card.parse(one.to_json(), "here")
    assert other == one
    assert other.digest == one.digest


def test_whole_numbers_and_floats_have_one_digest():
    written = ModelCard(name="n", architecture="tiny", colour="BGR", mean=(1, 2, 3), std=(4, 5, 6), dim=8)
    assert card.build(**FIELDS).digest == written.digest


OTHER = {
    "name": "m",
    "architecture": "ir_18",
    "input_size": [128, 112],
    "colour": "RGB",
    "mean": [1, 2, 4],
    "std": [4, 5, 7],
    "dim": 9,
    "norm_output": True,
    "crop": "box128",
    "sha256": "0" * 64,
    "source": "s",
    "licence": "l",
    "notes": "x",
}


def test_every_field_is_in_the_digest():
    one_value_only, feeds_nothing = {"layout", "output"}, {"unusual_scale"}
    assert OTHER.keys() | one_value_only | feeds_nothing == {f.name for f in dataclasses.fields(ModelCard)}
    digests = {card.build(**(FIELDS | {name: value})).digest for name, value in OTHER.items()}
    assert len(digests | {card.build(**FIELDS).digest}) == len(OTHER) + 1


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ({"color": "RGB"}, "color"),
        ({"colour": "rgb"}, "colour"),
        ({"colour": None}, "colour"),
        ({"layout": "NHWC"}, "layout"),
        ({"mean": [1, 2]}, "mean"),
        ({"mean": ["1", 2, 3]}, "mean"),
        ({"mean": [float("nan"), 2, 3]}, "mean"),
        ({"std": [0, 1, 1]}, "std"),
        ({"std": [-1, 1, 1]}, "std"),
        ({"dim": 1}, "dim"),
        ({"dim": 8.5}, "dim"),
        ({"dim": "8"}, "dim"),
        ({"input_size": [112]}, "input_size"),
        ({"sha256": "abc"}, "sha256"),
        ({"output": "unit"}, "output"),
        ({"architecture": "../x"}, "architecture"),
    ],
)
def test_a_wrong_field_is_named(fault, named):
    with pytest.raises(UserError, match=named):
        card.build(**(FIELDS | fault))


def test_all_faults_are_named_at_once():
    with pytest.raises(UserError, match=r"(?s)colour.*std.*extra"):
        card.build(**(FIELDS | {"colour": "x", "std": [0, 1, 1], "extra": 1}))


@pytest.mark.parametrize("text", ["", "[]", "{", "null", json.dumps({"name": "n"})])
def test_broken_json_is_refused_naming_the_file(text):
    with pytest.raises(UserError, match="some/file"):
        card.parse(text, "some/file")


def test_contradictions_name_what_feeds_and_nothing_else():
    one = card.build(**FIELDS)
    assert card.contradictions(dataclasses.replace(one, name="z", licence="z", sha256="0" * 64), one) == []
    found = card.contradictions(dataclasses.replace(one, colour="RGB", dim=4), one)
    assert found == ["colour RGB, not BGR", "dim 4, not 8"]


def test_card_lies_beside_the_weights():
    assert card.card_path(Path("a/b.onnx")) == Path("a/b.onnx.card.json")


PUBLISHED = [
    (0, 1),  # graphs that scale themselves: mobilefacenet_y1, SFace
    (127.5, 127.5),
    (127.5, 128),
    (123.675, 58.395),  # 255 times ImageNet's .485 and .229
    (103.53, 57.375),
    (0, 255),
    (127.5, 255),
    (0, 127.5),
    (104, 1),  # of Caffe: pixels less their mean
    (131.0912, 1),
    (127.5, 1),
]
MISTAKEN = [
    (0.485, 0.229, "556.8"),
    (0.5, 0.5, "255.0"),
    (0.485, 1, "127.5"),
    (0, 1 / 255, "32640.0"),
    (127.5, 1 / 128, "64.0"),
    (123.675, 0.229, "18.9"),
    (-127.5, 127.5, "2.0"),
    (0.5, 127.5, "1.0"),
    (127.5, 5000, "0.0"),
]


@pytest.mark.parametrize(("mean", "std"), PUBLISHED)
def test_scales_of_published_networks_are_plausible(mean, std):
    card.check_scale(card.build(**(FIELDS | {"mean": [mean] * 3, "std": [std] * 3})), "here")


@pytest.mark.parametrize(("mean", "std", "grey"), MISTAKEN)
def test_a_scale_that_no_network_is_fed_is_refused_with_what_it_does(mean, std, grey):
    fields = FIELDS | {"mean": [127.5, mean, 127.5], "std": [127.5, std, 127.5]}
    with pytest.raises(UserError, match=f"here has mean {mean:g} .*grey pixel of 128 would become {grey},.*--force"):
        card.check_scale(card.build(**fields), "here")
    meant = card.build(**fields, unusual_scale=True)
    card.check_scale(meant, "here")
    assert card.parse(meant.to_json(), "there") == meant
    assert meant.digest == card.build(**fields).digest  # it feeds the same numbers


def test_every_registered_card_is_plausible():
    for entry in registry.entries().values():
        if entry.card is not None:
            card.check_scale(entry.card, entry.card.name)


def test_huge_and_nested_cards_are_refused_in_a_few_words():
    many = json.dumps({f"field {n}": 1 for n in range(50_000)})
    for text in (many, "[" * 100_000, json.dumps({"x" * 900_000: 1}), json.dumps({"\ud800": 1})):
        with pytest.raises(UserError) as caught:
            card.parse(text, "here")
        assert len(str(caught.value)) < 2000 and str(caught.value).isascii()
    with pytest.raises(UserError, match="cards have 1,048,576 at most"):
        card.parse(" " * (1 << 20) + "{}", "here")
