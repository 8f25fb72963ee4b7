"""Configuration: YAML, then the command line; every fault at once, unknown keys with the nearest name."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from faceverify import config
from faceverify.config import JobConfig
from faceverify.errors import UserError


@dataclass(frozen=True, kw_only=True, slots=True)
class Inner:
    method: Literal["a", "b"] = "a"
    """Which."""
    side: int = 112
    """Pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outer(JobConfig):
    """A job."""

    photos: str = ""
    """Where."""
    align: Inner = field(default_factory=Inner)


def load(*argv: str) -> Outer:
    return config.load(Outer, argv, prog="job", description="A job.")


def yaml_file(tmp_path: Path, text: str) -> str:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    return str(path)


def test_command_line_wins_over_yaml_and_yaml_over_defaults(tmp_path: Path) -> None:
    path = yaml_file(tmp_path, "photos: here\nalign: {method: b}\n")
    got = load(path, "--align.side", "64", "--out", "there", "--dry-run")
    assert (got.photos, got.align.method, got.align.side, got.out, got.dry_run) == ("here", "b", 64, "there", True)


def test_all_faults_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    path = yaml_file(tmp_path, "photo: x\nalign: {methid: b, side: wide}\nworkers: many\n")
    with pytest.raises(UserError) as caught:
        load(path)
    text = str(caught.value)
    assert "did you mean 'photos'?" in text and "did you mean 'align.method'?" in text
    assert "align.side" in text and "workers" in text and str(path) in text


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words", "a: [1,\n", "\x00"])
def test_what_is_no_mapping_is_refused_in_one_sentence(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"job\.yaml"):
        load(yaml_file(tmp_path, text))


def test_missing_file_is_named() -> None:
    with pytest.raises(UserError, match=r"nowhere\.yaml"):
        load("nowhere.yaml")


def test_unknown_option_ends_with_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        load("--align.methode", "a")
    assert caught.value.code == 2
    assert "align.method" in capsys.readouterr().err


def test_required_fields_are_named_together() -> None:
    with pytest.raises(UserError, match=r"--photos.*--out"):
        config.require(load(), "photos", "out")


def test_identity_leaves_out_what_does_not_change_the_rows(tmp_path: Path) -> None:
    one, two = load("--out", "a", "--workers", "3"), load("--out", "b", "--verbose")
    assert config.identity(one) == config.identity(two)
    assert config.identity(one) != config.identity(load("--align.side", "5"))


def test_digest_does_not_depend_on_key_order() -> None:
    assert config.digest({"a": 1, "b": [2, 3]}) == config.digest({"b": [2, 3], "a": 1})
    assert config.digest({"a": 1}) != config.digest({"a": 2})
