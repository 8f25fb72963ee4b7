"""Everything on people drawn by the program, from nothing to a report.

python -m ray_jobs.demo configs/demo/demo.yaml
"""

import sys
from dataclasses import dataclass, field

from faceverify.align import AlignConfig
from faceverify.config import JobConfig
from faceverify.datasets.rendered import RenderedConfig
from faceverify.storage import Location, open_location
from faceverify.training import IdentityTraining
from ray_jobs.session import run_job

SUMMARY = "A demonstration on people drawn by the program: no real person, no published network."
ABOUT = (
    "Every person on this page was drawn by faceverify: {persons} people, each with {real} photos and {fakes} "
    "deepfakes. Swaps put the person's inner face into a look-alike's photo; syntheses draw the person anew from an "
    "imperfect memory of the traits.",
    "The network is tiny (under half a million weights) and was trained by this demo for {epochs} epochs on the "
    "real photos of {train} of these people. The numbers below are of the other {test} people, whom it never saw.",
    "It was trained to tell people apart and never saw a deepfake, so most deepfakes are accepted as the person they "
    "show. That is the problem this project is for; fine-tuning against deepfakes is its next step.",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoConfig(JobConfig):
    """Draw people, align, train a tiny network, score pairs, report."""

    out: str = "runs/demo"
    """Folder for everything."""
    rendered: RenderedConfig = field(default_factory=RenderedConfig)
    """Who is drawn."""
    training: IdentityTraining = field(default_factory=IdentityTraining)
    """How the network learns."""
    pairs: int = 2000
    """Pairs of the test people: half genuine, a quarter other person, a quarter deepfake."""


def run(config: DemoConfig) -> None:
    """All steps; each is skipped if an earlier run finished it."""
    from ray_jobs import align, evaluate, ingest, score

    out = open_location(config.out)
    common = {"overwrite": config.overwrite, "dry_run": config.dry_run, "workers": config.workers}
    if config.dry_run:
        print(f"Would draw {config.rendered.persons} people, train, score {config.pairs} pairs and report to {out}.")
        return
    annotated = AlignConfig(method="annotated")
    if config.overwrite:
        (out / "people").delete()
    _step("1/5 draw people")
    drawing = ingest.IngestConfig(
        layout="rendered", source=str(out / "people"), out=str(out / "photos"), rendered=config.rendered, **common
    )
    ingest.run(drawing)
    _step("2/5 align faces")
    align.run(align.AlignJobConfig(photos=str(out / "photos"), out=str(out / "faces"), align=annotated, **common))
    _step("3/5 train a tiny network")
    model = out / "network" / "tiny.onnx"
    if config.overwrite or not model.exists():
        train(config, out / "faces", model)
    _step("4/5 score pairs of people it never saw")
    pairs = write_pairs(config, out)
    scoring = score.ScoreConfig(
        photos=str(out / "photos"),
        pairs=str(pairs),
        model=str(model),
        out=str(out / "scores"),
        align=annotated,
        **common,
    )
    score.run(scoring)
    _step("5/5 evaluate")
    evaluation = evaluate.EvaluateConfig(
        scores=str(out / "scores"), out=str(out / "evaluation"), title="People drawn by faceverify", **common
    )
    evaluate.run(evaluation, sections(config, out), SUMMARY)


def _step(name: str) -> None:
    print(f"\n== {name}", flush=True)


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


def write_pairs(config: DemoConfig, out: Location) -> Location:
    """The list of pairs of the test people, real and fake."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from faceverify.datasets.rendered import rendered_pairs
    from faceverify.inputs import stream_table, table_files
    from faceverify.run_folder import parquet_bytes

    target = out / "pairs.parquet"
    photos = pa.concat_tables(stream_table(table_files(out / "photos", "photos")))
    test = photos.filter(pc.equal(photos["split"], "test"))
    target.write_bytes(parquet_bytes(rendered_pairs(test, config.rendered.seed, config.pairs)))
    return target


def sections(config: DemoConfig, out: Location) -> tuple:
    """The report's introduction: what this is, with pictures."""
    from faceverify.datasets.rendered.fakes import GENERATORS
    from faceverify.images import ImageLimits, decode
    from faceverify.report.page import Picture, Section
    from faceverify.report.thumbnails import thumbnail

    people = config.rendered
    train_people = round(people.persons * people.train_share)
    facts = {
        "persons": people.persons,
        "real": people.photos_per_person,
        "fakes": people.fakes_per_person,
        "epochs": config.training.epochs,
        "train": train_people,
        "test": people.persons - train_people,
    }
    fakes = [i for generator in (0, 1) for i in range(generator, people.fakes_per_person, 2)][:4]  # swaps are even
    shown = [(f"real_{i:02d}", "photo") for i in range(min(3, people.photos_per_person))]
    shown += [(f"fake_{i:02d}", f"deepfake: {GENERATORS[i % 2]}") for i in fakes]
    pictures = []
    for person in range(train_people, min(train_people + 4, people.persons)):
        for name, caption in shown:
            data = (out / "people" / f"person_{person:04d}" / f"{name}.jpg").read_bytes()
            image = thumbnail(decode(data, ImageLimits()), 128)
            pictures.append(Picture(image=image, caption=f"person {person}, {caption}"))
    paragraphs = tuple(text.format(**facts) for text in ABOUT)
    return (Section(title="What this is", paragraphs=paragraphs, pictures=tuple(pictures)),)


def main() -> int:
    """Entry point."""
    return run_job("demo", DemoConfig, run, __doc__ or "", ("out",))


if __name__ == "__main__":
    sys.exit(main())
