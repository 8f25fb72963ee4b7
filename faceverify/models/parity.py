"""Whether an exported network is still the network: unit embeddings number by number, and the EER over pairs of faces.

All is compared on the CPU, where PyTorch and ONNX Runtime compute in full float32: GPUs round its products (TF32).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from faceverify.align.crops import Crop
from faceverify.align.found import AlignedFace
from faceverify.errors import PlatformError
from faceverify.evaluation.metrics import equal_error_rate, sort_scores
from faceverify.models.architectures import WITH_DETAIL
from faceverify.models.card import ModelCard
from faceverify.models.engine_config import EngineConfig
from faceverify.models.engines import Engine

CPU = EngineConfig(provider="cpu")
BATCHES = (1, 3, 8)
DRAWN_FACES = 8
FACES_AT_A_TIME = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Tolerance:
    """How far an exported network may be from PyTorch's.

    deviation: of any number of a unit embedding; eer: of the EER, as a share, unless one pair weighs more;
    advice: what to do where that is not kept; half: whether it is of float16.
    """

    deviation: float
    eer: float
    advice: str
    half: bool = False

    def of_eer(self, fewest: int) -> float:
        """Largest EER difference allowed over pairs whose rarer class has `fewest`; at least that of one pair."""
        return max(self.eer, 1 / fewest) if self.eer else 0.0


FLOAT32 = Tolerance(deviation=1e-5, eer=0.0, advice="nothing of it was kept")
# The branch `detail` takes small differences of large numbers, and suppresses a photo near its threshold in part:
# 3.1e-5 over 4,378 faces of LFW, after configs/detail.yaml; a layer that is lost shows as much as ever.
FLOAT32_DETAIL = replace(FLOAT32, deviation=1e-4)
# Measured with a rounding after every step, largest of all numbers: MobileFaceNet (foamliu) 1.6e-3 over 1,549 photos of
# LFW (128 numbers, so each is large), IR-18 6e-4, IR-50 9e-4, IR-101 1.0e-3 with statistics of real faces. A graph that
# overflows or loses a layer is out by 1e-1 or is not a number.
FLOAT16 = Tolerance(
    deviation=5e-3,
    eer=1e-3,
    advice="nothing of it was kept; leave float16 out (half: false) for this network",
    half=True,
)


# For a photo that the branch suppresses, differences of the embedding are four times as large: 8.2e-3 over
# the same faces.
FLOAT16_DETAIL = replace(FLOAT16, deviation=1e-2)


def float32_of(card: ModelCard) -> Tolerance:
    """What is allowed of a float32 file of the card's network."""
    return FLOAT32_DETAIL if card.architecture.endswith(WITH_DETAIL) else FLOAT32


def float16_of(card: ModelCard) -> Tolerance:
    """What is allowed of a float16 file of the card's network."""
    return FLOAT16_DETAIL if card.architecture.endswith(WITH_DETAIL) else FLOAT16


@dataclass(frozen=True, eq=False)
class PairFaces:
    """Pairs to compare the EER on: faces [N, H, W, 3] uint8 RGB; a, b [P] places in `faces`; label [P] 1 or 0."""

    faces: np.ndarray
    a: np.ndarray
    b: np.ndarray
    label: np.ndarray

    @property
    def fewest(self) -> int:
        """Number of pairs of the rarer class."""
        genuine = int(self.label.sum())
        return min(genuine, len(self.label) - genuine)

    def eer(self, units: np.ndarray) -> float:
        """The equal error rate of unit embeddings [N, D] of the faces."""
        similarity = np.einsum("nd,nd->n", units[self.a], units[self.b])
        return equal_error_rate(sort_scores(similarity[self.label == 1], similarity[self.label == 0])).eer


def proof_faces(card: ModelCard) -> list[np.ndarray]:
    """Batches [n, H, W, 3] uint8 of several sizes: noise, and drawn faces if the network takes aligned ones."""
    rng = np.random.default_rng(0)
    batches = [rng.integers(0, 256, (count, *card.input_size, 3), dtype=np.uint8) for count in BATCHES]
    height, width = card.input_size
    aligned = height == width and card.shown.template == "arcface"
    return [*batches, _drawn_faces(card.shown)] if aligned else batches


def _drawn_faces(crop: Crop) -> np.ndarray:
    from faceverify.align import AlignConfig
    from faceverify.align import build as build_aligner
    from faceverify.rendered import RenderedConfig, render_photo

    config = RenderedConfig(persons=DRAWN_FACES, photo_size=128)
    drawn = [render_photo(config, person, 0) for person in range(DRAWN_FACES)]
    photos, landmarks = zip(*drawn, strict=True)
    aligned = build_aligner(AlignConfig(method="annotated")).align(list(photos), list(landmarks), crop)
    return np.stack([face.image for face in aligned if isinstance(face, AlignedFace)])


def unit_embeddings(engine: Engine, faces: np.ndarray, report: Callable[[int], None] = lambda _: None) -> np.ndarray:
    """Embeddings [N, D] float64 of length 1, in the order of the faces; NaN where there is no direction.

    Args:
        engine: the embedder.
        faces: [N, H, W, 3] uint8 RGB.
        report: called with the number of faces that were done since the last call.
    """
    parts = []
    for start in range(0, len(faces), FACES_AT_A_TIME):
        parts.append(engine.embed(faces[start : start + FACES_AT_A_TIME]).astype(np.float64))
        report(len(parts[-1]))
    embeddings = np.concatenate(parts)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Not `vectors.unit`: in float64 to the end, and NaN where there is no direction, which no tolerance allows.
        return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def check_deviation(what: str, ours: list[np.ndarray], reference: list[np.ndarray], tolerance: Tolerance) -> float:
    """The largest difference of two networks' unit embeddings.

    Args:
        what: the exported network, for the message.
        ours: its unit embeddings, batch by batch.
        reference: PyTorch's.
        tolerance: what is allowed.

    Raises:
        PlatformError: it is not allowed, or is not a number.
    """
    worst = float(np.max([np.abs(one - other).max() for one, other in zip(ours, reference, strict=True)]))
    if worst <= tolerance.deviation:
        return worst
    why = ": numbers beyond 65,504 do not exist in float16" if tolerance.half and np.isnan(worst) else ""
    raise PlatformError(
        f"{what} gives other embeddings than PyTorch (unit embeddings deviate by {worst:.1e}{why}; allowed are "
        f"{tolerance.deviation:.0e}); {tolerance.advice}."
    )


def check_eer(what: str, ours: float, reference: float, fewest: int, tolerance: Tolerance) -> None:
    """Compare two EERs over the same pairs, of which the rarer class has `fewest`.

    Raises:
        PlatformError: they differ by more than is allowed.
    """
    allowed = tolerance.of_eer(fewest)
    if not abs(ours - reference) <= allowed + 1e-9:  # the slack is for the last digit of a difference, not for a pair
        raise PlatformError(
            f"{what} has an EER of {ours:.3%}, PyTorch has {reference:.3%} on the same pairs (allowed is a difference "
            f"of {allowed:.3%}); {tolerance.advice}."
        )
