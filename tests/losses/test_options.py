"""The options as a user meets them: YAML, command line, and every mistake in a sentence."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from faceverify import config
from faceverify.errors import UserError
from faceverify.losses import (
    AdaFaceOptions,
    AdaptiveMarginOptions,
    ArcFaceOptions,
    CenterOptions,
    CircleOptions,
    ContrastiveOptions,
    DistillOptions,
    HardNegativeOptions,
    LossConfig,
    LossWeights,
    TripletOptions,
)


@dataclass(frozen=True, kw_only=True)
class Job(config.JobConfig):
    """A job with losses."""

    losses: LossConfig = field(default_factory=LossConfig)


def load(*argv: str) -> LossConfig:
    return config.load(Job, argv, prog="job", description="").losses


def test_from_yaml_and_command_line(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("losses: {weights: {adaptive_margin: 1, distill: 0.1}, adaptive_margin: {slope: 0.2}}\n")
    losses = load(str(path), "--losses.adaptive-margin.scale", "32", "--losses.distill.squared", "0.5")
    assert losses.weights == LossWeights(adaptive_margin=1, distill=0.1)
    assert losses.adaptive_margin == AdaptiveMarginOptions(scale=32, slope=0.2)
    assert losses.distill.squared == 0.5
    changed = load(str(path), "--losses.weights.distill", "0", "--losses.weights.adaface", "2")
    assert changed.weights.in_use() == {"adaptive_margin": 1.0, "adaface": 2.0}
    assert load().weights.in_use() == {"adaptive_margin": 1.0}
    path.write_text("losses: {weights: {circle: 1}}\n")
    assert load(str(path)).weights.in_use() == {"circle": 1.0}  # the default goes where weights are given


def weights(*names: str) -> LossConfig:
    return LossConfig(weights=LossWeights(**{name: 1.0 for name in names}))


def test_what_is_needed() -> None:
    pairs = weights("adaptive_margin", "contrastive", "circle")
    assert not pairs.needs_identities and not pairs.needs_reference
    for name in ("triplet", "arcface", "adaface", "center"):
        assert weights(name).needs_identities
    assert weights("distill").needs_reference and not weights("distill").needs_identities


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("adaptive_margn: 1.0", r"did you mean 'losses\.weights\.adaptive_margin'"),
        ("{softmax: 1.0, adaface: 1.0}", r"unknown key 'losses\.weights\.softmax' \(known are adaptive_margin, "),
        ("distill: -1.0", r"losses\.weights\.distill is -1\.0"),
        ("distill: .nan", r"losses\.weights\.distill is nan"),
        ("distill: 0.0", "at least one loss"),
        ("{}", "at least one loss"),
    ],
)
def test_wrong_weights(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(f"losses:\n  weights:\n    {text}\n")
    with pytest.raises(UserError, match=says):
        load(str(path))


def test_an_unknown_option_is_refused_with_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("losses: {adaface: {ema_rat: 1}}\n")
    with pytest.raises(UserError, match=r"did you mean 'losses\.adaface\.ema_rate'"):
        load(str(path))


@pytest.mark.parametrize(
    ("options", "values", "names"),
    [
        (AdaptiveMarginOptions, {"scale": 0}, r"losses\.adaptive_margin\.scale is 0"),
        (ContrastiveOptions, {"margin": -1}, r"losses\.contrastive\.margin is -1"),
        (CircleOptions, {"scale": float("inf")}, r"losses\.circle\.scale is inf"),
        (TripletOptions, {"margin": -0.1}, r"losses\.triplet\.margin is -0\.1"),
        (HardNegativeOptions, {"share": 0}, r"losses\.hard_negatives\.share is 0"),
        (HardNegativeOptions, {"share": 1.5}, r"losses\.hard_negatives\.share is 1\.5"),
        (ArcFaceOptions, {"margin": 28.6}, r"losses\.arcface\.margin is 28\.6: give radians"),
        (AdaFaceOptions, {"ema_rate": 2}, r"losses\.adaface\.ema_rate is 2"),
        (AdaFaceOptions, {"start_std": -1}, r"losses\.adaface\.start_std is -1"),
        (CenterOptions, {"rate": -1}, r"losses\.center\.rate is -1"),
        (DistillOptions, {"squared": -1}, r"losses\.distill\.squared is -1"),
    ],
)
def test_wrong_values(options: Any, values: dict[str, float], names: str) -> None:
    with pytest.raises(UserError, match=names):
        options(**values)


def test_the_options_do_not_load_pytorch() -> None:
    code = "import sys, faceverify.losses; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
