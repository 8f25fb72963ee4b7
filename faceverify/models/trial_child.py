"""The child process of `faceverify.models.trial`: loads and runs one graph within limits on memory and time."""

import sys

import numpy as np

from faceverify.models import onnx_file
from faceverify.models.trial import Kind, limit_this_process

_MAX_SIDE = 1024  # pixels of the picture that a graph is tried with


def attempt(kind: Kind, data: bytes) -> None:
    """Load and run a graph; what it gives is not looked at. Raises whatever the library raises."""
    model = onnx_file.parse(data)
    rng = np.random.default_rng(0)
    if kind == "yunet":
        from faceverify.align.yunet import YuNet

        YuNet(data, "").detect([rng.integers(0, 256, (192, 192, 3), dtype=np.uint8)])
        return
    from faceverify.models.engine_onnx import open_session

    session = open_session(model, 1, [("CPUExecutionProvider", {})], kind == "embedder")
    for one in session.get_inputs():
        shape = [side if isinstance(side, int) else 2 for side in one.shape]
        if kind == "scrfd" and len(shape) == 4:
            shape = [1, 3, 160, 160]
        if one.type == "tensor(float)" and max(shape, default=1) <= _MAX_SIDE and len(shape) == 4:
            session.run(None, {one.name: rng.random(shape, np.float32)})


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
