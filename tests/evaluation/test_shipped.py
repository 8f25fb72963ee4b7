"""The calibrations that come with the package are of published files and of the aligners as they are by default."""

import json

import pytest

from faceverify import provenance
from faceverify.align import AlignConfig
from faceverify.evaluation.shipped import shipped
from faceverify.models import registry


@pytest.mark.parametrize(
    ("model", "aligners"),
    [
        ("mobilefacenet_y1", {"yunet-ebafce4e3c11", "scrfd-bc24bb349491"}),
        ("mobilefacenet_foamliu", {"yunet-ebafce4e3c11"}),
    ],
)
def test_a_model_that_was_measured_has_one_for_an_aligner_as_it_is_by_default(model: str, aligners: set[str]) -> None:
    found = shipped(registry.get(model).card.digest)
    assert {one.crop["aligner"] for one in found} == aligners
    for one in found:
        name = one.crop["aligner"]
        method = "yunet" if name.startswith("yunet") else "scrfd"
        assert one.crop == json.loads(provenance.describe_crop(AlignConfig(method=method), name))
        assert one.rule == "fmr=0.001" and 0 < one.fmr <= 0.001 and one.n_impostor > 10**6 and one.n_genuine > 5000
        assert one.interval is not None and one.interval[0] < one.fmr < one.interval[1]
        assert "/" not in one.data and "1,642 photos" in one.data


def test_others_have_none() -> None:
    assert shipped("ab" * 32) == [] == shipped("")
