"""A forensic model that runs: crops of faces in, a score per photo out."""

from pathlib import Path

import numpy as np

from faceverify.align.crops import Crop
from faceverify.errors import UserError
from faceverify.forensics.bands import EYES_112
from faceverify.forensics.card import ForensicCard, card_of
from faceverify.models.engine_config import EngineConfig
from faceverify.models.engines import CPU_BATCH, feed

FILE = "model.onnx"  # of a run of the job forensic
_EDGE = 1e-6  # of a probability, whose log-odds are taken
LARGEST = 30.0
"""Scores lie between -LARGEST and LARGEST."""


class ForensicModel:
    """A loaded forensic model.

    Attributes:
        card: what it is; `card.digest` names it in tables.
        crop: what it is shown of a photo.
        provider: what it runs on, for people.
    """

    def __init__(self, path: Path, config: EngineConfig) -> None:
        from faceverify.models import onnx_file
        from faceverify.models.engine_onnx import PROVIDERS, require_tried, start

        self.card = card_of(path)
        self.crop: Crop = self.card.shown
        require_tried(path, "forensic")
        self._session = start(onnx_file.read(path), path, config, self.card.digest)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 + self.card.takes_scale or len(inputs[0].shape) != 4 or len(outputs) != 1:
            seen = ", ".join(f"{one.name} {one.shape}" for one in (*inputs, *outputs))
            raise UserError(
                f"forensic: {path} has {seen}, but its card says {1 + self.card.takes_scale} input(s), pictures "
                "[N, 3, H, W] first, and one output: correct the card (takes_scale), or export the network again."
            )
        self._inputs = [one.name for one in inputs]
        on_cpu = self._session.get_providers()[0] == PROVIDERS["cpu"]
        self._batch = min(config.batch_size, CPU_BATCH) if on_cpu else config.batch_size
        self.provider = f"onnxruntime {self._session.get_providers()[0]}"

    def scores(self, crops: np.ndarray, eyes: np.ndarray) -> np.ndarray:
        """How much each photo looks manipulated.

        Args:
            crops: [N, H, W, 3] uint8 RGB, cut out as `crop` says; N may be 0.
            eyes: [N] eye distances in pixels of the photo (`bands.eye_distance`).

        Returns:
            [N] float32 log-odds, -30 to 30; higher = rather manipulated. They order photos; they are no probability of
            anything, for what share of photos is fake differs from place to place. NaN where the network gives one.

        Raises:
            UserError: the crops have another size or type, or the network gives another number of values.
        """
        if crops.dtype != np.uint8 or crops.shape[1:] != (*self.card.input_size, 3):
            height, width = self.card.input_size
            raise UserError(
                f"forensic model '{self.card.name}' takes uint8 crops of {height}x{width}x3, not {crops.dtype} of "
                f"{'x'.join(map(str, crops.shape[1:]))}."
            )
        found = [
            self._run(crops[start : start + self._batch], eyes[start : start + self._batch])
            for start in range(0, len(crops), self._batch)
        ]
        return np.concatenate(found) if found else np.zeros(0, np.float32)

    def _run(self, crops: np.ndarray, eyes: np.ndarray) -> np.ndarray:
        given = [feed(crops, self.card.colour, self.card.mean, self.card.std)]
        if self.card.takes_scale:
            given.append(scale_of(eyes, self.crop)[:, None])
        out = np.asarray(self._session.run(None, dict(zip(self._inputs, given, strict=True)))[0], np.float32)
        columns = 2 if self.card.output == "two_log_odds" else 1
        if out.size != columns * len(crops):
            raise UserError(
                f"forensic model '{self.card.name}' gives {list(out.shape)} for {len(crops)} photos, which is not what "
                f"its card says (output: {self.card.output}): correct the card."
            )
        return log_odds(out.reshape(len(crops), columns), self.card)


def forensic_file(model: str) -> Path:
    """The ONNX file that a user names: itself, or `model.onnx` of a run's folder; one in S3 is copied to the cache.

    Raises:
        UserError: there is none.
    """
    from faceverify.models.loading import from_storage

    name = model.rstrip("/")
    if "://" in name:
        return from_storage(name if name.endswith(".onnx") else f"{name}/{FILE}")
    path = Path(name).expanduser()
    if path.is_dir():
        path = path / FILE
    if not path.is_file():
        raise UserError(
            f"forensic: there is no model '{model}'; give an ONNX file, or the output folder of `forensic`."
        )
    return path


def scale_of(eyes: np.ndarray, crop: Crop) -> np.ndarray:
    """log2 [N] float32 of the crop's pixels per pixel of the photo, of faces with eye distances [N]."""
    in_crop = EYES_112 * crop.size / 112 / crop.view
    return np.log2(in_crop / np.asarray(eyes, np.float32)).astype(np.float32)


def log_odds(out: np.ndarray, card: ForensicCard) -> np.ndarray:
    """Scores [N] from what a network gives [N, 1 or 2], as its card says it is to be read."""
    if card.output == "two_log_odds":
        score = out[:, card.fake] - out[:, 1 - card.fake]
    else:
        score = out[:, 0]
        if card.output == "probability":
            inside = np.clip(score.astype(np.float64), _EDGE, 1 - _EDGE)
            score = (np.log(inside) - np.log1p(-inside)).astype(np.float32)
        score = score if card.fake else -score
    return np.clip(score, -LARGEST, LARGEST).astype(np.float32)
