"""Face embedders: networks, published weights, model cards, and one `embed` call over PyTorch and ONNX Runtime."""

from typing import TYPE_CHECKING

from faceverify.models.engine_config import EngineConfig

if TYPE_CHECKING:
    from faceverify.models.engines import Engine

__all__ = ["EngineConfig", "load_engine"]


def load_engine(model: str, config: EngineConfig | None = None) -> "Engine":
    """Load an embedder that turns aligned faces into embeddings.

    Args:
        model: a registered name (it must be in the cache), a local weights file with its card, the s3:// address of
            one, or a folder that holds one (a checkpoint, the output of train, tune, export or pipeline).
        config: runtime, hardware, threads, batch size; the defaults if None.

    Raises:
        UserError: no such model, no card, contradicting card, wrong network, or a runtime or provider not there.
    """
    from faceverify.models import loading  # with numpy and more, which the options of a job do not need

    return loading.load_engine(model, config or EngineConfig())
