"""An ONNX graph of a generator: is it the one that it should be, and running it for several faces at a time."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, numpy_helper

from faceverify.errors import PlatformError, UserError
from faceverify.fakes.swapper_table import DIM, Shape, Signature
from faceverify.models import EngineConfig, engine_onnx
from faceverify.models.engines import threads_of
from faceverify.redaction import first_line

_TYPES: dict[int, type] = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16}
_TABLE = "buff2fs"  # what the published inswapper calls the table that its identities go through
_ON_GPU = 4  # calls at a time: while one computes, others copy
_REMEDY = "give the file as published, or fetch it again"


@dataclass(frozen=True, slots=True)
class Ports:
    """A graph's own names for what a `Signature` asks for: names and types of the inputs; and the output.

    single: whether it takes one face at a time.
    """

    inputs: Mapping[str, tuple[str, type]]
    output: str
    single: bool


def find_ports(model: ModelProto, signature: Signature, path: Path) -> Ports:
    """Find inputs by their names, else by their shapes, and the output, which is the first.

    Raises:
        UserError: they are not those of the signature; names the file.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    there = [value for value in model.graph.input if value.name not in constants]
    by_name = {value.name: value for value in there}
    if set(by_name) != set(signature.inputs):
        by_name = _by_shape(there, signature)
    good = by_name is not None and all(_fits(by_name[role], shape) for role, shape in signature.inputs.items())
    outputs = model.graph.output[:1]
    if by_name is None or not good or not outputs or not _fits(outputs[0], signature.output):
        wanted = ", ".join(f"{role} {_told(shape)}" for role, shape in signature.inputs.items())
        raise UserError(
            f"{path} is another model: it must take {wanted} and give {_told(signature.output)} first, but takes "
            f"{_listed(there)} and gives {_listed(model.graph.output)}; {_REMEDY}."
        )
    batches = {_sides(value)[0] for value in by_name.values()} - {None}
    if batches - {1}:
        raise UserError(f"{path} takes {max(filter(None, batches))} faces at a time, not one or any number; {_REMEDY}.")
    inputs = {role: (value.name, _TYPES[value.type.tensor_type.elem_type]) for role, value in by_name.items()}
    return Ports(inputs, outputs[0].name, single=bool(batches))


def _by_shape(there: list[ValueInfoProto], signature: Signature) -> dict[str, ValueInfoProto] | None:
    """The inputs by role, if their shapes leave no doubt; else None."""
    fitting = {role: [value for value in there if _fits(value, shape)] for role, shape in signature.inputs.items()}
    if len(there) != len(fitting) or any(len(found) != 1 for found in fitting.values()):
        return None
    chosen = {role: found[0] for role, found in fitting.items()}
    return chosen if len({value.name for value in chosen.values()}) == len(chosen) else None


def _sides(value: ValueInfoProto) -> list[int | None]:
    """The sides of a tensor, None where the graph leaves them open."""
    return [side.dim_value if side.dim_value > 0 else None for side in value.type.tensor_type.shape.dim]


def _fits(value: ValueInfoProto, shape: Shape) -> bool:
    sides = _sides(value)[1:]
    known = value.type.tensor_type.elem_type in _TYPES and len(sides) == len(shape)
    return known and all(have in (None, want) for have, want in zip(sides, shape, strict=True))


def _told(shape: Shape) -> str:
    return f"[N, {', '.join(map(str, shape))}]"


def _listed(values: Sequence[ValueInfoProto]) -> str:
    told = [
        f"{value.name[:40]} [{', '.join('N' if side is None else str(side) for side in _sides(value))}]"
        for value in values[:3]
    ]
    return ", ".join(told) + (f" and {len(values) - 3} more" if len(values) > 3 else "") if told else "nothing"


def identity_table(model: ModelProto, path: Path) -> np.ndarray:
    """The table [512, 512] float32 that inswapper's identities go through.

    It is a constant of the file that no step of the graph uses, so ONNX Runtime drops it.

    Raises:
        UserError: there is none: another model, or one that was simplified or exported again.
    """
    constants = list(model.graph.initializer)
    named = [tensor for tensor in constants if tensor.name == _TABLE] or constants[-1:]
    if not named or tuple(named[0].dims) != (DIM, DIM):
        raise UserError(
            f"{path} lacks the table of {DIM}x{DIM} numbers that identities go through (its last constant, {_TABLE}): "
            "it is another model, or was simplified; give the file as published."
        )
    return np.asarray(numpy_helper.to_array(named[0]), np.float32)


class Graph:
    """A graph that is loaded.

    On a CPU, and where it takes one face at a time, each face is a call of its own, by several threads: so a face comes
    out the same whatever faces it is together with. On a GPU all calls have one size, and are filled up to it.
    """

    def __init__(self, model: ModelProto, path: Path, signature: Signature, batch: int, config: EngineConfig) -> None:
        """Check and load a graph.

        Args:
            model: of `onnx_file.read`; it may be changed.
            path: where it was read.
            signature: what it must take and give.
            batch: faces of a call on a GPU, if it takes several.
            config: provider and threads.

        Raises:
            UserError: it is another model, or cannot be loaded and run within bounds.
        """
        self._path = path
        self._ports = find_ports(model, signature, path)
        digest = engine_onnx.require_tried(path, "swapper")
        self._session = engine_onnx.start(model, path, EngineConfig(provider=config.provider, threads=1), digest)
        on_cpu = self._session.get_providers()[0] == engine_onnx.PROVIDERS["cpu"]
        self._size = 1 if on_cpu or self._ports.single else batch
        calls = threads_of(config) if on_cpu else _ON_GPU
        self._pool = ThreadPoolExecutor(calls) if self._size == 1 and calls > 1 else None

    def run(self, **inputs: np.ndarray) -> np.ndarray:
        """Run it for N faces, N from 1 up.

        Args:
            inputs: [N, ...] float32 of each input of the signature.

        Returns:
            [N, ...] float32, the first output.

        Raises:
            UserError: the graph cannot be run.
            PlatformError: there is not enough memory.
        """
        feed = {name: np.asarray(inputs[role], kind) for role, (name, kind) in self._ports.inputs.items()}
        count = len(next(iter(feed.values())))
        starts = range(0, count, self._size)
        each = [{name: array[at : at + self._size] for name, array in feed.items()} for at in starts]
        found = self._pool.map(self._call, each) if self._pool and len(each) > 1 else map(self._call, each)
        return np.concatenate(list(found))

    def _call(self, feed: dict[str, np.ndarray]) -> np.ndarray:
        count = len(next(iter(feed.values())))
        if lack := self._size - count:
            feed = {name: np.concatenate([a, np.repeat(a[-1:], lack, axis=0)]) for name, a in feed.items()}
        try:
            return np.asarray(self._session.run([self._ports.output], feed)[0], np.float32)[:count]
        except Exception as error:  # the runtime's own exceptions share no public base class
            told = first_line(error)[:200]
            if "memory" in told.lower():
                raise out_of_memory(self._path.name, told) from None
            raise UserError(f"{self._path} cannot be run ({told}); {_REMEDY}.") from None


def out_of_memory(name: str, told: str) -> PlatformError:
    """The error for a network that finds no room for its work."""
    return PlatformError(
        f"{name} found no memory ({told}): end what else uses the GPU, or take fewer generators at a time."
    )
