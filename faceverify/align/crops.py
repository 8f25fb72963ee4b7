"""Which part of a photo a network is shown, in how many pixels: its crop, written `arcface112` or `box160:margin=14`.

    arcface<size>   a square of `size` pixels in which the five landmarks come as near to the ArcFace template as a
                    turn, a scale and a shift can bring them. Sizes divisible by 128 and not by 112 are those of swap
                    networks, with 8 pixels of 128 more on the left and below (as `norm_crop` of insightface does).
    box<size>       the detector's box, resized to a square without keeping its proportions, as FaceNet was trained

Options follow a colon, with commas between them:

    view=1.3           (arcface) shows 1.3 times as much around the five points
    margin=14          (box) pixels of the crop that the box is widened by, half of them on each side
    border=replicate   what lies outside the photo: black (default), or its edge repeated
    filter=bilinear    one sample per pixel of the crop, as published networks were tested with. By default (area) a
                       face that is larger than the crop is averaged, so that nothing of it is skipped
"""

import math
import re
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from faceverify.errors import UserError

NAME = re.compile(r"^(arcface|box)([1-9][0-9]{1,3})(?::([a-z0-9=.,_]+))?$")
SMALLEST, LARGEST = 16, 1024


@dataclass(frozen=True, slots=True)
class Crop:
    """How a face is cut out of a photo; see the module's docstring for each value.

    Args:
        template: arcface or box.
        size: side in pixels.
        view: how much is shown, relative to the template.
        margin: pixels of the crop around the box.
        border: black or replicate.
        filter: area or bilinear.
    """

    template: Literal["arcface", "box"] = "arcface"
    size: int = 112
    view: float = 1.0
    margin: int = 0
    border: Literal["black", "replicate"] = "black"
    filter: Literal["area", "bilinear"] = "area"

    def __str__(self) -> str:
        """The name that `parse` reads; of two equal crops the same."""
        given = {
            one.name: getattr(self, one.name) for one in fields(self)[2:] if getattr(self, one.name) != one.default
        }
        options = [f"{name}={f'{value:g}' if name == 'view' else value}" for name, value in given.items()]
        return f"{self.template}{self.size}" + (f":{','.join(options)}" if options else "")

    @property
    def facts(self) -> dict[str, Any]:
        """What a table says of it: the size, and whatever is not as it always was."""
        usual = {"template": "arcface", "view": 1.0, "margin": 0, "border": "black", "filter": "bilinear"}
        return {"size": self.size} | {name: v for name, w in usual.items() if (v := getattr(self, name)) != w}

    def from_arcface(self) -> np.ndarray:
        """The similarity [2, 3] from pixels of the 112x112 ArcFace crop to pixels of this one (arcface only).

        Enlarging moves pixels as resizing the five points does: about the corner of the crop, not its middle; `view`
        shrinks about the middle of the template.
        """
        unit, shift = (112, 0.0) if self.size % 112 == 0 or self.size % 128 else (128, 8.0)
        scale = self.size / unit
        middle = np.array([55.5, 55.5])
        offset = middle - middle / self.view + np.array([shift, 0.0])
        return np.c_[np.eye(2) * (scale / self.view), offset * scale]


ARCFACE = Crop()


@lru_cache(maxsize=256)
def parse(text: str) -> Crop:
    """Read the name of a crop.

    Raises:
        UserError: it is none; says what is wrong.
    """
    found = NAME.match(text)
    if found is None:
        raise UserError(f"crop is {text!r}: give arcface<size> or box<size>, such as arcface112 or box160:margin=14.")
    template, size = found[1], int(found[2])
    if not SMALLEST <= size <= LARGEST:
        raise UserError(f"crop is {text!r}: its size is from {SMALLEST} to {LARGEST} pixels.")
    values: dict[str, Any] = {}
    for option in filter(None, (found[3] or "").split(",")):
        name, _, value = option.partition("=")
        if name in values or name not in _OPTIONS[template]:
            known = ", ".join(_OPTIONS[template])
            raise UserError(f"crop is {text!r}: {name!r} is given twice or is no option of {template} ({known}).")
        values[name] = _value(text, name, value)
    crop = Crop(template, size, **values)  # type: ignore[arg-type]
    if crop.margin >= crop.size:
        raise UserError(f"crop is {text!r}: the margin is {crop.margin} of {crop.size} pixels; give less.")
    return crop


_OPTIONS = {"arcface": ("view", "border", "filter"), "box": ("margin", "filter")}
_WORDS = {"border": ("black", "replicate"), "filter": ("area", "bilinear")}


def _value(text: str, name: str, value: str) -> Any:
    if name in _WORDS:
        if value not in _WORDS[name]:
            raise UserError(f"crop is {text!r}: {name} is {' or '.join(_WORDS[name])}, not {value!r}.")
        return value
    try:
        number = float(value) if name == "view" else int(value)
    except ValueError:
        number = math.nan
    low, high = (0.25, 4) if name == "view" else (0, LARGEST)
    if not low <= number <= high:
        raise UserError(f"crop is {text!r}: {name} is a number from {low:g} to {high:g}, not {value!r}.")
    return number
