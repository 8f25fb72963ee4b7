"""DFA's score tells pictures with a face from those without: scores, the threshold between them, landmarks, EER.

DFA always gives a face, so that its score needs a threshold. No published DFA weights were at hand; measured is a
network of our own training: the published RetinaFace mobilenet0.25 with calculated heads (`dfa_start`), frozen, and on
it an aggregator trained on other people than those measured. The rival is the same network before training, whose
aggregator is the plain rule to trust a prior the more the surer it is of a face. SCRFD taught the landmarks, and is
what they are compared with.
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from benchmarks import dfa_pictures as pictures
from benchmarks.aligners import OTHER_FACE
from benchmarks.dfa_pictures import Picture, Told
from benchmarks.dfa_training import BATCH, network_input, train_aggregator
from benchmarks.harness import CORES, Report, parser, require, seconds_of
from benchmarks.lfw_view1 import percent
from benchmarks.verification import verify
from faceverify.align.dfa import MIN_SCORE
from faceverify.align.dfa_network import SIDE, DfaNetwork
from faceverify.align.dfa_start import start_network
from faceverify.align.geometry import fit_similarity, transform_points
from faceverify.align.retinaface import KINDS
from faceverify.align.weights import state_dict
from faceverify.images import decode

START = "pytorch_retinaface_mobilenet0.25_Final.pth"
TEACHER = "scrfd_2.5g_bnkps.onnx"
RECOGNISER = "mobilefacenet_y1.onnx"
BINS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Borders of the histogram of scores."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Scores [N] of pictures of one kind; for faces also how far [N] the landmarks are from SCRFD's, in crop pixels."""

    is_face: bool
    scores: np.ndarray
    distances: np.ndarray


@torch.inference_mode()
def look(network: DfaNetwork, shown: list[Picture]) -> tuple[np.ndarray, np.ndarray]:
    """Scores [N] and landmarks [N, 5, 2] in shares of the side."""
    batches = [shown[start : start + BATCH] for start in range(0, len(shown), BATCH)]
    faces = [network.face(network_input(batch)) for batch in batches]
    scores, landmarks = [face.score[:, 0] for face in faces], [face.landmarks for face in faces]
    return torch.cat(scores).numpy(), torch.cat(landmarks).numpy()


def apart(found: np.ndarray, shown: list[Picture]) -> np.ndarray:
    """[N]: mean distance of landmarks from those of the pictures, in pixels of the pictures' crops."""
    want = np.stack([picture.landmarks for picture in shown]) * (SIDE - 1)
    return np.array(
        [
            np.linalg.norm(transform_points(matrix, a) - transform_points(matrix, b), axis=1).mean()
            for matrix, a, b in zip(fit_similarity(want), found * (SIDE - 1), want, strict=True)
        ]
    )


def judge(network: DfaNetwork, shown: list[Picture]) -> Judged:
    """What the network says of pictures of one kind."""
    scores, found = look(network, shown)
    is_face = shown[0].is_face
    return Judged(is_face, scores, apart(found, shown) if is_face else np.zeros(0))


def add_pairs(report: Report, name: str, network: DfaNetwork, people: list[Told]) -> None:
    """A note on photos of two people."""
    pairs = [pictures.side_by_side(*two) for two in zip(people[::2], people[1::2], strict=False)]
    one, other = ([pair[i] for pair in pairs] for i in (0, 1))
    scores, found = look(network, one)
    between = np.minimum(apart(found, one), apart(found, other)) > OTHER_FACE
    report.notes.append(
        f"{name}: of {len(pairs)} pictures of two people side by side, in {percent(between.mean())} the landmarks lie "
        f"between the two faces (more than {OTHER_FACE:.1f} px from both); half of these score "
        f"{np.median(scores[between]) if between.any() else np.nan:.3f} or more."
    )


def kinds(people: list[Told], drawn: list[Told], odd: list[Told], rng: np.random.Generator) -> dict[str, list[Picture]]:
    """Name in the table -> pictures of people (and things) that the training never saw."""
    few = len(people) // 4
    return {
        "face: whole photo": [pictures.whole(told) for told in people],
        "face: window, turned, lighter or darker": [pictures.moved(told, rng) for told in people],
        "face: half as large": [pictures.distant(told) for told in people],
        "none: corners of photos": [pictures.corner(told, rng) for told in people],
        "none: corners, out of focus": [pictures.blurred(told, rng) for told in people],
        "none: scrambled photos": [pictures.scrambled(told, rng) for told in people],
        "none: corners of drawings": [pictures.corner(drawn[i % len(drawn)], rng) for i in range(few)],
        "none: between people in groups (kind not trained)": [
            pictures.corner(odd[i % len(odd)], rng) for i in range(few)
        ],
        "none: one colour, patterns, noise (kind not trained)": [pictures.plain(rng) for _ in range(few)],
    }


def add_rows(report: Report, name: str, judged: dict[str, Judged]) -> None:
    """One row per kind of picture."""
    for kind, own in judged.items():
        low, middle, high = np.percentile(own.scores, [1, 50, 99])
        counts = np.histogram(own.scores, [-np.inf, *BINS, np.inf])[0] / len(own.scores)
        report.add(
            name,
            kind,
            f"{len(own.scores):,}",
            f"{low:.3f} / {middle:.3f} / {high:.3f}",
            " ".join(f"{100 * count:.1f}" for count in counts),
            percent((own.scores >= MIN_SCORE).mean()),
            f"{np.median(own.distances):.2f}" if own.is_face else "-",
        )


