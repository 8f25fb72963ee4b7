"""How a file was saved tells fakes from real photos, unless both are stored again alike (`fakes --recode`).

A ridge classifier on the energies of fine patterns learns from half of the people and is judged on the other half: as
the files are, and after one more JPEG save of all of them. What it loses by the save was never in the face.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from benchmarks.harness import Report, parser, require, run_job
from benchmarks.verification import aligners
from faceverify.align.crops import ARCFACE
from faceverify.align.cutting import cut
from faceverify.evaluation.metrics import auc, sort_scores
from faceverify.fakes.audit import found_face
from faceverify.fakes.photo_pool import with_landmarks
from faceverify.images import decode, encode_jpeg
from faceverify.inputs import stream_table, table_files
from faceverify.models.detail import Energies
from faceverify.storage import open_location

GENERATORS = ("self_blend", "landmark_swap")
SAVES = {"as the files are": None, "one more JPEG, quality 95": 95, "one more JPEG, quality 75": 75}
REFUSED = 0.02  # of real photos, where the share of fakes caught is read
PENALTY = 30.0


def table(run: Path, name: str) -> pa.Table:
    """A table of a job's output."""
    return pa.concat_tables(stream_table(table_files(open_location(str(run)), name)))


def features(rows: Sequence[dict[str, Any]], quality: int | None) -> np.ndarray:
    """[N, D] float32: log energies of the 112x112 crop in 14x14 fields, of files that are saved once more before."""
    network, found = Energies(), []
    for row in rows:
        pixels = decode(Path(row["uri"]).read_bytes())
        if quality is not None:
            pixels = decode(encode_jpeg(pixels, quality))
        crop = cut(pixels, found_face(np.array(row["landmarks"], np.float32).reshape(5, 2)), ARCFACE)
        with torch.inference_mode():
            maps = network((torch.from_numpy(crop).permute(2, 0, 1)[None].float() - 127.5) / 127.5)
            found.append(torch.nn.functional.avg_pool2d(maps, 2).flatten().numpy())
    return np.stack(found)


class Ridge:
    """A linear classifier with a quadratic penalty, fitted in the space of the samples; classes weigh the same."""

    def __init__(self, x: np.ndarray, is_fake: np.ndarray) -> None:
        self.mean, self.spread = x.mean(axis=0), x.std(axis=0) + 1e-3
        self.x = self._scaled(x)
        weight = np.where(is_fake, 0.5 / is_fake.mean(), 0.5 / (1 - is_fake.mean()))
        kernel = (self.x @ self.x.T).astype(np.float64) / self.x.shape[1] + 1  # 1: the constant term
        target = np.where(is_fake, 1.0, -1.0)
        self.alpha = np.linalg.solve(kernel + PENALTY / len(x) * np.diag(1 / weight), target)

    def _scaled(self, x: np.ndarray) -> np.ndarray:
        return ((x - self.mean) / self.spread).astype(np.float32)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Scores [N]: larger is more like a fake."""
        return (self._scaled(x) @ self.x.T / self.x.shape[1] + 1).astype(np.float64) @ self.alpha


def rows_of(work: Path, run: Path) -> list[dict[str, Any]]:
    """Photos and fakes whose landmarks are known, in the pixels of their files."""
    photos = table(run, "photos")
    if photos["recoding"].null_count == len(photos):
        found = with_landmarks(photos, table(work / "faces", "faces").select(["photo", "landmarks"]))
        merged = pa.compute.coalesce(photos["landmarks"], found["landmarks"])
        photos = photos.set_column(photos.schema.get_field_index("landmarks"), "landmarks", merged)
    return [row for row in photos.to_pylist() if row["landmarks"] is not None]


def main() -> None:
    """Entry point."""
    chosen = parser(__doc__ or "").parse_args()
    images = chosen.data / "lfw" / "images"
    require(images, chosen.data / "models")
    columns = ("files", "judged", "generator", "fakes", "real photos", "AUC", f"caught at {REFUSED:.0%} of real photos")
    title = "A ridge classifier on fine patterns: what it catches of people it never saw."
    report = Report("storage_trace", title, columns)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        align = next(iter(aligners(chosen.data).values()))
        run_job("ingest", work / "photos", "--source", str(images), "--layout", "folders")
        run_job("align", work / "faces", "--photos", str(work / "photos"), *align)
        for name, recode in (("PNG in JPEGs (--no-recode)", "no-recode"), ("stored again alike (default)", "recode")):
            given = ("--photos", str(work / "photos"), "--faces", str(work / "faces"), f"--{recode}")
            run_job("fakes", work / recode, *given, "--generators", ",".join(GENERATORS))
            rows = rows_of(work, work / recode)
            people = sorted({row["person"] for row in rows})
            learns = set(people[::2])
            train, test = ([row for row in rows if (row["person"] in learns) == own] for own in (True, False))
            classifier = Ridge(features(train, None), np.array([row["is_fake"] for row in train]))
            for judged, quality in SAVES.items():
                scores = classifier(features(test, quality))
                real = scores[[not row["is_fake"] for row in test]]
                limit = np.quantile(real, 1 - REFUSED)
                for generator in GENERATORS:
                    fake = scores[[row["generator"] == generator for row in test]]
                    figures = (f"{auc(sort_scores(fake, real)):.3f}", f"{(fake > limit).mean():.0%}")
                    report.add(name, judged, generator, f"{len(fake):,}", f"{len(real):,}", *figures)
    report.notes += [
        f"People of `lfw/images` in turn to learn from ({len(learns)}) and to judge ({len(people) - len(learns)}).",
        "The classifier learns from the files as they are. Where all are saved once more, real photos are, too.",
    ]
    report.write(chosen.results)


if __name__ == "__main__":
    main()
