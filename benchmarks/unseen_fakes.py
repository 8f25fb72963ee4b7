"""Do own fakes teach anything about other people's programs? A ridge classifier, fakes and real photos stored again.

It learns from the job's fakes of `lfw/images` and is judged on swaps by programs that it never saw, against real photos
of the same sources. A probe: it compares what is learnt from and the crop; a trained network reaches more.
"""

import csv
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import avg_pool2d

from benchmarks.harness import Report, parser, require, run_job
from benchmarks.storage_trace import Ridge, table
from benchmarks.verification import aligners
from faceverify.align.crops import parse
from faceverify.align.cutting import cut
from faceverify.evaluation.metrics import auc, sort_scores
from faceverify.fakes.audit import found_face
from faceverify.images import decode
from faceverify.models.detail import Energies

OWN = ("landmark_swap", "self_blend", "autoencoder_swap")
LEARNT = {"blends": OWN[:2], "autoencoders": OWN[2:], "blends and autoencoders": OWN}
CROPS = {"112 pixels": ("arcface112:filter=area", 2), "256 pixels, field 1.3": ("arcface256:view=1.3,filter=area", 4)}
RESAMPLES = 300


def features(rows: Sequence[dict[str, Any]], crop: str, pool: int) -> np.ndarray:
    """[N, D] float32: log energies of the crop, in fields of `pool` maps' pixels."""
    network, wanted, found = Energies(), parse(crop), []
    for row in rows:
        face = found_face(np.array(row["landmarks"], np.float32).reshape(5, 2))
        pixels = cut(decode(Path(row["uri"]).read_bytes()), face, wanted)
        with torch.inference_mode():
            maps = network((torch.from_numpy(pixels).permute(2, 0, 1)[None].float() - 127.5) / 127.5)
            found.append(avg_pool2d(maps, pool).flatten().numpy())
    return np.stack(found)


def family(row: dict[str, str]) -> str:
    """Which photos belong together: the folder that a source came in."""
    return (
        "/".join(Path(row["path"]).parts[:-1][:2]) if row["path"].startswith("collages") else Path(row["path"]).parts[0]
    )


def stored_again(work: Path, align: list[str], sources: list[str], generators: str) -> list[dict[str, Any]]:
    """Photos and fakes of folders of people, as the job `fakes` gives them, with landmarks."""
    run_job("ingest", work / "photos", *sources)
    run_job("align", work / "faces", "--photos", str(work / "photos"), *align)
    given = ("--photos", str(work / "photos"), "--faces", str(work / "faces"))
    run_job(
        "fakes", work / "fakes", *given, "--generators", generators, "--per-person", str(2 * len(generators.split(",")))
    )
    return [row for row in table(work / "fakes", "photos").to_pylist() if row["landmarks"] is not None]


def bounds(fake: np.ndarray, groups: Sequence[str], real: np.ndarray) -> tuple[float, float]:
    """95 % interval of the AUC: claimed people are drawn, and real photos."""
    rng, by = np.random.default_rng(0), defaultdict(list)
    for score, group in zip(fake, groups, strict=True):
        by[group].append(score)
    names, values = list(by), []
    for _ in range(RESAMPLES):
        drawn = np.concatenate([by[names[i]] for i in rng.integers(len(names), size=len(names))])
        values.append(auc(sort_scores(drawn, rng.choice(real, len(real)))))
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def main() -> None:
    """Entry point."""
    chosen = parser(__doc__ or "").parse_args()
    images, swaps = chosen.data / "lfw" / "images", chosen.data / "swaps"
    require(images, swaps, chosen.data / "models")
    columns = ("learnt from", "crop", "judged on", "fakes", "claimed people", "real photos", "AUC (95 %)")
    report = Report("unseen_fakes", "Swaps by other programs against real photos of their sources.", columns)
    with open(swaps / "swaps.csv", newline="") as file:
        listed = {row["path"]: row for row in csv.DictReader(file)}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        align = next(iter(aligners(chosen.data).values()))
        own = stored_again(work / "own", align, ["--source", str(images), "--layout", "folders"], ",".join(OWN))
        flat = ["--source", str(swaps), "--layout", "folders", "--folders.fake-pattern", "*fake_*"]
        other = [row for row in stored_again(work / "other", align, flat, "self_blend") if row["photo"] in listed]
        for crop, (text, pool) in CROPS.items():
            x, seen = features(own, text, pool), features(other, text, pool)
            for name, generators in LEARNT.items():
                kept = np.array([not row["is_fake"] or row["generator"] in generators for row in own])
                classifier = Ridge(x[kept], np.array([row["is_fake"] for row in own])[kept])
                judge(report, (name, crop), classifier(seen), [listed[row["photo"]] for row in other])
    report.notes += [
        "Real photos: hosts and sources of the same folder. All files were stored again by the job; faces by yunet.",
        "Frames of one clip are not independent: intervals draw claimed people; with few of them they say little.",
    ]
    report.write(chosen.results)


def judge(report: Report, named: tuple[str, str], scores: np.ndarray, rows: list[dict[str, str]]) -> None:
    """A row for each generator."""
    for generator in sorted({row["generator"] for row in rows if row["role"] == "fake"}):
        ours = np.array([row["generator"] == generator and row["role"] == "fake" for row in rows])
        places = {family(row) for row, own in zip(rows, ours, strict=True) if own}
        real = np.array([row["role"] != "fake" and family(row) in places for row in rows])
        if ours.sum() < 10 or real.sum() < 10:
            continue
        groups = [row["claimed"] for row, own in zip(rows, ours, strict=True) if own]
        low, high = bounds(scores[ours], groups, scores[real])
        figure = f"{auc(sort_scores(scores[ours], scores[real])):.2f} ({low:.2f} to {high:.2f})"
        counts = (f"{ours.sum()}", f"{len(set(groups))}", f"{real.sum()}")
        report.add(*named, generator, *counts, figure)


if __name__ == "__main__":
    main()