def errors(judged: dict[str, Judged], threshold: float) -> tuple[float, float]:
    """(share of faces that are lost, share of pictures without one that are taken for faces)."""
    lost = np.concatenate([own.scores < threshold for own in judged.values() if own.is_face])
    taken = np.concatenate([own.scores >= threshold for own in judged.values() if not own.is_face])
    return float(lost.mean()), float(taken.mean())


def best_thresholds(judged: dict[str, Judged]) -> tuple[float, float]:
    """The first and the last of the thresholds 0.01, 0.02 ... 0.99 whose two shares of errors have the least sum."""
    grid = np.arange(1, 100) / 100
    sums = np.array([sum(errors(judged, threshold)) for threshold in grid])
    best = grid[np.isclose(sums, sums.min())]
    return float(best[0]), float(best[-1])


def odd_photos(data: Path) -> list[Told]:
    """Photos of groups, for what is between the people."""
    photos = [decode(path.read_bytes()) for path in sorted((data / "odd").glob("*.jpg"))]
    return pictures.faceless_photos(photos, data / "models" / TEACHER)


def add_eer(report: Report, data: Path, weights: Path) -> None:
    """Notes on View-1 with crops by DFA, read from the photo and from the network's copy, and by its teacher."""
    view = data / "lfw" / "view1"
    ways = {
        "DFA, crop_from original": [*("--align.method", "dfa"), *("--align.weights", str(weights))],
        "SCRFD": [*("--align.method", "scrfd"), *("--align.weights", str(data / "models" / TEACHER))],
    }
    ways["DFA, crop_from network"] = [*ways["DFA, crop_from original"], "--align.crop_from", "network"]
    with tempfile.TemporaryDirectory() as folder:
        for name, options in sorted(ways.items()):
            out = Path(folder) / name.replace(" ", "_")
            run = verify(out, view / "images", view / "pairs.txt", data / "models" / RECOGNISER, options)
            low, high = run.metrics["eer_interval"]
            scored = run.manifest["statuses"].get("ok", 0)
            report.notes.append(
                f"LFW View-1, mobilefacenet_y1, faces by {name}: EER {percent(run.metrics['eer'])} "
                f"({percent(low)} to {percent(high)}), {scored:,} of 1,000 pairs scored."
            )


def add_thresholds(report: Report, judged: dict[str, Judged]) -> None:
    """Notes on where a threshold may lie."""
    low, high = best_thresholds(judged)
    report.notes.append(f"Trained: the fewest errors at thresholds from {low:.2f} to {high:.2f}.")
    for threshold in sorted({low, *BINS, MIN_SCORE, high}):
        lost, taken = errors(judged, threshold)
        report.notes.append(
            f"Trained, threshold {threshold:.2f}: {percent(lost)} of the faces lost, "
            f"{percent(taken)} of the pictures without a face taken for one."
        )


def measure(chosen: argparse.Namespace, report: Report, weights: Path) -> None:
    """Train, save, and fill the table."""
    models, seed = chosen.data / "models", chosen.seed
    torch.manual_seed(seed)
    torch.set_num_threads(CORES)
    network = start_network(state_dict((models / START).read_bytes()), KINDS["pytorch_retinaface"])
    train, test = (
        pictures.tell(sorted((chosen.data / part).rglob("*.jpg"))[:: chosen.every], models / TEACHER)
        for part in ("lfw/images", "lfw/view1/images")
    )
    drawn, drawn_test = (
        pictures.faceless_photos(pictures.drawn_photos(60, seed + part), models / TEACHER) for part in (1, 2)
    )
    shown = kinds(test, drawn_test, odd_photos(chosen.data), np.random.default_rng([seed, 1]))
    add_rows(report, "start", {kind: judge(network, own) for kind, own in shown.items()})
    add_pairs(report, "Start", network, test)
    source = pictures.training_pictures(train, drawn, np.random.default_rng([seed, 0]))
    seconds = seconds_of(lambda: train_aggregator(network, source, chosen.steps))
    safetensors.torch.save_file({f"net.{key}": value for key, value in network.state_dict().items()}, weights)
    judged = {kind: judge(network, own) for kind, own in shown.items()}
    add_rows(report, "trained", judged)
    add_pairs(report, "Trained", network, test)
    add_thresholds(report, judged)
    report.notes.append(
        f"Training: {chosen.steps} steps of {BATCH} pictures of {len(train)} photos, {seconds:.0f} s; measured: "
        f"{len(test)} photos; the people of the two have no one in common. Seed {seed}."
    )


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--steps", type=int, default=250)
    options.add_argument("--every", type=int, default=2, help="take every n-th photo only")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--weights-out", type=Path, help="keep the trained weights, a .safetensors file")
    chosen = options.parse_args()
    require(chosen.data / "lfw", chosen.data / "odd", chosen.data / "models")
    columns = ("network", "shown", "pictures", "score: 1 % / half / 99 % are below", "histogram, %", "taken for faces")
    bins = ", ".join(f"{border:g}" for border in BINS)
    claim = (
        f"A DFA of our own training. Histogram: shares of the scores between 0, {bins} and 1. Taken: >= {MIN_SCORE}."
    )
    report = Report("dfa_score", claim, (*columns, "px to SCRFD"))
    with tempfile.TemporaryDirectory() as folder:
        weights = chosen.weights_out or Path(folder) / "dfa.safetensors"
        measure(chosen, report, weights)
        add_eer(report, chosen.data, weights)
    report.notes.append(
        "It is not the published DFA, whose scores may lie elsewhere: only the way to judge is the same."
    )
    report.write(chosen.results)


if __name__ == "__main__":
    main()
