"""Who a rendered person is: shape traits, colours, hair, beard and marks, all drawn from one seed.

Traits are z-scores in [-1, 1]; the drawing modules say what each does. Glasses, light, pose and expression are no
part of an identity: they belong to the photo (`scene.py`).
"""

from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np

RGB = tuple[float, float, float]
HairStyle = Literal["buzz", "crop", "side", "quiff", "curly", "afro", "bob", "long", "wavy", "fringe", "bun", "bald"]
Beard = Literal["none", "stubble", "moustache", "goatee", "full"]

# Light to dark; each with the hair colours that go with it most often (index range into HAIR).
SKIN: list[RGB] = [
    (242, 208, 186), (236, 196, 168), (230, 184, 150), (222, 172, 134),
    (208, 154, 114), (180, 126, 88), (146, 98, 68), (112, 76, 56),
]  # fmt: skip
HAIR: list[RGB] = [
    (38, 32, 36), (58, 42, 38), (84, 58, 44), (112, 76, 52), (134, 78, 50), (160, 80, 46), (196, 108, 56),
    (164, 126, 82), (208, 172, 114), (230, 204, 154), (146, 144, 148), (212, 208, 206),
]  # fmt: skip
EYES: list[RGB] = [
    (74, 46, 32), (112, 70, 42), (134, 102, 54), (94, 128, 86), (118, 134, 148), (82, 130, 184), (122, 172, 208),
]  # fmt: skip
SHORT: list[HairStyle] = ["crop", "side", "quiff", "curly", "afro", "buzz", "bald"]
LONG: list[HairStyle] = ["bob", "long", "wavy", "fringe", "bun", "curly", "side"]
BEARDS: list[Beard] = ["none", "stubble", "moustache", "goatee", "full"]


@dataclass(frozen=True, slots=True)
class Traits:
    """Shape of head and features, each a z-score in [-1, 1] (0 = the average face)."""

    face_width: float
    jaw_width: float
    chin_width: float
    chin_length: float
    forehead: float
    ear_size: float
    eye_distance: float
    eye_width: float
    eye_height: float
    eye_slant: float
    eye_level: float
    iris: float
    brow_height: float
    brow_thickness: float
    brow_arch: float
    brow_slant: float
    nose_length: float
    nose_width: float
    nose_bridge: float
    mouth_width: float
    mouth_level: float
    lip_upper: float
    lip_lower: float
    cheeks: float

    def vector(self) -> np.ndarray:
        """All traits in field order: float64 [24]."""
        return np.array([getattr(self, f.name) for f in fields(self)])

    @classmethod
    def of(cls, vector: np.ndarray) -> "Traits":
        """Traits from a vector in field order, clipped to [-1.2, 1.2]."""
        return cls(*(float(v) for v in np.clip(vector, -1.2, 1.2)))


# What a face swap leaves to the host: the outline of the head. Everything else is inner face.
OUTLINE = ("face_width", "jaw_width", "chin_width", "chin_length", "forehead", "ear_size")


@dataclass(frozen=True, slots=True)
class Identity:
    """A person. Colours are RGB in 0..255, marks are (x, y) in face units (see `geometry.py`)."""

    traits: Traits
    feminine: bool  # which hair styles and shoulders go with the face
    skin: RGB
    hair: RGB
    eyes: RGB
    lips: RGB
    hair_style: HairStyle
    hair_side: float  # -1 or 1: where the parting is
    beard: Beard
    lashes: float  # 0..1
    freckles: tuple[tuple[float, float], ...]
    moles: tuple[tuple[float, float], ...]


def draw_person(seed: int | tuple[int, ...]) -> Identity:
    """The person of this seed; the same seed gives the same person."""
    rng = np.random.default_rng(seed)
    feminine = rng.random() < 0.5
    tone = int(rng.integers(len(SKIN)))
    skin = _vary(rng, SKIN[tone], 7)
    hair = _vary(rng, HAIR[_hair_index(rng, tone)], 8)
    styles = LONG if feminine else SHORT
    return Identity(
        traits=Traits.of(_trait_vector(rng, feminine)),
        feminine=feminine,
        skin=skin,
        hair=hair,
        eyes=_vary(rng, EYES[_eye_index(rng, tone)], 8),
        lips=_lip_colour(rng, skin, feminine),
        hair_style=styles[rng.integers(len(styles))],
        hair_side=float(rng.choice([-1.0, 1.0])),
        beard="none" if feminine else BEARDS[rng.choice(5, p=[0.44, 0.2, 0.1, 0.1, 0.16])],
        lashes=float(rng.uniform(0.6, 1.0) if feminine else rng.uniform(0.0, 0.3)),
        freckles=_freckles(rng, tone),
        moles=tuple(_mark(rng) for _ in range(rng.choice(3, p=[0.68, 0.24, 0.08]))),
    )


