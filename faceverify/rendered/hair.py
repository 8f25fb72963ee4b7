"""Hair: a mass behind the head, a mass before it, and strands that follow both."""

from dataclasses import dataclass

import numpy as np

from faceverify.rendered.canvas import Canvas
from faceverify.rendered.features import darker, lighter
from faceverify.rendered.geometry import ellipse, resample, spline, surface_depth
from faceverify.rendered.identity import RGB, Identity
from faceverify.rendered.scene import Scene


@dataclass(frozen=True, slots=True)
class Cut:
    """A hair style in face units: `top` and `side` thickness, `end` the y where the sides end, `line` the hairline.

    `line` runs from image-left to image-right; `back` is the y down to which hair hangs behind the neck (None: none);
    `curls` is the size of the scallops along the outside.
    """

    top: float
    side: float
    end: float
    line: list[tuple[float, float]]
    back: float | None = None
    curls: float = 0.0


_OPEN = [(-0.97, 0.12), (-0.9, -0.3), (-0.76, -0.66), (-0.4, -0.88), (0, -0.93)]
_OPEN += [(-x, y) for x, y in _OPEN[-2::-1]]
_CURTAIN = [(-1.02, 0.9), (-0.97, 0.2), (-0.86, -0.4), (-0.5, -0.78), (0, -1.04)]
_CURTAIN += [(-x, y) for x, y in _CURTAIN[-2::-1]]
_FRINGE = [(-1.02, 0.9), (-0.97, 0.1), (-0.86, -0.32), (-0.5, -0.38), (0, -0.41)]
_FRINGE += [(-x, y) for x, y in _FRINGE[-2::-1]]
_PARTED = [(-0.98, 0.15), (-0.9, -0.35), (-0.74, -0.78), (-0.42, -1.0), (-0.1, -0.8)]
_PARTED += [(0.35, -0.62), (0.75, -0.5), (0.92, -0.25), (0.98, 0.15)]
_SWEPT = [(-1.02, 0.9), (-0.96, 0.2), (-0.88, -0.4), (-0.7, -0.8), (-0.4, -1.02)]
_SWEPT += [(0.1, -0.74), (0.62, -0.5), (0.92, 0.0), (1.02, 0.9)]
CUTS: dict[str, Cut] = {
    "buzz": Cut(0.03, 0.01, 0.1, _OPEN),
    "crop": Cut(0.16, 0.05, 0.15, _OPEN),
    "side": Cut(0.26, 0.1, 0.2, _PARTED),
    "quiff": Cut(0.42, 0.04, 0.12, [(x, y - 0.06) for x, y in _OPEN]),
    "curly": Cut(0.34, 0.13, 0.1, _OPEN, curls=0.09),
    "afro": Cut(0.55, 0.4, 0.25, _OPEN, curls=0.05),
    "bob": Cut(0.22, 0.24, 1.25, _SWEPT, back=1.35),
    "long": Cut(0.2, 0.2, 2.4, _CURTAIN, back=2.7),
    "wavy": Cut(0.28, 0.32, 2.1, _SWEPT, back=2.5, curls=0.06),
    "fringe": Cut(0.2, 0.2, 1.7, _FRINGE, back=1.8),
    "bun": Cut(0.12, 0.05, 0.1, _OPEN),
}


def covers_ears(style: str) -> bool:
    """Whether the ears are hidden by this hair style."""
    return style in CUTS and CUTS[style].back is not None


def paint_back_hair(canvas: Canvas, person: Identity, scene: Scene) -> None:
    """What is seen of the hair behind neck and shoulders; painted before them."""
    cut = CUTS.get(person.hair_style)
    if person.hair_style == "bun":
        _paint_bun(canvas, person, scene)
    if cut is None or cut.back is None:
        return
    wide = 1.02 + cut.side * scene.hair_volume
    half = [(0, -1.3), (0.8, -1.1), (wide, -0.2), (wide + 0.03, 0.8)]
    half += [(0.97 * wide, cut.back - 0.2), (0.7 * wide, cut.back)]
    shape = np.array([*half, *[(-x, y) for x, y in half[:0:-1]]])
    canvas.fill(scene.pose.project(spline(shape, closed=True), -0.25), darker(person.hair, 0.74))


def _paint_bun(canvas: Canvas, person: Identity, scene: Scene) -> None:
    unit = scene.pose.scale
    knot = ellipse((0.12 * person.hair_side, -1.62), (0.44 * scene.hair_volume, 0.4))
    canvas.fill(scene.pose.project(knot, -0.2), darker(person.hair, 0.9))
    arc = spline(np.array([[-0.3, -1.7], [0, -1.82], [0.3, -1.68]]))
    arcs = [scene.pose.project(arc + np.array([0, drop]), -0.2) for drop in (0, 0.12)]
    canvas.stroke(arcs, darker(person.hair, 0.65), 0.03 * unit, 0.6, 0.01 * unit)


