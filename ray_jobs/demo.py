"""The whole recipe on people drawn by the program: pre-train, clean, fine-tune, export, score, report.

python -m ray_jobs.demo configs/demo/demo.yaml
"""

import sys
from typing import Any

from faceverify.storage import open_location
from ray_jobs import pipeline
from ray_jobs.engine.pipeline_config import PEOPLE, RecipeConfig
from ray_jobs.engine.session import run_job

SUMMARY = "A demonstration on people drawn by the program: no real person, no published network."
ABOUT = (
    "Every person on this page was drawn by faceverify. A tiny network (under half a million weights) learnt to tell "
    "people apart from {first} of them, and never saw a deepfake. Then the second set came: {persons} other people, "
    "each with {real} photos and {fakes} deepfakes, {wrong:.0%} of the photos filed under a wrong name. The network "
    "found the wrong names, more deepfakes were made, and a branch beside it learnt to see what deepfakes leave behind "
    "and to refuse them; what the network knew of people stayed as it was.",
    "The numbers below are of the {test} people whom it never saw, real or fake. They say nothing about real photos: "
    "the deepfakes drawn here (swap, synthesis) carry plain traces, though they are saved as the photos are, and those "
    "by landmark_swap are pasted into saved photos and not saved again, which alone can give them away.",
)


def run(config: RecipeConfig) -> None:
    """The pipeline, with words and pictures for its report."""
    pipeline.run(config, about)


def about(config: RecipeConfig) -> tuple[str, Any]:
    """The summary, and the report's introduction: what this is, with pictures."""
    from faceverify.images import ImageLimits, decode
    from faceverify.rendered import plan
    from faceverify.rendered.fakes import GENERATORS
    from faceverify.report.page import Picture, Section
    from faceverify.report.thumbnails import thumbnail

    drawn = config.ingest.rendered
    people = open_location(config.ingest.source) if config.ingest.source else open_location(config.out) / PEOPLE
    tested = [slot for slot in plan(drawn) if slot.split == "test"]
    test = sorted({slot.person for slot in tested})
    facts = {
        "first": config.pretraining.ingest.rendered.persons,
        "persons": drawn.persons,
        "real": drawn.photos_per_person,
        "fakes": drawn.fakes_per_person,
        "wrong": drawn.label_errors,
        "test": len(test),
    }
    pictures = []
    for person in test[:2]:
        own = [slot for slot in tested if slot.person == person]
        reals = [slot for slot in own if not slot.is_fake and slot.shows == person][:3]
        for slot in [*reals, *[slot for slot in own if slot.is_fake][:4]]:
            data = (people / slot.photo).read_bytes()
            what = f"deepfake: {GENERATORS[slot.index % 2]}" if slot.is_fake else "photo"
            image = thumbnail(decode(data, ImageLimits()), 128)
            pictures.append(Picture(image=image, caption=f"person {person}, {what}"))
    paragraphs = tuple(text.format(**facts) for text in ABOUT)
    return SUMMARY, Section(title="What this is", paragraphs=paragraphs, pictures=tuple(pictures))


def main() -> int:
    """Entry point."""
    return run_job("demo", RecipeConfig, run, __doc__ or "", ("out",))


if __name__ == "__main__":
    sys.exit(main())