def with_outline_of(inner: Identity, host: Identity) -> Identity:
    """The inner face of `inner` in the head of `host` (outline, ears, hair)."""
    outline = {name: getattr(host.traits, name) for name in OUTLINE}
    traits = replace(inner.traits, **outline)
    hair = {"hair": host.hair, "hair_style": host.hair_style, "hair_side": host.hair_side}
    return replace(inner, traits=traits, feminine=host.feminine, **hair)


def with_haircut(person: Identity, choice: float | None) -> Identity:
    """The person with another haircut: `choice` in [0, 1) picks it; None, or a bald head, changes nothing."""
    if choice is None or person.hair_style == "bald":
        return person
    styles = [style for style in (LONG if person.feminine else SHORT) if style != "bald"]
    return replace(person, hair_style=styles[int(choice * len(styles))])


def likeness(a: Identity, b: Identity) -> float:
    """How well `a` serves as host of a swap for `b`: the higher the better (hair, beard, build, skin, outline)."""
    colour = np.abs(np.subtract(a.skin, b.skin)).sum() + 0.7 * np.abs(np.subtract(a.hair, b.hair)).sum()
    outline = sum(abs(getattr(a.traits, n) - getattr(b.traits, n)) for n in OUTLINE)
    alike = (a.hair_style == b.hair_style) + 0.8 * (a.beard == b.beard) + 2 * (a.feminine == b.feminine)
    return alike - colour / 100 - 0.2 * outline


def _trait_vector(rng: np.random.Generator, feminine: bool) -> np.ndarray:
    lean = {"jaw_width": 0.3, "brow_thickness": 0.4, "nose_width": 0.15, "eye_height": -0.25, "lip_upper": -0.25}
    vector = rng.uniform(-1, 1, len(fields(Traits)))
    shift = np.array([lean.get(f.name, 0.0) for f in fields(Traits)])
    return np.clip(vector + (-shift if feminine else shift), -1, 1)


def _vary(rng: np.random.Generator, colour: RGB, spread: float) -> RGB:
    light = rng.uniform(-spread, spread)
    r, g, b = np.clip(np.array(colour) + light + rng.uniform(-spread, spread, 3) * 0.5, 8, 254)
    return float(r), float(g), float(b)


def _hair_index(rng: np.random.Generator, tone: int) -> int:
    if rng.random() < 0.12:
        return int(rng.integers(10, 12))  # grey and white come with every skin
    return int(rng.integers(0, 3 if tone >= 5 else 10 - tone))


def _eye_index(rng: np.random.Generator, tone: int) -> int:
    return int(rng.integers(0, 2 if tone >= 6 else 7 - max(0, tone - 2)))


def _lip_colour(rng: np.random.Generator, skin: RGB, feminine: bool) -> RGB:
    rose = np.array([196.0, 74.0, 84.0]) * (0.55 + 0.45 * np.mean(skin) / 220)
    share = rng.uniform(0.4, 0.75) if feminine else rng.uniform(0.22, 0.42)
    return _vary(rng, tuple((1 - share) * np.array(skin) * 0.94 + share * rose), 6)


def _freckles(rng: np.random.Generator, tone: int) -> tuple[tuple[float, float], ...]:
    if tone > 4 or rng.random() > 0.22:
        return ()
    count = int(rng.integers(14, 34))
    x = rng.normal(0, 0.42, count)
    y = 0.42 + rng.normal(0, 0.11, count) + 0.1 * np.abs(x)
    return tuple((float(a), float(b)) for a, b in zip(x, y, strict=True))


def _mark(rng: np.random.Generator) -> tuple[float, float]:
    side = rng.choice([-1.0, 1.0])
    return float(side * rng.uniform(0.42, 0.7)), float(rng.uniform(0.3, 0.8))
