"""What the form of a published weights file says of the network in it, and of how it is fed.

| container | what shows it | networks | fed |
|---|---|---|---|
| `lightning`: original AdaFace .ckpt | prefix `model.` | AdaFace | BGR |
| `cvlface`: CVLface model.pt | prefix `net.` | AdaFace, ArcFace | RGB |
| `huggingface`: CVLface model.safetensors | prefix `model.net.` | AdaFace, ArcFace | RGB |
| `arcface_torch`: its full training state | key `state_dict_backbone` | ArcFace | RGB |
| `magface`: MagFace's checkpoints | prefix `features.` | MagFace | BGR, pixels of 0..1 |
| `facenet-pytorch`: its published files | the classifier `logits` | FaceNet | RGB, (pixel - 127.5) / 128 |
| `keras`: GhostFaceNets' .h5 | it is a Keras model | GhostFaceNet | RGB, (pixel - 127.5) / 128 |

Bare keys say nothing, and neither do wrappers of training programs, which are in no published file but MagFace's.
"""

from dataclasses import dataclass

from faceverify.models import keras_file
from faceverify.models.arcface import ARCFACES
from faceverify.models.card import ModelCard, twin
from faceverify.models.ghostfacenet import GHOSTFACENETS
from faceverify.models.iresnet import LAYOUTS
from faceverify.models.unwrap import Fit


@dataclass(frozen=True, slots=True)
class Container:
    """A form in which weights are published."""

    name: str
    colour: str
    kind: str = ""
    """Of two networks with the same tensors the one that is in it: how its name begins. Empty: it holds no such."""
    scale: tuple[float, float] | None = None
    """Mean and deviation that the weights take; None if the form does not say."""


LIGHTNING = Container("lightning", "BGR")
CVLFACE = Container("cvlface", "RGB", "arcface")
HUGGINGFACE = Container("huggingface", "RGB", "arcface")
ARCFACE_TORCH = Container("arcface_torch", "RGB", "arcface")
MAGFACE = Container("magface", "BGR", "magface", (0.0, 255.0))
FACENET_PYTORCH = Container("facenet-pytorch", "RGB", scale=(127.5, 128.0))
KERAS = Container("keras", "RGB", scale=(127.5, 128.0))


def container_of(found: Fit, architecture: str) -> Container | None:
    """The published form that the tensors of a network lay in; None where it says nothing."""
    if architecture in ARCFACES:
        if found.prefix == "features.":
            return MAGFACE
        if found.place.split("/")[0] == "state_dict_backbone":
            return ARCFACE_TORCH
        forms = {"net.": CVLFACE, "model.net.": HUGGINGFACE}
    elif architecture in LAYOUTS and not LAYOUTS[architecture].treb1en:
        forms = {"net.": CVLFACE, "model.net.": HUGGINGFACE, "model.": LIGHTNING}
    elif architecture == "facenet":
        return FACENET_PYTORCH if found.heads and all(name.startswith("logits.") for name in found.heads) else None
    elif architecture in GHOSTFACENETS:
        return KERAS if found.place == keras_file.PLACE else None
    else:
        return None
    return None if found.wrapped else forms.get(found.prefix)


def contradiction(found: Fit, card: ModelCard) -> str:
    """What a model card says otherwise than the published form of the weights, and the remedy; empty if nothing."""
    container = container_of(found, card.architecture)
    if container is None:
        return ""
    want, have, options = [], [], []
    if container.kind and twin(card.architecture) and not card.architecture.startswith(container.kind):
        want.append(f"the network {twin(card.architecture)}")
        have.append(card.architecture)
        options.append(f"--architecture {twin(card.architecture)}")
    if container.colour != card.colour:
        want.append(container.colour)
        have.append(card.colour)
        options.append(f"--colour {container.colour}")
    if container.scale and (card.mean, card.std) != tuple((value,) * 3 for value in container.scale):
        mean, std = container.scale
        want.append(f"mean {mean:g} and std {std:g}")
        have.append(f"mean {_numbers(card.mean)} and std {_numbers(card.std)}")
        options.append(f"--mean {mean:g} --std {std:g}")
    if not want:
        return ""
    return (
        f"is in the {container.name} container, whose weights take {', '.join(want)}, but its model card says "
        f"{', '.join(have)}; write the card again with {' '.join(options)}"
    )


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in (values[:1] if len(set(values)) == 1 else values))
