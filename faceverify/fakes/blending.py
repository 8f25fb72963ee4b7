"""Making a pasted face belong: its colours, its light, its edge. Pictures are RGB, of one size."""

import cv2
import numpy as np

_SPREAD = (0.75, 1.35)  # how far contrast may be changed, so that a flat face does not become noise
_LIGHT = (0.6, 1.6)  # likewise of the light
_BLEED = 32.0  # levels by which colours along the edge may change the face: a hat's would otherwise flood it


def match_colours(face: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`face` with the mean and spread of `target` in each channel of CIE Lab (Reinhard et al., 2001).

    Args:
        face, target: uint8 [h, w, 3].
        weights: float32 [h, w], which pixels the statistics are taken from.

    Returns:
        uint8 [h, w, 3].
    """
    own, other = (cv2.cvtColor(p.astype(np.float32) / 255, cv2.COLOR_RGB2Lab) for p in (face, target))
    mean, spread = _moments(own, weights)
    mean_other, spread_other = _moments(other, weights)
    gain = np.clip(spread_other / np.maximum(spread, 1e-3), *_SPREAD)
    return to_bytes(cv2.cvtColor(((own - mean) * gain + mean_other).astype(np.float32), cv2.COLOR_Lab2RGB) * 255)


def _moments(picture: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    share = (weights / max(float(weights.sum()), 1e-6))[..., None]
    mean = (picture * share).sum(axis=(0, 1))
    return mean, np.sqrt((((picture - mean) ** 2) * share).sum(axis=(0, 1)))


def match_light(face: np.ndarray, target: np.ndarray, weights: np.ndarray, reach: float, amount: float) -> np.ndarray:
    """`face` lit as `target` is: its brightness, smoothed over `reach` pixels within `weights`, becomes the target's.

    Args:
        face, target: uint8 [h, w, 3].
        weights: float32 [h, w].
        reach: standard deviation of the smoothing.
        amount: 0 nothing .. 1 all of it.

    Returns:
        uint8 [h, w, 3].
    """
    own, other = (_smooth(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY), weights, reach) for p in (face, target))
    gain = np.clip((other + 8) / (own + 8), *_LIGHT) ** amount
    return to_bytes(face * gain[..., None])


def _smooth(grey: np.ndarray, weights: np.ndarray, reach: float) -> np.ndarray:
    # Few nodes are enough for a smooth field, and far faster.
    step = max(1, int(reach / 4))
    size = (-(-grey.shape[1] // step), -(-grey.shape[0] // step))
    small_weights = cv2.resize(weights, size, interpolation=cv2.INTER_AREA) + 1e-3
    small = cv2.resize(grey.astype(np.float32) * weights, size, interpolation=cv2.INTER_AREA)
    small += 1e-3 * cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    light, share = (cv2.GaussianBlur(p, (0, 0), reach / step) for p in (small, small_weights))
    height, width = grey.shape
    return np.asarray(cv2.resize(cv2.divide(light, share), (width, height), interpolation=cv2.INTER_LINEAR))


def blend(target: np.ndarray, face: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """target + mask (face - target), rounded: uint8 [h, w, 3]; where `mask` is 0 the target is left to the bit."""
    difference = face.astype(np.float32) - target
    return to_bytes(target + mask[..., None] * difference)


def poisson(target: np.ndarray, face: np.ndarray, mask: np.ndarray, bleed: float = _BLEED) -> np.ndarray:
    """The face's gradients on the target's colours along the edge (Perez et al., 2003).

    Args:
        target, face: uint8 [h, w, 3].
        mask: bool [h, w]: the pixels to solve for.
        bleed: levels by which colours along the edge may change the face.

    Returns:
        uint8 [h, w, 3]; `target` outside `mask`, and as a whole where `mask` is less than 3 pixels wide or high.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if min(len(rows), len(columns)) < 3:  # OpenCV fails
        return target
    # OpenCV wants a border around the mask, and places the mask's bounding box by its centre.
    pad = 2
    y0, y1, x0, x1 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    padded = [cv2.copyMakeBorder(p[y0:y1, x0:x1], pad, pad, pad, pad, cv2.BORDER_REPLICATE) for p in (face, target)]
    area = cv2.copyMakeBorder(mask[y0:y1, x0:x1].astype(np.uint8) * 255, pad, pad, pad, pad, cv2.BORDER_CONSTANT)
    centre = (pad + (x1 - x0) // 2, pad + (y1 - y0) // 2)
    solved = cv2.seamlessClone(padded[0], padded[1], area, tuple(map(int, centre)), cv2.NORMAL_CLONE)
    own = face[y0:y1, x0:x1].astype(np.float32)
    change = np.clip(solved[pad:-pad, pad:-pad] - own, -bleed, bleed)
    out = target.copy()
    out[y0:y1, x0:x1] = np.where(mask[y0:y1, x0:x1, None], to_bytes(own + change), target[y0:y1, x0:x1])
    return out


def to_bytes(picture: np.ndarray) -> np.ndarray:
    """Rounded and clipped to uint8."""
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)
