"""The published embedders: where their weights come from, under which licence, and the model card that belongs to each.

A name is chosen by the user; a file on disk is recognised by its SHA-256 alone, never by its name.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from faceverify.errors import UserError
from faceverify.models.card import ModelCard

_HUB = "https://huggingface.co/minchul"
_ADAFACE_LICENCE = "MIT (code and weights); the training data ({data}) are for research only"


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A published weights file."""

    card: ModelCard
    """How it is fed; `card.sha256` is null where no hash has been published or measured."""
    file_name: str
    """Name of the file at its source."""
    url: str | None
    """Direct https address; null if it has to be fetched by hand."""


def get(name: str) -> Published:
    """Return the entry of that name.

    Raises:
        UserError: if there is none.
    """
    if name not in entries():
        raise UserError(f"There is no published model '{name}'; `python -m ray_jobs.models list` shows them all.")
    return entries()[name]


def known(sha256: str) -> ModelCard | None:
    """Return the card of the file with this SHA-256, None if the file is unknown."""
    return next((entry.card for entry in entries().values() if entry.card.sha256 == sha256), None)


@cache
def entries() -> dict[str, Published]:
    """All published models by name, in the order in which they are listed."""
    every = [_mobilefacenet_y1(), _mobilefacenet_foamliu(), *_adaface_originals(), *_adaface_hub(), *_adaface_onnx()]
    return {entry.card.name: entry for entry in every}


def _mobilefacenet_y1() -> Published:
    card = ModelCard(
        name="mobilefacenet_y1",
        architecture="mobilefacenet_y1",
        colour="RGB",
        mean=(0.0, 0.0, 0.0),  # (x - 127.5) / 128 is the first step of the graph itself
        std=(1.0, 1.0, 1.0),
        dim=128,
        sha256="7cab49a91805fef2bd4b00cf9fa43fc14c11eec2913a4797af7e917deaaf3a33",
        source="deepinsight/insightface model zoo, MobileFaceNet y1 (ArcFace), converted from MXNet",
        licence="non-commercial research only",
        notes="The graph subtracts 127.5 and divides by 128 itself.",
    )
    return Published(card=card, file_name="mobilefacenet_y1.onnx", url=None)


def _mobilefacenet_foamliu() -> Published:
    card = ModelCard(
        name="mobilefacenet_foamliu",
        architecture="mobilefacenet",
        colour="RGB",
        mean=(123.675, 116.28, 103.53),  # 255 x (.485, .456, .406)
        std=(58.395, 57.12, 57.375),  # 255 x (.229, .224, .225)
        dim=128,
        sha256="90a00ba1d8b0b688af3deb731ed53dca582e6106805d1bc3cfdef55f570493f4",
        source="github.com/foamliu/MobileFaceNet, weights/mobilefacenet.pt",
        licence="Apache-2.0",
    )
    commit = "a6cc9032a659b615f477833e1a70b5e7931bcccc"
    url = f"https://github.com/foamliu/MobileFaceNet/raw/{commit}/weights/mobilefacenet.pt"
    return Published(card=card, file_name="mobilefacenet.pt", url=url)


_DATA = {
    "casia": "CASIA-WebFace",
    "vgg2": "VGGFace2",
    "ms1mv2": "MS1MV2",
    "ms1mv3": "MS1MV3",
    "webface4m": "WebFace4M",
    "webface12m": "WebFace12M",
}
_ADAFACE = (
    ("ir18", "casia"),
    ("ir18", "vgg2"),
    ("ir18", "webface4m"),
    ("ir50", "casia"),
    ("ir50", "webface4m"),
    ("ir50", "ms1mv2"),
    ("ir101", "ms1mv2"),
    ("ir101", "ms1mv3"),
    ("ir101", "webface4m"),
    ("ir101", "webface12m"),
)


def _adaface_card(name: str, net: str, data: str, colour: Literal["RGB", "BGR"], source: str) -> ModelCard:
    return ModelCard(
        name=name,
        architecture=net.replace("ir", "ir_"),
        colour=colour,
        mean=(127.5, 127.5, 127.5),
        std=(127.5, 127.5, 127.5),
        dim=512,
        source=source,
        licence=_ADAFACE_LICENCE.format(data=_DATA[data]),
    )


def _adaface_originals() -> list[Published]:
    """Checkpoints of the authors' repository: BGR; linked to a file-sharing site, so fetched by hand."""
    found = []
    for net, data in _ADAFACE:
        name = f"adaface_{net}_{data}"
        source = f"github.com/mk-minchul/AdaFace, README, {name}.ckpt"
        found.append(Published(card=_adaface_card(name, net, data, "BGR", source), file_name=f"{name}.ckpt", url=None))
    return found


def _adaface_hub() -> list[Published]:
    """The CVLface copies of the same training runs: RGB."""
    found = []
    for net, data in _ADAFACE:
        name = f"cvlface_adaface_{net}_{data}"
        source = f"huggingface.co/minchul/{name}, model.safetensors"
        card = _adaface_card(name, net, data, "RGB", source)
        url = f"{_HUB}/{name}/resolve/main/model.safetensors"
        found.append(Published(card=card, file_name="model.safetensors", url=url))
    return found


def _adaface_onnx() -> list[Published]:
    """ONNX graphs that yakhyo/adaface-onnx made of the original checkpoints: BGR, without the norm."""
    found = []
    for net, file_name, data in (
        ("ir18", "adaface_ir_18.onnx", "webface4m"),
        ("ir101", "adaface_ir_101.onnx", "webface12m"),
    ):
        source = f"github.com/yakhyo/adaface-onnx, release weights, {file_name}"
        card = _adaface_card(f"adaface_onnx_{net}_{data}", net, data, "BGR", source)
        card = replace(card, notes="BatchNorm is folded into the convolutions.")
        url = f"https://github.com/yakhyo/adaface-onnx/releases/download/weights/{file_name}"
        found.append(Published(card=card, file_name=file_name, url=url))
    return found
