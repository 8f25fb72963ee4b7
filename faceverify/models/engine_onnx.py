"""Embedders that ONNX Runtime runs."""

import ctypes.util
import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, TensorProto, numpy_helper

from faceverify.errors import UserError
from faceverify.models import cache, onnx_file, registry, trial
from faceverify.models.card import ModelCard
from faceverify.models.denormals import flushed
from faceverify.models.engine_config import EngineConfig
from faceverify.models.engines import CPU_BATCH, Engine, threads_of
from faceverify.models.prelu import without_prelu
from faceverify.wording import count_of

SMALL_NETWORK = 32 << 20  # bytes of the file
PROVIDERS = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "cpu": "CPUExecutionProvider",
}  # best first


class OnnxEngine(Engine):
    """An ONNX graph with one picture input [N, 3, H, W] and an output [N, dim].

    With `optimise` off it is run step by step as it is written, which is slower.
    """

    def __init__(self, path: Path, card: ModelCard, config: EngineConfig, optimise: bool = True) -> None:
        self._session = start(onnx_file.read(path), path, config, card.digest, optimise)
        self._input, self._output, batch = _ports(self._session, card, path)
        used = self._session.get_providers()[0]
        # Some graphs take one batch size only, and TensorRT compiles again for each size: such batches are filled up.
        self._fixed = batch or (config.batch_size if used == PROVIDERS["tensorrt"] else None)
        # Small networks wait for memory: one core takes 2.6 ms per face of MobileFaceNet y1 in twos, 2.8 in eights.
        small = sum(one.stat().st_size for one in (path, *onnx_file.data_files(path))) < SMALL_NETWORK
        most = (2 if small else CPU_BATCH) if used == PROVIDERS["cpu"] else config.batch_size
        provider = f"onnxruntime {used}, {count_of(threads_of(config), 'thread')}"
        super().__init__(card, provider, self._fixed or min(config.batch_size, most))

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Run the graph on [n, 3, H, W] float32; return [n, dim] float32."""
        count = len(x)
        if self._fixed and count < self._fixed:
            x = np.concatenate([x, np.zeros((self._fixed - count, *x.shape[1:]), x.dtype)])
        return np.asarray(self._session.run([self._output], {self._input: x})[0])[:count]


def check(path: Path, card: ModelCard) -> str:
    """Check that an ONNX file loads and that its input and output are those of the card; returns nothing to say.

    Raises:
        UserError: if not.
    """
    require_tried(path)
    _ports(_plain_session(path), card, path)
    return ""


def require_tried(path: Path, kind: Literal["embedder", "forensic", "swapper"] = "embedder") -> str:
    """Try a graph in a process of its own, unless it is one of the published ones; returns its SHA-256.

    Raises:
        UserError: it cannot be loaded and run within bounds.
    """
    data = onnx_file.whole(path)
    sha256 = hashlib.sha256(data).hexdigest()
    if not registry.is_published(sha256):
        try:
            trial.require_tried(kind, data, sha256)
        except ValueError as error:
            raise UserError(f"ONNX Runtime cannot load {path} ({error}); fetch or export it again.") from None
    return sha256


def start(
    model: ModelProto, path: Path, config: EngineConfig, digest: str, optimise: bool = True
) -> ort.InferenceSession:
    """Open a graph on the hardware that is asked for.

    Args:
        model: the graph; it may be changed.
        path: its file, for messages.
        config: provider and threads.
        digest: of the graph: what TensorRT compiled is kept by it.
        optimise: see `open_session`.

    Raises:
        UserError: it cannot be loaded, or the hardware is not there.
    """
    wanted = _choose(config.provider)
    providers = [(PROVIDERS[name], _options(name, digest)) for name in wanted]
    session = _session(model, path, threads_of(config), providers, optimise)
    used = session.get_providers()[0]
    if config.provider != "auto" and used != PROVIDERS[wanted[0]]:
        raise UserError(
            f"provider is '{config.provider}', but ONNX Runtime could not start it and fell back to {used}; "
            "install its libraries or set provider to 'auto'."
        )
    return session


def output_dim(path: Path) -> int | None:
    """Return the length of the embedding that an ONNX file announces, None if it announces none."""
    require_tried(path)
    shape = _plain_session(path).get_outputs()[0].shape
    return shape[1] if len(shape) == 2 and isinstance(shape[1], int) else None


def _choose(provider: str) -> list[str]:
    """The providers to ask for, best first; CPU stands last because some operators run there in any case."""
    there = [name for name, full in PROVIDERS.items() if full in ort.get_available_providers()]
    if provider == "auto":
        # The GPU package lists TensorRT also where its library is not installed, and then complains at length.
        return [name for name in there if name != "tensorrt" or ctypes.util.find_library("nvinfer")]
    if provider not in there:
        raise UserError(
            f"provider is '{provider}', but this ONNX Runtime has only {', '.join(there)}; set one of them."
        )
    return there[there.index(provider) :]


def _options(name: str, digest: str) -> dict[str, Any]:
    """Options of a provider: TensorRT keeps what it compiled, which takes minutes."""
    if name != "tensorrt":
        return {}
    folder = cache.cache_dir() / "tensorrt" / digest
    folder.mkdir(parents=True, exist_ok=True)
    return {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(folder)}


def _plain_session(path: Path) -> ort.InferenceSession:
    return _session(onnx_file.read(path), path, 1, [(PROVIDERS["cpu"], {})], optimise=False)


def _session(
    model: ModelProto, path: Path, threads: int, providers: list[tuple[str, dict[str, Any]]], optimise: bool
) -> ort.InferenceSession:
    try:
        return open_session(model, threads, providers, optimise)
    except Exception as error:  # the runtime's own exceptions share no public base class
        text = str(error).splitlines()[0][:200]
        raise UserError(f"ONNX Runtime cannot load {path} ({text}); fetch or export it again.") from error


def open_session(
    model: ModelProto, threads: int, providers: list[tuple[str, dict[str, Any]]], optimise: bool
) -> ort.InferenceSession:
    """Give a graph to ONNX Runtime, which raises exceptions of its own.

    Args:
        model: a checked graph (`onnx_file`).
        threads: for one call.
        providers: their full names and options, best first.
        optimise: whether the graph may be changed so that it runs faster.
    """
    if any(name == PROVIDERS["cuda"] for name, _ in providers):
        ort.preload_dlls()  # finds the CUDA libraries that came with PyTorch
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
    options.log_severity_level = 3  # errors only
    if optimise and providers[0][0] == PROVIDERS["cpu"]:
        model = without_denormals(without_prelu(model))
    return ort.InferenceSession(model.SerializeToString(), options, providers=providers)


def without_denormals(model: ModelProto) -> ModelProto:
    """Put zeros in place of the denormal weights of a graph (`denormals.flushed`); returns the same graph."""
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor)
            if (clean := flushed(values)) is not values:
                tensor.CopyFrom(numpy_helper.from_array(clean, tensor.name))
    return model


def _ports(session: ort.InferenceSession, card: ModelCard, path: Path) -> tuple[str, str, int | None]:
    """Find (input name, output name, fixed batch size or None) by shape; names differ from exporter to exporter."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or not _fits(inputs[0].shape, (3, *card.input_size)) or inputs[0].type != "tensor(float)":
        seen = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
        raise UserError(
            f"{path} must take one float picture [N, 3, {card.input_size[0]}, {card.input_size[1]}] as its model card "
            f"says, but takes {seen}; correct the card or export the network again."
        )
    found = [o.name for o in outputs if _fits(o.shape, (card.dim,))]
    if len(found) != 1:
        seen = ", ".join(f"{o.name} {o.shape}" for o in outputs)
        raise UserError(
            f"{path} must have one output [N, {card.dim}] as its model card says, but has {seen}; correct the card."
        )
    batch = inputs[0].shape[0]
    return inputs[0].name, found[0], batch if isinstance(batch, int) else None


def _fits(shape: list[int | str | None], want: tuple[int, ...]) -> bool:
    """Whether [N, *want] is what a graph announces; a size it leaves open fits."""
    pairs = zip(shape[1:], want, strict=False)
    return len(shape) == len(want) + 1 and all(not isinstance(have, int) or have == size for have, size in pairs)
