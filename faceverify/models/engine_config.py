"""How an embedder is run: the options of every job that embeds. Nothing heavy is imported."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineConfig:
    """How an embedder is run. Nothing here changes the embeddings beyond rounding."""

    engine: Literal["auto", "torch", "onnx"] = "auto"
    """Runtime; `auto` takes ONNX Runtime for .onnx files and PyTorch for all others."""
    provider: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto"
    """Hardware; `auto` takes the best that is there: TensorRT (ONNX only), CUDA, CPU."""
    threads: int = 0
    """CPU threads of one embedder; 0 = all cores that this process may use (OMP_NUM_THREADS, else its affinity)."""
    batch_size: int = 64
    """Most faces per call of the network; on a CPU never more than 8 are taken, which is faster there."""
