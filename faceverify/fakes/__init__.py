"""Deepfakes to learn from: generators behind one interface, three of them without any published weights.

    swap = build(GENERATORS["landmark_swap"])
    [fake] = swap.make([Request((FaceInput(photo, landmarks),), FaceInput(host, host_landmarks), rng)])

A fake claims to be the person of its sources; the person in the target photo is only the host. docs/fakes.md says how
generators with weights fit in.

Importing this package loads neither OpenCV nor a network; `build` loads what the chosen generator needs.
"""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Literal, Protocol

import numpy as np

from faceverify.errors import BadData, UserError
from faceverify.fakes.diffusion.recipes import PROMPTS
from faceverify.fakes.swapper_table import GHOST_BACKBONE, GHOST_POINTS, GHOSTS, SWAPPERS, Swapper


@dataclass(frozen=True, slots=True)
class IdentityVector:
    """The embedding of a source face that a generator is fed.

    Args:
        model: the recogniser: a registered name, or its weights file (local or s3://).
        form: `raw` as the network gives it, `unit` divided by its length. The wrong one gives another person.
    """

    model: str
    form: Literal["raw", "unit"]


@dataclass(frozen=True, slots=True)
class Weights:
    """One weights file that decides what a generator makes.

    Args:
        name: for people; that in the registry of published networks, if it is there.
        uri: where it is; another place is no other run.
        sha256: of its content, hexadecimal.
    """

    name: str
    uri: str
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """What a generator needs; known without loading it, so that the job can plan and give it a place to run.

    Args:
        name: as in the table's column `generator` and in the pictures' names.
        class_path: where its class is, `module:Class`; it is called with the description and is then a `Generator`.
        target: whether it needs a photo of another person to put the face into.
        source_photos: how many photos of the person it takes at most.
        identity: the embedding it is fed for each source; the job computes it from the 112x112 crop.
        files: names of its weights in the registry of published networks.
        weights: its files as they were found; they become part of what a run is, and of every row.
        trainer: the `Trainer` that makes its weights of the people's photos, `module:function`; the job calls it once,
            before the first fake, and hands the file on as the only one of `weights`.
        gpu: whether a worker that makes its fakes is given a GPU, if the cluster has any.
        batch: how many requests it takes at a time.
        extra: the extra of this package without which it cannot be loaded; empty = none.
        prepare: `module:function`, called with the description before a run; it finds the files, checks them, and
            returns the description with them in it. Empty = there is nothing to find.
        prompts: in words, what a picture shows beside the face; each fake draws one. Empty = it takes none.
        cpu_minutes: how long about one fake takes on one CPU core, if that is long: it is told before work starts.
    """

    name: str
    class_path: str
    target: bool
    source_photos: int = 1
    identity: IdentityVector | None = None
    files: tuple[str, ...] = ()
    weights: tuple[Weights, ...] = ()
    trainer: str | None = None
    gpu: bool = False
    batch: int = 1
    extra: str = ""
    prepare: str = ""
    prompts: tuple[str, ...] = ()
    cpu_minutes: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class FaceInput:
    """A photo with one face in it.

    Args:
        image: [H, W, 3] uint8 RGB.
        landmarks: [5, 2] (x, y) in its pixels: image-left eye, image-right eye, nose, image-left mouth corner,
            image-right mouth corner.
        embedding: [D] float32, of sources only, where `Description.identity` asks for it.
    """

    image: np.ndarray
    landmarks: np.ndarray
    embedding: np.ndarray | None = None

    def with_embedding(self, embedding: np.ndarray) -> "FaceInput":
        """The same photo with its embedding."""
        return replace(self, embedding=embedding)


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One fake to make.

    Args:
        sources: photos of the claimed person, 1 to `Description.source_photos`.
        target: photo of the host, None where `Description.target` is false.
        rng: all that is random comes from here and nothing else, so a request can be repeated to the bit.
    """

    sources: tuple[FaceInput, ...]
    target: FaceInput | None
    rng: np.random.Generator


@dataclass(frozen=True, slots=True, eq=False)
class Fake:
    """What a generator made.

    Args:
        image: [H, W, 3] uint8 RGB; as large as the target photo where there is one.
        landmarks: [5, 2] float32 of the new face in `image`, order as in `FaceInput`; None if the generator does not
            know them.
        box: (x0, y0, x1, y1) whole pixels, x1 and y1 exclusive, inside the picture: what was pasted; None if all is
            new.
        mask: [y1 - y0, x1 - x0] float32 in 0..1, the share of the new face in each pixel of `box`; None with `box`.
        how: the way it was made in a few words, for people (variants that the seed has chosen).
    """

    image: np.ndarray
    landmarks: np.ndarray | None
    box: tuple[int, int, int, int] | None
    mask: np.ndarray | None
    how: str


class Generator(Protocol):
    """What `build` returns, and what a new method implements. Its weights are loaded when it is built."""

    description: Description

    def make(self, requests: Sequence[Request]) -> list[Fake | BadData]:
        """One result per request (at most `description.batch`), same order; nothing is raised for bad photos."""
        ...


@dataclass(frozen=True, slots=True)
class Trained:
    """How far a training is: steps done, and the mean loss of the latest of them."""

    steps: int
    loss: float


class Trainer(Protocol):
    """What `Description.trainer` names: weights for a generator, made of the user's own photos."""

    def __call__(
        self, faces: Iterable[tuple[int, FaceInput]], steps: int, seed: int, gpu: bool
    ) -> Iterator[Trained | bytes]:
        """Yield `Trained` from time to time, and at the end the weights as the content of a safetensors file.

        The same faces, steps and seed give the same bytes, on one kind of machine.

        Args:
            faces: number of the person, ascending, and a photo of it; read once, none needs to be kept.
            steps: how long to train.
            seed: of everything random.
            gpu: whether there is one to be used.
        """
        ...


