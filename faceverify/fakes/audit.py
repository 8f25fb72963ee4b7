"""What fakes are worth: do they look like the person, how much of the photo is new, is the face as sharp as the rest.

A fake that fools no recogniser teaches nothing, and one that changes nothing is a real photo under a fake's label.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pyarrow as pa

from faceverify.align import AlignConfig, FoundFace
from faceverify.align.cards import crops_for
from faceverify.align.cutting import cut
from faceverify.align.geometry import fit_similarity
from faceverify.fakes import FaceInput, Fake
from faceverify.models import EngineConfig, load_engine
from faceverify.vectors import unit

MEASURED = pa.schema(
    [
        ("similarity_person", pa.float32()),  # cosine to another photo of the person, or else to the source
        ("similarity_host", pa.float32()),  # cosine to the host's photo
        (
            "pixels_changed",
            pa.float32(),
        ),  # share of the host's (or source's) pixels; null where all of the photo is new
        ("sharpness", pa.float32()),  # log2 of the new face's detail over that of its surroundings
    ]
)
_RING = 0.2  # of the box's longer side: how wide the surroundings are


class Recogniser:
    """Embeddings of faces whose landmarks are known."""

    def __init__(self, model: str, engine: EngineConfig) -> None:
        self.engine = load_engine(model, engine)
        [self.crop] = crops_for(AlignConfig(method="annotated"), self.engine.card.shown)

    def embed(self, faces: Sequence[FaceInput]) -> np.ndarray:
        """[N, D] float32, not normalised, of N faces: each aligned to the crop that the network is shown."""
        crops = [cut(face.image, found_face(face.landmarks), self.crop) for face in faces]
        return self.engine.embed(np.stack(crops))

    def cosines(self, fake: FaceInput, others: Sequence[FaceInput]) -> list[float]:
        """Cosine of a fake to each of some photos."""
        first, *rest = unit(self.embed([fake, *others]))
        return [float(first @ one) for one in rest]


def found_face(landmarks: np.ndarray) -> FoundFace:
    """A face that is known by its landmarks [5, 2] alone."""
    return FoundFace(landmarks, None, None, to_arcface=fit_similarity(landmarks[None])[0])


def pixels_changed(fake: Fake, before: np.ndarray) -> float | None:
    """Share of the pixels of `before` [H, W, 3] that the fake changed by one level or more; None where all is new."""
    if fake.box is None or fake.image.shape != before.shape:
        return None
    return float((fake.image != before).any(axis=2).mean())


def sharpness(fake: Fake) -> float | None:
    """log2 of the mean absolute Laplacian of brightness in the new face over that around it; None where all is new.

    0 is as sharp as the surroundings, -1 half as sharp.
    """
    if fake.box is None or fake.mask is None:
        return None
    x0, y0, x1, y1 = fake.box
    reach = int(_RING * max(x1 - x0, y1 - y0))
    height, width = fake.image.shape[:2]
    left, top, right, bottom = max(0, x0 - reach), max(0, y0 - reach), min(width, x1 + reach), min(height, y1 + reach)
    grey = cv2.cvtColor(fake.image[top:bottom, left:right], cv2.COLOR_RGB2GRAY).astype(np.float32)
    detail = np.abs(cv2.Laplacian(grey, cv2.CV_32F, ksize=1))
    share = np.zeros(grey.shape, np.float32)
    share[y0 - top : y1 - top, x0 - left : x1 - left] = fake.mask
    inside, outside = detail[share > 0.9], detail[share == 0]
    if not len(inside) or not len(outside):
        return None
    return float(np.log2((inside.mean() + 0.1) / (outside.mean() + 0.1)))


@dataclass(frozen=True, slots=True)
class Audit:
    """The fakes of one generator.

    Args:
        generator: its name.
        fakes: how many there are.
        judged: how many have a similarity.
        accepted: of these at the threshold; None without one.
        person, host: mean cosines; None where there are none.
        changed: median share of pixels.
        sharpness: 5 %, 50 % and 95 % of them.
    """

    generator: str
    fakes: int
    judged: int
    accepted: int | None
    person: float | None
    host: float | None
    changed: float | None
    sharpness: tuple[float, float, float] | None

    def __str__(self) -> str:
        told = [f"{self.generator}:"]
        if self.person is not None:
            told.append(f"cosine to the person {self.person:.2f}")
            told += [f"to the host {self.host:.2f}"] if self.host is not None else []
        if self.accepted is not None:
            told.append(f"{self.accepted:,} of {self.judged:,} accepted as the person")
        if self.changed is not None:
            told.append(f"{self.changed:.1%} of pixels changed")
        return told[0] + " " + ", ".join(told[1:]) if told[1:] else ""


def audits(pieces: Iterable[pa.Table], threshold: float | None) -> list[Audit]:
    """The audit of each generator.

    Args:
        pieces: rows of fakes, columns `generator` and MEASURED.
        threshold: cosine from which the recogniser accepts.
    """
    table = pa.concat_tables(pieces)
    found = []
    for name in sorted(table["generator"].unique().to_pylist()):
        rows = table.filter(pa.compute.equal(table["generator"], name))
        person, host, changed, sharp = (rows[field].drop_null().to_numpy() for field in MEASURED.names)
        found.append(
            Audit(
                generator=name,
                fakes=rows.num_rows,
                judged=len(person),
                accepted=None if threshold is None or not len(person) else int((person >= threshold).sum()),
                person=_mean(person),
                host=_mean(host),
                changed=float(np.median(changed)) if len(changed) else None,
                sharpness=tuple(np.quantile(sharp, (0.05, 0.5, 0.95)).tolist()) if len(sharp) else None,
            )
        )
    return found


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean(dtype=np.float64)) if len(values) else None
