"""Reading safetensors files that cannot be trusted."""

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

MAX_HEADER = 4 << 20  # bytes of the header; 100 thousand tensors have less


def load_safetensors(data: bytes) -> dict[str, "Tensor"]:
    """The tensors of a safetensors file.

    Raises:
        ValueError: it is none, or damaged, or its header is larger than those of networks are.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as load_tensors

    # Its first 8 bytes say how long its header is. The library takes 100 MB of tensors that hold nothing.
    if len(data) < 8 or struct.unpack_from("<Q", data)[0] > MAX_HEADER:
        raise ValueError(f"it has no header, or one of more than {MAX_HEADER >> 20} MB")
    try:
        return load_tensors(data)
    except (SafetensorError, KeyError, TypeError, RuntimeError, ValueError, OverflowError) as error:
        raise ValueError(str(error)[:200]) from error
