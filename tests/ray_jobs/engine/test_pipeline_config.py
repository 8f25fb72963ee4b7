"""What the recipe asks for, in which order, and what it refuses before it begins."""

from dataclasses import replace
from pathlib import Path

import pytest

from faceverify.errors import UserError
from faceverify.training.config import BatchConfig
from ray_jobs.align import AlignJobConfig
from ray_jobs.clean import CleanConfig
from ray_jobs.engine.pipeline_config import PretrainingConfig, Recipe, RecipeConfig, check
from ray_jobs.evaluate import EvaluateConfig
from ray_jobs.ingest import IngestConfig
from ray_jobs.pairs import PairsConfig
from ray_jobs.score import ScoreConfig
from ray_jobs.train import TrainConfig

SET = ["photos", "faces", "embeddings", "clean", "fakes", "all_faces", "pairs"]
END = ["train", "export", "scores_before", "scores", "evaluation"]
RENDERED = IngestConfig(layout="rendered")


@pytest.fixture
def config(tmp_path: Path) -> RecipeConfig:
    """The target set drawn, a checkpoint named."""
    from faceverify.align import AlignConfig

    align = AlignJobConfig(align=AlignConfig(method="annotated"))
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "model.safetensors").touch()
    start = TrainConfig(start=str(checkpoint))
    return RecipeConfig(out=str(tmp_path / "out"), ingest=RENDERED, align=align, finetune=start)


def names(config: RecipeConfig) -> list[str]:
    return [step.name for step in Recipe(config).steps()]


def test_the_steps_with_and_without_stage_one(config: RecipeConfig) -> None:
    assert names(config) == [*SET, *END]
    first = PretrainingConfig(ingest=RENDERED)
    before = [f"pretraining/{name}" for name in ("photos", "faces", "fakes", "all_faces", "pairs", "train")]
    assert names(replace(config, pretraining=first)) == [*before, *SET, *END]
    real = [name for name in before if "fakes" not in name and "all" not in name]
    assert names(replace(config, pretraining=replace(first, with_fakes=False))) == [*real, *SET, *END]


def test_every_step_is_given_what_the_one_before_made(config: RecipeConfig) -> None:
    given = {step.name: step.config for step in Recipe(config).steps() if step.name not in END[2:]}
    at = lambda name: f"{config.out}/{name}"  # noqa: E731
    assert given["photos"]().source == at("people")
    assert given["clean"]().embeddings == at("embeddings")
    assert (given["fakes"]().photos, given["fakes"]().faces) == (at("clean"), at("faces"))
    assert (given["pairs"]().photos, given["pairs"]().faces) == (at("fakes"), at("all_faces"))
    assert (given["train"]().faces, given["train"]().pairs) == (at("all_faces"), at("pairs"))
    assert given["train"]().start == config.finetune.start and given["export"]().checkpoint == at("train")
    drawn = replace(config, pretraining=PretrainingConfig(ingest=RENDERED), finetune=TrainConfig())
    assert next(s for s in Recipe(drawn).steps() if s.name == "train").config().start == at("pretraining/train")


@pytest.mark.parametrize(
    "change, words",
    [
        ({"ingest": IngestConfig()}, "Required and not given: --ingest.source"),
        ({"ingest": IngestConfig(source="/nowhere")}, "ingest.source: there is no file or folder"),
        ({"finetune": TrainConfig()}, "no network to begin with"),
        ({"finetune": TrainConfig(start="/nowhere/model.pt")}, "no model '/nowhere/model.pt'"),
        ({"finetune": TrainConfig(start="/proc/self/fd")}, "no network in the folder"),
        ({"pairs": PairsConfig(faces="here")}, "pairs.faces is filled in by the pipeline"),
        ({"pairs": PairsConfig(out="here")}, "pairs.out is filled in by the pipeline"),
        ({"score": ScoreConfig(pairs="/nowhere.csv")}, "score.pairs: there is no file"),
        ({"score": ScoreConfig(forensic="/nowhere/model.onnx")}, "forensic: there is no model '/nowhere/model.onnx'"),
        ({"score": ScoreConfig(forensic_threshold=2.0)}, "forensic-threshold 2 is given without --forensic"),
        ({"align": AlignJobConfig()}, "weights"),
        ({"clean": CleanConfig(decisions="/nowhere/review.json")}, "decisions: there is no file .*review.json"),
        ({"evaluate": EvaluateConfig(photos="/nowhere")}, "evaluate.photos: there is no file"),
        (
            {"finetune": TrainConfig(start="s3://", batches=BatchConfig(kind="identities"))},
            "batches.kind is identities",
        ),
    ],
)
def test_mistakes_are_found_before_the_first_step(config: RecipeConfig, change: dict, words: str) -> None:
    check(config)
    with pytest.raises(UserError, match=words):
        check(replace(config, **change))
    assert not Path(config.out).exists()
