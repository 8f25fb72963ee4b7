"""The colour of the skin under the scene's light, from a relief of the face."""

import numpy as np

from faceverify.rendered.canvas import enlarged
from faceverify.rendered.features import FaceLayout
from faceverify.rendered.geometry import surface_depth
from faceverify.rendered.identity import Identity, Traits
from faceverify.rendered.scene import Light, Scene


def shaded_skin(person: Identity, layout: FaceLayout, scene: Scene, side: int) -> np.ndarray:
    """Skin colour for every canvas pixel: planes [3, side, side], enlarged from a map of a quarter of that side."""
    count = side // 4
    step = scene.size / count
    at = (np.arange(count, dtype=np.float32) + 0.5) * step - 0.5
    x, y = scene.pose.unproject(*np.meshgrid(at, at))
    shade = _light(_relief(x, y, person.traits, layout), step / scene.pose.scale, scene.light)
    # Shadows lose blue before red, so that they look warm instead of dirty.
    tone = 1 + (shade[..., None] - 1) * np.array([0.82, 1.0, 1.08])
    blush = 0.8 * _blob(np.abs(x), y, 0.56, 0.52, 0.24, 0.17) + 0.5 * _blob(x, y, 0, layout.nose[1], 0.16, 0.12)
    tone *= 1 + blush[..., None] * (0.6 + 0.3 * person.traits.cheeks) * np.array([0.02, -0.1, -0.09])
    if person.beard in ("stubble", "full"):
        grey = _beard_map(x, y, layout) * (0.24 if person.beard == "stubble" else 0.3)
        tone *= 1 - grey[..., None] * np.array([1.0, 0.9, 0.8])
    skin = (np.asarray(person.skin) * tone).astype(np.float32)
    return enlarged(np.minimum(skin, 255), side)


def _blob(x: np.ndarray, y: np.ndarray, cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
    return np.exp(-(((x - cx) / rx) ** 2) - ((y - cy) / ry) ** 2)


def _relief(x: np.ndarray, y: np.ndarray, traits: Traits, layout: FaceLayout) -> np.ndarray:
    """Height of the face above the picture plane, in face units."""
    (ex, ey), nose_y, away = layout.eye, layout.nose[1], np.abs(x)
    ridge = np.clip((y + 0.15) / (nose_y + 0.15), 0, 1)
    bridge = np.exp(-((x / (0.1 + 0.02 * traits.nose_bridge + 0.05 * ridge)) ** 2)) * ridge * (y < nose_y + 0.2)
    height = 0.9 * surface_depth(x, y)
    height += (0.13 + 0.03 * traits.nose_bridge) * bridge * np.exp(-((np.maximum(0, y - nose_y) / 0.09) ** 2))
    height += 0.09 * _blob(x, y, 0, nose_y, 0.85 * layout.nose_half, 0.12)
    height += 0.035 * _blob(away, y, layout.nose_half * 0.85, nose_y + 0.05, 0.08, 0.08)
    height -= 0.06 * _blob(away, y, ex, ey - 0.03, 0.27, 0.16)
    height += (0.05 + 0.025 * traits.cheeks) * _blob(away, y, 0.6, 0.42, 0.26, 0.2)
    height += 0.05 * _blob(x, y, 0, layout.mouth[1], 0.36, 0.16)
    height += 0.05 * _blob(x, y, 0, 1.42, 0.25, 0.14)
    return height


def _light(height: np.ndarray, step: float, light: Light) -> np.ndarray:
    """Lambert shading of a height map whose grid is `step` face units apart; 1 where the face looks at the viewer."""
    slope_y, slope_x = np.gradient(height, step)
    lx, ly, lz = light.direction
    facing = (lz - lx * slope_x - ly * slope_y) / np.sqrt(1 + slope_x**2 + slope_y**2)
    return 1 + light.strength * 0.75 * np.clip(facing - lz, -0.75, 0.16)


def _beard_map(x: np.ndarray, y: np.ndarray, layout: FaceLayout) -> np.ndarray:
    """Where a beard grows, 0..1: jaw, chin and upper lip."""
    away, mouth = np.abs(x), layout.mouth[1]
    jaw = 1 / (1 + np.exp(-(y - 0.72 - 0.25 * (0.9 - away)) / 0.06))
    lip = 1 - 0.85 * _blob(x, y, 0, mouth + 0.02, 0.33, 0.09)
    return jaw * lip
