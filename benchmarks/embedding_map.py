"""Where swaps by programs never seen lie before and after one fine-tuning: the map of `evaluate`, and its numbers.

The network learns from people of LFW and fakes made of them by our generators; the map shows other people, with their
swaps by DeepFaceLive. The rival is the network before. With --work DIR runs are kept, and the report can be looked at.
"""

import argparse
import csv
import itertools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.finetune_sets import made, training_set
from benchmarks.harness import Report, parser, require
from benchmarks.verification import aligners
from faceverify import tables
from faceverify.evaluation.embedding_map import make_map
from faceverify.storage import Location

START = "models/mobilefacenet_foamliu.pt"
REALS, PEOPLE = 12, 10
TRAINED = (
    *("--network.bn", "frozen", "--batches.size", "16", "--batches.epochs", "100", "--workers", "1"),
    *("--losses.weights.distill", "60", "--optimiser.learning-rate", "1e-3", "--optimiser.schedule", "cosine"),
    *("--validation.pairs", "200", "--validation.replicates", "0"),
)


def test_photos(data: Path) -> list[dict[str, object]]:
    """Rows of tables.PHOTOS: swaps of `deepfacelive_dfm`, and real photos of the people they claim to be."""
    swaps, rows = data / "swaps", []
    with (swaps / "swaps.csv").open() as lines:
        listed = [row for row in csv.DictReader(lines) if row["generator"] == "DeepFaceLab_DFM"]
    for person in sorted({row["claimed"] for row in listed}):
        folders = (data / "pins" / person.replace("_", " "), data / "pins" / person, swaps / "gallery" / person)
        folder = next((one for one in folders if one.is_dir()), None)
        real = sorted(folder.iterdir())[:REALS] if folder else []
        fakes = [swaps / row["path"] for row in listed if row["claimed"] == person]
        for place, is_fake in [(one, False) for one in real] + [(one, True) for one in fakes]:
            generator = "DeepFaceLive" if is_fake else None
            rows.append({"photo": str(place.relative_to(data)), "uri": str(place), "person": person})
            rows[-1] |= {"is_fake": is_fake, "generator": generator}
    return rows


def pairs_of(photos: list[dict[str, object]]) -> Iterator[tuple[object, object, int, str, str, object, object]]:
    """Each person's real photos with each other, with their fakes, and with one of each other person."""
    real = {name: [r["photo"] for r in photos if r["person"] == name and not r["is_fake"]] for name in people(photos)}
    for name, own in real.items():
        yield from ((a, b, 1, "genuine", "", name, name) for a, b in itertools.combinations(own, 2))
        fakes = [r for r in photos if r["person"] == name and r["is_fake"]]
        yield from ((a, f["photo"], 0, "deepfake", "DeepFaceLive", name, name) for f in fakes for a in own[:3])
    for (one, first), (other, second) in itertools.combinations(real.items(), 2):
        yield from ((a, b, 0, "impostor", "", one, other) for a, b in zip(first, second, strict=False))


def people(photos: list[dict[str, object]]) -> list[str]:
    """Their names, each once."""
    return sorted({str(row["person"]) for row in photos})


def trained(chosen: argparse.Namespace, align: list[str], work: Path) -> Path:
    """Fine-tune on some people of LFW; returns the run."""
    source = work / "people"
    source.mkdir(exist_ok=True)
    for folder in sorted((chosen.data / "lfw" / "images").iterdir())[: chosen.people]:
        if not (source / folder.name).exists():
            (source / folder.name).symlink_to(folder)
    made(("ingest", work / "photos", "--source", str(source), "--layout", "folders"))
    given = training_set(work / "photos", align, work / "set", 8, 3)
    steps = ("--batches.max-steps", str(chosen.steps), "--validation.every", str(chosen.steps))
    tables_of = ("--faces", str(given.faces), "--pairs", str(given.pairs), "--start", str(chosen.data / START))
    made(("train", work / "train", *tables_of, *TRAINED, *steps))
    return work / "train"


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--work", type=Path, help="where runs are kept; default: a folder that is deleted")
    options.add_argument("--steps", type=int, default=60)
    options.add_argument("--people", type=int, default=40, help="people of LFW to learn from")
    chosen = options.parse_args()
    require(chosen.data / "lfw" / "images", chosen.data / "swaps" / "swaps.csv", chosen.data / START)
    with tempfile.TemporaryDirectory() as folder:
        measure(chosen, (chosen.work or Path(folder)).resolve())


def measure(chosen: argparse.Namespace, work: Path) -> None:
    """Fill and write the table."""
    work.mkdir(parents=True, exist_ok=True)
    align = next(iter(aligners(chosen.data).values()))
    photos = test_photos(chosen.data)
    pq.write_table(pa.Table.from_pylist(photos, schema=tables.PHOTOS), work / "test.parquet")
    with (work / "pairs.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("photo_a", "photo_b", "label", "kind", "generator", "person_a", "person_b"))
        writer.writerows(pairs_of(photos))
    given = ["--photos", str(work / "test.parquet"), "--pairs", str(work / "pairs.csv"), *align]
    networks = {"before": chosen.data / START, "after": trained(chosen, align, work)}
    for name, network in networks.items():
        made(("score", work / name, *given, "--model", str(network)))
    both = ("--scores", str(work / "after"), "--before", str(work / "before"), "--map", str(PEOPLE))
    made(("evaluate", work / "evaluation", *both))
    columns = (
        "network",
        "EER, real people",
        "swaps accepted",
        "two real photos",
        "a swap and its person",
        "two people",
    )
    claim = (
        "Mean similarities on the map of people and their swaps by programs never seen, before and after fine-tuning."
    )
    report = Report("embedding_map", claim, columns)
    files = {name: [Location(str(one)) for one in sorted((work / name / "embeddings").iterdir())] for name in networks}
    drawn = make_map([Location(str(work / "test.parquet"))], files, PEOPLE, "pca", 0)
    for layout, metrics in zip(drawn.layouts, ("metrics_before.json", "metrics.json"), strict=True):
        found = json.loads((work / "evaluation" / metrics).read_text())
        rates = (f"{value:.1%}" for value in (found["eer_real"], found["by_kind"]["deepfake"]["error_rate"]))
        means = ("-" if value is None else f"{value:.3f}" for value in (layout.same, layout.fakes, layout.others))
        report.add(layout.name, *rates, *means)
    report.notes += [
        f"{len(drawn.people)} people, {sum(one.is_fake for one in drawn.photos)} swaps and "
        f"{sum(not one.is_fake for one in drawn.photos)} real photos on the map.",
        f"{chosen.steps} steps of 16 pairs on {chosen.people} people of LFW and fakes of them; each network accepts at "
        "the threshold of its own EER of real people.",
    ]
    report.write(chosen.results)


if __name__ == "__main__":
    main()
