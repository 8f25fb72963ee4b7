"""Every shipped configuration is read by its job, says every field, and says the defaults."""

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from faceverify.config import JobConfig, from_yaml

ROOT = Path(__file__).parent.parent
CLASSES = {
    "ingest": "IngestConfig",
    "align": "AlignJobConfig",
    "embed": "EmbedConfig",
    "clean": "CleanConfig",
    "fakes": "FakesConfig",
    "pairs": "PairsConfig",
    "train": "TrainConfig",
    "export": "ExportConfig",
    "score": "ScoreConfig",
    "all_pairs": "AllPairsConfig",
    "evaluate": "EvaluateConfig",
    "review": "ReviewConfig",
}
# The recipe's two stages say what they change.
STAGES = ("pretrain", "finetune")
# Of the run, not of the result: left to the command line.
RUN_ONLY = {field.name for field in dataclasses.fields(JobConfig)} - {"out"}


def config_class(job: str) -> Any:
    return getattr(importlib.import_module(f"ray_jobs.{job}"), CLASSES[job])


@pytest.mark.parametrize("job", CLASSES)
def test_the_file_holds_the_defaults(job: str) -> None:
    assert from_yaml(config_class(job), ROOT / "configs" / f"{job}.yaml") == config_class(job)()


@pytest.mark.parametrize("job", CLASSES)
def test_the_file_names_every_field(job: str) -> None:
    written = yaml.safe_load((ROOT / "configs" / f"{job}.yaml").read_text())
    defaults = dataclasses.asdict(config_class(job)())
    assert written.keys() == defaults.keys() - RUN_ONLY
    for name, value in defaults.items():
        if isinstance(value, dict):
            assert written[name].keys() == value.keys(), name


def test_the_pipeline_has_a_section_per_step_that_names_every_field() -> None:
    from ray_jobs.engine.pipeline_config import FILLED, RecipeConfig, section_of

    path = ROOT / "configs" / "pipeline.yaml"
    assert from_yaml(RecipeConfig, path) == RecipeConfig()
    written = yaml.safe_load(path.read_text())
    assert written.keys() == {field.name for field in dataclasses.fields(RecipeConfig)} - RUN_ONLY
    for name, filled in FILLED.items():
        section: Any = written
        for part in name.split("."):
            section = section[part]
        defaults = dataclasses.asdict(section_of(RecipeConfig(), name))
        assert section.keys() == defaults.keys() - RUN_ONLY - {"out", *filled}, name
        for field, value in defaults.items():
            if isinstance(value, dict) and field in section:
                assert section[field].keys() == value.keys(), f"{name}.{field}"


def test_the_branch_has_what_teaches_it() -> None:
    config = from_yaml(config_class("train"), ROOT / "configs" / "detail.yaml")
    assert config.losses.weights.in_use() == {"detection": 1.0}
    assert config.network.detail and config.network.train_last == 1


def test_the_demo_is_read() -> None:
    from ray_jobs.engine.pipeline_config import RecipeConfig, check

    demo = from_yaml(RecipeConfig, ROOT / "configs" / "demo" / "demo.yaml")
    assert demo.out == "runs/demo"
    check(demo)


@pytest.mark.parametrize("stage", STAGES)
def test_the_stages_are_the_references_recipe(stage: str) -> None:
    config = from_yaml(config_class("train"), ROOT / "configs" / f"{stage}.yaml")
    assert config.losses.weights.in_use() == {"adaptive_margin": 1.0}
    assert (config.optimiser.learning_rate, config.batches.size, config.batches.epochs) == (5e-6, 32, 2)


def test_a_search_names_every_field_of_its_own() -> None:
    from faceverify.tuning.space import parse
    from ray_jobs.train import TrainConfig
    from ray_jobs.tune import FIXED, TuneConfig, training_of

    path = ROOT / "configs" / "tune.yaml"
    config, written = from_yaml(TuneConfig, path), yaml.safe_load(path.read_text())
    own = {field.name for field in dataclasses.fields(TuneConfig)} - {f.name for f in dataclasses.fields(TrainConfig)}
    assert own <= written.keys()
    assert config.search == TuneConfig().search and written["search"] == dataclasses.asdict(config.search)
    assert len(parse(config.space, training_of(config), FIXED)) == 5


def test_no_file_is_forgotten() -> None:
    others = {"detail", "tune", "pipeline"}
    assert {path.stem for path in (ROOT / "configs").glob("*.yaml")} == {*CLASSES, *STAGES} | others
