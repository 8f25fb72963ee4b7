"""The child process of `faceverify.models.trial`: loads and runs one graph within limits on memory and time."""

import sys
from typing import TYPE_CHECKING

import numpy as np

from faceverify.models import onnx_file
from faceverify.models.trial import Kind, limit_this_process

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_MAX_SIDE = 1024  # pixels of the picture that a graph is tried with
_OPEN_SIDE = 256  # pixels of a picture whose size a graph leaves open


def attempt(kind: Kind, data: bytes) -> None:
    """Load and run a graph; what it gives is not looked at. Raises whatever the library raises."""
    model = onnx_file.parse(data)
    rng = np.random.default_rng(0)
    if kind == "yunet":
        from faceverify.align.yunet import YuNet

        YuNet(data, "").detect([rng.integers(0, 256, (192, 192, 3), dtype=np.uint8)])
        return
    from faceverify.models.engine_onnx import open_session

    session = open_session(model, 1, [("CPUExecutionProvider", {})], kind in ("embedder", "forensic", "swapper"))
    if kind in ("forensic", "swapper"):
        _run_whole(session, rng)
        return
    for one in session.get_inputs():
        shape = [side if isinstance(side, int) else 2 for side in one.shape]
        if kind == "scrfd" and len(shape) == 4:
            shape = [1, 3, 160, 160]
        if one.type == "tensor(float)" and max(shape, default=1) <= _MAX_SIDE and len(shape) == 4:
            session.run(None, {one.name: rng.random(shape, np.float32)})


def _run_whole(session: "InferenceSession", rng: np.random.Generator) -> None:
    """Run a graph with all its inputs at once, pictures and vectors."""
    feed = {}
    for one in session.get_inputs():
        shape = [side if isinstance(side, int) else _OPEN_SIDE if at > 1 else 1 for at, side in enumerate(one.shape)]
        if max(shape, default=1) > _MAX_SIDE:
            raise ValueError(f"its input {one.name[:60]!r} is larger than any picture")
        feed[one.name] = rng.random(shape, np.float32).astype(np.float16 if "16" in one.type else np.float32)
    session.run(None, feed)


def _main() -> int:
    kind, limit = sys.argv[1:]
    limit_this_process(int(limit))
    try:
        attempt(kind, sys.stdin.buffer.read())  # pyrefly: ignore[bad-argument-type]
    except Exception as error:
        print(" ".join(str(error).split()) or type(error).__name__, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
