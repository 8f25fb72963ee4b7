"""The model card: the input format that a face embedder needs, and the output that it gives.

The card is a JSON file beside the weights (`<file>.card.json`) or the value of the key `faceverify.card` in the
metadata of an ONNX file. Colour order, mean, deviation and input size are read from it and from nowhere else.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from faceverify.align.crops import Crop
from faceverify.align.crops import parse as parse_crop
from faceverify.errors import UserError

METADATA_KEY = "faceverify.card"
MAX_BYTES = 1 << 20
_SHOWN_FAULTS = 12
# What networks are fed: pixels themselves, perhaps less their mean; or numbers about as large as those that
# (pixel - 127.5) / 127.5 or ImageNet's mean and deviation give, -1 to 1 and -2.1 to 2.6.
_LARGEST, _SMALLEST_SPREAD = 8.0, 0.2

_SELDOM = ("crop", "unusual_scale")

Level = Annotated[float, Field(allow_inf_nan=False, ge=-1e4, le=1e4)]
Deviation = Annotated[float, Field(allow_inf_nan=False, gt=0, le=1e4)]
Side = Annotated[int, Field(ge=16, le=1024)]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCard:
    """What an embedder needs to be fed and what it gives. Network input = (pixel - mean) / std, pixel in 0..255."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, Field(min_length=1, max_length=200)]
    """Name for people; it identifies nothing."""
    architecture: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    """A network of `faceverify.models.architectures` (`ir_101`, `arcface_r50`, ...), or for an ONNX graph any word."""
    input_size: tuple[Side, Side] = (112, 112)
    """Height and width in pixels."""
    layout: Literal["NCHW"] = "NCHW"
    """Axis order of the network input."""
    colour: Literal["RGB", "BGR"]
    """Order of the three input channels."""
    mean: tuple[Level, Level, Level]
    """Subtracted from each channel, in 0..255, in the order of `colour`."""
    std: tuple[Deviation, Deviation, Deviation]
    """Divides each channel afterwards, in 0..255, in the order of `colour`."""
    dim: Annotated[int, Field(ge=2, le=65536)]
    """Length of the embedding."""
    output: Literal["raw"] = "raw"
    """The embedding is not normalised; its length is kept for quality."""
    norm_output: bool = False
    """Whether the file is an ONNX graph with a second output `norm` [N, 1]."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """SHA-256 of the weights file; null inside an ONNX file, which cannot hold its own."""
    source: str = ""
    """Where the weights come from."""
    licence: str = ""
    """Licence of the weights and of the data they were trained on."""
    notes: str = ""
    """Anything else a person should know."""
    crop: Annotated[str, Field(max_length=200)] | None = None
    """What the network is shown of a photo (`faceverify.align.crops`); null: the ArcFace crop of `input_size`."""
    unusual_scale: bool = False
    """Whether `mean` and `std` are meant although they feed numbers that networks are not fed (`check_scale`)."""

    def __post_init__(self) -> None:
        # 127 and 127.0 are one number, so they must give one digest.
        object.__setattr__(self, "mean", tuple(map(float, self.mean)))
        object.__setattr__(self, "std", tuple(map(float, self.std)))

    @property
    def shown(self) -> Crop:
        """The crop that the network is shown.

        Raises:
            UserError: the card's crop is none, or has not the network's input size.
        """
        height, width = self.input_size
        crop = parse_crop(self.crop or f"arcface{height}")
        if (crop.size, crop.size) != (height, width):
            raise UserError(
                f"model '{self.name}' takes pictures of {width}x{height}, but the crop of its card is '{crop}': "
                "correct the card (crop, input_size)."
            )
        return crop

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON (sorted keys, no spaces): the name of this embedder in tables."""
        feeds = {name: value for name, value in asdict(self).items() if name != "unusual_scale"}  # changes nothing
        if self.crop is None:  # as in cards that are older than this field
            del feeds["crop"]
        return hashlib.sha256(json.dumps(feeds, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def to_json(self) -> str:
        """Return the card as indented JSON, fields in the order above; the last two only where they are set."""
        fields = {name: value for name, value in asdict(self).items() if name not in _SELDOM or value}
        return json.dumps(fields, indent=2) + "\n"


@cache
def _adapter() -> TypeAdapter[ModelCard]:
    return TypeAdapter(ModelCard)


def parse(text: str | bytes, where: str) -> ModelCard:
    """Read a card from JSON; unknown keys, wrong types and values out of range are refused.

    Args:
        text: the JSON.
        where: the file it came from, for the message.

    Raises:
        UserError: names every faulty field at once (of many the first ones).
    """
    if len(text) > MAX_BYTES:
        raise UserError(f"The model card {where} has {len(text):,} bytes; cards have {MAX_BYTES:,} at most.")
    try:
        return _adapter().validate_json(text)
    except ValidationError as error:
        raise UserError(f"The model card {where} is not valid: {faults_of(error)}.") from error


def faults_of(error: ValidationError) -> str:
    """The faults of a card in one line: each with its field, of many the first ones."""
    every = error.errors(include_url=False, include_context=False, include_input=False)
    faults = [f"{_place(e['loc'])}: {e['msg'][:200]}" for e in every[:_SHOWN_FAULTS]]
    rest = [f"{len(every) - _SHOWN_FAULTS} more"] if len(every) > _SHOWN_FAULTS else []
    return "; ".join(faults + rest).encode("ascii", "backslashreplace").decode()


def _place(loc: tuple[int | str, ...]) -> str:
    return ".".join(str(part)[:60] for part in loc[:3]) or "content"


def build(**fields: Any) -> ModelCard:
    """Make a card of values as JSON would give them, checked like a card file.

    Raises:
        UserError: names every faulty field at once.
    """
    return parse(json.dumps(fields), "given")


def check_scale(card: ModelCard, where: str) -> None:
    """Check that a card does not feed numbers that no network is fed: a mean of 0.485 for pixels of 0..255, say.

    Raises:
        UserError: it does, and does not say that this is meant (`unusual_scale`); the text says what a grey pixel
            would become.
    """
    if card.unusual_scale:
        return
    odd = next((pair for pair in zip(card.mean, card.std, strict=True) if not _plausible(*pair)), None)
    if odd is not None:
        mean, std = odd
        grey, black, white = (f"{(pixel - mean) / std:.1f}" for pixel in (128, 0, 255))
        raise UserError(
            f"The model card {where} has mean {mean:g} and std {std:g}, but pixels are 0..255: a grey pixel of 128 "
            f"would become {grey}, a black one {black}, a white one {white}, and networks are fed -3..3, or the pixels "
            "themselves (std 1); give values for pixels of 0..1 times 255, or if the network does want this, write the "
            "card with `faceverify models card --force` (in a card: unusual_scale true)."
        )


def _plausible(mean: float, std: float) -> bool:
    if not (mean == 0 or 1 <= mean <= 255):
        return False
    low, high = -mean / std, (255 - mean) / std
    return std == 1 or (max(-low, high) <= _LARGEST and high - low >= _SMALLEST_SPREAD)


def card_path(weights: Path) -> Path:
    """Return where the card of a weights file lies: `<file>.card.json` beside it."""
    return weights.with_name(weights.name + ".card.json")


def contradictions(card: ModelCard, truth: ModelCard) -> list[str]:
    """List the fields that decide what faces give in which `card` differs from `truth`, as 'field a, not b'."""
    fields = ["input_size", "crop", "layout", "colour", "mean", "std", "dim", "output"]
    if twin(card.architecture) == truth.architecture:  # other words for a network, which ONNX files have, say no less
        fields.append("architecture")
    have, want = asdict(card), asdict(truth)
    return [f"{name} {have[name]}, not {want[name]}" for name in fields if have[name] != want[name]]


def twin(architecture: str) -> str:
    """The other network with the same tensors, which no file can tell from this one; empty if there is none."""
    kind, _, size = architecture.partition("_")
    other = {"arcface": "magface", "magface": "arcface"}.get(kind)
    return f"{other}_{size}" if other and size in ("r18", "r34", "r50", "r100") else ""
