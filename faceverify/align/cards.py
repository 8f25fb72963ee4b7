"""What the network of each alignment method is fed and what it gives: the one place where that is written down.

The preprocessing of `retinaface`, `mtcnn` and `dfa` reads its numbers here; YuNet's is inside OpenCV.
"""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from faceverify.align.crops import ARCFACE, Crop
from faceverify.align.interface import AlignConfig, Method
from faceverify.errors import UserError

Triple = tuple[float, float, float]


class Settings(NamedTuple):
    """How a method looks for faces; see the fields of `AlignConfig`."""

    min_score: float
    nms_iou: float
    detect_side: int


# What a method takes where the configuration leaves it open. dfa gives one face and always looks at 160 pixels.
OWN: dict[Method, Settings] = {
    "yunet": Settings(0.6, 0.3, 640),
    "scrfd": Settings(0.5, 0.4, 640),
    "retinaface": Settings(0.6, 0.4, 640),
    "mtcnn": Settings(0.7, 0.7, 640),
    "dfa": Settings(0.5, 0.0, 160),
}


def settings(config: AlignConfig) -> Settings:
    """What `config.method` works with: the values of `config`, and the method's own where it has -1 or 0."""
    own = OWN[config.method]
    return Settings(
        own.min_score if config.min_score == -1 else config.min_score,
        own.nms_iou if config.nms_iou == -1 else config.nms_iou,
        config.detect_side or own.detect_side,
    )


def look_side(config: AlignConfig, crops: tuple[Crop, ...]) -> int:
    """Longer side in pixels of the copy in which faces are looked for: no more of a photo is decoded to find them.

    0 = all of it: where no network looks, where it skips pixels as published (dfa), and where the crop does (bilinear).
    """
    if config.method not in OWN or config.method == "dfa" or any(crop.filter == "bilinear" for crop in crops):
        return 0
    return settings(config).detect_side


def crops_for(config: AlignConfig, *wanted: Crop) -> tuple[Crop, ...]:
    """The crops that `config` cuts where networks want these.

    Raises:
        UserError: the method cannot: names the crop, and the methods that can.
    """
    for crop in wanted:
        if crop.template == "box" and config.method not in (*_WITH_BOXES, "none"):
            raise UserError(
                f"align.method is {config.method}, which finds no box, but the crop is '{crop}': take one of "
                f"{', '.join(_WITH_BOXES)}."
            )
        if config.method == "dfa" and config.crop_from == "network" and crop != ARCFACE:
            raise UserError(
                f"align.crop_from is network, which gives the crop '{ARCFACE}' alone, not '{crop}': set it to original."
            )
    return tuple(replace(crop, filter="bilinear") if config.filter == "bilinear" else crop for crop in wanted)


_WITH_BOXES = ("yunet", "scrfd", "retinaface", "mtcnn")


@dataclass(frozen=True, kw_only=True, slots=True)
class AlignerCard:
    """Needs and output of a method. Network input = (pixel - mean) / std, pixel in 0..255."""

    method: Method
    colour: Literal["RGB", "BGR"] | None
    """Order of the network's three input channels; None where there is no network."""
    mean: Triple = (0.0, 0.0, 0.0)
    """Subtracted from each channel, in the order of `colour`."""
    std: Triple = (1.0, 1.0, 1.0)
    """Divides each channel afterwards, in the order of `colour`."""
    input_size: str
    """Height x width that the network takes, in words."""
    weights: str
    """The file or files that `align.weights` names."""
    output: str
    """What the method gives for one photo."""

    def __str__(self) -> str:
        fed = "no network"
        if self.colour:
            fed = f"{self.colour}, {_arithmetic(self.mean, self.std)}"
        return f"{self.method}: {fed}, size {self.input_size}; gives {self.output}; weights: {self.weights}"


def card(method: Method) -> AlignerCard:
    """The card of a method."""
    return _CARDS[method]


def _arithmetic(mean: Triple, std: Triple) -> str:
    """What is done to a pixel x, without what changes nothing."""
    moved = "x" if set(mean) == {0.0} else f"x - {_short(mean)}"
    if set(std) == {1.0}:
        return f"{moved} as it is" if moved == "x" else moved
    return f"{moved if moved == 'x' else f'({moved})'} / {_short(std)}"


def _short(values: Triple) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else "(" + ", ".join(f"{value:g}" for value in values) + ")"


_FACES = "any number of faces: box, five landmarks, score"
_CARDS: dict[Method, AlignerCard] = {
    item.method: item
    for item in (
        AlignerCard(
            method="yunet",
            colour="BGR",
            input_size="any, padded to multiples of 32",
            weights="one ONNX file",
            output=_FACES,
        ),
        AlignerCard(
            method="scrfd",
            colour="RGB",
            mean=(127.5, 127.5, 127.5),
            std=(128.0, 128.0, 128.0),
            input_size="640x640, the photo top-left on zeros",
            weights="one ONNX file",
            output=_FACES,
        ),
        AlignerCard(
            method="retinaface",
            colour="BGR",
            mean=(104.0, 117.0, 123.0),
            input_size="any",
            weights="one state dict (.pth, .pt, .safetensors)",
            output=_FACES,
        ),
        AlignerCard(
            method="mtcnn",
            colour="RGB",
            mean=(127.5, 127.5, 127.5),
            std=(128.0, 128.0, 128.0),
            input_size="any, as a pyramid of reduced copies",
            weights="a folder with three state dicts (*pnet.pt, *rnet.pt, *onet.pt)",
            output=_FACES,
        ),
        AlignerCard(
            method="dfa",
            colour="BGR",
            mean=(127.5, 127.5, 127.5),
            std=(127.5, 127.5, 127.5),
            input_size="160x160, the photo centred on a black square",
            weights="one state dict (.safetensors, .pt)",
            output="always one face: crop, landmarks, box, and a score that is low where there is none",
        ),
        AlignerCard(
            method="annotated",
            colour=None,
            input_size="any",
            weights="none",
            output="the face at the landmarks of the photos table",
        ),
        AlignerCard(
            method="none",
            colour=None,
            input_size="square",
            weights="none",
            output="the photo itself at 112x112",
        ),
    )
}
