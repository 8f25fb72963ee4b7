"""IJB-C 1:1 and 1:N at full size on random features: time, memory, and the same numbers as plain NumPy.

The features are made up, the sizes are IJB-C's: 469,375 faces of 512 numbers and their mirror images, 23,124 templates
(3,531 of galleries, the others probes), 15.7 million pairs of a gallery's template and a probe's. The rival follows the
steps of the published scripts: a loop over templates and media, two vectors fetched for every pair, scikit-learn's
`roc_curve`, the whole similarity matrix of 1:N with an argsort of each row. Each side is a process of its own, both
read the same mapped features.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_curve

from benchmarks import memory
from benchmarks.harness import ROOT, Report, parser
from faceverify.protocols.fusion import directions
from faceverify.protocols.identification import FPIRS, RANKS, joined, search
from faceverify.protocols.ijb import build_templates, pair_scores
from faceverify.protocols.tar import FARS, tar_at_far

FACES, SIZE, GALLERY, PROBES, PAIRS, GENUINE = 469_375, 512, 3_531, 19_593, 15_658_489, 19_557
GALLERIES = (1_772, 1_759)
MILLION = 1_000_000
GIB = 2**30
SAMPLE_SECONDS = 0.02
BATCH = 100_000  # pairs that the rival fetches together, as the published scripts do
PARTS = ("templates", "1:1 scores", "TAR at FAR", "1:N")


def make(folder: Path, share: float) -> None:
    """A seeded set, all sizes times `share`."""
    rng = np.random.default_rng(0)
    faces, gallery, probes, pairs, genuine = (int(size * share) for size in (FACES, GALLERY, PROBES, PAIRS, GENUINE))
    subject = np.concatenate([np.arange(gallery), rng.integers(0, gallery, probes)])
    template = np.sort(
        np.concatenate([np.arange(gallery + probes), rng.integers(0, gallery + probes, faces - gallery - probes)])
    )
    people = rng.standard_normal((gallery, SIZE), dtype=np.float32)
    for name in ("plain", "mirrored"):
        features = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float32, (faces, SIZE))
        for at in range(0, faces, 1 << 14):
            some = people[subject[template[at : at + (1 << 14)]]]
            features[at : at + len(some)] = 1.5 * some + 18 * rng.standard_normal(some.shape, dtype=np.float32)
        features.flush()
    first, second = rng.integers(0, gallery, pairs), rng.integers(gallery, gallery + probes, pairs)
    second[:genuine] = rng.choice(probes, genuine, replace=False) + gallery
    first[:genuine] = subject[second[:genuine]]
    np.savez(
        folder / "lists.npz",
        template=template,
        medium=rng.integers(0, 12, faces),
        detector=rng.uniform(0.5, 1, faces),
        first=first,
        second=second,
        label=subject[first] == subject[second],
        subject=subject,
        gallery=gallery,
    )


def timed(seconds: dict[str, list[float]], name: str, work: Callable[[], Any]) -> Any:
    """The result of `work`; its seconds, and the most bytes of its own meanwhile, go to `seconds`."""
    ended, most = threading.Event(), [0]

    def look() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            most[0] = max(most[0], memory.field("/proc/self/status", "RssAnon:"))

    watch = threading.Thread(target=look)
    watch.start()
    start = time.perf_counter()
    result = work()
    seconds[name] = [time.perf_counter() - start, most[0] / GIB]
    ended.set()
    watch.join()
    return result


def ours(folder: Path) -> dict[str, Any]:
    """This project's way."""
    lists, plain, mirrored = _opened(folder)
    used: dict[str, list[float]] = {}
    made = timed(
        used,
        "templates",
        lambda: build_templates(lists["template"], lists["medium"], plain, mirrored, lists["detector"]),
    )
    scores = timed(used, "1:1 scores", lambda: pair_scores(made.vectors, lists["first"], lists["second"]))
    label = lists["label"]
    rates = timed(used, "TAR at FAR", lambda: tar_at_far(scores[label], scores[~label]))
    gallery, subject = int(lists["gallery"]), lists["subject"]
    entries, probes = made.vectors[:gallery], made.vectors[gallery:]
    found = timed(used, "1:N", lambda: joined(probes, subject[gallery:], entries, subject[:gallery]))
    return {
        "used": used,
        "scores": [float(scores.sum()), *scores[:: max(len(scores) // 1000, 1)].tolist()],
        "tar": [[rate.nearest.tar, rate.nearest.far] for rate in rates],
        "ranks": list(found.ranks.values()),
        "tpir": [rate.tpir for rate in found.tpir],
    }


def plain_numpy(folder: Path) -> dict[str, Any]:
    """The rival."""
    lists, plain, mirrored = _opened(folder)
    used: dict[str, list[float]] = {}
    vectors = timed(used, "templates", lambda: _looped_templates(lists, plain, mirrored))
    scores = timed(used, "1:1 scores", lambda: _fetched_scores(vectors, lists["first"], lists["second"]))
    tar = timed(used, "TAR at FAR", lambda: _roc(lists["label"], scores))
    gallery, subject = int(lists["gallery"]), lists["subject"]
    ranks, tpir = timed(used, "1:N", lambda: _whole_matrix(vectors[gallery:], vectors[:gallery], subject[gallery:]))
    kept = [float(scores.sum()), *scores[:: max(len(scores) // 1000, 1)].tolist()]
    return {"used": used, "scores": kept, "tar": tar, "ranks": ranks, "tpir": tpir}


def _opened(folder: Path) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    with np.load(folder / "lists.npz") as lists:
        return dict(lists), *(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("plain", "mirrored"))


def _looped_templates(lists: dict[str, np.ndarray], plain: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    features = (plain + mirrored) * lists["detector"].astype(np.float32)[:, None]
    template, medium = lists["template"], lists["medium"]
    numbers = np.unique(template)
    summed = np.zeros((len(numbers), features.shape[1]))
    for at, number in enumerate(numbers):
        (rows,) = np.where(template == number)
        own, media = features[rows], medium[rows]
        for one in np.unique(media):
            (here,) = np.where(media == one)
            summed[at] += own[here].mean(axis=0)
    return summed / np.sqrt((summed**2).sum(axis=1, keepdims=True))


def _fetched_scores(vectors: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    scores = np.zeros(len(first))
    for at in range(0, len(first), BATCH):
        some = slice(at, at + BATCH)
        scores[some] = (vectors[first[some]] * vectors[second[some]]).sum(axis=1)
    return scores


def _roc(label: np.ndarray, scores: np.ndarray) -> list[list[float]]:
    far, tar, _ = (column[::-1] for column in roc_curve(label, scores))
    at = [int(np.argmin(np.abs(far - target))) for target in FARS]
    return [[float(tar[one]), float(far[one])] for one in at]


def _whole_matrix(probes: np.ndarray, gallery: np.ndarray, own: np.ndarray) -> tuple[list[float], list[float]]:
    similarity = probes @ gallery.T
    order = np.argsort(-similarity)
    ranks = [float((order[:, :rank] == own[:, None]).any(axis=1).mean()) for rank in RANKS]
    at = np.arange(len(probes)), own
    mate = similarity[at]
    similarity[at] = -2
    highest = np.sort(similarity, axis=None)[::-1]
    thresholds = [highest[int(np.ceil(len(probes) * target)) - 1] for target in FPIRS]
    return ranks, [float((mate > threshold).mean()) for threshold in thresholds]


def million(folder: Path) -> dict[str, Any]:
    """Probes searched for among a million templates that are mapped from a file."""
    gallery = np.load(folder / "million.npy", mmap_mode="r")
    probes = directions(np.random.default_rng(1).standard_normal((2_000, SIZE))).astype(np.float32)
    used: dict[str, list[float]] = {}
    person = np.arange(len(probes))
    found = timed(used, "1:N of a million", lambda: search(probes, person, gallery, np.arange(len(gallery)), keep=200))
    assert found.mates.all()
    return {"used": used}


def make_million(folder: Path, share: float) -> None:
    """Unit vectors in a file."""
    rng = np.random.default_rng(2)
    gallery = np.lib.format.open_memmap(folder / "million.npy", "w+", np.float32, (int(MILLION * share), SIZE))
    for at in range(0, len(gallery), 1 << 14):
        gallery[at : at + (1 << 14)] = directions(rng.standard_normal(gallery[at : at + (1 << 14)].shape))
    gallery.flush()


SIDES = {"ours": ours, "plain": plain_numpy, "million": million}


def run_side(side: str, folder: Path) -> dict[str, Any]:
    """One side in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.ijb_scale", "--side", side, "--work", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True)
    return json.loads((folder / f"{side}.json").read_text())


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--share", type=float, default=1.0, help="of all sizes, to see that it runs")
    options.add_argument("--work", type=Path, help="folder for 4 GB of features; made, and deleted at the end")
    options.add_argument("--side", choices=SIDES, help="run one side on the set in --work")
    chosen = options.parse_args()
    if chosen.side:
        (chosen.work / f"{chosen.side}.json").write_text(json.dumps(SIDES[chosen.side](chosen.work)))
        return
    work = chosen.work or Path(tempfile.mkdtemp(prefix="ijb-scale-"))
    work.mkdir(parents=True, exist_ok=True)
    try:
        make(work, chosen.share)
        found, rival = run_side("ours", work), run_side("plain", work)
        for name in ("plain.npy", "mirrored.npy"):
            os.unlink(work / name)
        make_million(work, chosen.share)
        streamed = run_side("million", work)
    finally:
        shutil.rmtree(work)
    sizes = f"{int(FACES * chosen.share):,} faces, {int(PAIRS * chosen.share):,} pairs"
    columns = ("part", "here, s", "plain NumPy, s", "times as fast", "here, peak GiB", "plain NumPy, peak GiB")
    report = Report("ijb_scale", f"IJB-C's protocols on {sizes}, {SIZE} random numbers a face.", columns)
    for part in PARTS:
        _add(report, part, found["used"][part], rival["used"][part])
    both = [
        [sum(side["used"][part][0] for part in PARTS), max(side["used"][part][1] for part in PARTS)]
        for side in (found, rival)
    ]
    _add(report, "all", *both)
    away = float(np.abs(np.array(found["scores"][1:]) - rival["scores"][1:]).max())
    apart = max(float(np.abs(np.subtract(found[name], rival[name])).max()) for name in ("tar", "ranks", "tpir"))
    equal = apart <= 1.01 / int(GENUINE * chosen.share)
    seconds, peak = streamed["used"]["1:N of a million"]
    report.notes += [
        f"Scores differ by {away:.1e} at most (the scripts add float32, here float64); TAR and FAR at six targets, "
        f"ranks and TPIR by {apart:.1e}, not more than one pair: {'yes' if equal else 'NO'}.",
        f"TAR {', '.join(f'{tar:.4f}' for tar, _ in found['tar'])} at FAR {', '.join(f'{far:g}' for far in FARS)}; "
        f"rank 1 {found['ranks'][0]:.4f}, TPIR {', '.join(f'{tpir:.4f}' for tpir in found['tpir'])}.",
        f"2,000 probes in a gallery of {int(MILLION * chosen.share):,} mapped templates (float32): {seconds:.0f} s, "
        f"{peak:.2f} GiB at most.",
        f"Memory is the most that the process has of its own during a part, looked at every {SAMPLE_SECONDS} s: lists, "
        "libraries and what earlier parts left included, pages of mapped features not.",
    ]
    report.write(chosen.results)
    if not equal:
        raise SystemExit("The numbers differ from those of plain NumPy.")


def _add(report: Report, part: str, here: list[float], there: list[float]) -> None:
    cells = (f"{here[0]:.1f}", f"{there[0]:.1f}", f"{there[0] / here[0]:.1f}", f"{here[1]:.2f}", f"{there[1]:.2f}")
    report.add(part, *cells)


if __name__ == "__main__":
    main()
