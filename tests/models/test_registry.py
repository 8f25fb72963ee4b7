"""The published models: every entry complete, and the colour order of each copy as its publisher states it."""

import json

import pytest

from faceverify.errors import UserError
from faceverify.models import card, registry


@pytest.mark.parametrize("name", registry.entries())
def test_every_entry_is_valid_and_says_source_and_licence(name):
    entry = registry.get(name)
    assert card.parse(entry.card.to_json(), name) == entry.card
    assert entry.card.name == name
    assert entry.card.source and entry.card.licence
    assert entry.url is None or (entry.url.startswith("https://") and entry.url.endswith(entry.file_name))


def test_copies_of_adaface_differ_in_colour():
    colours = {name: entry.card.colour for name, entry in registry.entries().items() if "adaface" in name}
    assert {name for name, colour in colours.items() if colour == "RGB"} == {
        name for name in colours if name.startswith("cvlface_")
    }
    assert len(colours) == 22


def test_hashes_are_those_measured(golden):
    measured = json.loads((golden / "mobilefacenet_keys.json").read_text())
    for name, key in (("mobilefacenet_y1", "y1_onnx_sha256"), ("mobilefacenet_foamliu", "foamliu_pt_sha256")):
        assert registry.known(measured[key]) == registry.get(name).card


def test_unknown_file_and_name():
    assert registry.known("0" * 64) is None
    with pytest.raises(UserError, match="nosuch"):
        registry.get("nosuch")
