"""The threshold's file: what is written is read back, and anything else is refused by name."""

import dataclasses
import json
from pathlib import Path

import pytest

from faceverify.errors import UserError
from faceverify.evaluation.calibration import Calibration, check_fits, check_similarity_alone
from faceverify.forensics.thresholds import ForensicThresholds
from faceverify.storage import open_location

EXAMPLE = Calibration(
    threshold=0.2719,
    rule="fmr=0.001",
    fmr=0.0009,
    fnmr=0.02,
    interval=(0.0004, 0.0017),
    n_genuine=3000,
    n_impostor=3000,
    model="ab" * 32,
    crop={"aligner": "yunet-0123456789ab", "policy": "most_central", "min_score": 0.6},
    data="lfw view 2",
    created="2026-11-24",
    version="0.1.0",
)


def changed(**values: object) -> str:
    return json.dumps(json.loads(EXAMPLE.to_json()) | values)


@pytest.mark.parametrize("interval", [(0.0004, 0.0017), None])
def test_what_is_written_is_read_back(interval: tuple[float, float] | None) -> None:
    calibration = dataclasses.replace(EXAMPLE, interval=interval)
    assert Calibration.from_json(calibration.to_json(), "calibration.json") == calibration


def test_forensic_thresholds_are_there_only_where_a_model_was() -> None:
    assert "forensic" not in json.loads(EXAMPLE.to_json())
    limits = ForensicThresholds(
        model="f", values=(3.0, None, 1.5), bpcer=(0.02, None, 0.02), photos=(60, 4, 90), cost=0.05
    )
    both = dataclasses.replace(EXAMPLE, forensic=limits)
    assert Calibration.from_json(both.to_json(), "calibration.json") == both
    assert Calibration.from_json(changed(forensic=None), "calibration.json") == EXAMPLE
    check_similarity_alone(EXAMPLE, "alone.json")
    with pytest.raises(UserError, match=r"'both\.json' decides by forensic scores too"):
        check_similarity_alone(both, "both.json")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold", "0.5"),
        ("threshold", True),
        ("threshold", float("nan")),
        ("rule", 3),
        ("fmr", 1.5),
        ("fnmr", None),
        ("interval", [0.1]),
        ("interval", [0.1, 7]),
        ("n_genuine", 2.5),
        ("n_impostor", -1),
        ("model", None),
        ("crop", "yunet"),
        ("data", []),
        ("created", "yesterday"),
        ("version", 1),
    ],
)
def test_a_wrong_value_is_named_with_its_file(name: str, value: object) -> None:
    with pytest.raises(UserError, match=f"my.json: field '{name}' must be"):
        Calibration.from_json(changed(**{name: value}), "my.json")


def test_every_field_is_checked() -> None:
    for field in dataclasses.fields(Calibration):
        with pytest.raises(UserError, match=f"'{field.name}'"):
            Calibration.from_json(changed(**{field.name: {}}), "my.json")


def test_missing_and_unknown_fields_are_named_together() -> None:
    values = json.loads(EXAMPLE.to_json())
    del values["rule"]
    values["treshold"] = 1
    with pytest.raises(UserError, match=r"my\.json: field 'rule' is missing; field 'treshold' is unknown"):
        Calibration.from_json(json.dumps(values), "my.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_other_files_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"my\.json"):
        Calibration.from_json(text, "my.json")


def test_the_file_is_read_from_its_place(tmp_path: Path) -> None:
    (tmp_path / "calibration.json").write_text(EXAMPLE.to_json())
    (tmp_path / "picture.json").write_bytes(b"\xff\xd8\xff")
    folder = open_location(str(tmp_path))
    assert Calibration.read(folder / "calibration.json") == EXAMPLE
    with pytest.raises(UserError, match=r"picture\.json is not JSON"):
        Calibration.read(folder / "picture.json")
    with pytest.raises(UserError, match=r"none\.json"):
        Calibration.read(folder / "none.json")


def test_the_sentence_says_what_the_threshold_means() -> None:
    sentence = EXAMPLE.sentence()
    for part in ("0.2719", "fmr=0.001", "0.09%", "2.00%", "lfw view 2", "3,000", "2026-11-24"):
        assert part in sentence


def test_a_threshold_of_another_model_is_refused() -> None:
    check_fits(EXAMPLE, "ab" * 32, EXAMPLE.crop)
    with pytest.raises(UserError, match=r"for model abababababab and the scores come from cdcdcdcdcdcd"):
        check_fits(EXAMPLE, "cd" * 32, EXAMPLE.crop)


@pytest.mark.parametrize(
    ("crop", "said"),
    [
        ({"aligner": "none"}, "aligner none, not yunet-0123456789ab"),
        ({**EXAMPLE.crop, "policy": "largest"}, "(policy largest, not most_central)"),
        ({**EXAMPLE.crop, "min_score": 0.5}, "(min_score 0.5, not 0.6)"),
        (None, "crop unknown"),
    ],
)
def test_a_threshold_of_another_crop_is_refused_by_what_differs(crop: dict | None, said: str) -> None:
    with pytest.raises(UserError) as refused:
        check_fits(EXAMPLE, "ab" * 32, crop)
    assert said in str(refused.value)