def paint_front_hair(canvas: Canvas, person: Identity, scene: Scene) -> None:
    """The hair that frames the face, with strands and a sheen towards the light."""
    cut = CUTS.get(person.hair_style)
    if cut is None:
        return
    unit = scene.pose.scale
    outer, inner = _projected(cut, person, scene)
    mass = np.concatenate([outer, inner[::-1]])
    if person.hair_style == "buzz":
        canvas.fill(mass, darker(person.hair, 0.9), 0.55, 0.03 * unit)
        return
    shadow = inner + np.array([0, 0.04 * unit])
    canvas.stroke([shadow], darker(person.skin, 0.5, 1.1), 0.1 * unit, 0.35, 0.05 * unit)
    mask = canvas.mask(mass)
    canvas.fill(mass, person.hair)
    _paint_strands(canvas, person.hair, outer, inner, mask, scene)
    middle = len(outer) // 2 + int(np.sign(scene.light.direction[0]) * len(outer) * 0.12)
    sheen = (0.5 * outer + 0.5 * inner)[middle - 9 : middle + 10]
    canvas.stroke([sheen], lighter(person.hair, 1.3, 26), 0.16 * unit, 0.4, 0.09 * unit, mask)


def _projected(cut: Cut, person: Identity, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Outside of the hair and hairline in pixels, each [64, 2]."""
    outer, inner = _outside(cut, person, scene), _hairline(cut, person, scene)
    depth = np.minimum(surface_depth(inner[:, 0], inner[:, 1]), 0.75) * np.clip(1.1 - np.abs(inner[:, 0]), 0.05, 1)
    return scene.pose.project(outer, -0.05), scene.pose.project(inner, depth)


def _width(cut: Cut, person: Identity, scene: Scene) -> float:
    return 1 + 0.08 * person.traits.face_width + cut.side * scene.hair_volume


def _outside(cut: Cut, person: Identity, scene: Scene) -> np.ndarray:
    """Outside of the hair [64, 2] in face units, from image-left to image-right."""
    wide, top = _width(cut, person, scene), cut.top * scene.hair_volume
    half = [(0, -1.36 - top), (0.55 * wide, -1.26 - 0.8 * top), (0.92 * wide, -0.82 - 0.25 * top), (wide + 0.01, -0.2)]
    half += [(wide + 0.02, 0.5 * cut.end)] if cut.end > 0.3 else []
    half += [(0.925 * wide, cut.end)]
    outer = resample(spline(np.array([*[(-x, y) for x, y in half[:0:-1]], *half])), 64)
    waves = np.abs(np.sin(np.linspace(0, np.pi * 15, 64))) - 0.5
    return outer * (1 + cut.curls * waves / np.hypot(*outer.T))[:, None]


def _hairline(cut: Cut, person: Identity, scene: Scene) -> np.ndarray:
    """Where hair meets face [64, 2] in face units, from image-left to image-right."""
    line = np.array(cut.line) * [person.hair_side * (1 + 0.08 * person.traits.face_width), 1.0]
    line[:, 1] -= 0.1 * person.traits.forehead * (line[:, 1] < -0.2)
    if person.hair_side < 0:
        line = line[::-1]
    if cut.end > 0.6:
        foot = np.array([[-0.9 * _width(cut, person, scene), cut.end - 0.02]])
        line = np.concatenate([foot, line, foot * [-1, 1]])
    return resample(spline(line), 64)


def _paint_strands(
    canvas: Canvas, colour: RGB, outer: np.ndarray, inner: np.ndarray, mask: np.ndarray, scene: Scene
) -> None:
    """Darker and lighter lines between the two contours [64, 2], clipped to the hair."""
    rng, unit = np.random.default_rng(scene.texture_seed), scene.pose.scale
    for tone, count, alpha in ((darker(colour, 0.62), 16, 0.5), (lighter(colour, 1.3, 26), 12, 0.4)):
        lines = []
        for share, start in zip(rng.uniform(0.05, 0.95, count), rng.integers(0, 40, count), strict=True):
            stop = start + int(rng.integers(14, 24))
            drift = np.linspace(share, np.clip(share + rng.uniform(-0.2, 0.2), 0, 1), 64)[:, None]
            lines.append(((1 - drift) * outer + drift * inner)[start:stop])
        canvas.stroke(lines, tone, 0.022 * unit, alpha, 0.01 * unit, mask)
