"""Two kinds of deepfakes: the victim's face put into another person's photo, and a generated photo of the victim.

Both look like the victim and carry traces of how they were made, as real generators do: the swap a soft, re-coloured
patch with a seam; the synthesis an imperfect likeness, skin without texture and the grid of an upsampling layer.
"""

from dataclasses import replace

import cv2
import numpy as np

from faceverify.rendered import RenderedConfig
from faceverify.rendered.geometry import Pose, spline
from faceverify.rendered.identity import HAIR, SKIN, Identity, Traits, likeness, with_outline_of
from faceverify.rendered.photo import FAKE, expose, person_of, scene_of
from faceverify.rendered.portrait import landmarks_of, paint

GENERATORS = ("swap", "synthesis")
_HOST_CANDIDATES = 16


def render_fake(config: RenderedConfig, person_index: int, fake_index: int) -> tuple[np.ndarray, np.ndarray, str]:
    """A deepfake of a person: RGB uint8 [size, size, 3], landmarks [5, 2] float32 px, generator.

    Fakes with even index are swaps, with odd index syntheses; a pure function of its arguments.
    """
    generator = GENERATORS[fake_index % 2]
    make = _swap if generator == "swap" else _synthesis
    return make(config, person_index, fake_index), fake_landmarks(config, person_index, fake_index), generator


def fake_landmarks(config: RenderedConfig, person_index: int, fake_index: int) -> np.ndarray:
    """The landmarks that `render_fake` gives, without drawing (a swap keeps those of the victim's inner face)."""
    victim = person_of(config, person_index)
    scene = scene_of(config, FAKE, person_index, fake_index)
    return landmarks_of(victim if fake_index % 2 == 0 else _reconstruction(victim), scene)


def _swap(config: RenderedConfig, person_index: int, fake_index: int) -> np.ndarray:
    victim, host = person_of(config, person_index), _host(config, person_index, fake_index)
    scene = scene_of(config, FAKE, person_index, fake_index)
    photo = expose(paint(host, scene), scene.camera, scene.texture_seed).astype(np.float32)
    face = paint(with_outline_of(victim, host), scene)
    # The generator works at a lower resolution than the photo, and its patch brings no camera noise of its own.
    coarse = cv2.resize(face, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    face = cv2.resize(coarse, (scene.size, scene.size), interpolation=cv2.INTER_CUBIC)
    mask = _inner_face(scene.pose, scene.size)
    weight = mask / mask.sum()
    cast = ((photo - face) * weight[..., None]).sum(axis=(0, 1))
    face += 0.35 * cast  # colour matching: part of the way to the host's skin
    seam = 4 * mask * (1 - mask)
    traces = 0.06 * config.fake_traces * seam[..., None] * (cast - 8)
    fake = photo + mask[..., None] * (face - photo) + traces
    return np.clip(np.round(fake), 0, 255).astype(np.uint8)


def _host(config: RenderedConfig, person_index: int, fake_index: int) -> Identity:
    """The person whose photo receives the face: the one of some others (strangers, if there are none) most like the
    victim from afar."""
    rng = np.random.default_rng((config.seed, FAKE, person_index, fake_index, 1))
    others = [i for i in range(config.persons) if i != person_index]
    victim = person_of(config, person_index)
    drawn = rng.choice(others, min(_HOST_CANDIDATES, len(others)), replace=False) if others else [config.persons]
    return max((person_of(config, int(i)) for i in drawn), key=lambda host: likeness(host, victim))


def _inner_face(pose: Pose, size: int) -> np.ndarray:
    """Feathered mask float32 [size, size] of the part of the face that a swap replaces: brows to chin."""
    half = np.array(
        [[0, -0.5], [0.45, -0.52], [0.78, -0.34], [0.82, 0.1], [0.74, 0.62], [0.52, 1.12], [0.24, 1.36], [0, 1.4]]
    )
    outline = spline(np.concatenate([half, half[-2:0:-1] * [-1, 1]]), closed=True)
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [np.round(pose.project(outline) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), 0.07 * pose.scale)


def _synthesis(config: RenderedConfig, person_index: int, fake_index: int) -> np.ndarray:
    scene = scene_of(config, FAKE, person_index, fake_index)
    picture = paint(_reconstruction(person_of(config, person_index)), scene)
    pixels = expose(picture, replace(scene.camera, noise=0.3 * scene.camera.noise), scene.texture_seed)
    smooth = cv2.bilateralFilter(pixels, 5, 22, 2.0).astype(np.float32)
    grid = config.fake_traces * _upsampling_grid(scene.size, smooth)
    return np.clip(np.round(smooth + grid), 0, 255).astype(np.uint8)


def _reconstruction(person: Identity) -> Identity:
    """The victim as the generator remembers them: drawn to the mean, with the generator's own taste, without marks."""
    vector = person.traits.vector()
    taste = np.random.default_rng(20).uniform(-1, 1, len(vector))  # one generator, one taste
    mean_skin, mean_hair = np.mean(SKIN, axis=0), np.mean(HAIR, axis=0)
    skin = tuple((0.92 * np.array(person.skin) + 0.08 * mean_skin).tolist())
    hair = tuple((0.92 * np.array(person.hair) + 0.08 * mean_hair).tolist())
    traits = Traits.of(0.85 * vector + 0.15 * taste)
    return replace(person, traits=traits, skin=skin, hair=hair, freckles=(), moles=())


def _upsampling_grid(size: int, picture: np.ndarray) -> np.ndarray:
    """What two transposed convolutions of stride 2 leave: checkerboards [size, size, 1], stronger where bright."""
    at = np.arange(size)
    fine, coarse = at % 2 * 2.0 - 1, at // 2 % 2 * 2.0 - 1
    board = 1.2 * np.outer(fine, fine) + 1.8 * np.outer(coarse, coarse)
    return (board[..., None] * (0.4 + picture.mean(axis=2, keepdims=True) / 255)).astype(np.float32)
