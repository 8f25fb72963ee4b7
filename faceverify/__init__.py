"""Face verification that deepfakes do not fool: the library. It never imports ray.

from faceverify import Verifier

verifier = Verifier("sface")
print(verifier.verify("a.jpg", "b.jpg"))
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faceverify.results import Embeddings, Face, Verification
    from faceverify.verifier import Verifier

__version__ = "0.1.0"
__all__ = ["Embeddings", "Face", "Verification", "Verifier", "__version__"]

_HOMES = {"Embeddings": "results", "Face": "results", "Verification": "results", "Verifier": "verifier"}


def __getattr__(name: str) -> object:
    """Import what is public when it is first used: every process that imports a part of the package imports this."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
