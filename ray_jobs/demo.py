"""Everything on people drawn by the program, from nothing to a report.

python -m ray_jobs.demo configs/demo/demo.yaml
"""

import sys
from dataclasses import dataclass, field
from typing import Any

from faceverify.align import AlignConfig
from faceverify.config import JobConfig
from faceverify.datasets.rendered import RenderedConfig
from faceverify.storage import Location, open_location
from faceverify.training import IdentityTraining
from ray_jobs.session import run_job

SUMMARY = "A demonstration on people drawn by the program: no real person, no published network."
ABOUT = (
    "Every person on this page was drawn by faceverify: {persons} people, each with {real} photos and {fakes} "
    "deepfakes, and {wrong:.0%} of the photos filed under a wrong name. Swaps put the person's inner face into a "
    "look-alike's photo; syntheses draw the person anew from an imperfect memory of the traits.",
    "The network is tiny (under half a million weights) and was trained by this demo for {epochs} epochs on the "
    "photos of {train} of these people, wrong names and all. The numbers below are of the other {test} people, whom it "
    "never saw.",
    "It was trained to tell people apart and never saw a deepfake, so most deepfakes are accepted as the person they "
    "show. That is the problem this project is for; fine-tuning against deepfakes is its next step.",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoConfig(JobConfig):
    """Draw people, align, train a tiny network, clean, make fakes and pairs, score, report."""

    out: str = "runs/demo"
    """Folder for everything."""
    rendered: RenderedConfig = field(default_factory=RenderedConfig)
    """Who is drawn."""
    training: IdentityTraining = field(default_factory=IdentityTraining)
    """How the network learns."""


def run(config: DemoConfig) -> None:
    """All steps; each is skipped if an earlier run finished it."""
    out = open_location(config.out)
    if config.dry_run:
        print(f"Would draw {config.rendered.persons} people, train, clean, make fakes and pairs, and report to {out}.")
        return
    if config.overwrite:
        (out / "people").delete()
    people(config, out)
    recogniser(config, out)
    training_set(config, out)
    test(config, out)


def people(config: DemoConfig, out: Location) -> None:
    """Draw and align."""
    from ray_jobs import align, ingest

    step("1/8 draw people, some under a wrong name")
    common = run_options(config)
    ingest.run(
        ingest.IngestConfig(
            layout="rendered", source=str(out / "people"), out=str(out / "photos"), rendered=config.rendered, **common
        )
    )
    step("2/8 align faces")
    align.run(align.AlignJobConfig(photos=str(out / "photos"), out=str(out / "faces"), align=annotated(), **common))


def recogniser(config: DemoConfig, out: Location) -> None:
    """Train the network and embed all faces."""
    from ray_jobs import embed

    step("3/8 train a tiny network")
    model = out / "network" / "tiny.onnx"
    if config.overwrite or not model.exists():
        train(config, out / "faces", model)
    embed.run(
        embed.EmbedConfig(
            faces=str(out / "faces"), model=str(model), out=str(out / "embeddings"), **run_options(config)
        )
    )


def training_set(config: DemoConfig, out: Location) -> None:
    """Clean, make fakes, form pairs."""
    from ray_jobs import clean, fakes, pairs

    common = run_options(config)
    step("4/8 clean: find the wrong labels")
    clean.run(
        clean.CleanConfig(
            photos=str(out / "photos"), embeddings=str(out / "embeddings"), out=str(out / "cleaned"), **common
        )
    )
    step("5/8 make deepfakes")
    fakes.run(fakes.FakesConfig(photos=str(out / "cleaned"), out=str(out / "fakes"), **common))
    step("6/8 form pairs")
    pairs.run(pairs.PairsConfig(photos=str(out / "fakes"), out=str(out / "pairs"), **common))


def test(config: DemoConfig, out: Location) -> None:
    """Score the pairs of the people whom the network never saw, and report."""
    from faceverify.report import steps
    from ray_jobs import evaluate, score

    common = run_options(config)
    step("7/8 score pairs of people it never saw")
    score.run(
        score.ScoreConfig(
            photos=str(out / "fakes"),
            pairs=str(test_pairs(out)),
            model=str(out / "network" / "tiny.onnx"),
            out=str(out / "scores"),
            align=annotated(),
            **common,
        )
    )
    step("8/8 evaluate")
    sections = (
        steps.labels_section(out / "photos", out / "cleaned"),
        steps.fakes_section(out / "fakes"),
        steps.pairs_section(out / "pairs"),
    )
    evaluation = evaluate.EvaluateConfig(
        scores=str(out / "scores"), out=str(out / "evaluation"), title="People drawn by faceverify", **common
    )
    story = evaluate.Story(summary=SUMMARY, intro=about(config, out), sections=sections)
    evaluate.run(evaluation, lambda: story)


def step(name: str) -> None:
    """Say which step begins."""
    print(f"\n== {name}", flush=True)


def annotated() -> AlignConfig:
    """The landmarks are known: the program drew them."""
    return AlignConfig(method="annotated")


def run_options(config: DemoConfig) -> dict[str, Any]:
    """What every step takes over."""
    return {"overwrite": config.overwrite, "workers": config.workers, "verbose": config.verbose}


def train(config: DemoConfig, faces: Location, model: Location) -> None:
    """Train the network on the real faces of the training people, and export it."""
    from pathlib import Path

    import numpy as np
    import torch

    from faceverify.faces import Stopwatch, decode_faces
    from faceverify.inputs import stream_table, table_files
    from faceverify.models import card
    from faceverify.models.export import export_onnx
    from faceverify.models.iresnet import iresnet
    from faceverify.training.identities import train_identities

    crops = []
    for rows in stream_table(table_files(faces, "faces"), rows=1024):
        wanted = [
            s == "train" and not f for s, f in zip(rows["split"].to_pylist(), rows["is_fake"].to_pylist(), strict=True)
        ]
        crops.append(decode_faces(rows.filter(wanted), Stopwatch()))
    persons = [name for crop in crops for name in crop.rows["person"].to_pylist()]
    torch.manual_seed(config.training.seed)
    network = iresnet("tiny", dim=128)
    described = card.build(
        name="tiny, trained by the demo on rendered people",
        architecture="tiny",
        colour="RGB",
        mean=[127.5] * 3,
        std=[127.5] * 3,
        dim=128,
        source="make demo",
        licence="Apache-2.0",
    )
    stack = np.concatenate([crop.faces for crop in crops])
    print(f"{len(stack):,} faces of {len(set(persons))} people")
    report = lambda epoch, loss: print(f"epoch {epoch}/{config.training.epochs}: loss {loss:.3f}", flush=True)  # noqa: E731
    train_identities(network, described, stack, np.array(persons), config.training, report)
    exported = export_onnx(network, described, Path(model.path))
    print(f"Exported to {model}; ONNX and PyTorch agree within {exported.max_deviation:.1e}.")


def test_pairs(out: Location) -> Location:
    """The pairs of the test people, in a file of their own."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from faceverify.inputs import stream_table, table_files
    from faceverify.run_folder import parquet_bytes

    target = out / "test_pairs.parquet"
    pairs = pa.concat_tables(stream_table(table_files(out / "pairs", "pairs")))
    target.write_bytes(parquet_bytes(pairs.filter(pc.equal(pairs["split"], "test"))))
    return target


def about(config: DemoConfig, out: Location) -> Any:
    """The report's introduction: what this is, with pictures."""
    from faceverify.datasets.rendered.fakes import GENERATORS
    from faceverify.images import ImageLimits, decode
    from faceverify.report.page import Picture, Section
    from faceverify.report.thumbnails import thumbnail

    drawn = config.rendered
    train_people = round(drawn.persons * drawn.train_share)
    facts = {
        "persons": drawn.persons,
        "real": drawn.photos_per_person,
        "fakes": drawn.fakes_per_person,
        "wrong": drawn.label_errors,
        "epochs": config.training.epochs,
        "train": train_people,
        "test": drawn.persons - train_people,
    }
    fakes = [i for generator in (0, 1) for i in range(generator, drawn.fakes_per_person, 2)][:4]  # swaps are even
    shown = [(f"real_{i:02d}", "photo") for i in range(min(3, drawn.photos_per_person))]
    shown += [(f"fake_{i:02d}", f"deepfake: {GENERATORS[i % 2]}") for i in fakes]
    pictures = []
    for person in range(train_people, min(train_people + 4, drawn.persons)):
        for name, caption in shown:
            data = (out / "people" / f"person_{person:04d}" / f"{name}.jpg").read_bytes()
            image = thumbnail(decode(data, ImageLimits()), 128)
            pictures.append(Picture(image=image, caption=f"person {person}, {caption}"))
    paragraphs = tuple(text.format(**facts) for text in ABOUT)
    return Section(title="What this is", paragraphs=paragraphs, pictures=tuple(pictures))


def main() -> int:
    """Entry point."""
    return run_job("demo", DemoConfig, run, __doc__ or "", ("out",))


if __name__ == "__main__":
    sys.exit(main())
