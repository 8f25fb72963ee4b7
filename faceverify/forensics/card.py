"""The card of a forensic model: what it is shown of a photo, how it is fed, and how its output is read.

The card is a JSON file beside the weights (`<file>.card.json`), or the value of the key `faceverify.forensic_card` in
the metadata of an ONNX file. With a card any published deepfake detector in ONNX can take the place of ours.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from faceverify.align.crops import Crop
from faceverify.align.crops import parse as parse_crop
from faceverify.errors import UserError
from faceverify.models.card import MAX_BYTES, Deviation, Level, Side, card_path, faults_of
from faceverify.models.files import onnx_metadata, sha256_of

METADATA_KEY = "faceverify.forensic_card"


@dataclass(frozen=True, kw_only=True, slots=True)
class ForensicCard:
    """What a forensic model is fed and what it gives. Network input = (pixel - mean) / std, pixel in 0..255."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    kind: Literal["forensic"]
    """Always `forensic`: no card of a recogniser can be taken for one of these."""
    name: Annotated[str, Field(min_length=1, max_length=200)]
    """Name for people; it identifies nothing."""
    input_size: tuple[Side, Side]
    """Height and width in pixels."""
    crop: Annotated[str, Field(max_length=200)]
    """What the network is shown of a photo (`faceverify.align.crops`), such as `arcface256:view=1.3`."""
    colour: Literal["RGB", "BGR"]
    """Order of the three input channels."""
    mean: tuple[Level, Level, Level]
    """Subtracted from each channel, in 0..255, in the order of `colour`."""
    std: tuple[Deviation, Deviation, Deviation]
    """Divides each channel afterwards, in 0..255, in the order of `colour`."""
    output: Literal["log_odds", "probability", "two_log_odds"]
    """log_odds: [N] or [N, 1], above 0 = rather manipulated; probability: the same in 0..1; two_log_odds: [N, 2],
    before a softmax."""
    fake: Annotated[int, Field(ge=0, le=1)] = 1
    """two_log_odds: the column of manipulated photos. Others: 1 = large means manipulated, 0 = large means real."""
    takes_scale: bool = False
    """Whether there is a second input [N, 1]: log2 of the crop's pixels per pixel of the photo (above 0 = enlarged)."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """SHA-256 of the weights file; null inside an ONNX file, which cannot hold its own."""
    source: str = ""
    """Where the weights come from."""
    licence: str = ""
    """Licence of the weights and of the data they were trained on."""
    notes: str = ""
    """Anything else a person should know."""

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
        crop = parse_crop(self.crop)
        if (crop.size, crop.size) != self.input_size:
            height, width = self.input_size
            raise UserError(
                f"forensic model '{self.name}' takes pictures of {width}x{height}, but the crop of its card is "
                f"'{crop}': correct the card (crop, input_size)."
            )
        return crop

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON (sorted keys, no spaces): the name of this model in tables."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def to_json(self) -> str:
        """Return the card as indented JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"


@cache
def _adapter() -> TypeAdapter[ForensicCard]:
    return TypeAdapter(ForensicCard)


def parse(text: str | bytes, where: str) -> ForensicCard:
    """Read a card from JSON; unknown keys, wrong types and values out of range are refused.

    Args:
        text: the JSON.
        where: the file it came from, for the message.

    Raises:
        UserError: names every faulty field at once.
    """
    if len(text) > MAX_BYTES:
        raise UserError(f"The card {where} has {len(text):,} bytes; cards have {MAX_BYTES:,} at most.")
    try:
        return _adapter().validate_json(text)
    except ValidationError as error:
        raise UserError(f"{where} is no valid card of a forensic model: {faults_of(error)}.") from None


def card_of(path: Path) -> ForensicCard:
    """The card of an ONNX file, beside it or in its metadata, with the file's own SHA-256 in it.

    Raises:
        UserError: no such file, no card, two that differ, or one of another file.
    """
    if not path.is_file() or path.suffix.lower() != ".onnx":
        raise UserError(
            f"forensic: '{path}' is no ONNX file; give the model.onnx that `forensic` wrote, or its folder."
        )
    sha256, given = sha256_of(path), []
    if text := onnx_metadata(path).get(METADATA_KEY):
        given.append(parse(text, f"The metadata of {path}"))
    beside = card_path(path)
    if beside.is_file():
        given.append(parse(beside.read_bytes(), str(beside)))
    if not given:
        raise UserError(
            f"forensic: {path} has no card of a forensic model, and what it is fed cannot be guessed: write "
            f"{beside.name} beside it (docs/forensics.md)."
        )
    for card in given:
        if card.sha256 not in (None, sha256):
            raise UserError(f"forensic: the card of {path} is of another file (its SHA-256 differs): write it again.")
        if replace(card, sha256=None) != replace(given[0], sha256=None):
            raise UserError(f"forensic: the card beside {path} differs from the one inside it: delete {beside.name}.")
    return replace(given[0], sha256=sha256)