def _swapper(name: str, row: Swapper) -> Description:
    return Description(
        name=name,
        class_path="faceverify.fakes.onnx_swapper:OnnxSwapper",
        target=True,
        identity=IdentityVector("w600k_r50", row.vector) if row.vector else None,
        files=row.files,
        gpu=True,
        batch=8,
    )


def _ghost(name: str, network: str) -> Description:
    return Description(
        name=name,
        class_path="faceverify.fakes.ghost:Ghost",
        target=True,
        files=(network, GHOST_BACKBONE, GHOST_POINTS),
        gpu=True,
        batch=8,
    )


_DIFFUSION = "faceverify.fakes.diffusion"


def _arc2face(name: str, cpu_minutes: float) -> Description:
    return Description(
        name=name,
        class_path=f"{_DIFFUSION}.generator:DiffusionGenerator",
        target=False,
        identity=IdentityVector("arcface_webface42m", "unit"),
        gpu=True,
        batch=4,
        extra="fakes",
        prepare=f"{_DIFFUSION}.published:located",
        cpu_minutes=cpu_minutes,
    )


def _instantid(name: str, cpu_minutes: float) -> Description:
    return Description(
        name=name,
        class_path=f"{_DIFFUSION}.generator:DiffusionGenerator",
        target=True,
        identity=IdentityVector("glintr100", "raw"),
        gpu=True,
        batch=1,
        extra="fakes",
        prepare=f"{_DIFFUSION}.published:located",
        prompts=PROMPTS,
        cpu_minutes=cpu_minutes,
    )


GENERATORS: dict[str, Description] = {
    "landmark_swap": Description(
        name="landmark_swap", class_path="faceverify.fakes.landmark_swap:LandmarkSwap", target=True
    ),
    "self_blend": Description(name="self_blend", class_path="faceverify.fakes.self_blend:SelfBlend", target=False),
    "autoencoder_swap": Description(
        name="autoencoder_swap",
        class_path="faceverify.fakes.autoencoder.swap:AutoencoderSwap",
        target=True,
        trainer="faceverify.fakes.autoencoder.training:train",
    ),
    **{name: _ghost(name, network) for name, (network, _) in GHOSTS.items()},
    **{name: _swapper(name, row) for name, row in SWAPPERS.items()},
    **{one.name: one for one in (_arc2face("arc2face", 12.0), _arc2face("arc2face_lcm", 2.0))},
    **{one.name: one for one in (_instantid("instantid", 270.0), _instantid("instantid_lcm", 50.0))},
}


def describe(names: str) -> list[Description]:
    """What the generators of a list like `landmark_swap,self_blend` need.

    Raises:
        UserError: unknown, repeated, or none.
    """
    asked = [name.strip() for name in names.split(",")]
    for name in asked:
        if name not in GENERATORS:
            near = difflib.get_close_matches(name, GENERATORS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(GENERATORS)}."
            raise UserError(f"generators: there is no generator '{name}'; {hint}")
        if asked.count(name) > 1:
            raise UserError(f"generators: '{name}' is named twice.")
    return [GENERATORS[name] for name in asked]


def build(description: Description) -> Generator:
    """The generator that is described, ready to work; `files` are looked for in the cache if `weights` is empty.

    Raises:
        UserError: its weights are not there, or are not those that the description names.
    """
    module, _, name = description.class_path.partition(":")
    return getattr(import_module(module), name)(description)
