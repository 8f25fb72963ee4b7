"""What differs between two photos of one person: pose, light, expression, clothes, background, camera."""

from dataclasses import dataclass

import numpy as np

from faceverify.rendered.geometry import Pose
from faceverify.rendered.identity import RGB

CLOTHES: list[RGB] = [
    (52, 66, 92), (120, 52, 58), (60, 92, 84), (214, 206, 190), (92, 84, 112), (196, 142, 74), (44, 46, 52),
    (150, 170, 186), (232, 232, 230), (176, 94, 78), (104, 122, 88), (222, 178, 168),
]  # fmt: skip
BACKGROUNDS: list[RGB] = [
    (206, 216, 222), (226, 214, 198), (176, 192, 182), (214, 196, 202), (150, 168, 186), (232, 226, 214),
    (120, 132, 146), (196, 178, 152), (104, 120, 112), (184, 200, 214), (92, 96, 112), (222, 200, 176),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Expression:
    """`smile` -0.4..1, `brows` -1..1 (raised), `lids` 0.25..1.1 (open), `mouth` 0..1 (open), `gaze` in face units."""

    smile: float
    brows: float
    lids: float
    mouth: float
    gaze: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Light:
    """`direction` is a unit vector (x right, y down, z to the viewer), `strength` 0..1 how hard the shadows are.

    `tint` multiplies RGB, `exposure` all of it, `contrast` spreads it about the middle grey; `shadow` is the opacity of
    a soft shadow cast across the picture and `shadow_line` its position and direction.
    """

    direction: tuple[float, float, float]
    strength: float
    tint: RGB
    exposure: float
    contrast: float
    shadow: float
    shadow_line: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Camera:
    """`blur` is a Gaussian sigma in pixels, `noise` a deviation in grey levels, `quality` that of a first JPEG."""

    blur: float
    noise: float
    quality: int


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything about one photo that is not the person."""

    size: int
    pose: Pose
    expression: Expression
    light: Light
    camera: Camera
    clothes: RGB
    collar: int  # 0 round neck, 1 V-neck, 2 shirt collar
    background: RGB
    hair_volume: float  # factor, about 1
    haircut: float | None  # see `identity.with_haircut`
    glasses: RGB | None
    texture_seed: int  # of background pattern, hair strands and noise


def draw_scene(rng: np.random.Generator, size: int, difficulty: float) -> Scene:
    """A photo's scene, `size` pixels square; `difficulty` scales everything that makes recognition hard (1 = usual)."""
    return Scene(
        size=size,
        pose=_pose(rng, size, difficulty),
        expression=_expression(rng, difficulty),
        light=_light(rng, difficulty),
        camera=_camera(rng, size, difficulty),
        clothes=CLOTHES[rng.integers(len(CLOTHES))],
        collar=int(rng.integers(3)),
        background=BACKGROUNDS[rng.integers(len(BACKGROUNDS))],
        hair_volume=float(np.exp(rng.normal(0, 0.12 * difficulty))),
        haircut=float(rng.random()) if rng.random() < 0.35 * difficulty else None,
        glasses=_glasses(rng, difficulty),
        texture_seed=int(rng.integers(2**31)),
    )


def _normal(rng: np.random.Generator, spread: float, limit: float) -> float:
    return float(np.clip(rng.normal(0, spread), -limit, limit)) if spread > 0 else 0.0


def _pose(rng: np.random.Generator, size: int, difficulty: float) -> Pose:
    yaw = _normal(rng, 0.18 * difficulty, 0.4)
    pitch = _normal(rng, 0.07 * difficulty, 0.18)
    scale = size * 0.222 * float(np.exp(_normal(rng, 0.07 * difficulty, 0.14)))
    return Pose(
        roll=_normal(rng, 0.1 * difficulty, 0.3),
        yaw=yaw,
        pitch=pitch,
        scale=scale,
        # Turning moves the face's middle sideways; the photographer follows it half-way.
        x=size / 2 - 0.4 * scale * np.sin(yaw) + _normal(rng, 0.02 * size * difficulty, 0.05 * size),
        y=size * 0.475 - 0.4 * scale * np.sin(pitch) + _normal(rng, 0.015 * size * difficulty, 0.04 * size),
    )


def _expression(rng: np.random.Generator, difficulty: float) -> Expression:
    squint = float(rng.uniform(0.3, 0.6)) if rng.random() < 0.08 * difficulty else 1.0
    talks = float(rng.uniform(0.3, 1.0)) if rng.random() < 0.3 * difficulty else 0.0
    return Expression(
        smile=0.55 + difficulty * float(rng.uniform(-0.6, 0.5)),
        brows=_normal(rng, 0.5 * difficulty, 1.0),
        lids=squint * (1 + _normal(rng, 0.07 * difficulty, 0.12)),
        mouth=talks,
        gaze=(_normal(rng, 0.025 * difficulty, 0.05), _normal(rng, 0.01 * difficulty, 0.02)),
    )


def _light(rng: np.random.Generator, difficulty: float) -> Light:
    direction = np.array([_normal(rng, 0.55 * difficulty, 0.9), rng.uniform(-0.75, -0.3), 0.9])
    direction /= np.linalg.norm(direction)
    warmth = 0.03 + _normal(rng, 0.04 * difficulty, 0.075)
    green = _normal(rng, 0.015 * difficulty, 0.03)
    shadow = float(rng.uniform(0.15, 0.4)) if rng.random() < 0.15 * difficulty else 0.0
    return Light(
        direction=(float(direction[0]), float(direction[1]), float(direction[2])),
        strength=float(np.clip(0.55 + _normal(rng, 0.2 * difficulty, 0.35), 0, 1)),
        tint=(1 + warmth, 1 + green, 1 - warmth),
        exposure=0.98 + _normal(rng, 0.09 * difficulty, 0.16),
        contrast=1 + _normal(rng, 0.08 * difficulty, 0.16),
        shadow=shadow,
        shadow_line=(float(rng.uniform(-0.25, 0.25)), float(rng.uniform(0, 2 * np.pi))),
    )


def _camera(rng: np.random.Generator, size: int, difficulty: float) -> Camera:
    return Camera(
        blur=difficulty
        * size
        / 160
        * float(rng.choice([0.0, rng.uniform(0, 0.7), rng.uniform(0.6, 1.3)], p=[0.4, 0.45, 0.15])),
        noise=difficulty * float(rng.uniform(0.5, 4.0)),
        quality=int(96 - difficulty * rng.uniform(0, 36)),
    )


def _glasses(rng: np.random.Generator, difficulty: float) -> RGB | None:
    frames: list[RGB] = [(40, 38, 44), (96, 62, 44), (148, 132, 108), (122, 44, 52)]
    return frames[rng.integers(len(frames))] if rng.random() < 0.13 * difficulty else None
