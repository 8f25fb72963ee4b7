"""Ordinary models take real face swaps for the person they claim to be: acceptance at the LFW View-1 threshold.

The rival of every model is its own error on other people: the threshold is where it errs equally often on genuine and
impostor pairs of LFW View-1.
"""

import csv
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Report, parser, require
from benchmarks.verification import aligners, embedders, verify

COLUMNS = ("photo_a", "photo_b", "label", "kind", "generator", "person_a", "person_b")


def generator_of(fake: Path) -> str:
    """`fake_ghost_03.jpg` -> `ghost`; `fake_direct_cut.jpg` -> `classic_direct_cut`."""
    return "ghost" if "ghost" in fake.stem else f"classic_{fake.stem.removeprefix('fake_')}"


def host_of(person: str) -> str:
    """The person into whose pictures the face of `person` was put."""
    kind, _, number = person.partition("_")
    return "host_ghost" if kind == "ghost" else f"host_{number}"


def pairs_of(images: Path) -> Iterator[tuple[str, str, int, str, str, str, str]]:
    """Every real photo against: the person's other real photos, the fakes that claim to be them, their host."""
    people = {folder.name: folder for folder in sorted(images.iterdir())}
    real = {name: sorted(folder.glob("real_*")) for name, folder in people.items()}
    for name, folder in people.items():
        yield from (_row(*two, 1, "genuine", "", name, name) for two in itertools.combinations(real[name], 2))
        for fake in sorted(folder.glob("fake_*")):
            yield from (_row(one, fake, 0, "deepfake", generator_of(fake), name, name) for one in real[name])
        if not name.startswith("host_"):
            others = itertools.product(real[name], real[host_of(name)])
            yield from (_row(*two, 0, "impostor", "", name, host_of(name)) for two in others)


def _row(
    a: Path, b: Path, label: int, kind: str, generator: str, person_a: str, person_b: str
) -> tuple[str, str, int, str, str, str, str]:
    return f"{a.parent.name}/{a.name}", f"{b.parent.name}/{b.name}", label, kind, generator, person_a, person_b


def write_pairs(images: Path, file: Path) -> Path:
    """The list as CSV."""
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        writer.writerows(pairs_of(images))
    return file


def accepted(row: dict[str, int] | None) -> str:
    """Accepted of all, for people."""
    return f"{row['accepted']} of {row['pairs']}" if row else "-"


def main() -> None:
    """Entry point."""
    chosen = parser(__doc__ or "").parse_args()
    view, images = chosen.data / "lfw" / "view1", chosen.data / "fakes" / "images"
    require(view, images, chosen.data / "models")
    generators = ("classic_direct_cut", "classic_poisson_blend", "ghost")
    columns = ("model", "threshold", "FMR = FNMR on LFW View-1", *generators, "genuine", "their hosts")
    report = Report("real_fakes", "Accepted pairs by kind: a fake should not be accepted as whom it claims.", columns)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        pairs = write_pairs(images, work / "pairs.csv")
        faces = next(iter(aligners(chosen.data).values()))
        for name, model in embedders(chosen.data, work).items():
            lfw = verify(work / name / "lfw", view / "images", view / "pairs.txt", model, faces)
            limit = str(lfw.evaluation / "calibration.json")
            found = verify(work / name / "fakes", images, pairs, model, faces, limit).metrics
            kinds = [found["by_generator"].get(generator) for generator in generators]
            kinds += [found["by_kind"].get(kind) for kind in ("genuine", "impostor")]
            report.add(name, f"{found['threshold']:.4f}", f"{lfw.metrics['eer']:.2%}", *map(accepted, kinds))
    report.notes.append("Genuine: frames of one video, all of one person. Faces by yunet, the most central one.")
    report.write(chosen.results)


if __name__ == "__main__":
    main()
