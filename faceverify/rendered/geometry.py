"""Face coordinates, splines, and the pose that carries face coordinates to pixels.

Face units: x to image-right, y down, z towards the viewer; the origin lies between the eyes, one unit is half the width
of an average face (so the pupils are about 0.9 apart, the mouth is at y = 1, the chin at 1.55).
"""

from dataclasses import dataclass

import numpy as np

HEAD_CENTRE = (0.0, 0.1)
HEAD_RADII = (1.06, 1.62, 0.7)  # of the ellipsoid that stands for the front of the head: x, y, z


def spline(points: np.ndarray, closed: bool = False, steps: int = 8) -> np.ndarray:
    """A Catmull-Rom curve through `points` [K, 2] as a polyline [about K * steps, 2]."""
    p = np.asarray(points, np.float64)
    p = np.concatenate([p[-1:], p, p[:2]]) if closed else np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = (np.arange(steps) / steps)[None, :, None]
    a, b, c, d = (p[i : len(p) - 3 + i, None] for i in range(4))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    curve = curve.reshape(-1, 2)
    return curve if closed else np.concatenate([curve, p[-2:-1]])


def mirrored(half: np.ndarray) -> np.ndarray:
    """A closed symmetric control polygon from its right half [K, 2], given from the middle line round to it."""
    half = np.asarray(half, np.float64)
    return np.concatenate([half, half[-2:0:-1] * [-1, 1]])


def resample(line: np.ndarray, count: int) -> np.ndarray:
    """`count` points at equal arc length along the polyline [N, 2]."""
    steps = np.hypot(*np.diff(line, axis=0).T)
    at = np.concatenate([[0.0], np.cumsum(steps)])
    where = np.linspace(0, at[-1], count)
    return np.stack([np.interp(where, at, line[:, 0]), np.interp(where, at, line[:, 1])], axis=1)


def ellipse(centre: tuple[float, float], radii: tuple[float, float], count: int = 24) -> np.ndarray:
    """A polygon [count, 2] of the axis-parallel ellipse."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([centre[0] + radii[0] * np.cos(angle), centre[1] + radii[1] * np.sin(angle)], axis=1)


def surface_depth(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """z of the head's front at (x, y), in face units."""
    inside = 1 - ((x - HEAD_CENTRE[0]) / HEAD_RADII[0]) ** 2 - ((y - HEAD_CENTRE[1]) / HEAD_RADII[1]) ** 2
    return HEAD_RADII[2] * np.sqrt(np.maximum(inside, 0.04))


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the head is and how it is turned (orthographic camera).

    `roll`, `yaw` and `pitch` are radians (roll > 0 turns clockwise on screen, yaw > 0 looks to image-right, pitch > 0
    looks down), `scale` is pixels per face unit, (`x`, `y`) is the pixel of the head's axis at eye level.
    """

    roll: float
    yaw: float
    pitch: float
    scale: float
    x: float
    y: float

    def project(self, points: np.ndarray, depth: np.ndarray | float | None = None) -> np.ndarray:
        """Pixels [N, 2] of face points [N, 2] at z = `depth` (on the head's surface if None)."""
        px, py = np.asarray(points, np.float64).T
        z = surface_depth(px, py) if depth is None else depth
        turned = px * np.cos(self.yaw) + z * np.sin(self.yaw)
        behind = z * np.cos(self.yaw) - px * np.sin(self.yaw)
        nodded = py * np.cos(self.pitch) + behind * np.sin(self.pitch)
        cos, sin = self.scale * np.cos(self.roll), self.scale * np.sin(self.roll)
        return np.stack([self.x + cos * turned - sin * nodded, self.y + sin * turned + cos * nodded], axis=1)

    def unproject(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Face points on the head's surface seen at pixels (`x`, `y`); fixed-point iteration, good inside the face."""
        cos, sin = np.cos(self.roll) / self.scale, np.sin(self.roll) / self.scale
        turned = cos * (x - self.x) + sin * (y - self.y)
        nodded = cos * (y - self.y) - sin * (x - self.x)
        face_x, face_y = turned, nodded
        for _ in range(3):
            z = surface_depth(face_x, face_y)
            behind = z * np.cos(self.yaw) - face_x * np.sin(self.yaw)
            face_x = (turned - z * np.sin(self.yaw)) / np.cos(self.yaw)
            face_y = (nodded - behind * np.sin(self.pitch)) / np.cos(self.pitch)
        return face_x, face_y
