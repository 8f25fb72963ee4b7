"""Which attacks there are, and how strong they are."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, NamedTuple, get_args

from faceverify.errors import UserError

Attack = Literal["noise", "blur", "jpeg", "low_resolution", "fgsm", "pgd"]
ATTACKS: tuple[Attack, ...] = get_args(Attack)
ON_GRADIENTS = ("fgsm", "pgd")
FALLING = ("jpeg", "low_resolution")  # attacks that are the stronger the smaller the number is
UNITS = {
    "noise": "standard deviation, in levels of 0..255",
    "blur": "standard deviation, in 1/112 of the face crop",
    "jpeg": "JPEG quality",
    "low_resolution": "pixels across the face crop",
    "fgsm": "largest change of a pixel, in levels of 0..255",
    "pgd": "largest change of a pixel, in levels of 0..255",
}
_RANGES = {"noise": (0, 255), "blur": (0, 112), "jpeg": (1, 100), "low_resolution": (4, 112)}


class Condition(NamedTuple):
    """One attack at one strength."""

    attack: Attack
    strength: float

    @property
    def name(self) -> str:
        """Name of its column: `noise_8`."""
        return f"{self.attack}_{self.strength:g}"

    @property
    def on_gradients(self) -> bool:
        """Whether it needs the network's gradient."""
        return self.attack in ON_GRADIENTS


@dataclass(frozen=True, kw_only=True, slots=True)
class Strengths:
    """How strong each attack is; one column of similarities and one point of a curve for each number."""

    noise: tuple[float, ...] = (8, 16, 32, 64)
    """Standard deviation of Gaussian noise on every pixel and channel of the photo, in levels of 0..255."""
    blur: tuple[float, ...] = (1, 2, 3, 4)
    """Standard deviation of a Gaussian blur, in 1/112 of the width of the face crop in the photo."""
    jpeg: tuple[int, ...] = (50, 20, 10, 5)
    """JPEG quality, 1 to 100, at which the photo is stored once more."""
    low_resolution: tuple[float, ...] = (56, 28, 20, 14)
    """Pixels that the photo keeps across the face crop, 4 to 112, before it is enlarged to its size again."""
    fgsm: tuple[int, ...] = (1, 2, 4, 8)
    """Largest change of a pixel of the crop (L-infinity), in levels of 0..255; one step along the gradient's sign."""
    pgd: tuple[int, ...] = (1, 2, 4, 8)
    """The same, for several steps."""
    pgd_steps: int = 10
    """Steps of PGD; each moves a pixel by 2.5 * strength / steps."""

    def __post_init__(self) -> None:
        if self.pgd_steps < 1:
            raise UserError(f"strengths.pgd_steps is {self.pgd_steps}: give 1 or more.")
        for field in fields(self):
            if field.name not in ATTACKS:
                continue
            low, high = _RANGES.get(field.name, (1, 255))
            values = getattr(self, field.name)
            wrong = [value for value in values if not low <= value <= high or value == 0]
            if wrong:
                begin = f"above {low}" if low == 0 else f"{low}"
                raise UserError(f"strengths.{field.name} holds {wrong[0]:g}: give numbers from {begin} to {high}.")
            if len(set(values)) < len(values):
                raise UserError(f"strengths.{field.name} holds a number twice: give each strength once.")


def conditions_of(attacks: Sequence[Attack], strengths: Strengths) -> list[Condition]:
    """Every attack at each of its strengths, attacks in the order of `ATTACKS`, the weakest strength first.

    Raises:
        UserError: no attack at all, or one without strengths.
    """
    if not attacks:
        raise UserError(f"attacks is empty: give one or more of {', '.join(ATTACKS)}.")
    found = []
    for attack in (attack for attack in ATTACKS if attack in attacks):
        values = getattr(strengths, attack)
        if not values:
            raise UserError(f"strengths.{attack} is empty: give one or more, or leave {attack} out of attacks.")
        found += [Condition(attack, value) for value in sorted(values, reverse=attack in FALLING)]
    return found
