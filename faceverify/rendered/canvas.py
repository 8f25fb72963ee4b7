"""A picture to paint on: anti-aliased polygons and strokes, soft edges, float32 compositing."""

import cv2
import numpy as np

from faceverify.rendered.identity import RGB

SUPERSAMPLING = 2
_SHIFT = 4  # fractional bits of the coordinates that OpenCV draws with


class Canvas:
    """RGB float32 `pixels` [3, S * size, S * size] in 0..255, where S is `SUPERSAMPLING`.

    Planes, because they blend faster.

    All coordinates and widths given to its methods are in pixels of the final picture (pixel centres at whole numbers).
    """

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels

    @classmethod
    def over(cls, background: np.ndarray) -> "Canvas":
        """A canvas that starts from a picture [size, size, 3] float32."""
        side = background.shape[0] * SUPERSAMPLING
        return cls(enlarged(background, side))

    def picture(self) -> np.ndarray:
        """The picture at its final size [size, size, 3] float32."""
        side = self.pixels.shape[1] // SUPERSAMPLING
        return cv2.resize(cv2.merge(list(self.pixels)), (side, side), interpolation=cv2.INTER_AREA)

    def fill(
        self, points: np.ndarray, colour: RGB, alpha: float = 1.0, soft: float = 0.0, clip: np.ndarray | None = None
    ) -> None:
        """Paint the polygon [N, 2]; `soft` is the Gaussian blur of its edge, `clip` a mask as `mask` returns it."""
        self._paint([points], colour, alpha, soft, clip, None)

    def stroke(
        self,
        lines: list[np.ndarray],
        colour: RGB,
        width: float,
        alpha: float = 1.0,
        soft: float = 0.0,
        clip: np.ndarray | None = None,
    ) -> None:
        """Paint open polylines, each [N, 2], `width` pixels wide."""
        self._paint(lines, colour, alpha, soft, clip, width)

    def mask(self, points: np.ndarray) -> np.ndarray:
        """Coverage of the polygon: float32 [S * size, S * size] in 0..1."""
        whole = np.zeros(self.pixels.shape[1:], np.uint8)
        cv2.fillPoly(whole, [_fixed(points, (0, 0))], 255, cv2.LINE_AA, _SHIFT)
        return whole.astype(np.float32) * np.float32(1 / 255)

    def window(self, points: np.ndarray, margin: float = 0.0) -> tuple[slice, slice] | None:
        """Rows and columns of `pixels` that hold the points and a margin; None if they are outside the picture."""
        height, width = self.pixels.shape[1:]
        low = np.floor((points.min(axis=0) - margin) * SUPERSAMPLING).astype(int)
        high = np.ceil((points.max(axis=0) + margin) * SUPERSAMPLING).astype(int) + 2
        edge = (width, height)
        (x0, y0), (x1, y1) = np.clip(low, 0, edge).tolist(), np.clip(high, 0, edge).tolist()
        return (slice(y0, y1), slice(x0, x1)) if x1 > x0 and y1 > y0 else None

    def _paint(
        self,
        shapes: list[np.ndarray],
        colour: RGB,
        alpha: float,
        soft: float,
        clip: np.ndarray | None,
        width: float | None,
    ) -> None:
        window = self.window(np.concatenate(shapes), 3 * soft + (width or 0) + 1)
        if window is None:
            return
        cover = _coverage(shapes, window, soft, width)
        if clip is not None:
            cover *= clip[window]
        blend(self.pixels[:, *window], colour, cover * np.float32(alpha))


def blend(target: np.ndarray, colour: RGB | np.ndarray, cover: np.ndarray) -> None:
    """Move `target` [3, h, w] towards `colour` (RGB, or planes [3, h, w]) by `cover` [h, w] in 0..1, in place."""
    for plane, value in zip(target, colour, strict=True):
        plane += cover * (value - plane)


def enlarged(picture: np.ndarray, side: int) -> np.ndarray:
    """A small square picture [s, s, 3] float32 as planes [3, side, side]."""
    planes = np.empty((3, side, side), np.float32)
    for plane, small in zip(planes, cv2.split(picture), strict=True):
        cv2.resize(small, (side, side), dst=plane, interpolation=cv2.INTER_LINEAR)
    return planes


def _coverage(shapes: list[np.ndarray], window: tuple[slice, slice], soft: float, width: float | None) -> np.ndarray:
    rows, columns = window
    cover = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
    corner = (columns.start, rows.start)
    if width is None:
        cv2.fillPoly(cover, [_fixed(shape, corner) for shape in shapes], 255, cv2.LINE_AA, _SHIFT)
    else:
        thickness = max(1, round(width * SUPERSAMPLING))
        cv2.polylines(cover, [_fixed(s, corner) for s in shapes], False, 255, thickness, cv2.LINE_AA, _SHIFT)
    if soft > 0:
        cover = cv2.GaussianBlur(cover, (0, 0), soft * SUPERSAMPLING, borderType=cv2.BORDER_REPLICATE)
    return cover.astype(np.float32) * np.float32(1 / 255)


def _fixed(points: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
    # A final pixel averages SUPERSAMPLING canvas pixels, so its centre lies between them.
    fine = (np.asarray(points) + 0.5) * SUPERSAMPLING - 0.5 - corner
    return np.round(fine * (1 << _SHIFT)).astype(np.int32)
