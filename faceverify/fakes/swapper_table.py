"""The published face swappers, and how each is fed. Data alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Form = Literal["unit", "raw", "table", "picture"]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """What goes into an ONNX graph and comes out, without the number of faces.

    Args:
        inputs: shape of each by what it is called here; two of one shape can be told apart by name only.
        output: shape of the first output; those behind it are not looked at.
    """

    inputs: Mapping[str, Shape]
    output: Shape


@dataclass(frozen=True, kw_only=True, slots=True)
class Swapper:
    """How a swapper is fed, and what is done with what it gives.

    Args:
        weights: its name in the registry of published files.
        template, size: the crop of the target's photo: of `faceverify.align.geometry.SHARES`, and side in pixels.
        mean, std: of the crop, RGB, x/255.
        identity: what says whose face it is to be: a vector of unit length or raw; `table` the unit vector times a
            table [512, 512] in the file, and again made a unit vector; `picture` a crop of the person's photo, x/255.
        converter: registry name of the network that w600k_r50's vector goes through first; empty if none.
        source_template, source_size: of the crop, if `identity` is `picture`.
        signed: whether its pictures are -1..1, else 0..1.
        border: what lies outside the photo in a crop.
        mask: which of `faceverify.fakes.pasting`.
    """

    weights: str
    template: str
    size: int
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    identity: Form
    converter: str = ""
    source_template: str = ""
    source_size: int = 0
    signed: bool = False
    border: Literal["black", "replicate"] = "replicate"
    mask: Literal["square", "box"] = "box"

    @property
    def files(self) -> tuple[str, ...]:
        """The names of its files in the registry."""
        return (self.weights, self.converter) if self.converter else (self.weights,)

    @property
    def signature(self) -> Signature:
        """What its graph takes and gives."""
        picture = (3, self.size, self.size)
        source = (3, self.source_size, self.source_size) if self.identity == "picture" else (DIM,)
        return Signature({"target": picture, "source": source}, picture)

    @property
    def vector(self) -> Literal["unit", "raw"] | None:
        """Which form of w600k_r50's embedding it is given; None if it takes a picture. Converters take it raw."""
        if self.identity == "picture":
            return None
        return "raw" if self.converter or self.identity == "raw" else "unit"


DIM = 512  # numbers of an embedding, of all recognisers here
CONVERTER = Signature({"input": (DIM,)}, (DIM,))
POINTS_106 = Signature({"data": (3, 192, 192)}, (212,))

# Ghost in PyTorch: by the name of the generator, that of its network in the registry and how many blocks that has.
GHOSTS = {
    "ghost": ("ghost_unet_2blocks", 2),
    "ghost_1block": ("ghost_unet_1block", 1),
    "ghost_3blocks": ("ghost_unet_3blocks", 3),
}
GHOST_BACKBONE, GHOST_POINTS = "ghost_backbone", "2d106det"

_HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def _inswapper(weights: str) -> Swapper:
    return Swapper(weights=weights, template="arcface_128", size=128, identity="table", border="black", mask="square")


def _ghost(weights: str) -> Swapper:
    """Ghost's networks as facefusion exported them: one frontal crop, and a converter in place of its recogniser."""
    return Swapper(
        weights=weights,
        template="arcface_112_v1",
        size=256,
        identity="raw",
        converter="crossface_ghost",
        signed=True,
        **_HALF,
    )


def _hyperswap(weights: str) -> Swapper:
    return Swapper(weights=weights, template="arcface_128", size=256, identity="unit", signed=True, **_HALF)


# By the name of the generator.
SWAPPERS = {
    "inswapper": _inswapper("inswapper_128"),
    "inswapper_fp16": _inswapper("inswapper_128_fp16"),
    **{name: _ghost(name) for name in ("ghost_1_256", "ghost_2_256", "ghost_3_256")},
    # Fed as ImageNet's networks are, and yet gives 0..1.
    "simswap_256": Swapper(
        weights="simswap_256",
        template="arcface_112_v1",
        size=256,
        identity="unit",
        converter="crossface_simswap",
        **_IMAGENET,
    ),
    "simswap_unofficial_512": Swapper(
        weights="simswap_unofficial_512",
        template="arcface_112_v1",
        size=512,
        identity="unit",
        converter="crossface_simswap",
    ),
    "blendswap_256": Swapper(
        weights="blendswap_256",
        template="ffhq_512",
        size=256,
        identity="picture",
        source_template="arcface_112_v2",
        source_size=112,
    ),
    # The person's picture is 0..1, the target -1..1.
    "uniface_256": Swapper(
        weights="uniface_256",
        template="ffhq_512",
        size=256,
        identity="picture",
        source_template="ffhq_512",
        source_size=256,
        signed=True,
        **_HALF,
    ),
    "hififace_unofficial_256": Swapper(
        weights="hififace_unofficial_256",
        template="mtcnn_512",
        size=256,
        identity="unit",
        converter="crossface_hififace",
        signed=True,
        **_HALF,
    ),
    **{name: _hyperswap(name) for name in ("hyperswap_1a_256", "hyperswap_1b_256", "hyperswap_1c_256")},
}
