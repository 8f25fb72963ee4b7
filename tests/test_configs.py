"""Every shipped configuration is read by its job, says what differs from the defaults, and shows what is required."""

import dataclasses
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from faceverify.config import from_yaml
from faceverify.errors import UserError

ROOT = Path(__file__).parent.parent
CLASSES = {
    "ingest": "IngestConfig",
    "align": "AlignJobConfig",
    "embed": "EmbedConfig",
    "clean": "CleanConfig",
    "fakes": "FakesConfig",
    "forensic": "ForensicConfig",
    "pairs": "PairsConfig",
    "train": "TrainConfig",
    "export": "ExportConfig",
    "score": "ScoreConfig",
    "all_pairs": "AllPairsConfig",
    "compare": "CompareConfig",
    "attack": "AttackConfig",
    "evaluate": "EvaluateConfig",
    "review": "ReviewConfig",
    "tune": "TuneConfig",
    "pipeline": "RecipeConfig",
}
# Of the job train: the recipe's two stages, which are its defaults, and the branch against deepfakes.
STAGES = ("pretrain", "finetune")
JOB_OF = {name: name for name in CLASSES} | dict.fromkeys((*STAGES, "detail"), "train")
JOB_OF |= {"forensic_small": "forensic"}
# A commented line of a file that is an option, indented as it would be without the `#`.
EXAMPLE = re.compile(r"^#((?:  )*[a-z_]+:.*)$", re.MULTILINE)


def config_class(name: str) -> Any:
    job = JOB_OF[name]
    return getattr(importlib.import_module(f"ray_jobs.{job}"), CLASSES[job])


def file_of(name: str) -> Path:
    return ROOT / "configs" / f"{name}.yaml"


def with_examples(name: str, folder: Path) -> Path:
    """The file as it is when all options in its comments are taken."""
    path = folder / f"{name}.yaml"
    path.write_text(EXAMPLE.sub(r"\1", file_of(name).read_text()))
    return path


def leaves(written: dict[str, Any], defaults: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Dotted name, value and default of all that a file says."""
    for key, value in written.items():
        if isinstance(value, dict) and isinstance(defaults[key], dict) and defaults[key]:
            yield from leaves(value, defaults[key], f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value, defaults[key]


@pytest.mark.parametrize("name", JOB_OF)
def test_the_file_says_what_differs_from_the_defaults(name: str) -> None:
    from_yaml(config_class(name), file_of(name))
    written = yaml.safe_load(file_of(name).read_text()) or {}
    assert not [
        at for at, value, default in leaves(written, dataclasses.asdict(config_class(name)())) if value == default
    ]
    assert len(file_of(name).read_text().splitlines()) < 80


@pytest.mark.parametrize("name", JOB_OF)
def test_its_examples_are_options_and_name_what_is_required(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(f"ray_jobs.{JOB_OF[name]}")
    given: list[Any] = []
    monkeypatch.setattr(module, "run_job", lambda *arguments: given.extend(arguments))
    if name == "review":
        monkeypatch.setattr("sys.argv", ["review"])
    module.main()
    required = given[4] if len(given) > 4 else ()
    config = from_yaml(config_class(name), with_examples(name, tmp_path))
    assert all(getattr(config, field) for field in required), required


@pytest.mark.parametrize("name", ["score", "pipeline"])
def test_a_misspelt_example_is_refused(name: str, tmp_path: Path) -> None:
    path = with_examples(name, tmp_path)
    path.write_text(path.read_text().replace("pairs: ", "pears: "))
    with pytest.raises(UserError, match=r"unknown key '.*pears' .did you mean '.*pairs'"):
        from_yaml(config_class(name), path)


def test_the_pipeline_shows_every_section_and_fills_in_the_rest(tmp_path: Path) -> None:
    from ray_jobs.engine.pipeline_config import FILLED, RecipeConfig, _check_filled

    assert from_yaml(RecipeConfig, file_of("pipeline")) == RecipeConfig()
    path = with_examples("pipeline", tmp_path)
    written = yaml.safe_load(path.read_text())
    for name in FILLED:
        section = written
        for part in name.split("."):
            section = section[part]
    _check_filled(from_yaml(RecipeConfig, path))


def test_the_branch_has_what_teaches_it() -> None:
    config = from_yaml(config_class("train"), file_of("detail"))
    assert config.losses.weights.in_use() == {"detection": 1.0}
    assert config.network.detail and config.network.train_last == 1


def test_the_demo_is_read() -> None:
    from ray_jobs.engine.pipeline_config import RecipeConfig, check

    demo = from_yaml(RecipeConfig, ROOT / "configs" / "demo" / "demo.yaml")
    assert demo.out == "runs/demo"
    check(demo)


@pytest.mark.parametrize("stage", STAGES)
def test_the_stages_are_the_references_recipe(stage: str) -> None:
    config = from_yaml(config_class("train"), file_of(stage))
    assert config.losses.weights.in_use() == {"adaptive_margin": 1.0}
    assert (config.batches.size, config.batches.epochs, config.network.bn) == (32, 2, "frozen")
    optimiser = config.optimiser
    assert (optimiser.name, optimiser.learning_rate, optimiser.weight_decay) == ("adamw", 5e-6, 0.01)
    assert (optimiser.schedule, optimiser.factor, optimiser.patience, optimiser.threshold) == ("plateau", 0.5, 10, 1e-4)


def test_a_search_is_of_five_fields_of_the_training() -> None:
    from faceverify.tuning.space import parse
    from ray_jobs.tune import FIXED, TuneConfig, training_of

    config = from_yaml(TuneConfig, file_of("tune"))
    assert len(parse(config.space, training_of(config), FIXED)) == 5


def test_no_file_is_forgotten() -> None:
    assert {path.stem for path in (ROOT / "configs").glob("*.yaml")} == set(JOB_OF)
