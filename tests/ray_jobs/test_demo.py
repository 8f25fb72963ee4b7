"""The demo's configuration: enough people in the test to tell, and nobody in it who was learnt from."""

from pathlib import Path

from faceverify.config import from_yaml
from faceverify.rendered import plan
from faceverify.rendered.photo import person_of
from ray_jobs.engine.pipeline_config import RecipeConfig

CONFIG = from_yaml(RecipeConfig, Path(__file__).parents[2] / "configs" / "demo" / "demo.yaml")
DRAWN, FIRST = CONFIG.ingest.rendered, CONFIG.pretraining.ingest.rendered


def people_of(split: str) -> set[int]:
    return {slot.person for slot in plan(DRAWN) if slot.split == split}


def test_there_are_enough_people_to_tell() -> None:
    assert len(people_of("test")) >= 65  # cleaning may leave some of them too few photos to be paired
    assert len(people_of("val")) >= 10


def test_nobody_of_the_test_was_learnt_from() -> None:
    shown = {split: {slot.shows for slot in plan(DRAWN) if slot.split == split} for split in ("train", "val", "test")}
    assert not shown["test"] & (shown["train"] | shown["val"]) and shown["test"] == people_of("test")
    assert FIRST.seed != DRAWN.seed  # people are drawn by seed and number
    before = {repr(person_of(FIRST, number)) for number in range(FIRST.persons)}
    assert not before & {repr(person_of(DRAWN, number)) for number in range(DRAWN.persons)}
